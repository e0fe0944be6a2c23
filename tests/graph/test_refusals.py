"""Models that cannot be loaded end in one message: what is wrong, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import quantlib as ql
from tests import models
from tests.models import build, normal

if TYPE_CHECKING:
    from collections.abc import Callable

node = helper.make_node
X: dict[str, list[int | str]] = {"x": ["n", 4]}


def chain(*nodes: onnx.NodeProto, opset: int = 17, **constants: Any) -> onnx.ModelProto:
    return build(nodes, inputs=X, outputs=["y"], opset=opset, constants=constants)


def with_function(*functions: tuple[str, list[str]]) -> onnx.ModelProto:
    """Return a model whose functions call one another, in order."""
    model = chain(node(functions[0][0], ["x"], ["y"], "call", domain="mine"))
    model.opset_import.append(helper.make_opsetid("mine", 1))
    for name, called in functions:
        tensors = ["a", *(f"t{i}" for i in range(len(called) - 1)), "b"]
        body = [
            node(op, [tensors[i]], [tensors[i + 1]], domain="" if op == "Neg" else "mine")
            for i, op in enumerate(called)
        ]
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
        model.functions.append(helper.make_function("mine", name, ["a"], ["b"], body, imports))
    return model


def doubling() -> onnx.ModelProto:
    names = [f"f{i}" for i in range(40)]
    return with_function(
        *((n, [names[i + 1] if i < 39 else "Neg"] * 2) for i, n in enumerate(names))
    )


def deep() -> onnx.ModelProto:
    return with_function(*((f"f{i}", [f"f{i + 1}" if i < 99 else "Neg"]) for i in range(100)))


def referring() -> onnx.ModelProto:
    leaky = node("LeakyRelu", ["x"], ["y"], "leaky")
    attribute = leaky.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT)
    attribute.ref_attr_name = "slope"
    return chain(leaky)


def changed(model: onnx.ModelProto, change: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    change(model)
    return model


def mlp(change: Callable[[onnx.ModelProto], Any]) -> onnx.ModelProto:
    return changed(models.mlp(), change)


def with_dims(*sizes: int | str) -> onnx.ModelProto:
    return build([node("Relu", ["x"], ["y"])], inputs={"x": list(sizes)}, outputs=["y"])


def quantizer(op_type: str, *inputs: str) -> onnx.ModelProto:
    model = chain(node(op_type, ["x", *inputs], ["y"], "q", domain="qonnx.custom_op.general"),
                  s=np.float32(1))  # fmt: skip
    model.opset_import.append(helper.make_opsetid("qonnx.custom_op.general", 1))
    return model


def text_input() -> onnx.ModelProto:
    model = chain(node("LabelEncoder", ["x"], ["y"], domain="ai.onnx.ml", keys_strings=["a"],
                       values_floats=[1.0]))  # fmt: skip
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    return model


def list_output() -> onnx.ModelProto:
    model = chain(node("SplitToSequence", ["x"], ["y"], "split", axis=1))
    model.graph.output[0].CopyFrom(onnx.ValueInfoProto(name="y"))
    return model


def dropout(training: Any, ratio: float = 0.5) -> onnx.ModelProto:
    drop = node("Dropout", ["x", "r", "t"], ["y"], "drop")
    return chain(drop, t=np.array(training), r=np.float32(ratio))


def training_normalization() -> onnx.ModelProto:
    constants: dict[str, Any] = {name: np.ones(4, np.float32) for name in ("g", "b", "m", "v")}
    return chain(node("BatchNormalization", ["x", *constants], ["y", "rm", "rv"], "bn",
                      training_mode=1), **constants)  # fmt: skip


def random_in_a_body() -> onnx.ModelProto:
    def branch(name: str) -> onnx.GraphProto:
        return helper.make_graph([node("RandomUniformLike", ["x"], [name])], name, [],
                                 [helper.make_tensor_value_info(name, 1, None)])  # fmt: skip

    return chain(
        node("ReduceMax", ["x"], ["m"], keepdims=0),
        node("Greater", ["m", "zero"], ["c"]),
        node("If", ["c"], ["y"], "choose", then_branch=branch("a"), else_branch=branch("b")),
        zero=np.float32(0),
    )


def unknown_tensor_type() -> onnx.ModelProto:
    return mlp(lambda m: m.graph.initializer[2].__setattr__("data_type", 99))


def small_float_input() -> onnx.ModelProto:
    model = chain(node("Cast", ["x"], ["y"], to=1))
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    return model


def wrong_sparse() -> onnx.ModelProto:
    model = build([node("MatMul", ["x", "w"], ["y"])], inputs=X, outputs=["y"])
    values = numpy_helper.from_array(np.ones(2, np.float32), "w")
    places = numpy_helper.from_array(np.array([1, 99]), "w_indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 3]))
    return model


CONV = {"w": normal(4, 1, 3), "k": np.float32(1)}


def conv(**named: Any) -> onnx.ModelProto:
    return build([node("Conv", ["x", "w"], ["y"], "conv", **named)], inputs={"x": ["n", 4, 8]},
                 outputs=["y"], constants={"w": CONV["w"]})  # fmt: skip


LOAD, OP = ql.ModelLoadError, ql.UnsupportedOpError


@pytest.mark.parametrize(
    ("make", "kind", "parts"),
    [
        pytest.param(lambda: with_function(("f", ["Neg", "f"])), LOAD, ["'f' calls itself"],
                     id="recursive-function"),
        pytest.param(lambda: with_function(("f", ["g"]), ("g", ["f"])), LOAD, ["calls itself"],
                     id="functions-in-a-circle"),
        pytest.param(doubling, LOAD, ["nodes once its functions", "limit"], id="doubling"),
        pytest.param(deep, LOAD, ["more than 64 functions"], id="deep-functions"),
        pytest.param(referring, LOAD, ["'leaky'", "'alpha'"], id="attribute-of-a-function"),
        pytest.param(lambda: quantizer("Quant", "s"), OP, ["'q'", "2 inputs", "4"], id="quant"),
        pytest.param(lambda: quantizer("BipolarQuant"), OP, ["'q'", "1 inputs", "2"], id="bipolar"),
        pytest.param(lambda: quantizer("Trunc", "s", "s"), OP, ["'q'", "5 or 6"], id="trunc"),
        pytest.param(lambda: quantizer("FloatQuant", "s"), OP, ["'q'", "6"], id="floatquant"),
        pytest.param(lambda: quantizer("MultiThreshold", "s"), OP,
                     ["MultiThreshold", "FINN"], id="finn"),
        pytest.param(lambda: conv(group=0), LOAD, ["'conv'", "group is 0"], id="group-0"),
        pytest.param(lambda: conv(strides=[0]), LOAD, ["'conv'", "strides is 0"], id="stride-0"),
        pytest.param(lambda: chain(node("ReduceSum", ["x"], ["y"], "r", keepdims=-1)), LOAD,
                     ["'r'", "keepdims is -1"], id="keepdims"),
        pytest.param(lambda: with_dims(2**40, 4), LOAD, ["'x'", "more than"], id="huge-input"),
        pytest.param(lambda: with_dims(2**31 - 1, 4), LOAD, ["'x'", "more than"], id="huge-batch"),
        pytest.param(lambda: mlp(lambda m: m.graph.node[2].input.__setitem__(1, "lost")), LOAD,
                     ["'g2'", "'lost'", "no stored tensor"], id="missing-weight"),
        pytest.param(lambda: mlp(lambda m: m.graph.node[0].input.__setitem__(0, "y")), LOAD,
                     ["in a circle", "'g1'"], id="circle"),
        pytest.param(lambda: mlp(lambda m: m.graph.ClearField("output")), LOAD, ["no outputs"],
                     id="no-outputs"),
        pytest.param(lambda: mlp(lambda m: m.graph.output[0].__setattr__("name", "z")), LOAD,
                     ["'z' is made by no node"], id="unmade-output"),
        pytest.param(lambda: mlp(lambda m: m.graph.node[1].ClearField("op_type")), LOAD,
                     ["'act' names no operator"], id="no-operator"),
        pytest.param(lambda: mlp(lambda m: m.opset_import[0].__setattr__("version", 999)), LOAD,
                     ["operator set 999", "update"], id="future-operator-set"),
        pytest.param(lambda: mlp(lambda m: m.__setattr__("ir_version", 999)), LOAD,
                     ["IR version 999"], id="future-file"),
        pytest.param(lambda: mlp(lambda m: m.graph.input[0].ClearField("type")), LOAD,
                     ["'batch'|'x'", "no type"], id="untyped-input"),
        pytest.param(lambda: mlp(lambda m: m.graph.input[0].type.tensor_type.ClearField("shape")),
                     LOAD, ["'x'", "how many axes"], id="shapeless-input"),
        pytest.param(lambda: chain(node("Sum", ["x", "", "x"], ["y"], "sum")), LOAD,
                     ["'sum'", "input 2 is left blank"], id="blank-in-a-sum"),
        pytest.param(lambda: chain(node("MatMul", ["", "w"], ["y"], "mm"), w=normal(4, 4)), LOAD,
                     ["'mm'", "input 1 is left blank"], id="blank-first-input"),
        pytest.param(lambda: chain(node("MatMul", ["x"], ["y"], "mm")), LOAD,
                     ["'mm'", "1 inputs", "takes 2"], id="too-few-inputs"),
        pytest.param(lambda: chain(node("Clip", ["x", "x", "x", "x"], ["y"], "clip")), LOAD,
                     ["'clip'", "4 inputs", "1 to 3"], id="too-many-inputs"),
        pytest.param(unknown_tensor_type, LOAD, ["'w2'", "99"], id="unknown-tensor-type"),
        pytest.param(wrong_sparse, LOAD, ["sparse tensor 'w'"], id="sparse-index"),
        pytest.param(text_input, LOAD, ["'x' \\(text\\)", "outside the model"], id="text-input"),
        pytest.param(list_output, LOAD, ["'y', a list of tensors", "'split'"], id="list-output"),
        pytest.param(small_float_input, LOAD, ["'x' \\(bfloat16\\)", "Cast"], id="bfloat16-input"),
        pytest.param(lambda: chain(node("RandomNormalLike", ["x"], ["r"], "rnd"),
                                   node("Add", ["x", "r"], ["y"])), OP,
                     ["RandomNormalLike \\(node 'rnd'\\)", "eval"], id="random"),
        pytest.param(random_in_a_body, OP, ["RandomUniformLike", "'choose'"], id="random-inside"),
        pytest.param(lambda: dropout(True), OP, ["Dropout in training mode", "'drop'"],
                     id="dropout"),
        pytest.param(training_normalization, OP, ["BatchNormalization in training mode", "'bn'"],
                     id="batch-normalization"),
        pytest.param(lambda: chain(node("Gelu", ["x"], ["y"], "gelu"), opset=17), OP,
                     ["Gelu \\(from 20 on\\)", "operator set 17"], id="newer-operator"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_fault_its_place_and_a_remedy(
    make: Callable[[], onnx.ModelProto], kind: type[Exception], parts: list[str]
) -> None:
    with pytest.raises(kind) as caught:
        ql.load_model(make(), name="given")
    message = str(caught.value)
    for part in parts:
        assert pytest.raises(kind, match=part).matches(caught.value), (part, message)
    assert "given" in message or "node 'q'" in message
    assert "ONNXRuntimeError" not in message and message.rstrip().endswith(".")
    assert len(message) < 600


@pytest.mark.parametrize("place", ["node", "op_type", "input"])
def test_names_that_are_no_text_are_said_to_be_none(place: str) -> None:
    model = models.mlp()
    marked = {"node": "act", "op_type": "Relu", "input": "batch"}[place].encode()
    data = model.SerializeToString()
    assert marked in data
    bad = data.replace(marked, b"\xff\xfe" + marked[2:])
    with pytest.raises(ql.ModelLoadError, match="not UTF-8"):
        ql.load_model(bad, name="given")


def test_a_dropout_that_drops_nothing_is_no_training() -> None:
    assert ql.load_model(dropout(False)).nodes
    assert ql.load_model(dropout(True, ratio=0.0)).nodes


def test_random_numbers_that_nobody_reads_do_no_harm() -> None:
    model = chain(node("RandomNormalLike", ["x"], ["r"]), node("Relu", ["x"], ["y"]))
    assert [n.op_type for n in ql.load_model(model).nodes] == ["Relu"]


def test_the_text_form_of_a_model_is_no_web_page() -> None:
    text = onnx.printer.to_text(models.mlp())
    assert text.startswith("<")
    with pytest.raises(ql.ModelLoadError, match="the text form of a model"):
        ql.load_model(text.encode(), name="given")
