"""Formats that list grids beside the float model: quantize_static's overrides, AIMET encodings."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

import quantlib as ql
from quantlib.core.tensor import Tensor
from quantlib.export.aimet import encodings_1, encodings_2
from quantlib.export.formats import ExportFormat, Subject
from quantlib.export.interchange import AIMET, OVERRIDES, remarks
from quantlib.export.overrides import overrides, read_overrides
from quantlib.export.proofs import quantized_statically
from quantlib.export.tensor_grids import refusals, tensor_grids
from quantlib.graph.runtime import open_session
from quantlib.ops.base import MixingOp
from tests.export.cases import CONFIGS, sample_module
from tests.paths import GOLDEN
from tests.sample_data import NAMES, sample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


WITHOUT_GRIDS = [name for name in NAMES if name != "digits_qat"]
"""The samples that leave all grids to the configuration."""


def config(n_bits: int, *, per_channel: bool = False) -> ql.QuantizationConfig:
    return ql.QuantizationConfig.from_n_bits(n_bits).replace(
        weights=ql.Scheme(n_bits, per_channel=per_channel), input_bits=8, output_bits=8
    )


@pytest.mark.parametrize("per_channel", [False, True], ids=["per tensor", "per channel"])
@pytest.mark.parametrize("n_bits", [4, 8])
@pytest.mark.parametrize("name", WITHOUT_GRIDS)
def test_quantize_static_writes_the_scales_that_it_is_told(
    name: str, n_bits: int, per_channel: bool
) -> None:
    module = sample_module(name, config(n_bits, per_channel=per_channel))
    written = overrides(module)
    asked = read_overrides(written.text)
    made = quantized_statically(module, asked, written.options)
    stored = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    grids = {grid.name: grid for grid in tensor_grids(module)[0]}
    assert asked
    for tensor in asked:
        scale, point = stored[f"{tensor}_scale"], stored[f"{tensor}_zero_point"]
        assert np.array_equal(np.ravel(scale), grids[tensor].scales.astype(np.float32))
        assert np.array_equal(np.ravel(point).astype(np.int64), grids[tensor].zero_points)
    files = OVERRIDES.export(Subject(module, "m"))
    assert OVERRIDES.prove(files, module, ()).holds


@pytest.mark.parametrize("form", [OVERRIDES, AIMET], ids=lambda form: form.name)
def test_a_list_of_grids_refuses_a_model_that_brings_its_own(form: ExportFormat) -> None:
    module = sample_module("digits_qat", config(4))
    refused = {refusal.layer for refusal in form.refusals(module)}
    assert {"/q0/DequantizeLinear", "/q1/DequantizeLinear", "/q2/DequantizeLinear"} <= refused
    with pytest.raises(ql.OptionsError, match="the file brings this grid itself"):
        form.export(Subject(module, "m"))


def test_quantize_static_with_its_options_gives_a_convolutional_model_s_integers() -> None:
    module = sample_module("digits_cnn", config(4))
    written = overrides(module)
    assert written.losses == ()
    made = quantized_statically(module, read_overrides(written.text), written.options)
    x = sample("digits_cnn").data.evaluation[0]
    actual = open_session(made.SerializeToString()).run(None, {"input": x})[0]
    assert np.allclose(actual, np.asarray(module.forward(x)), atol=1e-4)


def test_an_override_that_is_wrong_or_not_followed_is_found_out() -> None:
    module = sample_module("digits_mlp", config(8))
    document = json.loads(overrides(module).text)
    document[next(iter(document))][0]["scale"] *= 2
    document["/Relu_output_0_of_another_model"] = document["/Relu_output_0"]
    proof = OVERRIDES.prove({"m.json": json.dumps(document).encode()}, module, ())
    assert (proof.holds, proof.different, proof.equal) == (False, 2, len(document) - 2)


def test_what_no_type_holds_is_left_out_and_named() -> None:
    module = sample_module("digits_mlp", ql.QuantizationConfig.from_n_bits(3))
    written = overrides(module)
    listed = json.loads(written.text)
    assert set(listed) == {x.node.inputs[1] for x in module.layers if isinstance(x.op, MixingOp)}
    assert {loss.layer for loss in written.losses} == {"input", "/f2/Gemm", "/f3/Gemm"}
    assert all("0…7" in loss.reason and "4, 8 or 16 bits" in loss.remedy
               for loss in written.losses)  # fmt: skip
    assert remarks("ort-overrides", module).losses == written.losses


def test_what_happens_inside_operators_is_named_as_left_out() -> None:
    _, left = tensor_grids(sample_module("digits_resnet", CONFIGS["5 bits rounded to 6"]))
    words = " ".join(loss.reason for loss in left)
    for reason in ("summands", "low bits", "on another grid"):
        assert reason in words


def test_clipped_weights_are_not_listed_in_a_wider_type() -> None:
    scheme = ql.Scheme(3, estimator=ql.Estimator("percentile", 80.0))
    clipped = ql.QuantizationConfig.from_n_bits(8).replace(weights=scheme)
    module = sample_module("digits_mlp", clipped)
    weights = {x.node.inputs[1] for x in module.layers if isinstance(x.op, MixingOp)}
    assert not weights & set(json.loads(overrides(module).text))
    assert weights & set(
        json.loads(overrides(sample_module("digits_mlp", clipped.replace(
            weights=ql.Scheme(3)))).text)
    )  # fmt: skip


def test_models_that_bring_their_quantizers_are_refused_by_layer() -> None:
    path = GOLDEN / "brevitas" / "qat_mlp.onnx"
    x = np.load(path.with_suffix(".npz"))["x"]
    module = ql.quantize(ql.load_model(path), x, CONFIGS["4 bits"])
    found = refusals(module)
    assert found
    assert AIMET.refusals(module) == OVERRIDES.refusals(module) == found
    with pytest.raises(ql.OptionsError, match=found[0].layer.replace("/", ".")):
        overrides(module)


# What the specification says, read without this project's code.


def reals_of_version_1(entry: dict[str, Any]) -> Any:
    """Return the real values of all codes, one row per scale: ``scale * (code + offset)``."""
    codes = np.arange(2 ** entry["bw"])
    scale, offset = (np.array(entry[key], dtype=np.float64)[:, None] for key in ("scale", "offset"))
    return scale * (codes + offset)


def reals_of_version_2(entry: dict[str, Any]) -> Any:
    """Return the real values of all codes, one row per scale: DequantizeLinear's."""
    kind = entry["output_dtype"]
    n_bits = int("".join(c for c in kind if c.isdigit()))
    low = 0 if kind.startswith("u") else -(2 ** (n_bits - 1))
    codes = np.arange(low, low + 2**n_bits)
    scale = np.atleast_1d(entry["y_scale"])[:, None]
    return scale * (codes - np.atleast_1d(entry.get("y_zero_point", 0))[:, None])


