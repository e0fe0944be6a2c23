"""Marks: the places of a float graph where a module lays a tensor on a grid."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import onnx

    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import LayerRun, QuantizedLayer
    from quantlib.export.formats import Refusal
    from quantlib.graph.model import Shape
    from quantlib.ops.base import MixingOp
    from quantlib.quantized_module import QuantizedModule


class Role(StrEnum):
    """Why a tensor is laid on a grid at a mark."""

    INPUT = "model input"
    OPERAND = "operand"
    JOINED = "joined tensor"
    SUMMAND = "summand on the common scale"
    INVERSE = "inverse of a divisor"
    MOVED = "moved tensor, on its grid already"
    ROUNDED = "accumulator less its low bits"
    CARRIED = "grid of the model"
    OUTPUT = "model output"


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A place where the module rounds a tensor to a grid.

    Parameters
    ----------
    tensor : str
        The tensor as the module's graph calls it; ``""`` for what only the layer knows.
    source, output : str
        Tensor of the placed model that is rounded, and the rounded one.
    quantizer : UniformQuantizer
        The grid and how it rounds; its scale is positive.
    layer : str
        Node that reads the rounded tensor; the model input's or output's name at the edges.
    role : Role
        Why.
    rank : int
        Axes of the tensor.
    clips : bool
        Whether values outside the grid can occur; else any wider grid of this scale does.
    codes : int64 array or None
        The integers themselves, of constants.
    reals : callable or None
        What the module rounds here, real values in its own precision, given what every layer did
        and every tensor by name; None for constants.
    """

    tensor: str
    source: str
    output: str
    quantizer: UniformQuantizer
    layer: str
    role: Role
    rank: int
    clips: bool = True
    codes: IntArray | None = None
    reals: Reals | None = None

    @property
    def axis(self) -> int | None:
        """The axis that the scales number; None where all share one."""
        return channel_axis(self.quantizer)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """A float model whose Identity nodes named like a mark's output stand for the marks.

    Parameters
    ----------
    model : onnx.ModelProto
        In the operator set of the original, everything in float32.
    marks : tuple of Mark
        In topological order, constants among them.
    refusals : tuple of Refusal
        What a float graph with grids cannot say, by layer.
    shapes : mapping of str to tuple
        Shapes of tensors that hold real values, where they are known; the batch axis is a symbol.
    moved : mapping of str to (UniformQuantizer, str)
        Grids of moved tensors, which need no mark, and the node that moves them.
    notes : tuple of str
        What was decided.
    """

    model: onnx.ModelProto
    marks: tuple[Mark, ...]
    refusals: tuple[Refusal, ...]
    shapes: Mapping[str, Shape]
    moved: Mapping[str, tuple[UniformQuantizer, str]]
    notes: tuple[str, ...]


class Seen:
    """What a module did on some samples: every layer's run and every tensor by name."""

    def __init__(self, module: QuantizedModule, inputs: Sequence[AnyArray]) -> None:
        self.runs: dict[str, LayerRun] = {}
        self.inputs = {
            info.name: np.asarray(array)
            for info, array in zip(module.graph.inputs, inputs, strict=True)
        }
        self.tensors: dict[str, Value] = {}
        for info, quantizer in zip(module.graph.inputs, module.inputs, strict=True):
            array = self.inputs[info.name]
            entered: Value = array
            if quantizer is not None:
                codes = Tensor(quantizer, values=array).codes
                entered = Tensor(quantizer, codes=codes)
            self.tensors[info.name] = entered
        self.outputs = module.run(*inputs, observe=self._note)

    def _note(self, layer: QuantizedLayer, run: LayerRun) -> None:
        self.runs[layer.name] = run
        made = zip(layer.node.outputs, run.results, strict=True)
        self.tensors.update((name, value) for name, value in made if name and value is not None)


if TYPE_CHECKING:
    Reals = Callable[[Seen], FloatArray]


def channel_axis(quantizer: UniformQuantizer) -> int | None:
    """Return the only axis along which a grid's scales differ; None for one scale."""
    sizes = np.shape(quantizer.scale)
    varying = [i for i, size in enumerate(sizes) if size > 1]
    return varying[0] if varying else None


if TYPE_CHECKING:
    GridKey = tuple[bytes, bytes, int, int, str, bool]


def grid_key(quantizer: UniformQuantizer, role: Role) -> GridKey:
    """Return what two equal grids have in common."""
    return (
        np.asarray(quantizer.scale).tobytes(),
        np.asarray(quantizer.zero_point, dtype=np.float64).tobytes(),
        quantizer.qmin,
        quantizer.qmax,
        str(quantizer.rounding),
        role is Role.ROUNDED,
    )


