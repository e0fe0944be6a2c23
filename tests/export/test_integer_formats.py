"""NumPy script, ONNX in integers and C, each run and compared with the module."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import quantlib as ql
from quantlib.errors import OptionsError
from quantlib.export.c.emit import emit
from quantlib.export.c.format import SANITIZED, c_source, compile_and_run
from quantlib.export.formats import ExportFormat, Subject
from quantlib.export.numpy_script import script
from quantlib.export.offers import FORMATS
from quantlib.export.onnx_integers import SUFFIX, integer_model
from quantlib.graph.runtime import open_session, optimized_session
from quantlib.program import cost
from tests.execution.test_carried_grids import qdq_model
from tests.integer_programs import (
    IN_INTEGERS,
    KINDS,
    MIXES_SAMPLES,
    codes_of,
    extreme_codes,
    module,
    operator_cases,
    operator_module,
    random_codes,
    several,
)
from tests.models import build, normal
from tests.paths import GOLDEN
from tests.sample_data import sample

NAMES = ("numpy", "onnx-integers", "c")
EVERY = [(name, kind, n) for name in IN_INTEGERS for kind in KINDS for n in range(2, 9)]
NEEDS = {"c": pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")}
SAMPLED = [
    pytest.param(form, *case, id="-".join([form, *map(str, case)]), marks=NEEDS.get(form, ()))
    for form, step in (("numpy", 67), ("onnx-integers", 13), ("c", 61))
    for case in EVERY[::step]
]
ALL = [
    pytest.param(form, *case, id="-".join([form, *map(str, case)]), marks=NEEDS.get(form, ()))
    for form in NAMES
    for case in EVERY
]
OPERATORS = sorted(set(operator_cases()) - MIXES_SAMPLES)


def prove(form: ExportFormat, made: ql.QuantizedModule, data: tuple[Any, ...]) -> None:
    files = form.export(Subject(made, "model"))
    assert next(iter(files)).endswith(form.suffix)
    assert not form.refusals(made)
    proof = form.prove(files, made, data)
    assert proof.holds, proof.lines
    assert proof.equal == proof.samples == len(data[0])
    assert "all equal" in proof.sentence


@pytest.mark.parametrize(("form", "name", "kind", "n_bits"), SAMPLED)
def test_a_machine_has_every_integer(form: str, name: str, kind: str, n_bits: int) -> None:
    prove(FORMATS[form], module(name, kind, n_bits), sample(name).data.evaluation)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("form", "name", "kind", "n_bits"), ALL)
def test_every_machine_has_every_integer(form: str, name: str, kind: str, n_bits: int) -> None:
    prove(FORMATS[form], module(name, kind, n_bits), sample(name).data.evaluation)


@pytest.mark.parametrize("key", OPERATORS)
def test_small_graphs_in_onnx_have_every_integer(key: str) -> None:
    prove(FORMATS["onnx-integers"], *operator_module(key))


@pytest.mark.parametrize("key", OPERATORS[::9])
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_small_graphs_in_c_have_every_integer(key: str) -> None:
    prove(FORMATS["c"], *operator_module(key))


@pytest.mark.parametrize("key", OPERATORS[4::13])
def test_small_graphs_in_numpy_have_every_integer(key: str) -> None:
    prove(FORMATS["numpy"], *operator_module(key))


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", ["numpy", pytest.param("c", marks=NEEDS["c"])])
@pytest.mark.parametrize("key", OPERATORS)
def test_every_small_graph_has_every_integer(form: str, key: str) -> None:
    prove(FORMATS[form], *operator_module(key))


@pytest.mark.parametrize("name", IN_INTEGERS)
@pytest.mark.parametrize(("kind", "n_bits"), [("plain", 8), ("symmetric", 8), ("channels", 7)])
def test_extreme_codes_do_not_saturate_in_onnx_runtime(name: str, kind: str, n_bits: int) -> None:
    """Uint8 by int8 would, on processors with AVX2 and without VNNI."""
    made = module(name, kind, n_bits)
    codes = extreme_codes(made)
    real = [
        np.asarray(grid.dequant(q), dtype=np.float32)
        for grid, q in zip(made.inputs, codes, strict=True)
        if grid is not None
    ]
    content = integer_model(made).SerializeToString()
    wanted = several(made.quantized_forward(*codes_of(made, tuple(real))))
    names = [output + SUFFIX for output in made.graph.output_names]
    feeds = {info.name: x for info, x in zip(made.graph.inputs, real, strict=True)}
    for session in (open_session(content), optimized_session(content)):
        for found, mine in zip(session.run(names, feeds), wanted, strict=True):
            assert np.array_equal(found, mine)


def test_products_of_8_bits_take_the_integer_operators() -> None:
    kinds = [node.op_type for node in integer_model(module("digits_cnn", "plain", 8)).graph.node]
    assert kinds.count("ConvInteger") == 2
    assert kinds.count("MatMulInteger") == 1
    assert "Conv" not in {*kinds} - {"ConvInteger"} or kinds.count("Conv") == 2  # sum pooling
    standard = {
        domain.domain for domain in integer_model(module("iris_linear", "plain", 3)).opset_import
    }
    assert standard == {""}


def test_the_float_model_s_outputs_are_there_under_their_names() -> None:
    made = module("digits_mlp", "plain", 6)
    data = sample("digits_mlp").data.evaluation
    model = integer_model(made)
    assert [i.name for i in model.graph.input] == [i.name for i in made.graph.inputs]
    names = [o.name for o in model.graph.output]
    assert names == ["output", "output" + SUFFIX]
    real = open_session(model.SerializeToString()).run(["output"], {"input": data[0]})[0]
    assert real.dtype == np.float32
    assert np.array_equal(real, np.asarray(made.forward(*data)).astype(np.float32))
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("form", ["numpy", "onnx-integers", pytest.param("c", marks=NEEDS["c"])])
@pytest.mark.parametrize("name", ["qat_mlp", "qat_cnn", "qat_res"])
def test_models_that_bring_their_grids_have_every_integer(form: str, name: str) -> None:
    data = np.load(GOLDEN / "brevitas" / f"{name}.npz")["x"]
    graph = ql.load_model(GOLDEN / "brevitas" / f"{name}.onnx")
    widths = {"model_inputs": 6, "op_inputs": 6, "op_weights": 3, "model_outputs": 6}
    made = ql.quantize(graph, data, ql.QuantizationConfig.from_n_bits(widths))
    prove(FORMATS[form], made, (data,))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True], ids=["per-tensor", "per-channel"])
@pytest.mark.parametrize(("name", "kinds"), [("digits_cnn", "QInt8 QUInt8"),
                                             ("digits_mlp", "QUInt8 QUInt8")])  # fmt: skip
def test_qdq_models_have_every_integer(
    name: str, kinds: str, per_channel: bool, tmp_path: Path
) -> None:
    from onnxruntime.quantization import QuantType

    weights, activations = (getattr(QuantType, kind) for kind in kinds.split())
    graph, data, _ = qdq_model(
        name, folder=tmp_path, per_channel=per_channel, weight_type=weights,
        activation_type=activations,
    )  # fmt: skip
    made = ql.quantize(graph, data.calibration, ql.QuantizationConfig.from_n_bits(5))
    codes = random_codes(made)
    assert np.array_equal(made.program().run(*codes), made.quantized_forward(*codes))
    prove(FORMATS["onnx-integers"], made, data.evaluation)


@pytest.mark.parametrize("form", ["numpy", "onnx-integers", pytest.param("c", marks=NEEDS["c"])])
def test_stacks_of_matrices_have_every_integer(form: str) -> None:
    """One matrix for all, one for each, and one input for several matrices."""
    model = build(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"], "each"),
            helper.make_node("Relu", ["a"], ["r"], "relu"),
            helper.make_node("MatMul", ["r", "v"], ["b"], "all"),
            helper.make_node("Transpose", ["b"], ["t"], "turned", perm=[0, 2, 1, 3]),
            helper.make_node("MatMul", ["b", "t2"], ["y"], "last"),
            helper.make_node("Tanh", ["t"], ["z"], "tanh"),
        ],
        inputs={"x": ["n", 1, 3, 4]},
        outputs=["y", "z"],
        constants={
            "w": np.abs(normal(2, 4, 5)), "v": normal(5, 6, seed=1), "t2": normal(2, 6, 2, seed=3),
        },
    )  # fmt: skip
    data = normal(40, 1, 3, 4, seed=2)
    for config in (
        ql.QuantizationConfig.from_n_bits(4),
        ql.QuantizationConfig.from_n_bits(7).replace(weights=ql.Scheme(n_bits=8, per_channel=True)),
    ):
        made = ql.quantize(ql.load_model(model.SerializeToString()), data, config)
        prove(FORMATS[form], made, (data,))


def test_accumulators_beyond_float32_are_exact_on_every_machine() -> None:
    """16 bits by 16 bits, 40 products: beyond 2^32, in float64, in int64."""
    graph = ql.load_model(
        build(
            [
                helper.make_node("Conv", ["x", "w"], ["h"], "conv"),
                helper.make_node("Relu", ["h"], ["r"], "relu"),
                helper.make_node("Flatten", ["r"], ["f"], "flat"),
                helper.make_node("Gemm", ["f", "v"], ["y"], "last"),
            ],
            inputs={"x": ["n", 10, 5, 5]},
            outputs=["y"],
            constants={"w": normal(4, 10, 2, 2), "v": normal(64, 3, seed=1)},
        ).SerializeToString()
    )
    data = normal(30, 10, 5, 5, seed=2)
    for n_bits in (12, 16):
        made = ql.quantize(graph, data, ql.QuantizationConfig.from_n_bits(n_bits))
        for form in ("onnx-integers", "numpy", *(["c"] if shutil.which("cc") else [])):
            prove(FORMATS[form], made, (data,))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize(("name", "kind", "n_bits"), [("digits_resnet", "round8", 8)])  # fmt: skip
def test_c_has_no_undefined_behaviour_on_any_code(
    name: str, kind: str, n_bits: int, tmp_path: Path
) -> None:
    made = module(name, kind, n_bits)
    source = c_source(made, "m")
    (tmp_path / "m.c").write_text(source.body)
    (tmp_path / "m.h").write_text(source.header)
    for codes in (random_codes(made, 40), extreme_codes(made)):
        found = compile_and_run(source, tmp_path, codes, SANITIZED)
        wanted = several(made.quantized_forward(*codes))
        for flat, mine in zip(found, wanted, strict=True):
            assert np.array_equal(flat, mine.reshape(len(mine), -1))


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
@pytest.mark.parametrize("favour", ["whole", "threshold"])
def test_both_forms_of_tables_have_every_integer_in_c(
    favour: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever is smaller is written; here the other one is, too."""
    made = module("digits_cnn", "plain", 4)
    real = cost.table_cost

    def forced(table: Any) -> cost.TableCost:
        found = real(table)
        whole = 0 if favour == "whole" else 10**9
        return cost.TableCost(whole, 1, found.relative)

    monkeypatch.setattr("quantlib.export.c.tables.table_cost", forced)
    source = emit(made.program(), "m")
    assert ("count_" in source.body) == (favour == "threshold")
    (tmp_path / "m.c").write_text(source.body)
    (tmp_path / "m.h").write_text(source.header)
    codes = codes_of(made, sample("digits_cnn").data.evaluation)
    (found,) = compile_and_run(source, tmp_path, codes)
    assert np.array_equal(found, made.quantized_forward(*codes))


