"""One accumulator of a model: the products it sums, and the table that it enters."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quantlib.analysis.float_model import FloatModel
from quantlib.arrays import read_only
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.errors import OptionsError
from quantlib.execution.calls import n_samples, samples_of
from quantlib.ops.base import MixingOp, MovingOp, WeightedOp
from quantlib.ops.kernels import round_low_bits

if TYPE_CHECKING:
    from quantlib.analysis.workbench import Workbench
    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.quantized_module import QuantizedModule

MAX_PAIRS = 1 << 24
"""Codes that a layer reads of a sample times accumulators that it makes: all are computed."""

MAX_ENTRIES = 4096
"""Table entries that are evaluated; of longer tables every k-th."""

_SAMPLES = 256
"""Evaluation samples on which the range of an accumulator is measured."""

_ELEMENTS = 1 << 20
"""Accumulators evaluated at a time."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A layer with weights, and how many output channels it has."""

    name: str
    op_type: str
    channels: int
    has_table: bool


@dataclass(frozen=True, slots=True, eq=False)
class Neuron:
    """One accumulator on one sample.

    Parameters
    ----------
    layer, op_type : str
        Which operator.
    q_x, q_w : int64 arrays, (K,)
        Codes of inputs and weights that meet there; padding is left out.
    z_x, z_w : int
        Their zero points.
    padding : int
        What padded positions add: their code is z_x.
    accumulator : int
        ``sum q_x (q_w - z_w) + padding``, as the module has it.
    rounded : int
        After rounding away low bits; the same without a threshold.
    value, float_value : float
        What it stands for with bias, and what the float model has there.
    functions : tuple of str
        Float operators of the table behind.
    reader : str
        The operator that reads the table's result; ``""`` where the accumulator leaves the graph.
    code : int or None
        The table's result; None where there is no table.
    code_value : float or None
        What that stands for.
    """

    layer: str
    op_type: str
    q_x: IntArray
    q_w: IntArray
    z_x: int
    z_w: int
    padding: int
    accumulator: int
    rounded: int
    value: float
    float_value: float
    functions: tuple[str, ...]
    reader: str
    code: int | None
    code_value: float | None

    @property
    def running(self) -> IntArray:
        """The accumulator after each product, padding first."""
        return np.asarray(self.padding + np.cumsum(self.q_x * (self.q_w - self.z_w)))


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """The table behind an accumulator, evaluated at integers that occur.

    Parameters
    ----------
    layer, reader : str
        The operator that makes the integers, and the one that reads the codes.
    functions : tuple of str
        Float operators between the two.
    low, high : int
        Range of the channel's accumulators on evaluation data.
    step : int
        Distance of the evaluated integers: 1 unless the table is too long.
    integers, codes : int64 arrays, (n,)
        What enters and what leaves.
    reals : float64 array, (n,)
        The function's value before it is put on the reader's grid.
    grid : UniformQuantizer
        The reader's.
    """

    layer: str
    reader: str
    functions: tuple[str, ...]
    low: int
    high: int
    step: int
    integers: IntArray
    codes: IntArray
    reals: FloatArray
    grid: UniformQuantizer

    @property
    def width_bits(self) -> int:
        """Width of what enters the table, bits."""
        return bit_width(self.low, self.high)

    @property
    def steps(self) -> int:
        """How often the code changes from one evaluated integer to the next."""
        return int(np.count_nonzero(np.diff(self.codes)))


def choices(bench: Workbench, config: QuantizationConfig) -> tuple[Choice, ...]:
    """Return the layers whose accumulators `neuron` and `segment` can show.

    There are none in models that take several samples a call, or samples along another axis.
    """
    batch = bench.graph.batch
    axes = {batch.axis_of(info.name) for info in bench.graph.inputs}
    if batch.size not in (None, 1) or not axes <= {0, None}:
        return ()
    module = bench.module(config)
    runs = _runs(module, samples_of(bench.graph, bench.data.calibration, slice(1)))
    found = []
    for layer in module.layers:
        run = runs.get(layer.name)
        if run is None or not isinstance(layer.op, WeightedOp) or layer.weight_position != 1:
            continue
        accumulator = run.accumulator
        assert accumulator is not None
        axis = layer.channel_axis(accumulator.ndim)
        channels = 1 if axis is None else accumulator.shape[axis]
        if _pairs(run) <= MAX_PAIRS:
            has_table = _reader_of(module, layer) is not None
            found.append(Choice(layer.name, layer.node.op_type, int(channels), has_table))
    return tuple(found)


