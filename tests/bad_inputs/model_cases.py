"""Models that people and attackers bring, a few for every row of what must be handled."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import models
from tests.bad_inputs.cases import Case
from tests.models import build, normal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

node = helper.make_node
N4: dict[str, Sequence[int | str]] = {"x": ["n", 4]}
IMAGE: dict[str, Sequence[int | str]] = {"x": ["n", 4, 8, 8]}
QONNX = "qonnx.custom_op.general"


def raw(model: onnx.ModelProto) -> bytes:
    return bytes(model.SerializeToString())


def chain(
    *nodes: onnx.NodeProto,
    inputs: dict[str, Sequence[int | str]] = N4,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    output_type: int = TensorProto.FLOAT,
    **constants: Any,
) -> onnx.ModelProto:
    domains = sorted({n.domain for n in nodes} - {""})
    return build(nodes, inputs=inputs, outputs=outputs, opset=opset, constants=constants,
                 output_type=output_type, domains=[(d, 1) for d in domains])  # fmt: skip


def mlp(change: Callable[[onnx.ModelProto], Any]) -> bytes:
    model = models.mlp()
    change(model)
    return raw(model)


def graph_of(name: str, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str],
             inputs: Sequence[onnx.ValueInfoProto] = ()) -> onnx.GraphProto:  # fmt: skip
    values = [helper.make_tensor_value_info(n, 1, None) for n in outputs]
    return helper.make_graph(list(nodes), name, list(inputs), values)


def functions(*listed: tuple[str, list[str]]) -> bytes:
    """Return a model whose functions call one another in order; "Neg" is an operator."""
    model = chain(node(listed[0][0], ["x"], ["y"], "call", domain="mine"))
    for name, called in listed:
        tensors = ["a", *(f"t{i}" for i in range(len(called) - 1)), "b"]
        body = [
            node(op, [tensors[i]], [tensors[i + 1]], domain="" if op == "Neg" else "mine")
            for i, op in enumerate(called)
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
        model.functions.append(helper.make_function("mine", name, ["a"], ["b"], body, imports))
    return raw(model)


def npz_bytes() -> bytes:
    stream = io.BytesIO()
    np.savez(stream, x=np.zeros(3))
    return stream.getvalue()


def weight(change: Callable[[onnx.TensorProto], Any]) -> bytes:
    """Return the small network with its weight ``w1`` (8 x 6) changed."""
    return mlp(lambda m: change(m.graph.initializer[0]))


def set_dims(*sizes: int) -> Callable[[onnx.TensorProto], None]:
    def change(tensor: onnx.TensorProto) -> None:
        del tensor.dims[:]
        tensor.dims.extend(sizes)

    return change


def set_raw(content: bytes) -> Callable[[onnx.TensorProto], None]:
    return lambda tensor: setattr(tensor, "raw_data", content)


def set_type(kind: int) -> Callable[[onnx.TensorProto], None]:
    return lambda tensor: setattr(tensor, "data_type", kind)


def move_out(tensor: onnx.TensorProto, place: str = "/etc/passwd") -> None:
    tensor.data_location = TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", place


def outside(where: str) -> bytes:
    """Return a model with a tensor outside the file, in each place a tensor can be."""
    tensor = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    move_out(tensor)
    product = node("MatMul", ["x", "w"], ["y"], "mm")
    if where == "weight":
        model = chain(product)
        model.graph.initializer.append(tensor)
    elif where == "constant":
        model = chain(node("Constant", [], ["w"], "c"), product)
        model.graph.node[0].attribute.append(helper.make_attribute("value", tensor))
    elif where == "sparse":
        model = chain(product)
        places = numpy_helper.from_array(np.array([0], np.int64), "i")
        tensor.dims[:] = [1]
        model.graph.sparse_initializer.append(
            onnx.SparseTensorProto(values=tensor, indices=places, dims=[4, 4])
        )
    elif where == "subgraph":
        inner = graph_of("then", [node("MatMul", ["x", "w"], ["t"])], ["t"])
        inner.initializer.append(tensor)
        other = graph_of("else", [node("Neg", ["x"], ["e"])], ["e"])
        model = chain(node("If", ["c"], ["y"], then_branch=inner, else_branch=other),
                      c=np.array(True))  # fmt: skip
    else:
        model = chain(node("f", ["x"], ["y"], domain="mine"))
        constant = node("Constant", [], ["w"])
        constant.attribute.append(helper.make_attribute("value", tensor))
        body = [constant, node("MatMul", ["a", "w"], ["b"])]
        model.functions.append(helper.make_function("mine", "f", ["a"], ["b"], body,
                                                    [helper.make_opsetid("", 17)]))  # fmt: skip
    return raw(model)


def nested_bytes(depth: int) -> bytes:
    """Return graphs inside nodes inside graphs, deeper than protobuf itself would write."""

    def field(number: int, content: bytes) -> bytes:
        length, size = b"", len(content)
        while True:
            length += bytes([size & 127 | (128 if size > 127 else 0)])
            size >>= 7
            if not size:
                return bytes([number << 3 | 2]) + length + content

    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))  # node, its attribute, the graph in that
    return b"\x08\x0a" + field(7, graph)


def deep_if(depth: int) -> bytes:
    """Return If nodes in one another's first branch, so that the file stays small."""
    inner = graph_of("leaf", [node("Neg", ["x"], ["o0"])], ["o0"])
    for i in range(1, depth + 1):
        other = graph_of(f"e{i}", [node("Abs", ["x"], [f"p{i}"])], [f"p{i}"])
        name = "y" if i == depth else f"o{i}"
        choice = node("If", ["c"], [name], then_branch=inner, else_branch=other)
        inner = graph_of(f"g{i}", [choice], [name])
    return raw(chain(inner.node[0], c=np.array(True)))


