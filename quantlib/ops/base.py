"""The three kinds of operator."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quantlib.graph.node_functions import NodeFunction, RuntimeFunction

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.params import UniformQuantizationParameters
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Tensor
    from quantlib.graph.model import Node, Shape


class Treatment(StrEnum):
    """What happens to a node."""

    INTEGER = "integer"
    """Mixes different integers; its accumulator must fit the limit."""

    LOOKUP = "table look-up"
    """A function of one integer tensor, computed in float; one look-up under encryption."""

    MOVER = "mover"
    """Moves or selects integers without changing them."""

    FLOAT = "float island"
    """Mixes values in float; nobody quantizes it."""

    RAW = "raw"
    """Works on shapes and indices, which are never quantized."""


class QuantizedOp(ABC):
    """An operator of a quantized graph, made from one node."""

    treatment: ClassVar[Treatment]

    uses_output_bits: ClassVar[bool] = False
    """Whether its inputs take the outputs' width instead of the activations'."""

    takes_variables: ClassVar[bool] = False
    """Whether an integer operator's inputs after the first may depend on data."""

    @classmethod
    @abstractmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Build the operator from a node's attributes; ONNX defaults for those left out."""

    @abstractmethod
    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Compute the operator on real values; calibration measures the result."""

    def roundings(
        self,
        *inputs: Tensor | AnyArray | None,
        output: UniformQuantizationParameters | None,
    ) -> tuple[tuple[AnyArray, UniformQuantizer], ...]:
        """Return what the operator rounds to grids of its own on the way: values and grids.

        `inputs` are those that it runs on: tensors on their grids for integer operators, reals
        for float ones. That integer operators read their inputs on grids is not among these.
        """
        del inputs, output
        return ()

    def as_onnx(self) -> QuantizedOp:
        """Return the operator without what Concrete ML does differently from ONNX."""
        return self


class MixingOp(QuantizedOp):
    """An operator that combines different integers into an accumulator.

    Operands are tensors on their grids (constants too); None is an optional input left out.
    """

    treatment = Treatment.INTEGER

    rounds_accumulator: ClassVar[bool] = True
    """Whether `rounding_threshold_bits` applies."""

    constant_inputs: ClassVar[tuple[int, ...]] = ()
    """Inputs that must be constants for the accumulator to have one fixed grid."""

    fuses: ClassVar[bool] = False
    """Whether it becomes a table look-up where its inputs are functions of one integer tensor."""

    fewest_axes: ClassVar[int] = 0
    """Axes that each of the first two inputs must have; with fewer it runs in float."""

    output_channel_axis: ClassVar[int] = 1
    """Axis of the accumulator that numbers its output channels."""

    keeps_operand_grid: ClassVar[bool] = False
    """Whether its accumulator is a selection of codes: a grid of the model's own survives it."""

    traces_rounded: ClassVar[bool] = False
    """Whether the reference's debug trace holds the accumulator after rounding."""

    @abstractmethod
    def accumulate(
        self, *operands: Tensor | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        """Return the exact integer accumulator, before the constant terms.

        `output` holds the grid of the operator's output, None for a graph output.
        """

    @abstractmethod
    def dequantize(
        self,
        accumulator: Codes,
        *operands: Tensor | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        """Return the real values (float64) that an accumulator stands for."""

    def calibrated(self, *inputs: AnyArray | None, output_bits: int) -> MixingOp:
        """Return the operator with what it must know of the calibration data's real values."""
        del inputs, output_bits
        return self

    def with_rounded_operands(
        self, *operands: Tensor | None, constants: Collection[int], threshold_bits: int
    ) -> MixingOp:
        """Return the operator with what a rounding threshold does before its accumulator.

        Parameters
        ----------
        *operands : Tensor or None
            Calibration data on the input grids.
        constants : collection of int
            Positions of the operands that are constants.
        threshold_bits : int
            Width above which low bits are removed, bits.
        """
        del operands, constants, threshold_bits
        return self

    def rescales(self, position: int) -> bool:
        """Tell whether an operand passes through a table even where it is on the input grid.

        So for operators that put operands on a further scale of their own.
        """
        del position
        return False

    def rounding_offset(self, *operands: Tensor | None) -> int | Codes:
        """Return the integers that are added before low bits are rounded, and removed after."""
        del operands
        return 0

    def output_params(self, *operands: Tensor | None) -> UniformQuantizationParameters | None:
        """Return scale and zero point under which the accumulator itself is a graph output.

        None when the operator returns requantized values there too.
        """
        del operands
        return None


class SelectingOp(MixingOp):
    """An operator whose accumulator is a selection of its only operand's codes."""

    rounds_accumulator = False
    keeps_operand_grid = True

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Tensor | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        """Return the real values (float64) that the selected codes stand for."""
        del output
        (x,) = operands
        assert x is not None
        return x.quantizer.dequant(accumulator)


class WeightedOp(MixingOp):
    """A mixing operator whose second input holds weights."""

    @abstractmethod
    def fan_in(self, weight_shape: tuple[int, ...]) -> int:
        """Return how many products one accumulator sums, at most."""

    @abstractmethod
    def channel_axis(self, weight_shape: tuple[int, ...]) -> int | None:
        """Return the axis of the weights that numbers output channels; None without such."""

    def macs(
        self, weight_shape: tuple[int, ...], input_shape: Shape, output_shape: Shape
    ) -> int | None:
        """Return the multiply-accumulates per sample; None where the output's size is unknown.

        Shapes have the batch axis first.
        """
        del input_shape
        sizes = [size for size in output_shape[1:] if isinstance(size, int)]
        known = bool(output_shape) and len(sizes) == len(output_shape) - 1
        return math.prod(sizes) * self.fan_in(weight_shape) if known else None


class MovingOp(QuantizedOp):
    """An operator that rearranges or selects codes.

    Runs the onnx package's own implementation, on codes instead of values.
    """

    treatment = Treatment.MOVER
    uses_output_bits = True

    keeps_incoming_bits: ClassVar[bool] = False
    """Whether the result is labelled with the width its input had before it was requantized.

    A quirk of Concrete ML that decides whether the next operator requantizes.
    """

    def __init__(self, function: NodeFunction) -> None:
        self.function = function

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Wrap the node's own implementation."""
        return cls(NodeFunction(node, opsets))

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Move real values."""
        return self.function(*inputs)

    def move(self, *operands: Tensor | AnyArray | None) -> tuple[Tensor, ...]:
        """Move codes: the first operand carries them, the others are shapes and indices."""
        tensor, *rest = operands
        assert tensor is not None and not isinstance(tensor, np.ndarray)
        arguments = [item if isinstance(item, np.ndarray) else None for item in rest]
        return tuple(tensor.with_codes(part) for part in self.function(tensor.codes, *arguments))


class FloatOp(QuantizedOp):
    """An operator computed in float on dequantized values.

    A table look-up when its inputs are functions of one integer tensor, a float island else.
    """

    treatment = Treatment.LOOKUP

    clips_outliers: bool = False
    """Whether output statistics ignore the lowest and highest 0.1 % of values."""

    keeps_grid: ClassVar[bool] = False
    """Whether the output's scale and zero point are the input's."""

    def __init__(self, function: NodeFunction | RuntimeFunction) -> None:
        self.function = function

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Wrap the node's own implementation."""
        return cls(NodeFunction(node, opsets))

    def float_results(self, *inputs: AnyArray | None) -> tuple[AnyArray, ...]:
        """Compute on real values."""
        return self.function(*inputs)


class IslandOp(FloatOp):
    """An operator that nobody quantizes, run in the model's own precision."""

    treatment = Treatment.FLOAT

    @classmethod
    def from_node(cls, node: Node, opsets: Mapping[str, int]) -> Self:
        """Leave the node to ONNX Runtime."""
        return cls(RuntimeFunction(node, opsets))