@pytest.mark.parametrize("name", IN_INTEGERS)
def test_c_has_no_floats_and_no_allocation(name: str) -> None:
    source = c_source(module(name, "plain", 5), name)
    code = re.sub(r"/\*.*?\*/", "", source.body + source.header, flags=re.DOTALL)
    assert not re.search(r"\b(float|double|malloc|calloc|realloc|free|alloca)\b|\d\.\d", code)
    assert not re.search(r"#include <(?!stdint|stddef)", code)
    assert f"{source.ram_bytes} bytes" in source.header
    assert f"{source.flash_bytes} bytes" in source.header


def test_names_that_c_does_not_take_are_changed() -> None:
    made = module("iris_linear", "plain", 3)
    files = FORMATS["c"].export(Subject(made, "3 blind-mice.v2"))
    assert list(files) == ["m_3_blind_mice_v2.c", "m_3_blind_mice_v2.h"]


def test_the_numpy_script_is_under_60_lines_and_imports_numpy_alone() -> None:
    text = script()
    assert len(text.splitlines()) < 60
    assert set(re.findall(r"^\s*(?:import|from) (.+)$", text, re.MULTILINE)) == {
        "json, sys",
        "numpy as np",
    }


@pytest.mark.parametrize("form", NAMES)
def test_what_stays_in_float_is_refused_by_name(form: str) -> None:
    made = module("wine_sklearn", "plain", 5)
    (refusal,) = FORMATS[form].refusals(made)
    assert "Softmax" in refusal.reason
    assert refusal.remedy
    with pytest.raises(OptionsError, match=refusal.layer):
        FORMATS[form].export(Subject(made, "wine"))


@pytest.mark.parametrize("form", ["numpy", "onnx-integers"])
def test_a_proof_finds_a_wrong_integer(form: str) -> None:
    """The files of another configuration are no proof of this one."""
    files = FORMATS[form].export(Subject(module("digits_mlp", "plain", 5), "m"))
    proof = FORMATS[form].prove(
        files, module("digits_mlp", "plain", 4), sample("digits_mlp").data.evaluation
    )
    assert not proof.holds
    assert proof.different == proof.samples - proof.equal > 0