def loop(count: int) -> bytes:
    body = helper.make_graph(
        [node("Identity", ["c"], ["d"]), node("Neg", ["a"], ["b"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("c", TensorProto.BOOL, []),
         helper.make_tensor_value_info("a", 1, None)],
        [helper.make_tensor_value_info("d", TensorProto.BOOL, []),
         helper.make_tensor_value_info("b", 1, None)])  # fmt: skip
    return raw(chain(node("Loop", ["m", "t", "x"], ["y"], "loop", body=body),
                     m=np.array(count, np.int64), t=np.array(True)))  # fmt: skip


def scan() -> bytes:
    body = helper.make_graph(
        [node("Add", ["s", "e"], ["t"]), node("Identity", ["t"], ["o"])], "body",
        [helper.make_tensor_value_info("s", 1, [4]), helper.make_tensor_value_info("e", 1, [4])],
        [helper.make_tensor_value_info("t", 1, [4]), helper.make_tensor_value_info("o", 1, [4])],
    )  # fmt: skip
    return raw(chain(node("Scan", ["z", "x"], ["f", "y"], "scan", body=body, num_scan_inputs=1),
                     z=np.zeros(4, np.float32)))  # fmt: skip


def branch(outputs_are_scalars: bool) -> bytes:
    """Return an If on a number of the data, whose results may be scalars."""

    def side(name: str, op_type: str) -> onnx.GraphProto:
        return graph_of(name, [node(op_type, ["s" if outputs_are_scalars else "x"], [name])],
                        [name])  # fmt: skip

    return raw(chain(
        node("ReduceSum", ["x"], ["s"], "sum", keepdims=0),
        node("Less", ["s", "zero"], ["c"], "less"),
        node("If", ["c"], ["y"], "choose", then_branch=side("a", "Neg"),
             else_branch=side("b", "Abs")),
        zero=np.float32(0)))  # fmt: skip


def quantized_pair(scale: Any, zero: Any) -> bytes:
    return raw(chain(node("QuantizeLinear", ["x", "s", "z"], ["q"], "quantize"),
                     node("DequantizeLinear", ["q", "s", "z"], ["d"], "dequantize"),
                     node("MatMul", ["d", "w"], ["y"], "mm"),
                     s=np.asarray(scale, np.float32), z=zero, w=normal(4, 3)))  # fmt: skip


def qonnx(op_type: str, *parameters: Any, **attributes: Any) -> bytes:
    names = [f"p{i}" for i in range(len(parameters))]
    constants = dict(zip(names, parameters, strict=True))
    return raw(chain(node(op_type, ["x", *names], ["q"], "quant", domain=QONNX, **attributes),
                     node("MatMul", ["q", "w"], ["y"], "mm"),
                     w=normal(4, 3), **constants))  # fmt: skip


def conv(inputs: dict[str, Sequence[int | str]] = IMAGE, kernel: Any = None, bias: Any = None,
         **attributes: Any) -> bytes:  # fmt: skip
    constants = {"w": normal(4, 4, 3, 3) if kernel is None else kernel}
    if bias is not None:
        constants["b"] = bias
    return raw(chain(node("Conv", ["x", *constants], ["y"], "conv", **attributes),
                     inputs=inputs, **constants))  # fmt: skip


def random(op_type: str) -> bytes:
    if op_type in ("RandomNormal", "RandomUniform"):
        drawn = node(op_type, [], ["r"], "draw", shape=[1, 4])
    elif op_type == "Multinomial":
        return raw(chain(node("Multinomial", ["x"], ["m"], "draw", sample_size=2),
                         node("Cast", ["m"], ["y"], to=1)))  # fmt: skip
    else:
        source = "p" if op_type == "Bernoulli" else "x"
        drawn = node(op_type, [source], ["r"], "draw")
    before = [node("Sigmoid", ["x"], ["p"])] if op_type == "Bernoulli" else []
    return raw(chain(*before, drawn, node("Add", ["x", "r"], ["y"], "add")))


def typed(kind: Any, tensor_type: int) -> bytes:
    """Return a product whose weight has an element type of its own, behind a Cast."""
    values = np.array([[1, -2, 3, 0], [0, 1, -1, 2], [3, 1, 0, -2], [1, 1, 1, 1]])
    values = np.abs(values) if np.dtype(kind).name.startswith(("uint", "bool")) else values
    model = chain(node("Cast", ["w"], ["v"], to=1), node("MatMul", ["x", "v"], ["y"], "mm"),
                  opset=23)  # fmt: skip
    tensor = numpy_helper.from_array(values.astype(kind), "w")
    assert tensor.data_type == tensor_type
    model.graph.initializer.append(tensor)
    return raw(model)


def with_value(value: float, count: int = 1) -> bytes:
    w = normal(4, 3)
    w.ravel()[:count] = value
    return raw(chain(node("MatMul", ["x", "wide_w"], ["y"], "mm"), wide_w=w))


def names(*given: str) -> bytes:
    model = models.mlp()
    for one, name in zip(model.graph.node, given, strict=True):
        one.name = name
    return raw(model)


def many(count: int, op_type: str = "Relu") -> bytes:
    nodes = [node(op_type, ["x" if i == 0 else f"t{i}"], ["y" if i == count - 1 else f"t{i + 1}"])
             for i in range(count)]  # fmt: skip
    return raw(chain(*nodes))


def paths(count: int) -> bytes:
    """Return 2^count paths through a chain of sums of a tensor with itself."""
    half = [node("Mul", [f"s{i}", "half"], [f"t{i + 1}"]) for i in range(count)]
    sums = [node("Add", [f"t{i}", f"t{i}"], [f"s{i}"]) for i in range(count)]
    ordered = [n for pair in zip(sums, half, strict=True) for n in pair]
    first = node("Identity", ["x"], ["t0"])
    return raw(chain(first, *ordered, node("Identity", [f"t{count}"], ["y"]),
                     half=np.float32(0.5)))  # fmt: skip


def layers(count: int) -> bytes:
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, Any] = {}
    for i in range(count):
        nodes.append(node("MatMul", ["x" if i == 0 else f"t{i}", f"w{i}"],
                          ["y" if i == count - 1 else f"t{i + 1}"], f"layer{i}"))  # fmt: skip
        constants[f"w{i}"] = np.eye(4, dtype=np.float32)
    return raw(chain(*nodes, **constants))


def shape_of(*values: int) -> Any:
    return np.array(values, np.int64)


NOT_A_MODEL = [
    Case("not a model", "empty", lambda: b"", ("empty",)),
    Case("not a model", "cut", lambda: raw(models.mlp())[:200], ("cut short",)),
    Case("not a model", "last byte", lambda: raw(models.mlp())[:-1], ("cut short",)),
    Case("not a model", "garbage behind", lambda: raw(models.mlp()) + b"\xff\xff\xff\xff",
         ("cut short",)),
    Case("not a model", "garbage", lambda: bytes(range(1, 255)) * 5, ("not an ONNX model",)),
    Case("not a model", "zeros", lambda: bytes(1000), ("not an ONNX model",)),
    Case("not a model", "words", lambda: b"hello world, this is no model", ("not an ONNX model",)),
    Case("not a model", "web page", lambda: b"<!DOCTYPE html><html></html>", ("web page",)),
    Case("not a model", "xml", lambda: b"<?xml version='1.0'?><a/>", ("web page",)),
    Case("not a model", "git-lfs", lambda: b"version https://git-lfs.github.com/spec/v1\noid x\n",
         ("git-lfs pointer",)),
    Case("not a model", "gzip", lambda: gzip.compress(raw(models.mlp())), ("gzip",)),
    Case("not a model", "zip", npz_bytes, ("zip archive",)),
    Case("not a model", "pickle", lambda: b"\x80\x04\x95abcdef.", ("pickle",)),
    Case("not a model", "npy", lambda: b"\x93NUMPY\x01\x00v\x00{}", ("NumPy array",)),
    Case("not a model", "hdf5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(90), ("HDF5",)),
    Case("not a model", "json", lambda: b'{"irVersion": 8}', ("JSON",)),
    Case("not a model", "text form", lambda: onnx.printer.to_text(models.mlp()).encode(),
         ("text form",)),
    Case("not a model", "tflite", lambda: b"\x1c\x00\x00\x00TFL3" + bytes(90), ("TFLite",)),
    Case("not a model", "pdf", lambda: b"%PDF-1.7\n%abc", ("PDF",)),
    Case("not a model", "image", lambda: b"\x89PNG\r\n\x1a\n" + bytes(60), ("image",)),
]  # fmt: skip

BROKEN_RULES = [
    Case("broken rules", "no graph", lambda: raw(onnx.ModelProto(ir_version=10)), ("no nodes",)),
    Case("broken rules", "no nodes", lambda: mlp(lambda m: m.graph.ClearField("node")),
         ("no nodes",)),
    Case("broken rules", "no outputs", lambda: mlp(lambda m: m.graph.ClearField("output")),
         ("no outputs",)),
    Case("broken rules", "no inputs",
         lambda: mlp(lambda m: (m.graph.ClearField("input"), m.graph.initializer.append(
             numpy_helper.from_array(normal(2, 6), "x")))), ("no inputs",)),
    Case("broken rules", "cycle", lambda: mlp(lambda m: m.graph.node[0].input.__setitem__(0, "y")),
         ("in a circle", "'g1'")),
    Case("broken rules", "missing weight",
         lambda: mlp(lambda m: m.graph.node[2].input.__setitem__(1, "lost")), ("'g2'", "'lost'")),
    Case("broken rules", "unmade output",
         lambda: mlp(lambda m: setattr(m.graph.output[0], "name", "z")), ("'z'",)),
    Case("broken rules", "name made twice",
         lambda: mlp(lambda m: m.graph.node[1].output.__setitem__(0, "h")), ("'h'", "twice")),
    Case("broken rules", "input made by a node",
         lambda: mlp(lambda m: m.graph.node[1].output.__setitem__(0, "x")), ("'x'", "twice")),
    Case("broken rules", "weight stored twice",
         lambda: mlp(lambda m: m.graph.initializer.append(m.graph.initializer[0])),
         ("'w1'", "twice")),
    Case("broken rules", "input listed twice",
         lambda: mlp(lambda m: m.graph.input.append(m.graph.input[0])), ("'x'", "twice")),
    Case("broken rules", "too few inputs", lambda: raw(chain(node("MatMul", ["x"], ["y"], "mm"))),
         ("'mm'", "1 inputs")),
    Case("broken rules", "unknown attribute",
         lambda: raw(chain(node("Relu", ["x"], ["y"], "act", colour=3))), ("'act'", "'colour'")),
    Case("broken rules", "missing attribute",
         lambda: raw(chain(node("Cast", ["x"], ["y"], "cast"))), ("'cast'", "'to'")),
    Case("broken rules", "attribute of another type",
         lambda: raw(chain(node("Softmax", ["x"], ["y"], "soft", axis="last"))),
         ("'soft'", "'axis'")),
    Case("broken rules", "attribute twice",
         lambda: raw(chain(twice_an_attribute())), ("'soft'", "'axis'", "twice")),
    Case("broken rules", "shapes that do not fit",
         lambda: raw(chain(node("MatMul", ["x", "w"], ["y"], "mm"), w=normal(5, 3))),
         ("'mm'", "5 x 3")),
    Case("broken rules", "broadcast that does not fit",
         lambda: raw(chain(node("Add", ["x", "w"], ["y"], "add"), w=normal(3))), ("'add'",)),
    Case("broken rules", "reshape that does not fit",
         lambda: raw(chain(node("Reshape", ["x", "s"], ["y"], "fold"), s=shape_of(-1, 7))),
         ("'fold'",)),
    Case("broken rules", "axis beyond", lambda: raw(chain(node("Softmax", ["x"], ["y"], "soft",
                                                              axis=9))), ("'soft'",)),
    Case("broken rules", "permutation", lambda: raw(chain(node("Transpose", ["x"], ["y"], "turn",
                                                              perm=[0, 5]))), ("'turn'",)),
    Case("broken rules", "group 0", lambda: conv(group=0), ("'conv'", "group is 0")),
    Case("broken rules", "group that does not divide", lambda: conv(group=3), ("'conv'", "group")),
    Case("broken rules", "negative group", lambda: conv(group=-1), ("'conv'", "group")),
    Case("broken rules", "zero stride", lambda: conv(strides=[0, 1]), ("'conv'", "strides")),
    Case("broken rules", "negative dilation", lambda: conv(dilations=[-1, 1]),
         ("'conv'", "dilations")),
    Case("broken rules", "zero kernel", lambda: raw(chain(
        node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[0, 0]), inputs=IMAGE)),
         ("'pool'", "kernel_shape")),
    Case("broken rules", "kernel larger than the image", lambda: conv(kernel=normal(4, 4, 19, 19)),
         ("'conv'",)),
    Case("broken rules", "negative pads", lambda: raw(chain(
        node("MaxPool", ["x"], ["y"], "pool", kernel_shape=[2, 2], pads=[-9, 0, 0, 0]),
        inputs=IMAGE)), ("'pool'", "pads")),
    Case("broken rules", "three pads", lambda: conv(pads=[1, 1, 1]), ("'conv'", "pads")),
    Case("broken rules", "auto_pad of no kind", lambda: conv(auto_pad="AROUND"),
         ("'conv'", "auto_pad")),
    Case("broken rules", "keepdims -1", lambda: raw(chain(
        node("ReduceSum", ["x"], ["y"], "sum", keepdims=-1))), ("'sum'", "keepdims")),
    Case("broken rules", "split that does not add up", lambda: raw(chain(
        node("Split", ["x", "s"], ["y", "z"], "split", axis=1), s=shape_of(3, 3))),
         ("'split'",)),
    Case("broken rules", "gather beyond", lambda: raw(chain(
        node("Gather", ["x", "i"], ["y"], "pick", axis=1), i=shape_of(99))), ("'pick'",)),
    Case("broken rules", "concat of other sizes", lambda: raw(chain(
        node("Concat", ["x", "k"], ["y"], "join", axis=1), k=normal(3, 4, 2))), ("'join'",)),
    Case("broken rules", "type an operator does not take", lambda: raw(chain(
        node("Cast", ["x"], ["i"], to=TensorProto.BOOL), node("Sqrt", ["i"], ["y"], "root"))),
         ("'root'",)),
    Case("broken rules", "If without a branch", lambda: raw(chain(
        node("If", ["c"], ["y"], "choose",
             then_branch=graph_of("t", [node("Neg", ["x"], ["a"])], ["a"])), c=np.array(True))),
         ("'choose'", "'else_branch'")),
    Case("broken rules", "branches of unequal outputs", lambda: raw(chain(
        node("If", ["c"], ["y"], "choose",
             then_branch=graph_of("t", [node("Neg", ["x"], ["a"]), node("Abs", ["x"], ["b"])],
                                  ["a", "b"]),
             else_branch=graph_of("e", [node("Neg", ["x"], ["c1"])], ["c1"])), c=np.array(True))),
         ("'choose'",)),
    Case("broken rules", "branch reads what is not there", lambda: raw(chain(
        node("If", ["c"], ["y"], "choose",
             then_branch=graph_of("t", [node("Neg", ["nowhere"], ["a"], "inner")], ["a"]),
             else_branch=graph_of("e", [node("Neg", ["x"], ["b"])], ["b"])), c=np.array(True))),
         ("'choose'", "'nowhere'")),
    Case("broken rules", "too many outputs",
         lambda: raw(chain(node("Relu", ["x"], ["y", "z"], "act"))), ("'act'", "2 outputs")),
    Case("broken rules", "output left blank", lambda: raw(chain(
        node("Relu", ["x"], [""], "act"), node("Neg", ["x"], ["y"]))), ("'act'",)),
    Case("broken rules", "einsum of letters", lambda: raw(chain(
        node("Einsum", ["x"], ["y"], "sum", equation="ij,jk->ik"))), ("'sum'",)),
    Case("broken rules", "resize by zero", lambda: raw(chain(
        node("Resize", ["x", "", "s"], ["y"], "grow"), inputs=IMAGE,
        s=np.array([1, 1, 0, 0], np.float32))), ("'grow'",)),
    Case("broken rules", "negative input size", lambda: raw(chain(
        node("Relu", ["x"], ["y"], "act"), inputs={"x": [0, 0]})), ("'x'",)),
]  # fmt: skip


def twice_an_attribute() -> onnx.NodeProto:
    soft = node("Softmax", ["x"], ["y"], "soft", axis=1)
    soft.attribute.append(soft.attribute[0])
    return soft


def make_old(model: onnx.ModelProto) -> None:
    model.ir_version = 3
    model.opset_import[0].version = 7
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, 1, list(tensor.dims)))


