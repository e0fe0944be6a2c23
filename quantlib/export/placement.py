"""The float graph of a module, with a mark wherever the module lays a tensor on a grid.

QDQ and QONNX files differ only in how a mark is spelled. The marks say what the integer operators
do: each reads its variable inputs on its own grid, a sum rounds both summands to one scale, a
quotient rounds the inverse, a rounding threshold rounds accumulators, and what leaves the graph
lies on the output's grid. Float operators between two marks see unrounded values, as in the module.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantlib.analysis.widths.bounds import bounds
from quantlib.analysis.widths.facts import layer_facts
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.tensor import Tensor
from quantlib.core.widths import bit_width
from quantlib.export.formats import Refusal
from quantlib.graph import unfold
from quantlib.graph.batch import BATCH
from quantlib.graph.passes import unique
from quantlib.ops.arithmetic import Add, Div, Mul
from quantlib.ops.base import MixingOp, MovingOp, WeightedOp
from quantlib.ops.carried import CarriedQuantizer
from quantlib.ops.linear import Gemm
from quantlib.ops.movers import Concat, Pad
from quantlib.ops.pooling import MaxPool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.execution.layer import LayerRun, QuantizedLayer, Value
    from quantlib.graph.model import Node, Shape
    from quantlib.quantized_module import QuantizedModule


class Role(StrEnum):
    """Why a tensor is laid on a grid at a mark."""

    INPUT = "model input"
    OPERAND = "operand"
    JOINED = "joined tensor"
    SUMMAND = "summand on the common scale"
    INVERSE = "inverse of a divisor"
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
    """

    model: onnx.ModelProto
    marks: tuple[Mark, ...]
    refusals: tuple[Refusal, ...]
    shapes: Mapping[str, Shape]
    moved: Mapping[str, tuple[UniformQuantizer, str]]


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


def place(module: QuantizedModule) -> Placement:
    """Return the float graph of a module with a mark at each of its grids.

    The graph is that of `QuantizedModule.graph`: constants folded, MatMul and Add fused. Which
    marks there are is read off a run of one calibration sample; where that depends on data
    nothing does, grids are fixed by calibration.
    """
    return _Writer(module).finished()


