"""A float graph while it is written: names, constants, nodes, marks, and both edges."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from quantlib.core.tensor import Tensor
from quantlib.errors import QuantlibError
from quantlib.execution.calls import samples_of
from quantlib.export.formats import Refusal
from quantlib.export.marks import (
    Mark,
    Placement,
    Role,
    Seen,
    grid_key,
    upright,
    values_of,
)
from quantlib.graph import unfold
from quantlib.graph.batch import BATCH
from quantlib.graph.mending import unique

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray, FloatArray, IntArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.export.marks import GridKey, Reals
    from quantlib.graph.model import Node, Shape
    from quantlib.quantized_module import QuantizedModule


_OTHER_FLOATS = (TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


class MarkedGraph:
    """The graph so far.

    Attributes
    ----------
    seen : Seen
        What the module does on one calibration sample.
    real : dict of str to str
        Under which name each tensor's real values were written.
    as_codes : set of str
        Tensors that the module holds as codes: their real values lie on their grid.
    spans : dict of str to (int, int)
        Lowest and highest code of tensors held as codes.
    """

    def __init__(self, module: QuantizedModule) -> None:
        self.module = module
        graph = self.graph = module.graph
        self.seen = _first_samples(module)
        self.taken = {"", *(name for node in graph.nodes for name in (*node.inputs, *node.outputs))}
        self.taken |= {info.name for info in (*graph.inputs, *graph.outputs)}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.marks: list[Mark] = []
        self.refusals: list[Refusal] = []
        self.notes: list[str] = []
        self.real: dict[str, str] = {}
        self.as_codes: set[str] = set()
        self.spans: dict[str, tuple[int, int]] = {}
        self.like: dict[str, str] = {}
        self.moved: dict[str, tuple[UniformQuantizer, str]] = {}
        self.marked: dict[tuple[str, GridKey], str] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        for info, quantizer in zip(graph.inputs, module.inputs, strict=True):
            self._enter(info.name, info.dtype, info.shape, quantizer)

    def _enter(
        self, name: str, dtype: str, shape: Sequence[Any], quantizer: UniformQuantizer | None
    ) -> None:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        self.real[name] = name
        if quantizer is None:
            return
        if kind != TensorProto.FLOAT:
            self.real[name] = self.add("Cast", [name], f"{name}_float", like=name,
                                        to=TensorProto.FLOAT)  # fmt: skip
        rank = self.seen.inputs[name].ndim

        def reals(seen: Seen) -> FloatArray:
            return seen.inputs[name]

        self.real[name] = self.mark(
            self.real[name], quantizer, name, Role.INPUT, rank, reals, tensor=name
        )
        self.as_codes.add(name)
        self.spans[name] = (quantizer.qmin, quantizer.qmax)

    def finished(self) -> Placement:
        """Lay the outputs on their grids and return what was written."""
        outputs = []
        renamed: dict[str, str] = {}
        for info, value in zip(self.graph.outputs, self.seen.outputs, strict=True):
            name = self.real_name(info.name)
            if isinstance(value, Tensor) and info.name not in self.as_codes:
                name = self.mark(
                    name, value.quantizer, info.name, Role.OUTPUT, len(value.shape),
                    values_of(info.name), tensor=info.name,
                )  # fmt: skip
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype))
            if isinstance(value, Tensor) and kind == TensorProto.DOUBLE:
                name = self.add("Cast", [name], f"{info.name}_cast", to=kind)
            elif isinstance(value, Tensor) and kind != TensorProto.FLOAT:
                self.notes.append(
                    f"output {info.name!r} is float32: {info.dtype} does not hold its integers."
                )
                kind = TensorProto.FLOAT
            fixed = name in renamed or name in self.constants or name in self.seen.inputs
            if fixed or not any(name in node.output for node in self.nodes):
                name = self.add("Identity", [name], f"{info.name}_copy", like=info.name)
            renamed[name] = info.name
            # a file may leave an output's shape out
            shape = info.shape if len(info.shape) == len(value.shape) else self._shape(info.name)
            outputs.append(helper.make_tensor_value_info(info.name, kind, list(shape)))
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
        return Placement(
            model, tuple(marks), tuple(self.refusals), shapes, self.moved, tuple(self.notes)
        )

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

    def real_name(self, name: str) -> str:
        """Return the exported name of a tensor's real values; constants are written when read."""
        if name and name not in self.real:
            self.real[name] = self.constant(name, self.graph.constants[name])
        return self.real.get(name, name)

    def constant(self, name: str, values: AnyArray) -> str:
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

    def new_constant(self, name: str, values: AnyArray | float) -> str:
        """Write a constant under a name of its own."""
        return self.constant(unique(name, self.taken), np.asarray(values))

    def add(
        self, op_type: str, inputs: list[str], output: str, *, like: str = "", **attributes: Any
    ) -> str:
        """Write a node of its own; its output has the shape of the module's tensor `like`."""
        output = unique(output, self.taken)
        self.like[output] = like
        self.nodes.append(helper.make_node(op_type, inputs, [output], output, **attributes))
        return output

    def mark(
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
        key = (source, grid_key(quantizer, role))
        if key in self.marked:
            return self.marked[key]
        if np.ndim(quantizer.scale) and sum(s > 1 for s in np.shape(quantizer.scale)) > 1:
            self.refuse(layer, "has a grid per position, not per channel")
        output = self.add("Identity", [source], f"{source}_dequantized")
        grid, codes = upright(quantizer, codes)
        clips = codes is None and role not in (Role.SUMMAND, Role.ROUNDED)
        self.marks.append(
            Mark(tensor, source, output, grid, layer, role, rank, clips, codes, reals)
        )
        self.marked[key] = self.marked[(output, key[1])] = output
        return output

    def refuse(self, layer: str, reason: str, remedy: str = "") -> None:
        """Note what cannot be said, once."""
        refusal = Refusal(layer, reason, remedy or "export the integer program instead")
        if refusal not in self.refusals:
            self.refusals.append(refusal)

    def write_node(
        self, node: Node, inputs: Sequence[str], *, in_own_precision: bool = False
    ) -> None:
        """Write a node as it is, under new names of tensors.

        Parameters
        ----------
        node : Node
            One node, or a graph that stands for it.
        inputs : sequence of str
            Exported names of its inputs.
        in_own_precision : bool
            Whether the module runs it in the model's precision, not in the float32 of this graph.
        """
        outputs = []
        for name in node.outputs:
            made = unique(f"{name}_value", self.taken) if name in self.graph.output_names else name
            if name:
                self.real[name] = made
                self.like[made] = name
            outputs.append(made)
        kinds = node.kinds if in_own_precision else {}
        given = [
            self.add("Cast", [name], f"{name}_cast", to=kinds[tensor])
            if kinds.get(tensor) in _OTHER_FLOATS
            else name
            for tensor, name in zip(node.inputs, inputs, strict=True)
        ]
        cast = {
            made: unique(f"{made}_uncast", self.taken)
            for tensor, made in zip(node.outputs, outputs, strict=True)
            if kinds.get(tensor) in _OTHER_FLOATS
        }
        made_names = [cast.get(made, made) for made in outputs]
        if node.body:
            self._write_body(node, given, made_names)
        else:
            self._write_proto(node, given, made_names, in_float32=not in_own_precision)
        for made, inner in cast.items():
            cast_back = helper.make_node("Cast", [inner], [made], inner, to=TensorProto.FLOAT)
            self.nodes.append(cast_back)

    def _write_proto(
        self, node: Node, inputs: Sequence[str], outputs: Sequence[str], *, in_float32: bool
    ) -> None:
        """Write a single node."""
        proto = onnx.NodeProto.FromString(node.proto)
        own = len(proto.input)
        captured = dict(zip(node.inputs[own:], inputs[own:], strict=True))
        for attribute in proto.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else ()), *attribute.graphs):
                for inner in body.node:
                    _rename(inner, captured)
            named = attribute.name in ("to", "dtype")
            if in_float32 and named and attribute.i in _OTHER_FLOATS:
                attribute.i = TensorProto.FLOAT
        del proto.input[:], proto.output[:]
        proto.input.extend(inputs[:own])
        proto.output.extend(outputs)
        proto.name = node.name
        self.nodes.append(proto)

    def _write_body(self, node: Node, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Write the graph that stands for a node; tensors inside get names of their own."""
        body = onnx.GraphProto.FromString(node.body)
        names = {
            **dict(zip(node.inputs, inputs, strict=True)),
            **dict(zip(node.outputs, outputs, strict=True)),
        }
        inside = [t.name for t in body.initializer]
        inside += [name for inner in body.node for name in inner.output if name]
        for name in inside:
            if name not in names:
                names[name] = unique(name, self.taken)
        for tensor in body.initializer:
            tensor.name = names[tensor.name]
            self.constants[tensor.name] = tensor
        for inner in body.node:
            _rename(inner, names)
            self.nodes.append(inner)

    def note_result(self, node: Node, made: str) -> None:
        """Note under which name a node's only output was written."""
        self.real[node.outputs[0]] = made


def _first_samples(module: QuantizedModule) -> Seen:
    """Run one calibration sample, or all where a shape inside the model refuses a single one."""
    graph = module.graph
    one = slice(0, graph.batch.size or 1)
    try:
        return Seen(module, samples_of(graph, module.calibration, one))
    except QuantlibError:
        return Seen(module, module.calibration)


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