VERSIONS = [
    Case("versions", "no IR version", lambda: mlp(lambda m: m.ClearField("ir_version")),
         ("IR version 0",)),
    Case("versions", "IR 0", lambda: mlp(lambda m: setattr(m, "ir_version", 0)), ("IR version 0",)),
    Case("versions", "IR negative", lambda: mlp(lambda m: setattr(m, "ir_version", -3)),
         ("IR version -3",)),
    Case("versions", "IR 999", lambda: mlp(lambda m: setattr(m, "ir_version", 999)),
         ("IR version 999",)),
    Case("versions", "no operator set", lambda: mlp(lambda m: m.ClearField("opset_import")),
         ("operator set",)),
    Case("versions", "operator set 0",
         lambda: mlp(lambda m: setattr(m.opset_import[0], "version", 0)), ("operator set 0",)),
    Case("versions", "operator set negative",
         lambda: mlp(lambda m: setattr(m.opset_import[0], "version", -7)), ("operator set -7",)),
    Case("versions", "operator set 2^62",
         lambda: mlp(lambda m: setattr(m.opset_import[0], "version", 2**62)),
         ("operator set 4611686018427387904",)),
    Case("versions", "operator set twice",
         lambda: mlp(lambda m: m.opset_import.append(helper.make_opsetid("", 9))),
         ("operator set", "twice")),
    Case("versions", "operator set 6", lambda: raw(chain(
        node("Relu", ["x"], ["y"]), opset=6)), ("operator set 6", "convert")),
    Case("versions", "old with weights among the inputs", lambda: mlp(
        make_old)),
]  # fmt: skip

