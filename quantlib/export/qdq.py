"""QDQ: the float graph with QuantizeLinear and DequantizeLinear at the module's grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantlib.core.rounding import Rounding
from quantlib.export.formats import Refusal, raise_refusals
from quantlib.export.marks import Role
from quantlib.export.onnx_files import finish, raised
from quantlib.export.placement import place
from quantlib.graph.mending import unique

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.export.marks import Mark, Placement
    from quantlib.quantized_module import QuantizedModule

OPSET = 21
"""Oldest operator set whose QuantizeLinear knows 4 and 16 bits."""

OPSET_OF_2_BITS = 25


@dataclass(frozen=True, slots=True)
class Storage:
    """The integer type that holds a grid's codes.

    Parameters
    ----------
    data_type : int
        Of `onnx.TensorProto`.
    name : str
        As NumPy spells it, ``"uint4"``.
    low, high : int
        Ends of the type.
    fits : bool
        Whether the grid has exactly the type's codes; else codes are clipped.
    """

    data_type: int
    name: str
    low: int
    high: int
    fits: bool

    @property
    def n_bits(self) -> int:
        """Width of the type, bits."""
        return (self.high - self.low).bit_length()


_TYPES = tuple(
    (getattr(TensorProto, name.upper()), name, low, low + 2**bits - 1)
    for bits in (2, 4, 8, 16)
    for name, low in ((f"uint{bits}", 0), (f"int{bits}", -(2 ** (bits - 1))))
)


def storage(
    quantizer: UniformQuantizer, *, clips: bool = True, narrowest: int = 4
) -> Storage | None:
    """Return the narrowest type for a grid, of at least `narrowest` bits; None beyond 16 bits.

    A type must hold every code and the zero point. Clip knows no type below 8 bits, so a variable
    tensor whose grid is not all of a type takes 8 bits or more unless nothing is outside it.
    """
    points = np.ravel(quantizer.zero_point)
    low = min(quantizer.qmin, int(points.min()))
    high = max(quantizer.qmax, int(points.max()))
    for data_type, name, first, last in _TYPES:
        fits = not clips or (first, last) == (quantizer.qmin, quantizer.qmax)
        wide = last - first + 1 >= 2**narrowest and (fits or last - first >= 255)
        if wide and first <= low and high <= last:
            return Storage(data_type, name, first, last, fits)
    return None


@dataclass(frozen=True, slots=True, eq=False)
class QdqModel:
    """A QDQ model and what is to be known about it.

    Parameters
    ----------
    model : onnx.ModelProto
        Checked; operator set 21, or 25 with 2-bit types.
    marks : tuple of Mark
        Where the module rounds, in topological order; `output` names the dequantized tensor.
    notes : tuple of str
        Grids that take a wider type than their width.
    """

    model: onnx.ModelProto
    marks: tuple[Mark, ...]
    notes: tuple[str, ...]


def refusals(module: QuantizedModule) -> tuple[Refusal, ...]:
    """Return what QDQ cannot carry of a module; empty where `qdq_model` writes it."""
    return _refusals(place(module, after_moves=True))


def _refusals(placed: Placement) -> tuple[Refusal, ...]:
    found = list(placed.refusals)
    for mark in placed.marks:
        rounding = mark.quantizer.rounding
        if rounding not in (Rounding.NEAREST, Rounding.NEAREST_FIRST):
            found.append(
                Refusal(
                    mark.layer,
                    f"rounds by {rounding}; QuantizeLinear rounds to the nearest code",
                    "export QONNX, which knows the rule",
                )
            )
    return tuple(dict.fromkeys(found))


def qdq_model(module: QuantizedModule, *, two_bits: bool = False) -> QdqModel:
    """Write a module as a float graph with QuantizeLinear and DequantizeLinear.

    Weights are stored as integers behind a DequantizeLinear, biases as float32. A width without
    an integer type takes the next wider one, with a Clip to its codes: between the pair for 8
    bits, in float before it for 16. A zero point outside the type of its width takes a wider type
    likewise; beyond 16 bits a tensor is rounded by Div, Round, Max, Min and Mul.

    Parameters
    ----------
    module : QuantizedModule
        What is written.
    two_bits : bool
        Store grids of 2 bits in 2 bits (operator set 25). ONNX Runtime 1.32 runs such a model
        without graph optimizations only: its optimizer makes operators of them that it does not
        have. By default they take 4 bits as constants and 8 as variables.

    Raises
    ------
    OptionsError
        `refusals` is not empty, or the graph cannot be raised to the operator set.

    Notes
    -----
    https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html rounds before it adds the zero
    point, the module after: exact ties differ where the zero point is odd.

    A bias is added behind its product, unless the product leaves the graph: ONNX Runtime's
    optimizer rounds a bias inside a product that QuantizeLinear reads to a multiple of the
    product of both scales. What a MatMul is added to becomes a Sub of the opposite for the same
    reason.
    """
    placed = place(module, after_moves=True)
    raise_refusals("QDQ", _refusals(placed))
    stored = _storages(placed, 2 if two_bits else 4)
    narrow = any(s is not None and s.n_bits == 2 for s in stored.values())
    model = raised(placed.model, OPSET_OF_2_BITS if narrow else OPSET)
    writer = _Pairs(model, placed.marks, stored)
    finish(model)
    return QdqModel(model, placed.marks, tuple(dict.fromkeys((*placed.notes, *writer.notes))))


def _storages(placed: Placement, narrowest: int) -> dict[str, Storage | None]:
    """Return how each mark's codes are stored, by the mark's output.

    Some types that ONNX allows take a wider one, because ONNX Runtime 1.32's optimizer makes of
    them what it cannot run: MaxPool on 4 bits, QLinearConv on 4-bit inputs and 8-bit weights,
    QLinearAveragePool with dilations, and 8-bit signed tensors moved without a pair behind.
    Summands take 16 bits, or it adds them by QLinearAdd, which rounds ties its own way.
    """
    stored = {
        mark.output: storage(
            mark.quantizer,
            clips=mark.clips,
            narrowest=16 if mark.role is Role.SUMMAND else narrowest,
        )
        for mark in placed.marks
    }
    of_output = {mark.output: mark for mark in placed.marks}
    behind = {mark.source: mark.output for mark in placed.marks}
    for node in reversed(placed.model.graph.node):  # what comes behind is known
        mark = of_output.get(node.input[0]) if node.input else None
        held = stored[mark.output] if mark is not None else None
        if mark is None or held is None:
            continue
        follower = stored.get(behind.get(node.output[0], ""))
        paired = follower is not None and (follower.fits or follower.n_bits == 8)
        wanted = _fewest_bits(node, held, stored, paired=paired)
        if held.n_bits < wanted:
            stored[mark.output] = storage(mark.quantizer, clips=mark.clips, narrowest=wanted)
    return stored


def _fewest_bits(
    node: onnx.NodeProto,
    held: Storage,
    stored: Mapping[str, Storage | None],
    *,
    paired: bool,
) -> int:
    """Return how wide the type of a node's first input must be; see `_storages`.

    `paired` says that a QuantizeLinear reads the node's output.
    """
    others = [other for name in node.input[1:2] if (other := stored.get(name)) is not None]
    four_by_eight = held.n_bits == 4 and any(other.n_bits == 8 for other in others)
    if node.op_type == "MaxPool" and paired:
        return 8
    if node.op_type in _PROPAGATED and not paired:
        return 16
    if node.op_type == "Conv" and four_by_eight:
        return 8
    dilated = any(a.name == "dilations" and max(a.ints) > 1 for a in node.attribute)
    return 16 if node.op_type == "AveragePool" and dilated else 0


_PROPAGATED = {"MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators through which ONNX Runtime's optimizer moves a DequantizeLinear."""