def neuron(
    bench: Workbench, config: QuantizationConfig, layer_name: str, *, channel: int, sample: int
) -> Neuron:
    """Return the accumulator in the middle of an output channel, on an evaluation sample.

    Raises
    ------
    OptionsError
        No such layer, channel or sample.
    """
    module = bench.module(config)
    layer = _layer(module, layer_name)
    if not 0 <= sample < n_samples(bench.graph, bench.data.evaluation):
        raise OptionsError(f"there is no evaluation sample {sample}.")
    one = samples_of(bench.graph, bench.data.evaluation, slice(sample, sample + 1))
    run = _runs(module, one)[layer.name]
    assert run.accumulator is not None
    place = _place(layer, run.accumulator, channel)
    weights, padding = _factors(layer, run, place)
    operand, constant = run.operands[0], run.operands[1]
    assert isinstance(operand, Tensor)
    assert isinstance(constant, Tensor)
    z_x, z_w = (int(np.ravel(t.quantizer.zero_point)[0]) for t in (operand, constant))
    if constant.quantizer.is_per_channel:
        z_w = int(np.ravel(constant.quantizer.zero_point)[channel])
    used = np.flatnonzero(_reach(layer, run, place))
    whole = int(run.accumulator[place])
    rounded = int(round_low_bits(run.accumulator, layer.lsbs_to_remove)[place])
    result = run.results[0]
    assert isinstance(result, Tensor)
    passed = _passed(module, layer, result)
    _, floats = next(FloatModel(bench.graph, one).batches())
    return Neuron(
        layer=layer.name,
        op_type=layer.node.op_type,
        q_x=read_only(operand.codes.astype(np.int64).ravel()[used]),
        q_w=read_only(weights[used] + z_w),
        z_x=z_x,
        z_w=z_w,
        padding=padding,
        accumulator=whole,
        rounded=rounded,
        value=float(result.values[place]),
        float_value=float(floats[layer.node.outputs[0]][place]),
        functions=passed.functions if passed else (),
        reader=passed.reader if passed else "",
        code=int(passed.codes[place]) if passed else None,
        code_value=float(passed.grid.dequant(passed.codes)[place]) if passed else None,
    )


