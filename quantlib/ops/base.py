"""The three kinds of operator."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from quantlib.core.tensor import as_tensor
from quantlib.graph.node_functions import NodeFunction, RuntimeFunction

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from quantlib.arrays import AnyArray, Codes, FloatArray
    from quantlib.core.params import UniformQuantizationParameters
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Tensor, Value
    from quantlib.graph.model import Node, Shape
    from quantlib.ops.inside import InnerLookUps, Intermediate, Place


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
        *inputs: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> tuple[tuple[AnyArray, UniformQuantizer], ...]:
        """Return what the operator rounds to grids of its own on the way: values and grids.

        `inputs` are those that it runs on: tensors on their grids for integer operators, reals
        for float ones. That integer operators read their inputs on grids is not among these.
        """
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

    multiplies: ClassVar[bool] = False
    """Whether each accumulator is one product of two integers."""

    named_in_circuit: ClassVar[bool] = True
    """Whether the report of a circuit counts the accumulator and its constants to the operator."""

    adds_offset_last: ClassVar[bool] = False
    """Whether a constant term is added to the accumulator after it was rounded."""

    traces_rounded: ClassVar[bool] = False
    """Whether the reference's debug trace holds the accumulator after rounding."""

    @abstractmethod
    def accumulate(
        self, *operands: Value | None, output: UniformQuantizationParameters | None
    ) -> Codes:
        """Return the exact integer accumulator, before the constant terms.

        `output` holds the grid of the operator's output, None for a graph output.
        """

    @abstractmethod
    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        """Return the real values (float64) that an accumulator stands for."""

    def calibrated(self, *inputs: AnyArray | None, output_bits: int) -> MixingOp:
        """Return the operator with what it must know of the calibration data's real values."""
        return self

    def with_rounded_operands(
        self, *operands: Value | None, constants: Collection[int], threshold_bits: int
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
        return self

    def rescales(self, position: int) -> bool:
        """Tell whether an operand passes through a table even where it is on the input grid.

        So for operators that put operands on a further scale of their own.
        """
        return False

    def rounding_offset(self, *operands: Value | None) -> int | Codes:
        """Return the integers that are added before low bits are rounded, and removed after."""
        return 0

    def intermediates(
        self, accumulator: AnyArray, *operands: Value | None, place: Place
    ) -> Iterable[Intermediate]:
        """Return what an encrypted computation holds on the way to an accumulator, in order.

        Parameters
        ----------
        accumulator : int64 array
            The whole, before rounding.
        *operands : Tensor, array or None
            What made it.
        place : Place
            Where the operator stands.
        """
        return ()

    def held_constants(self, *operands: Value | None, place: Place) -> Iterable[int | list[int]]:
        """Return the constants that a circuit holds inside the operator, or their extremes."""
        return ()

    def inner_look_ups(
        self, variables: Sequence[Tensor], *, sizes: Sequence[int], outputs: int, products: int
    ) -> Iterable[InnerLookUps]:
        """Return the table look-ups that the operator itself is made of, per sample.

        Parameters
        ----------
        variables : sequence of Tensor
            Operands that depend on data.
        sizes : sequence of int
            Elements of each operand.
        outputs, products : int
            Accumulators, and products of two integers; 0 products for operators without.
        """
        return ()

    def copies_factors(self, constants: Collection[int]) -> bool:
        """Tell whether each factor passes through a table of its own, as in a product of two."""
        return False

    def last_offset(self, variables: Sequence[Tensor]) -> int:
        """Return what is added to the accumulator after rounding, see `adds_offset_last`."""
        return 0

    def output_params(self, *operands: Value | None) -> UniformQuantizationParameters | None:
        """Return scale and zero point under which the accumulator itself is a graph output.

        None when the operator returns requantized values there too.
        """
        return None


def bias_of(operands: tuple[Value | None, ...]) -> Tensor | None:
    """Return the third operand of a product, which is added in real values; None without one."""
    return as_tensor(operands[2]) if len(operands) > 2 and operands[2] is not None else None


class SelectingOp(MixingOp):
    """An operator whose accumulator is a selection of its only operand's codes."""

    rounds_accumulator = False
    keeps_operand_grid = True

    def dequantize(
        self,
        accumulator: Codes,
        *operands: Value | None,
        output: UniformQuantizationParameters | None,
    ) -> FloatArray:
        """Return the real values (float64) that the selected codes stand for."""
        x = as_tensor(operands[0])
        return x.quantizer.dequant(accumulator)


class WeightedOp(MixingOp):
    """A mixing operator whose second input holds weights."""

    @abstractmethod
    def fan_in(self, weight_shape: tuple[int, ...]) -> int:
        """Return how many products one accumulator sums, at most."""

    def enters_centred(self, position: int) -> bool:
        """Tell whether a factor's zero point is taken off before the product."""
        return position == 1

    @abstractmethod
    def channel_axis(self, weight_shape: tuple[int, ...]) -> int | None:
        """Return the axis of the weights that numbers output channels; None without such."""

    def macs(
        self, weight_shape: tuple[int, ...], input_shape: Shape, output_shape: Shape
    ) -> int | None:
        """Return the multiply-accumulates per sample; None where the output's size is unknown.

        Shapes have the batch axis first.
        """
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

    def move(self, *operands: Value | None) -> tuple[Tensor, ...]:
        """Move codes: the first operand carries them, the others are shapes and indices."""
        first, *rest = operands
        tensor = as_tensor(first)
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