LYING = [
    Case("lying tensors", "too few bytes", lambda: weight(set_raw(bytes(108))),
         ("'w1'", "108 bytes", "8 x 6", "192")),
    Case("lying tensors", "too many bytes", lambda: weight(set_raw(bytes(400))),
         ("'w1'", "400 bytes", "192")),
    Case("lying tensors", "no data", lambda: weight(lambda t: t.ClearField("raw_data")),
         ("'w1'", "8 x 6")),
    Case("lying tensors", "negative size", lambda: weight(set_dims(-8, 6)), ("'w1'", "-8 x 6")),
    Case("lying tensors", "two negative sizes", lambda: weight(set_dims(-8, -6)),
         ("'w1'", "-8 x -6")),
    Case("lying tensors", "huge size", lambda: weight(set_dims(2**40, 6)), ("'w1'", "more than")),
    Case("lying tensors", "product beyond 64 bits", lambda: weight(set_dims(2**33, 2**33)),
         ("'w1'", "more than")),
    Case("lying tensors", "a thousand dimensions", lambda: weight(set_dims(*[1] * 1000, 8, 6)),
         ("'w1'", "1002 axes")),
    Case("lying tensors", "unknown type", lambda: weight(set_type(99)), ("'w1'", "99")),
    Case("lying tensors", "no type", lambda: weight(set_type(0)), ("'w1'",)),
    Case("lying tensors", "text weights", lambda: mlp(lambda m: m.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.full((8, 6), "a", dtype=object), "w1"))), ("'w1'", "text")),
    Case("lying tensors", "complex weights", lambda: mlp(lambda m: m.graph.initializer[0].CopyFrom(
        numpy_helper.from_array(np.ones((8, 6), np.complex64), "w1"))), ("'w1'", "complex")),
    Case("lying tensors", "double weights in a float layer",
         lambda: mlp(lambda m: m.graph.initializer[0].CopyFrom(
             numpy_helper.from_array(np.ones((8, 6)), "w1"))), ("'g1'",)),
    Case("lying tensors", "two kinds of data", lambda: weight(
        lambda t: t.float_data.extend([1.0] * 48)), ("'w1'",)),
    Case("lying tensors", "float data that lack", lambda: weight(
        lambda t: (t.ClearField("raw_data"), t.float_data.extend([1.0] * 47))),
         ("'w1'", "47", "48")),
    Case("lying tensors", "a lying constant", lambda: raw(chain(
        node("Constant", [], ["w"], "c", value=TensorProto(
            name="inside", data_type=1, dims=[4, 4], raw_data=bytes(8))),
        node("MatMul", ["x", "w"], ["y"]))), ("'inside'", "8 bytes", "64")),
    Case("lying tensors", "sparse places beyond", lambda: sparse([1, 99]), ("'w'", "sparse")),
    Case("lying tensors", "sparse places negative", lambda: sparse([-1, 2]), ("'w'", "sparse")),
    Case("lying tensors", "sparse of 2^40", lambda: sparse([1, 2], 2**40), ("'w'", "sparse")),
]  # fmt: skip


