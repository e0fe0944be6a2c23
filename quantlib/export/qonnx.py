"""QONNX: the float graph with a Quant node at each of the module's grids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantlib.core.rounding import Rounding
from quantlib.export.formats import raise_refusals
from quantlib.export.onnx_files import finish, raised
from quantlib.export.placement import place
from quantlib.graph.lowering import OLDEST_OPSET
from quantlib.graph.mending import unique

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.export.formats import Refusal
    from quantlib.export.marks import Mark
    from quantlib.quantized_module import QuantizedModule

DOMAIN = "qonnx.custom_op.general"

_RULES = {Rounding.NEAREST_FIRST: Rounding.NEAREST}
"""QONNX has no rule that rounds before it adds the zero point: exact ties may differ."""


@dataclass(frozen=True, slots=True)
class Range:
    """Codes of a Quant node: width, signs, and whether one end is left out."""

    n_bits: int
    signed: bool
    narrow: bool

    @property
    def low(self) -> int:
        """Lowest code."""
        return -(2 ** (self.n_bits - 1)) + int(self.narrow) if self.signed else 0

    @property
    def high(self) -> int:
        """Highest code."""
        if self.signed:
            return int(2 ** (self.n_bits - 1)) - 1
        return int(2**self.n_bits) - 1 - int(self.narrow)


_RANGES = tuple(
    Range(n_bits, signed, narrow)
    for n_bits in range(1, 33)
    for narrow in (False, True)
    for signed in (False, True)
    if n_bits > 1 or not (signed or narrow)  # one signed bit means -1 and 1 there
)


@dataclass(frozen=True, slots=True, eq=False)
class QonnxModel:
    """A QONNX model, and where the module rounds, in topological order."""

    model: onnx.ModelProto
    marks: tuple[Mark, ...]


def refusals(module: QuantizedModule) -> tuple[Refusal, ...]:
    """Return what QONNX cannot carry of a module; empty where `qonnx_model` writes it."""
    return place(module).refusals


def qonnx_model(module: QuantizedModule) -> QonnxModel:
    """Write a module as a float graph with Quant nodes.

    Constants are float32 values that lie on their grid, each behind a Quant that says which.
    Codes that no width has exactly are clipped before they are rounded; grids of -1 and 1 become
    BipolarQuant. The operator set is the model's own, 11 at least.

    Raises
    ------
    OptionsError
        `refusals` is not empty, or the graph does not stand in float32.

    Notes
    -----
    Quant(x, scale, zero point, width) is ``(round(clip(x / scale + zero_point)) - zero_point) *
    scale``: it adds the zero point before it rounds, as the module does. See
    https://github.com/fastmachinelearning/qonnx/blob/main/docs/qonnx-custom-ops/quant_op.md. The
    operator is called IntQuant there since version 1; readers take the older name too.
    """
    placed = place(module)
    raise_refusals("QONNX", placed.refusals)
    model = raised(placed.model, OLDEST_OPSET)
    _Quants(model, placed.marks)
    model.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    finish(model)
    outputs = {name for node in model.graph.node for name in node.output}
    outputs -= {value.name for value in model.graph.output}
    model.graph.value_info.extend(  # ONNX cannot infer past a Quant
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
        for name, shape in placed.shapes.items()
        if name in outputs
    )
    return QonnxModel(model, placed.marks)


class _Quants:
    """Replaces the marks of a model by Quant nodes, in place."""

    def __init__(self, model: onnx.ModelProto, marks: tuple[Mark, ...]) -> None:
        self.graph = model.graph
        self.taken = {"", *(name for n in model.graph.node for name in (*n.input, *n.output))}
        self.taken |= {tensor.name for tensor in model.graph.initializer}
        self.nodes: list[onnx.NodeProto] = []
        of_output = {mark.output: mark for mark in marks}
        for node in model.graph.node:
            mark = of_output.get(node.output[0]) if node.op_type == "Identity" else None
            if mark is None:
                self.nodes.append(node)
            else:
                self._write(mark)
        del model.graph.node[:]
        model.graph.node.extend(self.nodes)

    def _number(self, name: str, values: AnyArray | float) -> str:
        name = unique(name, self.taken)
        array = np.asarray(values, dtype=np.float32)
        self.graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def _write(self, mark: Mark) -> None:
        grid, base = mark.quantizer, mark.output
        scale = self._number(f"{base}_scale", np.asarray(grid.scale))
        if grid.rounding is Rounding.SIGN:
            self._node("BipolarQuant", [mark.source, scale], base)
            return
        ends = (grid.qmin, grid.qmax)
        exact = next((r for r in _RANGES if (r.low, r.high) == ends), None)
        source = mark.source
        if exact is None:
            exact = next(r for r in _RANGES if r.low <= ends[0] and ends[1] <= r.high)
            if mark.clips:
                source = self._clipped(mark, source)
        points = np.broadcast_to(grid.zero_point, np.shape(grid.scale))
        inputs = [
            source,
            scale,
            self._number(f"{base}_zero_point", points),
            self._number(f"{base}_width", exact.n_bits),
        ]
        rule = str(_RULES.get(grid.rounding, grid.rounding))
        self._node("Quant", inputs, base, signed=int(exact.signed), narrow=int(exact.narrow),
                   rounding_mode=rule)  # fmt: skip

    def _node(self, op_type: str, inputs: list[str], output: str, **attributes: Any) -> None:
        name = unique(f"{output}_{op_type}", self.taken)
        self.nodes.append(
            helper.make_node(op_type, inputs, [output], name, domain=DOMAIN, **attributes)
        )

    def _clipped(self, mark: Mark, source: str) -> str:
        """Clip real values to the ends of the grid."""
        grid = mark.quantizer
        for end, op_type in ((grid.qmin, "Max"), (grid.qmax, "Min")):
            bound = self._number(f"{mark.output}_{op_type}_end", grid.dequant(np.asarray(end)))
            output = unique(f"{mark.output}_{op_type}", self.taken)
            self.nodes.append(helper.make_node(op_type, [source, bound], [output], output))
            source = output
        return source