class _Writer:
    """Writes the graph node by node."""

    def __init__(self, module: QuantizedModule) -> None:
        self.module = module
        graph = self.graph = module.graph
        self.seen = Seen(module, [array[:1] for array in module.calibration])
        self.taken = {"", *(name for node in graph.nodes for name in (*node.inputs, *node.outputs))}
        self.taken |= {info.name for info in (*graph.inputs, *graph.outputs)}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.marks: list[Mark] = []
        self.refusals: list[Refusal] = []
        self.real: dict[str, str] = {}
        self.as_codes: set[str] = set()
        self.spans: dict[str, tuple[int, int]] = {}
        self.like: dict[str, str] = {}
        self.moved: dict[str, tuple[UniformQuantizer, str]] = {}
        self.marked: dict[tuple[str, _GridKey], str] = {}
        self.bounds = {
            facts.layer.name: bounds(facts)
            for facts in (layer_facts(module) if self._rounds() else ())
        }
        self.inputs: list[onnx.ValueInfoProto] = []
        for info, quantizer in zip(graph.inputs, module.inputs, strict=True):
            self._enter(info.name, info.dtype, info.shape, quantizer)
        for layer in module.layers:
            self._layer(layer)

    def _rounds(self) -> bool:
        return any(layer.lsbs_to_remove for layer in self.module.layers)

    # --- edges -----------------------------------------------------------------------------

    def _enter(
        self, name: str, dtype: str, shape: Sequence[Any], quantizer: UniformQuantizer | None
    ) -> None:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        self.real[name] = name
        if quantizer is None:
            return
        if kind != TensorProto.FLOAT:
            self.real[name] = self._add("Cast", [name], f"{name}_float", like=name,
                                        to=TensorProto.FLOAT)  # fmt: skip
        rank = self.seen.inputs[name].ndim

        def reals(seen: Seen) -> FloatArray:
            return seen.inputs[name]

        self.real[name] = self._mark(
            self.real[name], quantizer, name, Role.INPUT, rank, reals, tensor=name
        )
        self.as_codes.add(name)
        self.spans[name] = (quantizer.qmin, quantizer.qmax)

    def finished(self) -> Placement:
        """Lay the outputs on their grids and return what was written."""
        outputs = []
        renamed: dict[str, str] = {}
        for info, value in zip(self.graph.outputs, self.seen.outputs, strict=True):
            name = self._real(info.name)
            if isinstance(value, Tensor) and info.name not in self.as_codes:
                name = self._mark(
                    name, value.quantizer, info.name, Role.OUTPUT, len(value.shape),
                    _values_of(info.name), tensor=info.name,
                )  # fmt: skip
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype))
            floats = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
            if kind in floats and isinstance(value, Tensor):
                name = self._add("Cast", [name], f"{info.name}_cast", to=kind)
            fixed = name in renamed or name in self.constants or name in self.seen.inputs
            if fixed or not any(name in node.output for node in self.nodes):
                name = self._add("Identity", [name], f"{info.name}_copy", like=info.name)
            renamed[name] = info.name
            outputs.append(helper.make_tensor_value_info(info.name, kind, list(info.shape)))
        for node in self.nodes:
            _rename(node, renamed)
        marks = [
            dataclasses.replace(
                mark,
                source=renamed.get(mark.source, mark.source),
                output=renamed.get(mark.output, mark.output),
            )
            for mark in self.marks
        ]
        used = {name for node in self.nodes for name in node.input}
        graph = helper.make_graph(
            self.nodes, self.graph.name or "model", self.inputs, outputs,
            [tensor for name, tensor in self.constants.items() if name in used],
        )  # fmt: skip
        opsets = [helper.make_opsetid(d, v) for d, v in self.graph.opsets.items()]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="quantlib")
        model.ir_version = helper.find_min_ir_version_for(model.opset_import, True)
        unfold.expand(model)
        shapes: dict[str, Shape] = {
            name: tuple(tensor.dims) for name, tensor in self.constants.items()
        }
        shapes.update(
            (renamed.get(n, n), self._shape(t)) for n, t in self.like.items() if self._is_real(t)
        )
        shapes.update((info.name, info.shape) for info in self.graph.inputs)
        shapes.update((m.output, shapes[m.source]) for m in marks if m.source in shapes)
        return Placement(model, tuple(marks), tuple(self.refusals), shapes, self.moved)

    def _is_real(self, name: str) -> bool:
        """Tell whether a tensor holds real values."""
        value = self.seen.tensors.get(name)
        return isinstance(value, Tensor) or (value is not None and value.dtype.kind == "f")

    def _shape(self, name: str) -> Shape:
        """Return a tensor's shape; one row of the sample that was run is any number of them."""
        known = self.graph.shapes.get(name)
        if known is not None and None not in known:
            return known
        value = self.seen.tensors.get(name, self.graph.constants.get(name))
        sizes = () if value is None else value.shape
        batched = name not in self.graph.constants and sizes[:1] == (1,)
        return (BATCH, *sizes[1:]) if batched else sizes

    # --- names -----------------------------------------------------------------------------

    def _real(self, name: str) -> str:
        """Return the exported name of a tensor's real values; constants are written when read."""
        if name and name not in self.real:
            self.real[name] = self._constant(name, self.graph.constants[name])
        return self.real.get(name, name)

    def _constant(self, name: str, values: AnyArray) -> str:
        """Write a constant under this name, or under the same one if it is there already."""
        array = np.asarray(values)
        if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
            array = array.astype(np.float32)
        tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        known = self.constants.get(name)
        if known is not None and known.SerializeToString() != tensor.SerializeToString():
            name = unique(name, self.taken)
            tensor.name = name
        self.constants[name] = tensor
        return name

    def _new_constant(self, name: str, values: AnyArray | float) -> str:
        return self._constant(unique(name, self.taken), np.asarray(values))

    def _add(
        self, op_type: str, inputs: list[str], output: str, *, like: str = "", **attributes: Any
    ) -> str:
        """Write a node of its own; its output has the shape of the module's tensor `like`."""
        output = unique(output, self.taken)
        self.like[output] = like
        self.nodes.append(helper.make_node(op_type, inputs, [output], output, **attributes))
        return output

    # --- marks -----------------------------------------------------------------------------

    def _mark(
        self,
        source: str,
        quantizer: UniformQuantizer,
        layer: str,
        role: Role,
        rank: int,
        reals: Reals | None,
        codes: IntArray | None = None,
        tensor: str = "",
    ) -> str:
        """Write a mark, or find the one that rounds this tensor to this grid already."""
        key = (source, _key(quantizer, role))
        if key in self.marked:
            return self.marked[key]
        if np.ndim(quantizer.scale) and sum(s > 1 for s in np.shape(quantizer.scale)) > 1:
            self._refuse(layer, "has a grid per position, not per channel")
        output = self._add("Identity", [source], f"{source}_dequantized")
        upright, codes = _upright(quantizer, codes)
        clips = codes is None and role not in (Role.SUMMAND, Role.ROUNDED)
        self.marks.append(
            Mark(tensor, source, output, upright, layer, role, rank, clips, codes, reals)
        )
        self.marked[key] = self.marked[(output, key[1])] = output
        return output

    def _refuse(self, layer: str, reason: str, remedy: str = "") -> None:
        refusal = Refusal(layer, reason, remedy or "export the integer program instead.")
        if refusal not in self.refusals:
            self.refusals.append(refusal)

    def _operand(self, layer: QuantizedLayer, i: int) -> str:
        """Return the exported name of a node's input as its integer operator reads it."""
        name = layer.node.inputs[i]
        operand = self.seen.runs[layer.name].operands[i]
        if not name or not isinstance(operand, Tensor):
            return self._real(name)
        if i in layer.constants:
            if i == 2 and isinstance(layer.op, WeightedOp):
                return self._real(name)  # a bias stays real
            return self._fixed(layer, name, operand.quantizer, operand.codes)
        source = self.seen.tensors[name]
        assert isinstance(source, Tensor)
        if operand.quantizer is source.quantizer and name in self.as_codes:
            return self._real(name)
        return self._mark(
            self._real(name), operand.quantizer, layer.name, Role.OPERAND, len(operand.shape),
            _values_of(name), tensor=name,
        )  # fmt: skip

    def _span(self, layer: QuantizedLayer, i: int) -> tuple[int, int]:
        """Return the lowest and highest code an operand can hold.

        A moved tensor wears the width it had before: its codes may lie beyond that.
        """
        name = layer.node.inputs[i]
        operand, source = self.seen.runs[layer.name].operands[i], self.seen.tensors.get(name)
        assert isinstance(operand, Tensor)
        if i in layer.constants:
            return int(operand.codes.min(initial=0)), int(operand.codes.max(initial=0))
        kept = isinstance(source, Tensor) and operand.quantizer is source.quantizer
        grid = (operand.quantizer.qmin, operand.quantizer.qmax)
        return self.spans.get(name, grid) if kept else grid

    def _fixed(
        self, layer: QuantizedLayer, name: str, quantizer: UniformQuantizer, codes: AnyArray
    ) -> str:
        """Write a constant on its grid."""
        source = self._constant(name, quantizer.dequant(codes))
        return self._mark(
            source, quantizer, layer.name, Role.OPERAND, np.ndim(codes), None,
            np.asarray(codes).astype(np.int64), tensor=name,
        )  # fmt: skip

    # --- nodes -----------------------------------------------------------------------------

    def _layer(self, layer: QuantizedLayer) -> None:
        op, node = layer.op, layer.node
        if isinstance(op, MixingOp):
            operands = [self._operand(layer, i) for i in range(len(node.inputs))]
            self._mixing(layer, operands)
        elif isinstance(op, MovingOp):
            operands = [self._operand(layer, i) for i in range(len(node.inputs))]
            self._moving(layer, operands)
        elif isinstance(op, CarriedQuantizer) and self._carried(layer):
            pass
        else:
            self._node(node, [self._real(name) for name in node.inputs])

    def _node(self, node: Node, inputs: Sequence[str]) -> None:
        """Write a node as it is, under new names of tensors."""
        proto = onnx.NodeProto.FromString(node.proto)
        own = len(proto.input)
        outputs = []
        for name in node.outputs:
            made = unique(f"{name}_value", self.taken) if name in self.graph.output_names else name
            if name:
                self.real[name] = made
                self.like[made] = name
            outputs.append(made)
        captured = dict(zip(node.inputs[own:], inputs[own:], strict=True))
        for attribute in proto.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                for inner in body.node:
                    _rename(inner, captured)
        for attribute in proto.attribute:
            if attribute.name in ("to", "dtype") and attribute.i in (
                TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE,
            ):  # fmt: skip
                attribute.i = TensorProto.FLOAT
        del proto.input[:], proto.output[:]
        proto.input.extend(inputs[:own])
        proto.output.extend(outputs)
        proto.name = node.name
        self.nodes.append(proto)

    def _result(self, node: Node, made: str) -> None:
        """Note under which name a node's only output was written."""
        self.real[node.outputs[0]] = made

    def _mixing(self, layer: QuantizedLayer, operands: list[str]) -> None:
        op, node = layer.op, layer.node
        assert isinstance(op, MixingOp)
        run = self.seen.runs[layer.name]
        if isinstance(op, Add):
            operands = self._summands(layer, operands)
        elif isinstance(op, Mul) and any(op.factor_lsbs):
            self._refuse(layer.name, "rounds both factors before it multiplies them", _ROUNDING)
        elif isinstance(op, Gemm) and any(op.factor_lsbs or ()):
            self._refuse(layer.name, "multiplies two encrypted matrices by squares", _ROUNDING)
        elif isinstance(op, Div):
            self._quotient(layer, operands)
            return
        elif isinstance(op, MaxPool) and self._pads_with_zero(layer, op):
            self._padded_pool(layer, op, operands[0])
            return
        self._node(node, operands)
        if layer.lsbs_to_remove:
            self._rounded(layer, op)
        result = run.results[0]
        carried = op.keeps_operand_grid and isinstance(result, Tensor)
        if carried and isinstance(result, Tensor) and result.quantizer.is_carried:
            self.as_codes.add(node.outputs[0])
            self.spans[node.outputs[0]] = self._span(layer, 0)
        if layer.leaving_params(run.operands) is not None:
            self.as_codes.add(node.outputs[0])

    def _summands(self, layer: QuantizedLayer, operands: list[str]) -> list[str]:
        """Round both summands to the scale on which they are added, without clipping."""
        run = self.seen.runs[layer.name]
        params = layer.leaving_params(run.operands) or layer.output_grid()
        assert params is not None
        scale = np.float64(params.scale)
        found = []
        for i, (name, operand) in enumerate(zip(operands, run.operands, strict=True)):
            assert isinstance(operand, Tensor)
            ends = operand.quantizer.dequant(np.array(self._span(layer, i))) / scale
            quantizer = _free_grid(
                scale, int(np.floor(ends.min())) - 1, int(np.ceil(ends.max())) + 1
            )
            if i in layer.constants:
                codes = quantizer.quant(operand.quantizer.dequant(operand.codes))
                found.append(self._fixed(layer, layer.node.inputs[i], quantizer, codes))
            else:
                reals = _operand_of(layer.name, i)
                rank = len(operand.shape)
                found.append(self._mark(name, quantizer, layer.name, Role.SUMMAND, rank, reals))
        return found

    def _quotient(self, layer: QuantizedLayer, operands: list[str]) -> None:
        """Write ``a * Q(1 / b)`` for a quotient: the inverse has a grid of its own."""
        op, node = layer.op, layer.node
        assert isinstance(op, Div) and op.inverse is not None
        divisor = self.seen.runs[layer.name].operands[1]
        assert isinstance(divisor, Tensor)
        base = node.outputs[0]
        if 1 in layer.constants:
            values = divisor.quantizer.dequant(divisor.codes)
            codes = op.inverse.quant(1.0 / np.where(values == 0.0, op.smallest, values))
            inverse = self._fixed(layer, f"{base}_inverse", op.inverse, codes)
        else:
            zero = self._new_constant(f"{base}_zero", np.float32(0))
            smallest = self._new_constant(f"{base}_smallest", np.float32(op.smallest))
            like = node.inputs[1]
            is_zero = self._add("Equal", [operands[1], zero], f"{base}_is_zero")
            chosen = [is_zero, smallest, operands[1]]
            safe = self._add("Where", chosen, f"{base}_divisor", like=like)
            real = self._add("Reciprocal", [safe], f"{base}_reciprocal", like=like)
            inverse = self._mark(
                real, op.inverse, layer.name, Role.INVERSE, len(divisor.shape),
                _inverse_of(layer.name, op.smallest),
            )  # fmt: skip
        self._result(node, self._add("Mul", [operands[0], inverse], f"{base}_value", like=base))
        if layer.lsbs_to_remove:
            self._rounded(layer, op)
        if layer.leaving_params(self.seen.runs[layer.name].operands) is not None:
            self.as_codes.add(base)

    def _pads_with_zero(self, layer: QuantizedLayer, op: MaxPool) -> bool:
        """Tell whether padding with 0.0, the module's way, differs from ONNX's minus infinity."""
        x = self.seen.runs[layer.name].operands[0]
        assert isinstance(x, Tensor)
        below_zero = x.quantizer.qmin < int(np.min(x.quantizer.zero_point))
        return below_zero and any(op.window.pads_for(x.shape[2:]))

    def _padded_pool(self, layer: QuantizedLayer, op: MaxPool, source: str) -> None:
        """Pad with 0.0 before the maximum is taken."""
        x = self.seen.runs[layer.name].operands[0]
        assert isinstance(x, Tensor)
        window, spatial, base = op.window, x.shape[2:], layer.node.outputs[0]
        known = self.graph.shapes.get(layer.node.inputs[0], ())[2:]
        if window.auto_pad != "NOTSET" and not all(isinstance(size, int) for size in known):
            self._refuse(layer.name, "pads by a size that depends on the data",
                         "give the model an input of fixed height and width.")  # fmt: skip
        if any(window.overhang_for(spatial)):
            self._refuse(layer.name, "pads with 0.0 and reaches beyond the padding (ceil_mode)",
                         "set ceil_mode to 0 in the model.")  # fmt: skip
        half = len(window.kernel)
        pads = window.pads_for(spatial)
        amounts = np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], dtype=np.int64)
        if self.graph.opsets.get("", 0) < 11:  # pads were an attribute
            padded = self._add("Pad", [source], f"{base}_padded", pads=amounts.tolist(), value=0.0)
        else:
            given = self._new_constant(f"{base}_pads", amounts)
            padded = self._add("Pad", [source, given], f"{base}_padded")
        made = self._add(
            "MaxPool", [padded], f"{base}_value",
            kernel_shape=window.kernel, strides=window.strides, **(
                {"dilations": window.dilations} if any(d > 1 for d in window.dilations) else {}
            ),
        )  # fmt: skip
        self._result(layer.node, made)
        if x.quantizer.is_carried:
            self.as_codes.add(base)
            self.spans[base] = self._span(layer, 0)

    def _rounded(self, layer: QuantizedLayer, op: MixingOp) -> None:
        """Round an accumulator to multiples of ``2**lsbs``, ties upward.

        The layer's real result is ``scale * accumulator + constant`` per channel. Half a step of
        the accumulator is added before it is rounded: multiples of the step stay what they are,
        and a tie, which ONNX would round to even, no longer is one.
        """
        run, name = self.seen.runs[layer.name], layer.node.outputs[0]
        accumulator = run.accumulator
        assert accumulator is not None
        origin, scale = _affine_of(op, layer, run)
        uneven = [s for s in (origin.shape, scale.shape) if sum(size > 1 for size in s) > 1]
        if uneven:
            self._refuse(layer.name, "rounds by a step that differs between positions", _ROUNDING)
            return
        offset = np.asarray(op.rounding_offset(*run.operands), dtype=np.float64)  # type: ignore[arg-type]
        shift = scale * (offset + 0.5) - origin
        found = self.bounds[layer.name]
        assert found is not None
        step = 2**layer.lsbs_to_remove
        low, high = found.weights.range
        ends = [int(np.floor((end + o + 0.5) / step)) + extra
                for end, o, extra in ((low, offset.min(), -1), (high, offset.max(), 1))]  # fmt: skip
        quantizer = _free_grid(scale * step, ends[0], ends[1])
        base = self.real[name]
        before = self._new_constant(f"{base}_shift", shift)
        after = self._new_constant(f"{base}_unshift", origin - scale * offset)
        shifted = self._add("Add", [base, before], f"{base}_shifted", like=name)
        marked = self._mark(
            shifted, quantizer, layer.name, Role.ROUNDED, accumulator.ndim,
            _accumulator_of(layer.name, scale, offset + 0.5),
        )  # fmt: skip
        made = self._add("Add", [marked, after], f"{base}_rounded", like=name)
        self._result(layer.node, made)

    def _moving(self, layer: QuantizedLayer, operands: list[str]) -> None:
        op, node = layer.op, layer.node
        run = self.seen.runs[layer.name]
        (result,) = run.results
        assert isinstance(result, Tensor)
        if isinstance(op, Concat):
            operands = [
                self._joined(layer, i, name, result.quantizer) for i, name in enumerate(operands)
            ]
        # Pad lays the code of 0.0 around
        point = int(np.ravel(result.quantizer.zero_point)[0])
        fillers = [point] if isinstance(op, Pad) else []
        if isinstance(op, Pad) and len(operands) > 2 and 2 in layer.constants:
            filler = np.asarray(layer.constants[2])
            scale = result.quantizer.scale
            steps = np.rint(filler / scale)
            operands[2] = self._new_constant(f"{node.inputs[2]}_rounded", steps * scale)
            fillers += [int(steps.item() + np.asarray(result.quantizer.zero_point).item())]
        self._node(node, operands)
        self.as_codes.add(node.outputs[0])
        grid = _own_width(result.quantizer, run.operands)
        self.moved[node.outputs[0]] = (grid, layer.name)
        tensors = [i for i, item in enumerate(run.operands) if isinstance(item, Tensor)]
        spans = [self._span(layer, i) for i in tensors]
        if isinstance(op, Concat) and any(
            item.quantizer.quant_params != result.quantizer.quant_params
            for item in run.operands if isinstance(item, Tensor)
        ):  # fmt: skip
            spans = [(grid.qmin, grid.qmax)]
        self.spans[node.outputs[0]] = (
            min([*fillers, *(low for low, _ in spans)]),
            max([*fillers, *(high for _, high in spans)]),
        )  # fmt: skip

    def _joined(
        self, layer: QuantizedLayer, i: int, name: str, common: UniformQuantizer
    ) -> str:
        """Lay one of several joined tensors on their common grid."""
        operand = self.seen.runs[layer.name].operands[i]
        assert isinstance(operand, Tensor)
        if operand.quantizer.quant_params == common.quant_params:
            return name
        grid = _own_width(common, self.seen.runs[layer.name].operands)
        if i in layer.constants:
            codes = grid.quant(np.asarray(operand.values))
            return self._fixed(layer, layer.node.inputs[i], grid, codes)
        reals = _operand_of(layer.name, i)
        return self._mark(name, grid, layer.name, Role.JOINED, len(operand.shape), reals)

    def _carried(self, layer: QuantizedLayer) -> bool:
        """Write a grid that came with the model; False where the node has no integer grid."""
        op, node = layer.op, layer.node
        assert isinstance(op, CarriedQuantizer)
        x = self.seen.tensors.get(node.inputs[0])
        grid = op.quantizer([layer.constants.get(i) for i in range(1, len(node.inputs))])
        if grid is None or not isinstance(x, Tensor):
            return False
        if grid.no_clipping or node.op_type == "Trunc":
            self._refuse(layer.name, f"{node.op_type} divides codes by a power of two",
                         "export the model without it.")  # fmt: skip
        source, rank = self._real(node.inputs[0]), len(x.shape)
        reals = _values_of(node.inputs[0])
        self._result(node, self._mark(
            source, grid, layer.name, Role.CARRIED, rank, reals, tensor=node.inputs[0]
        ))  # fmt: skip
        return True


