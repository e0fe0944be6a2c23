"""QONNX files, read back by this project and executed by the qonnx package."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import quantlib as ql
from quantlib.export.agreement import same_codes
from quantlib.export.formats import Proof, Subject
from quantlib.export.interchange import QONNX
from quantlib.export.qonnx import DOMAIN, Range, qonnx_model
from tests.export.cases import CONFIGS, PAIRS, UNEVEN, operator_module, sample_module, sampled
from tests.models import build, normal
from tests.paths import GOLDEN
from tests.sample_data import NAMES, sample

RECORDED = GOLDEN / "qonnx.npz"
"""Outputs of the qonnx package, see golden/README.md."""

ADDS = ("digits_resnet", "digits_transformer")
"""A reader adds on a scale of its own."""

TIES = ("digits_detector",)
"""Means of four codes at many places: some are ties, which scales in float32 move."""


def proof_of(module: ql.QuantizedModule, inputs: Any) -> Proof:
    return QONNX.prove(QONNX.export(Subject(module, "m")), module, inputs)


def content_of(module: ql.QuantizedModule) -> bytes:
    return bytes(qonnx_model(module).model.SerializeToString())


@pytest.mark.parametrize(("case", "config"), sampled(PAIRS))
def test_every_operator_reads_back_on_its_grids_or_is_refused_by_name(
    case: str, config: str
) -> None:
    module, data = operator_module(case, config)
    if case in UNEVEN and "rounded" in config:
        assert [r.layer for r in QONNX.refusals(module)] == ["op"]
        return
    proof = proof_of(module, data)
    assert proof.holds, proof.lines


@pytest.mark.parametrize("n_bits", [2, 3, 4, 6, 8])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ADDS + TIES])
def test_samples_are_read_back_with_equal_integers(name: str, n_bits: int) -> None:
    config = ql.QuantizationConfig.from_n_bits(n_bits)
    module = sample_module(name, config)
    found = sample(name)
    again = ql.quantize(
        ql.load_model(content_of(module), name=name), found.data.calibration, config
    )
    assert np.array_equal(
        np.asarray(again.quantize_input(*found.data.evaluation)),
        np.asarray(module.quantize_input(*found.data.evaluation)),
    )
    actual: Any = again.forward(*found.data.evaluation)
    values = module.run(*found.data.evaluation)
    for value, mine in zip(values, actual if len(values) > 1 else (actual,), strict=True):
        assert same_codes(value, mine).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("n_bits", [2, 4, 6, 8])
@pytest.mark.parametrize("name", TIES)
def test_samples_with_ties_differ_first_at_a_tie_or_not_at_all(name: str, n_bits: int) -> None:
    module = sample_module(name, ql.QuantizationConfig.from_n_bits(n_bits))
    found = proof_of(module, sample(name).data.evaluation)
    assert found.holds, found.lines
    assert found.different == 0
    assert found.equal + found.ties == found.samples == len(sample(name).data.evaluation[0])


@pytest.mark.parametrize("name", ADDS)
def test_a_residual_model_holds_grid_by_grid(name: str) -> None:
    module = sample_module(name, CONFIGS["2 bits"])
    proof = proof_of(module, sample(name).data.evaluation)
    assert proof.holds
    assert proof.equal == proof.samples
    assert "on scales of its own" in proof.lines[1]


@pytest.mark.parametrize(
    ("n_bits", "signed", "narrow", "low", "high"),
    [
        (3, False, False, 0, 7),
        (3, True, False, -4, 3),
        (3, True, True, -3, 3),
        (3, False, True, 0, 6),
    ],
)
def test_ranges_are_those_of_the_operator_s_definition(
    n_bits: int, signed: bool, narrow: bool, low: int, high: int
) -> None:
    found = Range(n_bits, signed, narrow)
    assert (found.low, found.high) == (low, high)


def test_the_model_keeps_its_operator_set_and_names_the_domain() -> None:
    model = qonnx_model(sample_module("digits_mlp", CONFIGS["4 bits"])).model
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    assert opsets[""] == sample("digits_mlp").graph.opsets[""]
    assert opsets[DOMAIN] == 1
    kinds = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    assert kinds == {"Quant"}


def test_every_tensor_has_a_shape_because_no_reader_can_infer_past_a_quant() -> None:
    model = qonnx_model(sample_module("digits_resnet", CONFIGS["5 bits rounded to 6"])).model
    known = {v.name for v in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} <= known


def test_grids_of_minus_one_and_one_become_bipolar() -> None:
    nodes = [
        helper.make_node("BipolarQuant", ["x", "s"], ["q"], "sign", domain=DOMAIN),
        helper.make_node("MatMul", ["q", "w"], ["y"], "op"),
    ]
    numbers = {"s": np.float32(0.5), "w": normal(6, 3)}
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants=numbers,
                  domains=[(DOMAIN, 1)])  # fmt: skip
    x = normal(40, 6)
    module = ql.quantize(ql.load_model(model), x, CONFIGS["4 bits"])
    written = qonnx_model(module).model
    assert "BipolarQuant" in {node.op_type for node in written.graph.node}
    proof = proof_of(module, (x,))
    assert (proof.holds, proof.equal) == (True, 40)


def test_recorded_outputs_of_the_qonnx_package_are_the_module_s() -> None:
    recorded = np.load(RECORDED)
    keys = [key for key in recorded.files if key.startswith("y.")]
    assert len(keys) == 6
    for key in keys:
        _, name, bits = key.split(".")
        module = sample_module(name, ql.QuantizationConfig.from_n_bits(int(bits)))
        x = sample(name).data.evaluation[0][:8]
        (value,) = module.run(x)
        assert same_codes(value, recorded[key]).all(), key  # type: ignore[arg-type]


@pytest.mark.parametrize("n_bits", [4, 8])
@pytest.mark.parametrize("name", NAMES)
def test_the_qonnx_package_executes_the_file(name: str, n_bits: int) -> None:
    pytest.importorskip("qonnx", reason="the qonnx package is not installed")
    module = sample_module(name, ql.QuantizationConfig.from_n_bits(n_bits))
    x = sample(name).data.evaluation[0][:50]
    actual = executed(content_of(module), x)
    proof = proof_of(module, (x,))
    (value,) = module.run(x)
    right = same_codes(value, actual).reshape(len(x), -1).all(axis=1)  # type: ignore[arg-type]
    assert right.sum() >= proof.equal


def executed(content: bytes, x: Any) -> Any:
    """Run a model with the qonnx package, which wants a fixed batch."""
    from qonnx.core.modelwrapper import ModelWrapper  # type: ignore[import-not-found]
    from qonnx.core.onnx_exec import execute_onnx  # type: ignore[import-not-found]

    model = onnx.ModelProto.FromString(content)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_value = len(x)
    feeds = {model.graph.input[0].name: x}
    return execute_onnx(ModelWrapper(model), feeds)[model.graph.output[0].name]