_PRODUCTS = {"Gemm", "Conv", "ConvTranspose"}


class _Pairs:
    """Replaces the marks of a model by pairs, in place."""

    def __init__(
        self,
        model: onnx.ModelProto,
        marks: Iterable[Mark],
        stored: dict[str, Storage | None],
    ) -> None:
        self.graph = model.graph
        self.taken = {"", *(name for n in model.graph.node for name in (*n.input, *n.output))}
        self.taken |= {tensor.name for tensor in model.graph.initializer}
        self.notes: list[str] = []
        self.nodes: list[onnx.NodeProto] = []
        self.values = {tensor.name: tensor for tensor in model.graph.initializer}
        self.leaving = {value.name for value in model.graph.output}
        matrices: set[str] = set()
        of_output = {mark.output: mark for mark in marks}
        self.sources = {mark.output: mark.source for mark in marks}
        for node in model.graph.node:
            mark = of_output.get(node.output[0]) if node.op_type == "Identity" else None
            if mark is None:
                self.nodes.append(node)
                on_grids = any(name in of_output for name in node.input[:2])
                if node.op_type in _PRODUCTS and on_grids:
                    self._part_bias(node)
                elif node.op_type == "MatMul" and on_grids:
                    matrices.add(node.output[0])
                elif node.op_type == "Add":
                    self._keep_apart(node, matrices)
                continue
            held = stored[mark.output]
            if mark.codes is not None and held is not None:
                self._stored_constant(mark, held)
            elif held is None:
                self._in_float(mark)
            else:
                self._pair(mark, held)
        del model.graph.node[:]
        model.graph.node.extend(self.nodes)

    def _add(self, op_type: str, inputs: list[str], output: str, *, axis: int | None = None) -> str:
        attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
        name = unique(f"{output}_{op_type}", self.taken)
        self.nodes.append(helper.make_node(op_type, inputs, [output], name, **attributes))
        return output

    def _new(self, name: str) -> str:
        return unique(name, self.taken)

    def _keep_apart(self, node: onnx.NodeProto, matrices: set[str]) -> None:
        """Write the sum of a MatMul and a constant as a difference, which is the same number.

        Of MatMul and Add ONNX Runtime's optimizer makes a Gemm, and then rounds its bias.
        """
        for product, bias in (node.input, list(reversed(node.input))):
            if product in matrices and bias in self.values:
                negative = -numpy_helper.to_array(self.values[bias])
                node.op_type = "Sub"
                node.input[:] = [product, self._number(f"{bias}_subtracted", negative)]
                return

    def _part_bias(self, node: onnx.NodeProto) -> None:
        """Add a constant bias behind its product."""
        output = node.output[0]
        name = node.input[2] if len(node.input) > 2 else ""
        if name not in self.values or output in self.leaving:
            return
        bias = numpy_helper.to_array(self.values[name])
        if node.op_type == "Gemm":
            beta = next((a.f for a in node.attribute if a.name == "beta"), 1.0)
            bias = bias * np.float32(beta)
        else:
            weights = self.values.get(self.sources.get(node.input[1], node.input[1]))
            rank = len(weights.dims) if weights is not None else 0
            if not rank:
                return
            bias = bias.reshape(-1, *(1,) * (rank - 2))
        del node.input[2:]
        node.output[0] = self._new(f"{output}_product")
        self._add("Add", [node.output[0], self._number(f"{name}_added", bias)], output)

    def _number(self, name: str, values: AnyArray, data_type: int = TensorProto.FLOAT) -> str:
        """Write a constant under a new name."""
        name = self._new(name)
        kind = helper.tensor_dtype_to_np_dtype(data_type)
        array = np.asarray(values).astype(np.float64).astype(kind)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _parameters(self, mark: Mark, held: Storage) -> list[str]:
        """Write scale and zero point: scalars, or one per index of the mark's axis."""
        shape = () if mark.axis is None else (-1,)
        scale = np.reshape(mark.quantizer.scale, shape)
        points = np.broadcast_to(mark.quantizer.zero_point, np.shape(mark.quantizer.scale))
        return [
            self._number(f"{mark.output}_scale", scale),
            self._number(f"{mark.output}_zero_point", np.reshape(points, shape), held.data_type),
        ]

    def _stored_constant(self, mark: Mark, held: Storage) -> None:
        assert mark.codes is not None
        codes = self._number(f"{mark.source}_quantized", mark.codes, held.data_type)
        inputs = [codes, *self._parameters(mark, held)]
        self._add("DequantizeLinear", inputs, mark.output, axis=mark.axis)
        self._note_width(mark, held)

    def _pair(self, mark: Mark, held: Storage) -> None:
        grid, source = mark.quantizer, mark.source
        if not held.fits and held.n_bits == 16:  # runtimes do not clip 16-bit integers
            source = self._clipped(mark, source)
        parameters = self._parameters(mark, held)
        codes = self._add(
            "QuantizeLinear", [source, *parameters], self._new(f"{mark.output}_codes"),
            axis=mark.axis,
        )  # fmt: skip
        if not held.fits and held.n_bits == 8:
            ends = [
                self._number(f"{mark.output}_{end}", np.asarray(value), held.data_type)
                for end, value in (("lowest", grid.qmin), ("highest", grid.qmax))
            ]
            codes = self._add("Clip", [codes, *ends], self._new(f"{mark.output}_clipped"))
        self._add("DequantizeLinear", [codes, *parameters], mark.output, axis=mark.axis)
        self._note_width(mark, held)

    def _clipped(self, mark: Mark, source: str) -> str:
        """Clip real values to the ends of the grid; codes between them stay what they are."""
        grid = mark.quantizer
        low, high = (grid.dequant(np.asarray(end)) for end in (grid.qmin, grid.qmax))
        least = self._number(f"{mark.output}_lowest", low)
        most = self._number(f"{mark.output}_highest", high)
        above = self._add("Max", [source, least], self._new(f"{mark.output}_above"))
        return self._add("Min", [above, most], self._new(f"{mark.output}_within"))

    def _in_float(self, mark: Mark) -> None:
        """Round without an integer type: ``(clip(round(x / s) + z) - z) * s``."""
        grid, base = mark.quantizer, mark.output
        scale = self._number(f"{base}_scale", np.asarray(grid.scale))
        # codes less their zero point, so that small ones stay exact beside a large one
        points = np.asarray(grid.zero_point, dtype=np.float64)
        low = self._number(f"{base}_lowest", grid.qmin - points)
        high = self._number(f"{base}_highest", grid.qmax - points)
        places = self._add("Div", [mark.source, scale], self._new(f"{base}_places"))
        rounded = self._add("Round", [places], self._new(f"{base}_nearest"))
        above = self._add("Max", [rounded, low], self._new(f"{base}_above"))
        within = self._add("Min", [above, high], self._new(f"{base}_within"))
        self._add("Mul", [within, scale], base)
        if mark.role in (Role.OPERAND, Role.INPUT, Role.OUTPUT, Role.JOINED, Role.CARRIED):
            self.notes.append(
                f"{mark.layer}: the grid of {mark.source!r} ({grid.n_bits} bits, zero point "
                f"{_first(grid.zero_point)}) is wider than 16 bits and is rounded in float."
            )

    def _note_width(self, mark: Mark, held: Storage) -> None:
        """Say where a zero point made the type wider than the grid."""
        grid = mark.quantizer
        points = np.ravel(grid.zero_point)
        if points.min() < grid.qmin or points.max() > grid.qmax:
            self.notes.append(
                f"{mark.layer}: the zero point {_first(grid.zero_point)} of {mark.source!r} lies "
                f"outside its codes {grid.qmin}…{grid.qmax}; stored as {held.name}"
                f"{'' if held.fits else ' and clipped'}."
            )


def _first(points: AnyArray | int) -> int:
    return int(np.ravel(points)[0])
