"""Calibration in pieces, with memory, on float tensors, with other ranges than the extremes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from onnx import helper

import quantlib as ql
from quantlib.core.estimator import ESTIMATORS, WEIGHT_ESTIMATORS
from quantlib.core.tensor import Tensor
from quantlib.data import load_data
from quantlib.execution import float_run
from quantlib.execution.memo import Memo
from quantlib.execution.pieces import Shelf, Spill, percentiles_of_pieces, samples_per_piece
from tests.models import build, mlp, normal
from tests.paths import SAMPLES
from tests.sample_data import NAMES

BASE = ql.QuantizationConfig.from_n_bits(5)


def sample(name: str) -> tuple[ql.Graph, Any]:
    graph = ql.load_model(SAMPLES / f"{name}.onnx")
    return graph, load_data((SAMPLES / f"{name}.npz").read_bytes(), graph, name=name)


def real(value: Any) -> Any:
    return value.values if isinstance(value, Tensor) else value


def grids_of(module: ql.QuantizedModule) -> list[Any]:
    return [(layer.outputs, layer.input_grids, layer.lsbs_to_remove) for layer in module.layers]


@pytest.mark.parametrize("rounding", [None, 6], ids=["exact", "rounding"])
@pytest.mark.parametrize("name", NAMES)
def test_data_in_pieces_give_the_grids_of_data_in_one(name: str, rounding: int | None) -> None:
    graph, data = sample(name)
    config = BASE.replace(rounding_threshold_bits=rounding)
    whole = ql.quantize(graph, data.calibration, config)
    pieces = ql.quantize(graph, data.calibration, config, piece_bytes=1 << 10)
    assert samples_per_piece(graph, 300, budget=1 << 10) < len(data.calibration[0])
    for a, b in zip(whole.layers, pieces.layers, strict=True):
        assert a.lsbs_to_remove == b.lsbs_to_remove
        for left, right in zip(a.outputs, b.outputs, strict=True):
            # a matrix product of fewer rows may add in another order: the last bit of a float
            assert (left is None) == (right is None)
            if left is not None and right is not None:
                assert np.allclose(left.scale, right.scale, rtol=1e-6)
    for left_run, right_run in zip(
        whole.run(*data.evaluation), pieces.run(*data.evaluation), strict=True
    ):
        assert np.allclose(real(left_run), real(right_run), rtol=1e-4, atol=1e-2)


def test_pieces_of_sums_of_integers_are_equal_to_the_last_bit() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "c"),
        helper.make_node("BatchNormalization", ["c", "s", "b", "m", "v"], ["n"], "bn"),
        helper.make_node("Relu", ["n"], ["r"], "act"),
        helper.make_node("Mul", ["r", "c"], ["y"], "mul"),
    ]
    constants = {"w": np.rint(normal(3, 2, 2, 2) * 4), "s": np.ones(3, np.float32),
                 "b": np.zeros(3, np.float32), "m": np.zeros(3, np.float32),
                 "v": np.ones(3, np.float32)}  # fmt: skip
    model = build(nodes, inputs={"x": ["n", 2, 5, 5]}, outputs=["y"], constants=constants)
    graph, x = ql.load_model(model), np.rint(normal(200, 2, 5, 5) * 4)
    for threshold in (None, 4):
        config = BASE.replace(rounding_threshold_bits=threshold)
        whole = ql.quantize(graph, x, config)
        pieces = ql.quantize(graph, x, config, piece_bytes=1 << 12)
        assert grids_of(whole) == grids_of(pieces)
        assert np.array_equal(np.asarray(whole.forward(x)), np.asarray(pieces.forward(x)))


def test_what_does_not_fit_in_memory_waits_on_disk_and_leaves_nothing_behind() -> None:
    values = normal(1000, 100)
    grid = ql.UniformQuantizer.from_stats(
        ql.QuantizationOptions(8), ql.MinMaxQuantizationStats.from_values(values)
    )
    with Shelf(limit=500_000) as shelf:
        kept = [shelf.put(Tensor(grid, values=values + i)) for i in range(4)]
        assert shelf.disk is not None
        assert shelf.disk.in_use == 3 * values.nbytes
        for i, value in enumerate(k.get() for k in kept):
            assert isinstance(value, Tensor)
            assert value.quantizer == grid
            assert np.array_equal(value.values, values + i)
        kept[2].drop()
        assert shelf.disk.in_use == 2 * values.nbytes
        again = shelf.put(values[:300])
        assert shelf.disk.in_use == 2 * values.nbytes + values[:300].nbytes
        assert np.array_equal(np.asarray(again.get()), values[:300])
        last = kept[3].get()
        assert isinstance(last, Tensor)
        assert np.array_equal(last.values, values + 3)
        for one in (kept[1], kept[3], again):
            one.drop()
        assert shelf.disk.in_use == 0


def test_room_on_disk_is_used_again_and_arrays_stay_what_they_were() -> None:
    rng = np.random.default_rng(3)
    disk = Spill()
    kept: dict[tuple[int, int], Any] = {}
    for step in range(300):
        if kept and rng.random() < 0.45:
            place, _ = (
                kept.popitem() if rng.random() < 0.5 else (k := next(iter(kept)), kept.pop(k))
            )
            disk.release(place)
        array = rng.normal(size=rng.integers(1, 200)).astype("f4" if step % 2 else "f8")
        kept[disk.write(array)] = array
        assert disk.in_use == sum(a.nbytes for a in kept.values()), step
        for place, expected in kept.items():
            assert np.array_equal(disk.read(place, expected.dtype, expected.shape), expected)
    disk.close()


def test_what_waits_on_disk_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTLIB_MAX_SPILL_MB", "1")
    with Shelf(limit=0) as shelf:
        shelf.put(np.zeros(2**17))
        with pytest.raises(ql.LimitError, match="QUANTLIB_MAX_SPILL_MB"):
            shelf.put(np.zeros(1))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 2, 7, 5000])
def test_percentiles_of_pieces_are_those_of_the_whole(size: int, kind: type) -> None:
    values: Any = np.random.default_rng(size).standard_t(3, size=size).astype(kind)
    shares = (0.0, 0.1, 37.0, 50.0, 99.9, 100.0)
    found = percentiles_of_pieces(lambda: np.array_split(values, min(4, size)), shares)
    assert np.allclose(found, np.percentile(values.astype(np.float64), shares), rtol=1e-12)


def test_percentiles_of_one_constant_are_that_constant() -> None:
    assert percentiles_of_pieces(lambda: [np.full(9, 2.5)], (0.1, 99.9)) == [2.5, 2.5]


@pytest.mark.parametrize("name", ["digits_cnn", "digits_resnet", "wine_sklearn"])
def test_a_memo_changes_no_number(name: str) -> None:
    graph, data = sample(name)
    memo = Memo()
    layers = [node.name for node in graph.nodes if node.op_type in {"Conv", "Gemm", "MatMul"}]
    override = ql.LayerOverride(weights=ql.Scheme(3), activations=ql.Scheme(4))
    for config in (BASE, BASE.with_override(layers[-1], override), BASE,
                   BASE.replace(rounding_threshold_bits=7),
                   BASE.with_override(layers[0], override),
                   BASE.replace(weights=ql.Scheme(5, True, True)),
                   BASE.replace(activations=ql.Scheme(5, estimator=ql.Estimator("mse"))),
                   BASE.replace(calibrate_on="float")):  # fmt: skip
        fresh = ql.quantize(graph, data.calibration, config)
        shared = ql.quantize(graph, data.calibration, config, memo=memo)
        assert grids_of(fresh) == grids_of(shared)
        assert np.array_equal(
            np.asarray(fresh.forward(*data.evaluation)),
            np.asarray(shared.forward(*data.evaluation)),
        )


def test_a_change_of_one_layer_computes_only_what_depends_on_it() -> None:
    graph, data = sample("digits_resnet")
    memo = Memo()
    ql.quantize(graph, data.calibration, BASE, memo=memo)
    assert (memo.hits, memo.misses) == (0, len(graph.nodes))
    last = next(n for n in reversed(graph.nodes) if n.op_type in {"Gemm", "MatMul"})
    after = len(graph.nodes) - 1 - [n.name for n in graph.nodes].index(last.name)
    changed = BASE.with_override(last.name, ql.LayerOverride(weights=ql.Scheme(3)))
    before = memo.misses
    ql.quantize(graph, data.calibration, changed, memo=memo)
    assert memo.misses - before == 1 + after


def test_a_memo_forgets_what_was_used_longest_ago() -> None:
    memo = Memo(limit_bytes=100)
    for i in range(3):
        memo.get(f"k{i}", lambda i=i: i, lambda _: 40)  # type: ignore[misc]
    assert memo.get("k2", lambda: -1, lambda _: 40) == 2
    assert memo.get("k0", lambda: -1, lambda _: 40) == -1


@pytest.mark.parametrize(
    ("part", "estimator"),
    [
        (part, name)
        for part, names in (("weights", WEIGHT_ESTIMATORS), ("activations", ESTIMATORS))
        for name in sorted(set(names) - {"min-max"})
    ],
)
def test_an_estimator_narrows_the_ranges_it_is_chosen_for(part: str, estimator: str) -> None:
    graph = ql.load_model(mlp(20, 40, 3))
    data = np.random.default_rng(1).standard_t(3, size=(400, 20)).astype(np.float32)
    chosen = ql.Scheme(4, estimator=ql.Estimator(estimator))
    plain = ql.quantize(graph, data, BASE.replace(weights=ql.Scheme(4), activations=ql.Scheme(4)))
    config = BASE.replace(weights=ql.Scheme(4), activations=ql.Scheme(4)).replace(**{part: chosen})
    module = ql.quantize(graph, data, config)
    first, before = module.layers[0], plain.layers[0]
    a, b = first.constants[1], before.constants[1]
    assert isinstance(a, Tensor) and isinstance(b, Tensor)
    if part == "weights":
        assert a.quantizer.scale <= b.quantizer.scale
        assert first.input_grids == before.input_grids
    else:
        assert first.operand_grid is not None and before.operand_grid is not None
        assert first.operand_grid.scale < before.operand_grid.scale
        assert first.operand_grid == module.inputs[0]
        assert np.array_equal(a.codes, b.codes)


@pytest.mark.parametrize("estimator", ["percentile", "mse"])
def test_channels_take_estimated_ranges_too(estimator: str) -> None:
    graph, data = sample("digits_mlp")
    chosen = ql.Scheme(4, per_channel=True, estimator=ql.Estimator(estimator))
    plain = ql.quantize(
        graph, data.calibration, BASE.replace(weights=ql.Scheme(4, per_channel=True))
    )
    module = ql.quantize(graph, data.calibration, BASE.replace(weights=chosen))
    for after, before in zip(module.layers, plain.layers, strict=True):
        a, b = after.constants.get(1), before.constants.get(1)
        if isinstance(a, Tensor) and isinstance(b, Tensor):
            assert np.shape(a.quantizer.scale) == np.shape(b.quantizer.scale)
            assert np.all(np.asarray(a.quantizer.scale) <= np.asarray(b.quantizer.scale) * 1.0001)


def test_float_calibration_measures_the_float_model() -> None:
    graph, data = sample("digits_cnn")
    coarse = ql.QuantizationConfig.from_n_bits(2)
    from quantlib.analysis.float_model import FloatModel

    exact: dict[str, float] = {}
    for _, batch in FloatModel(graph, data.calibration).batches():
        for name, values in batch.items():
            exact[name] = max(exact.get(name, -np.inf), float(values.max()))
    found = ql.quantize(graph, data.calibration, coarse.replace(calibrate_on="float"))
    quantized = ql.quantize(graph, data.calibration, coarse)
    differing = 0
    for layer, other in zip(found.layers, quantized.layers, strict=True):
        grid, path = layer.outputs[0], other.outputs[0]
        if grid is not None and grid.rmax is not None and path is not None:
            assert float(grid.rmax) == exact[layer.node.outputs[0]]
            differing += grid.rmax != path.rmax
    assert differing >= 5


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of resident memory in KiB")
def test_peak_memory_does_not_grow_with_the_samples() -> None:
    import subprocess

    code = (
        "import numpy as np, re, sys, quantlib as ql\n"
        "from pathlib import Path\n"
        "from quantlib.execution.pieces import samples_per_piece\n"
        "from onnx import helper\n"
        "from tests.models import build, normal\n"
        "nodes = [helper.make_node('Conv', ['x', 'w'], ['c'], 'c', pads=[1]*4),\n"
        "         helper.make_node('Relu', ['c'], ['r'], 'r'),\n"
        "         helper.make_node('Conv', ['r', 'v'], ['y'], 'd', pads=[1]*4)]\n"
        "model = build(nodes, inputs={'x': ['n', 3, 32, 32]}, outputs=['y'],\n"
        "              constants={'w': normal(16, 3, 3, 3), 'v': normal(4, 16, 3, 3)})\n"
        "graph, n = ql.load_model(model), int(sys.argv[1])\n"
        "x = np.random.default_rng(0).normal(size=(n, 3, 32, 32)).astype(np.float32)\n"
        "ql.quantize(graph, x, ql.QuantizationConfig.from_n_bits(6))\n"
        # ru_maxrss would hold the peak of the process that started this one
        "status = Path('/proc/self/status').read_text()\n"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', status)[1])\n"
        "print(peak / 1024 - x.nbytes / 2**20)\n"
    )
    peaks = [
        float(subprocess.run([sys.executable, "-c", code, str(n)], capture_output=True, text=True,
                             check=True, cwd=SAMPLES.parent).stdout)
        for n in (2000, 8000)
    ]  # fmt: skip
    assert peaks[1] < peaks[0] * 1.15 + 30, peaks


def divided() -> ql.Graph:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "g1"),
        helper.make_node("Gemm", ["x", "v"], ["b"], "g2"),
        helper.make_node("Exp", ["b"], ["e"], "exp"),
        helper.make_node("Div", ["a", "e"], ["y"], "div"),
    ]
    constants = {"w": normal(6, 4), "v": 0.1 * normal(6, 4, seed=3)}
    return ql.load_model(build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants=constants))


def test_a_quotient_learns_from_every_piece() -> None:
    graph, x, config = divided(), normal(200, 6), ql.QuantizationConfig.from_n_bits(8)
    whole, pieces = (ql.quantize(graph, x, config, piece_bytes=n) for n in (1 << 27, 3000))
    first, second = (module.layers[-1].op for module in (whole, pieces))
    assert first == second
    assert grids_of(whole) == grids_of(pieces)


def test_a_model_that_mixes_samples_takes_them_all_at_once() -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "g1"),
        helper.make_node("ReduceMean", ["a"], ["m"], "mean", axes=[0], keepdims=1),
        helper.make_node("Sub", ["a", "m"], ["y"], "sub"),
    ]
    model = build(nodes, inputs={"x": ["n", 6]}, outputs=["y"], constants={"w": normal(6, 4)},
                  opset=14)  # fmt: skip
    graph, x = ql.load_model(model), normal(200, 6)
    whole, pieces = (ql.quantize(graph, x, BASE, piece_bytes=n) for n in (1 << 27, 3000))
    assert grids_of(whole) == grids_of(pieces)


def test_given_statistics_stand_beside_float_ranges_and_make_layers_of_their_own() -> None:
    graph, x = ql.load_model(mlp()), normal(100, 6)
    wide = ql.MinMaxQuantizationStats(rmax=np.float64(50), rmin=np.float64(-50))
    config = BASE.replace(calibrate_on="float")
    plain = ql.quantize(graph, x, config)
    given = ql.quantize(graph, x, config, statistics={"h": wide})
    assert given.layers[0].outputs[0] is not None and given.layers[0].outputs[0].rmax == 50
    assert given.layers[1].outputs == plain.layers[1].outputs
    assert given.layers[0].key != plain.layers[0].key
    with pytest.raises(ql.OptionsError, match="tensor 'nope'"):
        ql.quantize(graph, x, config, statistics={"nope": wide})


def test_open_sessions_are_bounded_in_number_and_bytes() -> None:
    sources = [
        ql.load_model(build([helper.make_node("Relu", ["x"], ["y"])], inputs={"x": ["n", i + 1]},
                            outputs=["y"], constants={})).source
        for i in range(5)
    ]  # fmt: skip
    few = float_run._Sessions(most=2, most_bytes=10**9)
    first = few.get(sources[0], ())
    assert few.get(sources[0], ()) is first
    for source in sources[1:3]:
        few.get(source, ())
    assert few.get(sources[0], ()) is not first
    small = float_run._Sessions(most=9, most_bytes=1)
    last = small.get(sources[3], ())
    assert small.get(sources[3], ()) is last
    small.get(sources[4], ())
    assert small.get(sources[3], ()) is not last