def segment(
    bench: Workbench, config: QuantizationConfig, layer_name: str, *, channel: int, removed: int
) -> Segment:
    """Evaluate the table behind a channel's accumulators.

    Parameters
    ----------
    bench, config
        Model, data, configuration.
    layer_name : str
        The operator that makes the integers.
    channel : int
        Its output channel.
    removed : int
        Low bits that are rounded away before the table, at least 0.

    Raises
    ------
    OptionsError
        No such layer or channel, or no table behind it.
    """
    module = bench.module(config)
    layer = dataclasses.replace(_layer(module, layer_name), lsbs_to_remove=removed)
    run = _runs(module, samples_of(bench.graph, bench.data.evaluation, slice(_SAMPLES)))[layer.name]
    assert run.accumulator is not None
    place = _place(layer, run.accumulator, channel)
    axis = layer.channel_axis(run.accumulator.ndim)
    of_channel = run.accumulator if axis is None else run.accumulator.take(channel, axis=axis)
    low, high = int(of_channel.min()), int(of_channel.max())
    step = max(1, -(-(high - low + 1) // MAX_ENTRIES))
    integers = np.arange(low, high + 1, step, dtype=np.int64)
    shape = run.accumulator.shape[1:]
    rows = max(1, _ELEMENTS // max(1, int(np.prod(shape))))
    codes, reals = [], []
    passed: _Passed | None = None
    for start in range(0, len(integers), rows):
        part = integers[start : start + rows]
        filled = np.broadcast_to(part.reshape(-1, *[1] * len(shape)), (len(part), *shape))
        finished = layer.finish(filled.astype(np.float64), run.operands)
        assert isinstance(finished, Tensor)
        passed = _passed(module, layer, finished)
        if passed is None:
            raise OptionsError(f"{layer.name}: no table follows; its accumulator leaves the graph.")
        codes.append(_at(passed.codes, place).astype(np.int64))
        reals.append(_at(passed.reals, place).astype(np.float64))
    assert passed is not None
    return Segment(
        layer=layer.name,
        reader=passed.reader,
        functions=passed.functions,
        low=low,
        high=high,
        step=step,
        integers=read_only(integers),
        codes=read_only(np.concatenate(codes)),
        reals=read_only(np.concatenate(reals)),
        grid=passed.grid,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Passed:
    """What a tensor became when it reached the operator that reads it."""

    reader: str
    functions: tuple[str, ...]
    codes: AnyArray
    reals: AnyArray
    grid: UniformQuantizer


def _passed(module: QuantizedModule, layer: QuantizedLayer, tensor: Tensor) -> _Passed | None:
    """Follow a layer's output through the functions behind it to its first reader's codes."""
    values: dict[str, Value] = {layer.node.outputs[0]: tensor}
    functions: list[str] = []
    for later in module.layers[_index(module, layer) + 1 :]:
        read = [(i, name) for i, name in later.variables if name in values]
        if not read:
            continue
        if isinstance(later.op, MixingOp | MovingOp):
            position, name = read[0]
            value = values[name]
            assert isinstance(value, Tensor)
            found = value.requantized(later.input_options, later.input_ranges.get(position))
            return _Passed(later.name, tuple(functions), found.codes, value.values, found.quantizer)
        if len(read) < len(later.variables):
            return None  # a function of several integer tensors
        result = later.run(values).results[0]
        if not isinstance(result, Tensor):
            return None
        values[later.node.outputs[0]] = result
        functions.append(later.node.op_type)
    return None


def _reader_of(module: QuantizedModule, layer: QuantizedLayer) -> str | None:
    """Return the first operator that reads a layer's output through functions of it alone."""
    reached = {layer.node.outputs[0]}
    for later in module.layers[_index(module, layer) + 1 :]:
        names = [name for _, name in later.variables]
        if not reached & set(names):
            continue
        if isinstance(later.op, MixingOp | MovingOp):
            return later.name
        if not set(names) <= reached:
            return None
        reached.update(later.node.outputs)
    return None


def _index(module: QuantizedModule, layer: QuantizedLayer) -> int:
    return next(i for i, other in enumerate(module.layers) if other.name == layer.name)


def _layer(module: QuantizedModule, name: str) -> QuantizedLayer:
    for layer in module.layers:
        if layer.name == name and isinstance(layer.op, WeightedOp) and layer.weight_position == 1:
            return layer
    raise OptionsError(f"there is no layer with weights named {name!r}.")


def _runs(module: QuantizedModule, data: tuple[AnyArray, ...]) -> dict[str, LayerRun]:
    """Return what each weighted layer did."""
    found: dict[str, LayerRun] = {}

    def note(layer: QuantizedLayer, run: LayerRun) -> None:
        if isinstance(layer.op, WeightedOp):
            found[layer.name] = run

    module.run(*data, observe=note)
    return found


def _place(layer: QuantizedLayer, accumulator: AnyArray, channel: int) -> tuple[int, ...]:
    """Return the index of a channel's middle accumulator on the first sample."""
    axis = layer.channel_axis(accumulator.ndim)
    place = [0, *(size // 2 for size in accumulator.shape[1:])]
    channels = 1 if axis is None else accumulator.shape[axis]
    if not 0 <= channel < channels:
        raise OptionsError(f"{layer.name} has channels 0 to {channels - 1}; got {channel}.")
    if axis is not None:
        place[axis] = channel
    return tuple(place)


def _pairs(run: LayerRun) -> int:
    """Return codes read times accumulators made, of one sample."""
    operand, accumulator = run.operands[0], run.accumulator
    assert isinstance(operand, Tensor)
    assert accumulator is not None
    return int(np.prod(operand.shape[1:])) * int(np.prod(accumulator.shape[1:]))


def _at(values: AnyArray, place: tuple[int, ...]) -> AnyArray:
    """Return the values of all samples at a place of one sample."""
    flat = values.reshape(len(values), -1)
    return np.asarray(flat[:, int(np.ravel_multi_index(place[1:], values.shape[1:]))])


def _factors(layer: QuantizedLayer, run: LayerRun, place: tuple[int, ...]) -> tuple[IntArray, int]:
    """Return what each input code is multiplied by, and what padding adds.

    An accumulator is linear in the codes: that of a sample with one code 1 and the others 0,
    less that of zeros, is the factor of this code.
    """
    operand = run.operands[0]
    assert isinstance(operand, Tensor)
    size = int(np.prod(operand.shape))
    if _pairs(run) > MAX_PAIRS:
        raise OptionsError(
            f"{layer.name} has {_pairs(run)} pairs of code and accumulator in a sample; products "
            f"are told apart up to {MAX_PAIRS}. Choose another layer."
        )
    units = np.concatenate([np.zeros((1, size)), np.eye(size)])
    found = _accumulators(layer, run, units.reshape(-1, *operand.shape[1:]))
    at_place = _at(found, place).astype(np.int64)
    return at_place[1:] - at_place[0], int(at_place[0])


def _reach(layer: QuantizedLayer, run: LayerRun, place: tuple[int, ...]) -> AnyArray:
    """Tell which input codes meet a weight at an accumulator, zero factors included."""
    operand, constant = run.operands[0], run.operands[1]
    assert isinstance(operand, Tensor)
    assert isinstance(constant, Tensor)
    point = np.asarray(constant.quantizer.zero_point, dtype=constant.codes.dtype)
    ones = constant.with_codes(np.ones_like(constant.codes) + point)
    everywhere = dataclasses.replace(run, given=(operand, ones, *run.operands[2:]))
    factors, _ = _factors(layer, everywhere, place)
    return np.asarray(factors != 0)


def _accumulators(layer: QuantizedLayer, run: LayerRun, codes: AnyArray) -> AnyArray:
    operand = run.operands[0]
    assert isinstance(operand, Tensor)
    assert isinstance(layer.op, MixingOp)
    given = Tensor(operand.quantizer, codes=codes.astype(operand.codes.dtype))
    found = layer.op.accumulate(given, *run.operands[1:], output=layer.output_grid())
    return np.asarray(found)