def sparse(places: list[int], rows: int = 4) -> bytes:
    model = chain(node("MatMul", ["x", "w"], ["y"]))
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    indices = numpy_helper.from_array(np.array(places, np.int64), "i")
    model.graph.sparse_initializer.append(
        onnx.SparseTensorProto(values=values, indices=indices, dims=[rows, 3])
    )
    return raw(model)


EXTERNAL = [
    Case("external data", place, lambda place=place: outside(place),  # type: ignore[misc]
         ("outside the file", "one file"))
    for place in ("weight", "constant", "sparse", "subgraph", "function")
]  # fmt: skip

BOMBS = [
    Case("bombs", "a million empty nodes", lambda: raw(onnx.ModelProto(
        ir_version=10, graph=onnx.GraphProto(node=[onnx.NodeProto()] * 1_000_000))),
         ("1000000 nodes", "QUANTLIB_MAX_NODES")),
    Case("bombs", "doubling functions", lambda: functions(
        *((f"f{i}", [f"f{i + 1}" if i < 39 else "Neg"] * 2) for i in range(40))),
         ("nodes", "QUANTLIB_MAX_NODES")),
    Case("bombs", "deep functions", lambda: functions(
        *((f"f{i}", [f"f{i + 1}" if i < 3999 else "Neg"]) for i in range(4000))),
         ("functions", "QUANTLIB_MAX_FUNCTION_DEPTH")),
    Case("bombs", "recursive function", lambda: functions(("f", ["Neg", "f"])), ("calls itself",)),
    Case("bombs", "functions in a circle", lambda: functions(("f", ["g"]), ("g", ["f"])),
         ("calls itself",)),
    Case("bombs", "deep nesting", lambda: deep_if(25), ("QUANTLIB_MAX_GRAPH_DEPTH",)),
    Case("bombs", "nesting beyond the format", lambda: nested_bytes(200), ("not an ONNX model",)),
    Case("bombs", "endless loop", lambda: loop(2**62), ("'loop'", "4611686018427387904",
                                                      "QUANTLIB_MAX_LOOP_STEPS")),
    Case("bombs", "expand of 64 GB", lambda: raw(chain(
        node("Expand", ["x", "s"], ["y"], "blow"), s=shape_of(2**34, 1, 4))),
         ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "tile of 64 GB", lambda: raw(chain(
        node("Tile", ["x", "s"], ["y"], "blow"), s=shape_of(1, 2**32))),
         ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "constant of 64 GB", lambda: raw(chain(
        node("ConstantOfShape", ["s"], ["k"], "blow"),
        node("ReduceSum", ["k"], ["t"], keepdims=0), node("Add", ["x", "t"], ["y"]),
        s=shape_of(2**34))), ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "constant of a computed shape", lambda: raw(chain(
        node("Mul", ["a", "a"], ["s"]), node("ConstantOfShape", ["s"], ["k"], "blow"),
        node("ReduceSum", ["k"], ["t"], keepdims=0), node("Add", ["x", "t"], ["y"]),
        a=shape_of(2**17))), ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "range of 64 GB", lambda: raw(chain(
        node("Range", ["a", "b", "c"], ["r"], "blow"),
        node("Cast", ["r"], ["f"], to=1), node("ReduceSum", ["f"], ["t"], keepdims=0),
        node("Add", ["x", "t"], ["y"]), a=np.array(0), b=np.array(2**34), c=np.array(1))),
         ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "resize", lambda: raw(chain(
        node("Resize", ["x", "", "s"], ["y"], "blow"), inputs=IMAGE,
        s=np.array([1, 1, 1e5, 1e5], np.float32))), ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "pad", lambda: raw(chain(
        node("Pad", ["x", "p"], ["y"], "blow"), p=shape_of(0, 2**34, 0, 2**34))),
         ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "outer product", lambda: raw(chain(
        node("MatMul", ["a", "b"], ["m"], "blow"), node("ReduceMax", ["m"], ["t"], keepdims=0),
        node("Add", ["x", "t"], ["y"]), a=np.ones((2**17, 1), np.float32),
        b=np.ones((1, 2**17), np.float32))), ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "one hot", lambda: raw(chain(
        node("Cast", ["x"], ["i"], to=7), node("OneHot", ["i", "d", "v"], ["y"], "blow"),
        d=shape_of(2**34), v=np.array([0, 1], np.float32))),
         ("'blow'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "input of 2^40", lambda: raw(chain(
        node("Relu", ["x"], ["y"]), inputs={"x": [2**40, 4]})),
         ("'x'", "QUANTLIB_MAX_TENSOR_VALUES")),
    Case("bombs", "batch of 2^31 - 1", lambda: raw(chain(
        node("Relu", ["x"], ["y"]), inputs={"x": [2**31 - 1, 4]})),
         ("'x'", "QUANTLIB_MAX_TENSOR_VALUES")),
]  # fmt: skip