_ROUNDING = "switch the rounding threshold off, or export the integer program."

if TYPE_CHECKING:
    _GridKey = tuple[bytes, bytes, int, int, str, bool]


def _key(quantizer: UniformQuantizer, role: Role) -> _GridKey:
    """Return what two equal grids have in common."""
    return (
        np.asarray(quantizer.scale).tobytes(),
        np.asarray(quantizer.zero_point, dtype=np.float64).tobytes(),
        quantizer.qmin,
        quantizer.qmax,
        str(quantizer.rounding),
        role is Role.ROUNDED,
    )


def _upright(
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


def _free_grid(scale: AnyArray | np.float64, low: int, high: int) -> UniformQuantizer:
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


def _own_width(common: UniformQuantizer, operands: Sequence[Value | None]) -> UniformQuantizer:
    """Return the common grid of joined tensors without the label that the result wears."""
    tensors = [item for item in operands if isinstance(item, Tensor)]
    signed = any(t.quantizer.is_signed for t in tensors)
    source = next((t for t in tensors if t.quantizer.is_signed == signed), tensors[0])
    options = source.quantizer.quant_options
    return UniformQuantizer(options, common.quant_stats, common.quant_params)


def _affine_of(
    op: MixingOp, layer: QuantizedLayer, run: LayerRun
) -> tuple[FloatArray, FloatArray]:
    """Return the real value of accumulator 0 and the step between two accumulators."""
    assert run.accumulator is not None
    zeros = np.zeros_like(run.accumulator, dtype=np.float64)
    output = layer.output_grid()
    origin = op.dequantize(zeros, *run.operands, output=output)  # type: ignore[arg-type]
    reach = 2.0**30  # far from 0, so that the difference keeps the step's bits
    far = op.dequantize(zeros + reach, *run.operands, output=output)  # type: ignore[arg-type]
    scale = ((far - origin) / reach).astype(np.float32).astype(np.float64)
    return _squeezed(origin), _squeezed(scale)


def _squeezed(values: FloatArray) -> FloatArray:
    """Return an array with every axis along which it is constant reduced to one."""
    for axis in range(values.ndim):
        first = np.take(values, [0], axis=axis)
        if np.array_equal(np.broadcast_to(first, values.shape), values):
            values = first
    return values


def _values_of(name: str) -> Reals:
    def reals(seen: Seen) -> FloatArray:
        value = seen.tensors[name]
        return value.values if isinstance(value, Tensor) else value

    return reals


def _operand_of(layer: str, position: int) -> Reals:
    def reals(seen: Seen) -> FloatArray:
        operand = seen.runs[layer].operands[position]
        assert isinstance(operand, Tensor)
        return operand.quantizer.dequant(operand.codes)

    return reals


def _inverse_of(layer: str, smallest: float) -> Reals:
    def reals(seen: Seen) -> FloatArray:
        values = _operand_of(layer, 1)(seen)
        return np.asarray(1.0 / np.where(values == 0.0, smallest, values))

    return reals


def _accumulator_of(layer: str, scale: FloatArray, offset: FloatArray) -> Reals:
    def reals(seen: Seen) -> FloatArray:
        accumulator = seen.runs[layer].accumulator
        assert accumulator is not None
        return np.asarray((accumulator + offset) * scale)

    return reals


def _rename(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Give tensors of a node, and of the bodies in it, other names."""
    for i, name in enumerate(node.input):
        node.input[i] = names.get(name, name)
    for i, name in enumerate(node.output):
        node.output[i] = names.get(name, name)
    for attribute in node.attribute:
        for body in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
            for inner in body.node:
                _rename(inner, names)