@pytest.mark.parametrize("per_channel", [False, True], ids=["per tensor", "per channel"])
@pytest.mark.parametrize("n_bits", [2, 4, 8])
@pytest.mark.parametrize("name", WITHOUT_GRIDS)
def test_encodings_stand_for_the_real_values_of_the_module_s_codes(
    name: str, n_bits: int, per_channel: bool
) -> None:
    module = sample_module(name, config(n_bits, per_channel=per_channel))
    grids = {grid.name: grid.quantizer for grid in tensor_grids(module)[0]}
    first, second = json.loads(encodings_1(module).text), json.loads(encodings_2(module).text)
    entries = [(e, reals_of_version_1(e)) for e in
               (*first["activation_encodings"], *first["param_encodings"])]  # fmt: skip
    assert {e["name"] for e, _ in entries} == set(grids)
    entries += [(e, reals_of_version_2(e)) for e in second["encodings"]]
    for entry, reals in entries:
        grid = grids[entry["name"]]
        shape = np.shape(grid.scale)
        codes = np.arange(grid.qmin, grid.qmax + 1)
        rows = np.stack([np.ravel(grid.dequant(np.full(shape, code))) for code in codes], axis=1)
        if reals.shape[1] > rows.shape[1]:  # a constant in a wider type
            assert "output_dtype" in entry
            continue
        assert np.allclose(reals, rows, rtol=1e-6, atol=1e-6 * np.abs(rows).max())
    assert AIMET.prove(AIMET.export(Subject(module, "m")), module, ()).holds


def test_encodings_have_the_documented_fields_and_no_others() -> None:
    module = sample_module("digits_cnn", config(4, per_channel=True))
    first = json.loads(encodings_1(module).text)
    assert set(first) == {
        "version", "activation_encodings", "param_encodings", "quantizer_args", "excluded_layers",
    }  # fmt: skip
    assert first["version"] == "1.0.0"
    fields = {"name", "enc_type", "dtype", "bw", "is_sym", "scale", "offset"}
    for entry in (*first["activation_encodings"], *first["param_encodings"]):
        assert set(entry) == fields
        assert entry["dtype"] == "INT"
        several = len(entry["scale"]) > 1
        assert entry["enc_type"] == ("PER_CHANNEL" if several else "PER_TENSOR")
        symmetric = all(offset == -(2 ** (entry["bw"] - 1)) for offset in entry["offset"])
        assert entry["is_sym"] == symmetric
    assert set(first["quantizer_args"]) == {
        "activation_bitwidth", "dtype", "is_symmetric", "param_bitwidth",
        "per_channel_quantization", "quant_scheme",
    }  # fmt: skip
    second = json.loads(encodings_2(module).text)
    assert (set(second), second["version"]) == ({"version", "encodings"}, "2.0.0")
    weights = {
        x.node.inputs[1]: x.constants.get(1) for x in module.layers if len(x.node.inputs) > 1
    }
    channels = {n: np.shape(w.quantizer.scale) for n, w in weights.items() if isinstance(w, Tensor)}
    for entry in second["encodings"]:
        assert set(entry) <= {"name", "output_dtype", "y_scale", "y_zero_point", "axis"}
        if entry["name"] in channels:
            assert len(entry["y_scale"]) == channels[entry["name"]][entry["axis"]]
        else:
            assert "axis" not in entry


def test_a_changed_offset_is_found_out() -> None:
    module = sample_module("digits_mlp", config(8))
    files = AIMET.export(Subject(module, "m"))
    name = next(iter(files))
    document = json.loads(files[name])
    document["activation_encodings"][0]["offset"][0] += 1
    proof = AIMET.prove({**files, name: json.dumps(document).encode()}, module, ())
    assert (proof.holds, proof.different) == (False, 1)


def test_narrow_grids_have_no_width_and_are_named() -> None:
    narrow = ql.QuantizationConfig.from_n_bits(8).replace(
        weights=ql.Scheme(8, symmetric=True, narrow=True)
    )
    module = sample_module("iris_linear", narrow)
    written = encodings_1(module)
    assert json.loads(written.text)["param_encodings"] == []
    assert any("-127…127" in loss.reason and "narrow" in loss.remedy for loss in written.losses)