NOT_SUPPORTED = [
    Case("not supported", "private domain", lambda: raw(chain(
        node("Secret", ["x"], ["y"], domain="my.company"))), ("my.company.Secret",)),
    Case("not supported", "unknown operators named once", lambda: raw(chain(
        node("Foo", ["x"], ["a"]), node("Bar", ["a"], ["b"]), node("Foo", ["b"], ["y"]))),
         ("Foo (2 nodes)", "Bar (1 node)")),
    Case("not supported", "text input", lambda: text_input(), ("'x' (text)",)),
    Case("not supported", "list output", lambda: raw(chain(
        node("SplitToSequence", ["x"], ["y"], "split", axis=1))), ("'y'", "outputs")),
    *(Case("not supported", op_type, lambda op_type=op_type: random(op_type),  # type: ignore[misc]
           (f"{op_type} (node 'draw')", "each time"))
      for op_type in ("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike",
                      "Bernoulli", "Multinomial")),
    Case("not supported", "dropout in training", lambda: raw(chain(
        node("Dropout", ["x", "r", "t"], ["y"], "drop"), t=np.array(True), r=np.float32(0.5))),
         ("Dropout in training mode (node 'drop')",)),
    Case("not supported", "normalization in training", lambda: raw(chain(
        node("BatchNormalization", ["x", "a", "b", "c", "d"], ["y", "m", "v"], "bn",
             training_mode=1), a=normal(4), b=normal(4), c=normal(4), d=normal(4) ** 2)),
         ("BatchNormalization in training mode (node 'bn')",)),
    Case("not supported", "If runs", lambda: branch(outputs_are_scalars=False)),
    Case("not supported", "If with a number as its result runs",
         lambda: branch(outputs_are_scalars=True)),
    Case("not supported", "Loop runs", lambda: loop(3)),
    Case("not supported", "Scan runs", scan),
    Case("not supported", "sequence inside runs", lambda: raw(chain(
        node("SplitToSequence", ["x"], ["s"], "split", axis=1),
        node("ConcatFromSequence", ["s"], ["y"], "join", axis=1)))),
]  # fmt: skip


def text_input() -> bytes:
    model = chain(node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=["a"],
                       values_floats=[1.0]))  # fmt: skip
    model.opset_import[1].version = 2
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return raw(model)


BLANK = [
    Case("blank inputs", "Clip without its lowest value", lambda: raw(chain(
        node("Clip", ["x", "", "top"], ["y"], "clip"), top=np.float32(1)))),
    Case("blank inputs", "Resize without a region", lambda: raw(chain(
        node("Resize", ["x", "", "s"], ["y"], "grow"), inputs=IMAGE,
        s=np.array([1, 1, 2, 2], np.float32)))),
    Case("blank inputs", "Gemm without a bias", lambda: raw(chain(
        node("Gemm", ["x", "w", ""], ["y"], "g"), w=normal(4, 3)))),
    Case("blank inputs", "in a Sum", lambda: raw(chain(
        node("Sum", ["x", "", "x"], ["y"], "sum"))), ("'sum'", "input 2 is left blank")),
    Case("blank inputs", "in a Mean", lambda: raw(chain(
        node("Mean", ["x", "", "x"], ["y"], "mean"))), ("'mean'", "input 2 is left blank")),
    Case("blank inputs", "in a Concat", lambda: raw(chain(
        node("Concat", ["x", ""], ["y"], "join", axis=1))), ("'join'", "blank")),
    Case("blank inputs", "first of a product", lambda: raw(chain(
        node("MatMul", ["", "w"], ["y"], "mm"), w=normal(4, 4))), ("'mm'", "input 1")),
]  # fmt: skip