def upright(
    quantizer: UniformQuantizer, codes: IntArray | None
) -> tuple[UniformQuantizer, IntArray | None]:
    """Return a grid with a positive scale: that of one negative constant has a negative one."""
    if not np.all(np.asarray(quantizer.scale) < 0):
        return quantizer, codes
    params = UniformQuantizationParameters(
        -quantizer.scale, -np.asarray(quantizer.zero_point), quantizer.offset
    )
    if not isinstance(quantizer.zero_point, np.ndarray):
        params = dataclasses.replace(params, zero_point=-quantizer.zero_point)
    span = (-quantizer.qmax, -quantizer.qmin)
    turned = dataclasses.replace(quantizer, quant_params=params, code_range=span)
    return turned, None if codes is None else -codes


def free_grid(scale: AnyArray | np.float64, low: int, high: int) -> UniformQuantizer:
    """Return a grid with zero point 0 whose codes reach from `low` to `high`."""
    scale = np.asarray(scale, dtype=np.float64)
    n_bits = min(32, max(2, bit_width(min(low, 0), max(high, 0))))
    options = QuantizationOptions(n_bits, is_signed=low < 0)
    params = UniformQuantizationParameters(
        np.float64(scale.item()) if scale.size == 1 else scale,
        0 if scale.size == 1 else np.zeros(scale.shape),
        options.offset,
    )
    return UniformQuantizer(options, None, params, code_range=(low, high))


def own_width(common: UniformQuantizer, operands: Sequence[Value | None]) -> UniformQuantizer:
    """Return the common grid of joined tensors without the label that the result wears."""
    tensors = [item for item in operands if isinstance(item, Tensor)]
    signed = any(t.quantizer.is_signed for t in tensors)
    source = next((t for t in tensors if t.quantizer.is_signed == signed), tensors[0])
    options = source.quantizer.quant_options
    return UniformQuantizer(options, common.quant_stats, common.quant_params)


def affine_of(op: MixingOp, layer: QuantizedLayer, run: LayerRun) -> tuple[FloatArray, FloatArray]:
    """Return the real value of accumulator 0 and the step between two accumulators."""
    assert run.accumulator is not None
    zeros = np.zeros_like(run.accumulator, dtype=np.float64)
    output = layer.output_grid()
    origin = op.dequantize(zeros, *run.operands, output=output)
    reach = 2.0**30  # far from 0, so that the difference keeps the step's bits
    far = op.dequantize(zeros + reach, *run.operands, output=output)
    scale = ((far - origin) / reach).astype(np.float32).astype(np.float64)
    return squeezed(origin), squeezed(scale)


def squeezed(values: FloatArray) -> FloatArray:
    """Return an array with every axis along which it is constant reduced to one."""
    for axis in range(values.ndim):
        first = np.take(values, [0], axis=axis)
        if np.array_equal(np.broadcast_to(first, values.shape), values):
            values = first
    return values


def values_of(name: str) -> Reals:
    """Return what gives a tensor's real values, unrounded where the module keeps them so."""

    def reals(seen: Seen) -> FloatArray:
        value = seen.tensors[name]
        return value.values if isinstance(value, Tensor) else value

    return reals


def operand_of(layer: str, position: int, *, rounded: bool = True) -> Reals:
    """Return what gives an operand's real values: those of its codes, or as they came."""

    def reals(seen: Seen) -> FloatArray:
        operand = seen.runs[layer].operands[position]
        assert isinstance(operand, Tensor)
        return operand.quantizer.dequant(operand.codes) if rounded else operand.values

    return reals


def inverse_of(layer: str, smallest: float) -> Reals:
    """Return what gives the inverse of a layer's second operand."""

    def reals(seen: Seen) -> FloatArray:
        values = operand_of(layer, 1)(seen)
        return np.asarray(1.0 / np.where(values == 0.0, smallest, values))

    return reals


def accumulator_of(layer: str, op: MixingOp, scale: FloatArray) -> Reals:
    """Return what gives an accumulator with its offset, half a step up, as real values."""

    def reals(seen: Seen) -> FloatArray:
        run = seen.runs[layer]
        assert run.accumulator is not None
        offset = op.rounding_offset(*run.operands)
        return np.asarray((run.accumulator + offset + 0.5) * scale, dtype=np.float64)

    return reals