TYPES = [
    Case("types", "float16", lambda: typed(np.float16, TensorProto.FLOAT16)),
    Case("types", "bfloat16", lambda: typed(ml_dtypes.bfloat16, TensorProto.BFLOAT16)),
    Case("types", "float64", lambda: typed(np.float64, TensorProto.DOUBLE)),
    Case("types", "int8", lambda: typed(np.int8, TensorProto.INT8)),
    Case("types", "uint8", lambda: typed(np.uint8, TensorProto.UINT8)),
    Case("types", "int4", lambda: typed(ml_dtypes.int4, TensorProto.INT4)),
    Case("types", "float8", lambda: typed(ml_dtypes.float8_e4m3fn, TensorProto.FLOAT8E4M3FN)),
    Case("types", "already quantized", lambda: quantized_pair(0.05, np.uint8(128))),
    Case("types", "scale is NaN", lambda: quantized_pair(np.nan, np.uint8(128)),
         ("'quantize'", "scale")),
    Case("types", "scale is infinite", lambda: quantized_pair(np.inf, np.uint8(128)),
         ("'quantize'", "scale")),
    Case("types", "scale is 0", lambda: quantized_pair(0.0, np.uint8(128)), ("'quantize'",
                                                                          "scale")),
    Case("types", "scale is negative", lambda: quantized_pair(-0.1, np.uint8(128)),
         ("'quantize'", "scale")),
    Case("types", "QONNX", lambda: qonnx("Quant", np.float32(0.1), np.float32(0), np.float32(4),
                                         signed=1, narrow=0), notes=()),
    Case("types", "QONNX scale NaN", lambda: qonnx("Quant", np.float32(np.nan), np.float32(0),
                                                   np.float32(4), signed=1, narrow=0),
         ("'quant'", "scale")),
    Case("types", "QONNX zero point NaN", lambda: qonnx(
        "Quant", np.float32(0.1), np.float32(np.nan), np.float32(4), signed=1, narrow=0),
         ("'quant'", "zero point")),
    Case("types", "QONNX width NaN", lambda: qonnx(
        "Quant", np.float32(0.1), np.float32(0), np.float32(np.nan), signed=1, narrow=0),
         ("'quant'", "width")),
    Case("types", "QONNX width infinite", lambda: qonnx(
        "Quant", np.float32(0.1), np.float32(0), np.float32(np.inf), signed=1, narrow=0),
         ("'quant'", "width")),
    Case("types", "QONNX width 1e9", lambda: qonnx(
        "Quant", np.float32(0.1), np.float32(0), np.float32(1e9), signed=1, narrow=0),
         ("'quant'", "width")),
    Case("types", "BipolarQuant scale NaN", lambda: qonnx("BipolarQuant", np.float32(np.nan)),
         ("'quant'", "scale")),
    Case("types", "Trunc width NaN", lambda: qonnx(
        "Trunc", np.float32(0.1), np.float32(0), np.float32(8), np.float32(np.nan),
        rounding_mode="FLOOR"), ("'quant'", "width")),
    Case("types", "FloatQuant scale NaN", lambda: qonnx(
        "FloatQuant", np.float32(np.nan), np.float32(4), np.float32(3), np.float32(7),
        np.float32(448)), ("'quant'", "scale")),
]  # fmt: skip

NUMBERS = [
    Case("NaN weights", "one NaN", lambda: with_value(np.nan), ("'wide_w'", "1 of 12", "NaN")),
    Case("NaN weights", "many infinite", lambda: with_value(np.inf, 5), ("'wide_w'", "5 of 12")),
    Case(
        "NaN weights", "negative infinite", lambda: with_value(-np.inf, 2), ("'wide_w'", "2 of 12")
    ),
]

WORKS = [
    Case("must just work", "no names", lambda: names("", "", "")),
    Case("must just work", "equal names", lambda: names("same", "same", "same")),
    Case("must just work", "names by case and accent", lambda: names("É", "é", "e\u0301")),
    Case("must just work", "tensors by case", lambda: raw(chain(
        node("Gemm", ["x", "w"], ["X"]), node("Relu", ["X"], ["Y"]), node("Gemm", ["Y", "w"],
                                                                         ["y"]), w=normal(4, 4)))),
    Case("must just work", "shared weight", lambda: raw(chain(
        node("MatMul", ["x", "w"], ["h"]), node("MatMul", ["h", "w"], ["y"]), w=normal(4, 4)))),
    Case("must just work", "weight in Constant", lambda: raw(chain(
        node("Constant", [], ["w"], value=numpy_helper.from_array(normal(4, 3), "w")),
        node("MatMul", ["x", "w"], ["y"])))),
    Case("must just work", "weight behind Identity, Transpose and Cast", lambda: raw(chain(
        node("Identity", ["w"], ["a"]), node("Transpose", ["a"], ["b"], perm=[1, 0]),
        node("Cast", ["b"], ["c"], to=1), node("MatMul", ["x", "c"], ["y"]),
        w=normal(3, 4).astype(np.float64)))),
    Case("must just work", "weight on the left", lambda: raw(chain(
        node("MatMul", ["w", "x"], ["y"]), inputs={"x": [4, "n"]}, w=normal(3, 4)))),
    Case("must just work", "weight on the left, fixed", lambda: raw(chain(
        node("MatMul", ["w", "x"], ["y"]), inputs={"x": [4, 5]}, w=normal(3, 4)))),
    Case("must just work", "batch written into a left weight", lambda: raw(chain(
        node("MatMul", ["w", "x"], ["y"]), inputs={"x": [4, 1]}, w=normal(3, 4)))),
    Case("must just work", "transposed Gemm with the batch inside", lambda: raw(chain(
        node("Gemm", ["x", "w"], ["y"], transA=1), inputs={"x": [4, 5]}, w=normal(4, 3)))),
    Case("must just work", "transposed Gemm with a free batch", lambda: raw(chain(
        node("Gemm", ["x", "w"], ["y"], transA=1), inputs={"x": [4, "n"]}, w=normal(4, 3)))),
    Case("must just work", "Gemm whose left side is a weight", lambda: raw(chain(
        node("Gemm", ["w", "x"], ["y"], transB=1), inputs={"x": [5, 4]}, w=normal(3, 4)))),
    Case("must just work", "Gemm flags", lambda: raw(chain(
        node("Gemm", ["x", "w", "b"], ["y"], transB=1, alpha=0.5, beta=2.0), w=normal(3, 4),
        b=normal(3)))),
    Case("must just work", "Conv without bias", conv),
    Case("must just work", "Conv in groups", lambda: conv(kernel=normal(4, 2, 3, 3), group=2)),
    Case("must just work", "Conv with dilation", lambda: conv(dilations=[2, 1])),
    Case("must just work", "Conv with uneven padding", lambda: conv(pads=[0, 1, 2, 0])),
    Case("must just work", "Conv SAME_LOWER", lambda: conv(auto_pad="SAME_LOWER", strides=[2, 2])),
    Case("must just work", "Conv 1-D", lambda: conv({"x": ["n", 4, 9]}, normal(5, 4, 3))),
    Case("must just work", "Conv 3-D", lambda: conv({"x": ["n", 2, 4, 4, 4]},
                                                    normal(3, 2, 2, 2, 2))),
    Case("must just work", "skip", lambda: raw(chain(
        node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "x"], ["y"]), w=normal(4, 4)))),
    Case("must just work", "two inputs and outputs", lambda: raw(chain(
        node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "z"], ["y"]),
        node("Relu", ["h"], ["r"]), inputs={"x": ["n", 4], "z": ["n", 3]}, outputs=["y", "r"],
        w=normal(4, 3)))),
    Case("must just work", "integer input", lambda: integer_input()),
    Case("must just work", "unused node, weight and input", lambda: raw(chain(
        node("MatMul", ["x", "w"], ["y"]), node("Relu", ["x"], ["nobody"]),
        inputs={"x": ["n", 4], "spare": ["n", 2]}, w=normal(4, 3), idle=normal(9, 9)))),
    Case("must just work", "every size symbolic", lambda: raw(chain(
        node("MatMul", ["x", "w"], ["y"]), inputs={"x": ["a", "b"]}, w=normal(4, 3)))),
    Case("must just work", "every size symbolic, image", lambda: raw(chain(
        node("Conv", ["x", "w"], ["y"]), inputs={"x": ["a", "b", "c", "d"]},
        w=normal(5, 3, 3, 3)))),
    Case("must just work", "every size symbolic, bias first", lambda: raw(chain(
        node("Add", ["x", "b"], ["h"]), node("Gemm", ["h", "w"], ["y"], transB=1),
        inputs={"x": ["a", "b"]}, b=normal(4), w=normal(3, 4)))),
    Case("must just work", "unknown sizes", lambda: unknown_sizes()),
    Case("must just work", "batch fixed to 1", lambda: raw(chain(
        node("MatMul", ["x", "w"], ["y"]), inputs={"x": [1, 4]}, w=normal(4, 3)))),
    Case("must just work", "Reshape with the batch written in", lambda: raw(chain(
        node("Reshape", ["x", "s"], ["f"]), node("MatMul", ["f", "w"], ["y"]),
        inputs={"x": [1, 2, 2]}, s=shape_of(1, 4), w=normal(4, 3)))),
    Case("must just work", "Squeeze without axes", lambda: raw(chain(
        node("Conv", ["x", "w"], ["c"]), node("Squeeze", ["c"], ["f"], "squeeze"),
        node("MatMul", ["f", "v"], ["y"]), inputs={"x": ["n", 4, 3, 3]}, w=normal(5, 4, 3, 3),
        v=normal(5, 2)))),
    Case("must just work", "number times a constant", lambda: raw(chain(
        node("ReduceSum", ["x"], ["s"], keepdims=0), node("Mul", ["s", "k"], ["y"], "scale"),
        k=np.float32(0.25)))),
    Case("must just work", "number as output", lambda: raw(chain(
        node("MatMul", ["x", "w"], ["h"]), node("ReduceMean", ["h"], ["y"], keepdims=0),
        w=normal(4, 3)))),
    Case("must just work", "500 nodes in a row", lambda: many(500)),
    Case("must just work", "100 layers", lambda: layers(100)),
    Case("must just work", "2^60 paths", lambda: paths(60)),
    Case("must just work", "tensor without elements", lambda: raw(chain(
        node("Concat", ["x", "none"], ["y"], axis=0), none=np.zeros((0, 4), np.float32)))),
]  # fmt: skip


def integer_input() -> bytes:
    model = chain(node("Gather", ["table", "x"], ["e"]), node("MatMul", ["e", "w"], ["y"]),
                  inputs={"x": ["n", 3]}, table=normal(5, 4), w=normal(4, 2))  # fmt: skip
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    return raw(model)


def unknown_sizes() -> bytes:
    model = chain(node("MatMul", ["x", "w"], ["y"]), w=normal(4, 3))
    for size in model.graph.input[0].type.tensor_type.shape.dim:
        size.Clear()
    return raw(model)


def spoiled(old: bytes) -> bytes:
    content = raw(models.mlp())
    assert old in content
    return content.replace(old, b"\xff\xfe" + old[2:])


NAMES = [
    Case("names", "node that is no text", lambda: spoiled(b"act"), ("UTF-8",)),
    Case("names", "operator that is no text", lambda: spoiled(b"Relu"), ("UTF-8",)),
    Case("names", "symbol that is no text", lambda: spoiled(b"batch"), ("UTF-8",)),
    *(Case("names", f"odd {i}", lambda name=name: names(f"{name} 1", f"{name} 2", f"{name} 3"))  # type: ignore[misc]
      for i, name in enumerate(["<b>bold</b>", "%{x}", "https://example.org", "a@b.example",
                                "[a](http://b)", "$x$", "line\nbreak", "nul\x00", "\u202ertl",
                                "🪜", "../../etc/passwd", "=1+1", "long " * 400])),
]  # fmt: skip

MODELS = [*NOT_A_MODEL, *BROKEN_RULES, *VERSIONS, *LYING, *EXTERNAL, *BOMBS, *NOT_SUPPORTED,
          *BLANK, *TYPES, *NUMBERS, *WORKS, *NAMES]  # fmt: skip
