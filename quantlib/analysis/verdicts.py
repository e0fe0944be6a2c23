"""What Concrete ML 1.9 says of a node: why it refuses it, or where it departs from ONNX.

One rule per operator. Each is checked against recorded verdicts of Concrete ML
(`tests/golden/verdicts.json`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto

from quantlib.graph.carried import DYNAMIC, PAIR
from quantlib.ops.base import Treatment
from quantlib.ops.linear import Gemm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.arrays import AnyArray
    from quantlib.execution.treatments import NodePlan
    from quantlib.graph.model import Graph, Node

    Plans = Mapping[str, NodePlan]

CONCRETE_ML_OPSET = 14

CONCRETE_ML_OPS = frozenset(
    [
        "Abs", "Add", "AveragePool", "BatchNormalization", "Cast", "Celu", "Clip", "Concat",
        "ConstantOfShape", "Conv", "Div", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten",
        "Floor", "Gather", "Gemm", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish",
        "Identity", "LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Min",
        "Mul", "Neg", "Not", "onnx.brevitas.Quant", "Or", "Pad", "Pow", "PRelu", "ReduceSum",
        "Relu", "Reshape", "Round", "Selu", "Shape", "Sigmoid", "Sign", "Slice", "Softplus",
        "Squeeze", "Sub", "Tanh", "Transpose", "Unfold", "Unsqueeze", "Where",
    ]
)  # fmt: skip
"""The 58 operators that Concrete ML 1.9 quantizes."""

_LEFT_OUT = -(2**31)
"""An end that stands for "as far as there is" in a slice that runs backwards."""


def refusal(graph: Graph, node: Node, decided: NodePlan) -> str:
    """Return why Concrete ML 1.9 would refuse a node; empty if it takes it."""
    title = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if node.op_type in (PAIR, DYNAMIC):
        return "it reads quantizers as Brevitas' Quant only, not as QuantizeLinear"
    if title not in CONCRETE_ML_OPS:
        return f"it does not know {title}"
    if sum(bool(name) for name in node.outputs) > 1:
        return "it takes one output per node"
    if decided.treatment is Treatment.RAW:
        return ""  # it computes shapes and indices as they are
    if decided.treatment is Treatment.FLOAT and node.op_type != "ConstantOfShape":
        return "it takes this operator on one integer tensor and constants only"
    rule = _REFUSALS.get(node.op_type)
    return rule(graph, node) if rule else ""


def departure(graph: Graph, node: Node) -> str:
    """Return how what Concrete ML computes for a node it takes differs from ONNX; empty if not."""
    rule = _DEPARTURES.get(node.op_type)
    return rule(graph, node) if rule else ""


def refusal_of_file(graph: Graph, plans: tuple[NodePlan, ...]) -> str:
    """Return why Concrete ML would refuse the file whose nodes it takes; empty if it reads it."""
    opset = graph.opsets.get("", 0)
    if opset != CONCRETE_ML_OPSET:
        return (
            f"it reads operator set {CONCRETE_ML_OPSET} only, this is {opset}; the exported "
            "script converts"
        )
    for node in onnx.ModelProto.FromString(graph.source).graph.node:
        if node.op_type == "Constant" and node.attribute[0].name != "value":
            return "it reads constants as tensors only, not as numbers or lists"
    if _is_chain(graph, plans):
        return "it refuses a chain of matrix products without a function between them"
    return ""


def _is_chain(graph: Graph, plans: tuple[NodePlan, ...]) -> bool:
    """Tell whether a graph consists of products, of which one reads another's result.

    Such a graph Concrete ML calibrates by formula, and a product's zero points, one per output
    neuron, then meet the next one's weights.
    """
    made = {name for node in graph.nodes for name in node.outputs}
    read = any(made.intersection(node.inputs) for node in graph.nodes)
    return read and all(decided.op_class is Gemm for decided in plans)


def _constant(graph: Graph, node: Node, position: int) -> AnyArray | None:
    """Return a constant input; None if it is left out or depends on data."""
    names = node.inputs[position : position + 1]
    return graph.constants.get(names[0]) if names else None


def _rank(graph: Graph, node: Node) -> int:
    """Return how many axes a node's first input has; 0 if nobody knows."""
    return len(graph.shapes.get(node.inputs[0], ()))


def _conv(graph: Graph, node: Node) -> str:
    attributes = node.attributes
    if _rank(graph, node) > 4:
        return "it convolves one or two axes"
    if any(step != 1 for step in attributes.get("dilations", ())):
        return "it does not dilate"
    wanted = ("kernel_shape", "pads", "strides", "dilations")
    missing = [name for name in wanted if name not in attributes]
    if missing:
        return f"it wants {' and '.join(missing)} spelled out"
    return "it wants explicit pads and no auto_pad" if "auto_pad" in attributes else ""


def _pool(graph: Graph, node: Node) -> str:
    """Return what a mean and a maximum over windows have in common."""
    if _rank(graph, node) not in (0, 4):
        return "it pools two axes"
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET" or "pads" not in node.attributes:
        return "it wants explicit pads"
    return ""


def _average_pool(graph: Graph, node: Node) -> str:
    if node.attributes.get("count_include_pad", 1) == 0:
        return "it wants count_include_pad=1"
    return _pool(graph, node)


def _max_pool(graph: Graph, node: Node) -> str:
    if node.attributes.get("ceil_mode", 0):
        return "it does not take ceil_mode"
    if node.attributes.get("storage_order", 0):
        return "it does not take storage_order"
    return _pool(graph, node)


def _gemm(graph: Graph, node: Node) -> str:
    if node.attributes.get("alpha", 1.0) != 1.0:
        return "it wants alpha=1"
    if node.attributes.get("beta", 1.0) not in (0.0, 1.0):
        return "it wants beta of 0 or 1"
    if any(name and name not in graph.constants for name in node.inputs[2:]):
        return "it wants a constant bias"
    return _product(graph, node)


def _product(graph: Graph, node: Node) -> str:
    """Return whether a product's constant comes first, which does not compile."""
    first = node.inputs[0] in graph.constants
    return "it wants the constant factor second" if first else ""


def _matmul(graph: Graph, node: Node) -> str:
    right = graph.shapes.get(node.inputs[1], np.shape(graph.constants.get(node.inputs[1], 0)))
    if len(right) not in (0, 2, 3):
        return "its second factor has two or three axes"
    return _product(graph, node)


def _unfold(graph: Graph, node: Node) -> str:
    if len(node.attributes["kernel_shape"]) != 2 or _rank(graph, node) not in (0, 4):
        return "it unfolds two axes"
    if "pads" not in node.attributes or "dilations" in node.attributes:
        return "it wants pads spelled out and no dilations"
    return "it quantizes it but its ONNX checker refuses the file"


def _sum(graph: Graph, node: Node) -> str:
    """Return whether one of the operands is made of shapes: neither constant nor encrypted."""
    of_shapes = any(_made_of_shapes(graph, name) for name in node.inputs)
    return (
        "it adds constants and encrypted tensors, not what is made of shapes" if of_shapes else ""
    )


def _made_of_shapes(graph: Graph, name: str) -> bool:
    maker = _maker(graph, name)
    return maker is not None and maker.op_type == "ConstantOfShape"


def _cast(graph: Graph, node: Node) -> str:
    del graph
    real = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.BOOL)
    return "" if node.attributes.get("to") in real else "it casts to float, double or bool only"


def _clip(graph: Graph, node: Node) -> str:
    del graph
    both = len(node.inputs) == 3 and all(node.inputs)
    return "" if both else "it wants both ends spelled out"


def _extreme(graph: Graph, node: Node) -> str:
    one = any(name in graph.constants for name in node.inputs)
    return "" if len(node.inputs) == 2 and one else "it takes one tensor and one constant"


def _transpose(graph: Graph, node: Node) -> str:
    del graph
    return "" if "perm" in node.attributes else "it wants perm spelled out"


def _gather(graph: Graph, node: Node) -> str:
    indices = _constant(graph, node, 1)
    others = indices is not None and bool(np.any((indices != 0) & (indices != -1)))
    samples = node.attributes.get("axis", 0) == 0 and others
    return "it runs one sample at a time, and gathers none of several" if samples else ""


def _comparison(graph: Graph, node: Node) -> str:
    compared = any(name in graph.constants for name in node.inputs)
    return "" if compared else "it compares with a constant only"


def _concat(graph: Graph, node: Node) -> str:
    if any(name in graph.constants for name in node.inputs):
        return "it does not join constants"
    if len({_origin(graph, name) for name in node.inputs}) == 1:
        return ""
    return "it refuses inputs whose scales differ, as those of different layers do"


_KEEPS_SCALE = frozenset(
    ["Expand", "Flatten", "Gather", "Pad", "Reshape", "Slice", "Squeeze", "Transpose",
     "Unsqueeze"]
)  # fmt: skip


def _origin(graph: Graph, name: str) -> str:
    """Return the tensor whose range decides the scale of `name`."""
    maker = _maker(graph, name)
    while maker is not None and maker.op_type in _KEEPS_SCALE:
        name = maker.inputs[0]
        maker = _maker(graph, name)
    return name


def _maker(graph: Graph, name: str) -> Node | None:
    return next((node for node in graph.nodes if name in node.outputs), None)


def _pad(graph: Graph, node: Node) -> str:
    if node.attributes.get("mode") != "constant":
        return 'it pads with a constant only, and wants mode="constant" spelled out'
    value = _constant(graph, node, 2)
    if value is not None and np.any(value != 0):
        return "it pads with 0 only"
    pads = _constant(graph, node, 1)
    if _rank(graph, node) not in (0, 4) or (pads is not None and np.any(pads[[0, 1, 4, 5]])):
        return "it pads the two axes of an image only"
    return ""


def _reduce_sum(graph: Graph, node: Node) -> str:
    axes = _constant(graph, node, 1)
    if axes is None:
        return "it wants constant axes spelled out"
    rank = _rank(graph, node)
    samples = any(int(axis) == 0 or (rank and int(axis) == -rank) for axis in np.ravel(axes))
    return "it does not sum over samples" if samples else ""


def _reshape(graph: Graph, node: Node) -> str:
    if node.attributes.get("allowzero", 0):
        return "it does not take allowzero"
    shape = _constant(graph, node, 1)
    kept = shape is not None and bool(np.any(shape == 0))
    return "it takes -1 for the samples, not 0" if kept else ""


def _expand(graph: Graph, node: Node) -> str:
    shape, given = _constant(graph, node, 1), graph.shapes.get(node.inputs[0], ())
    if shape is None or not given:
        return ""
    if len(shape) < len(given):
        return "it wants a target with as many axes as the input"
    narrowed = any(
        new == 1 != old for new, old in zip(shape[len(shape) - len(given) :], given, strict=True)
    )
    return "it wants every size of the target spelled out" if narrowed else ""


def _slice(graph: Graph, node: Node) -> str:
    starts, ends, axes, steps = (_constant(graph, node, i) for i in (1, 2, 3, 4))
    if axes is None and starts is not None and len(starts) < _rank(graph, node):
        return "it wants axes spelled out"
    if steps is None or ends is None:
        return ""
    stops = any(step < 0 and end > _LEFT_OUT for step, end in zip(steps, ends, strict=True))
    return "it slices backwards to the end only" if stops else ""


def _average_departs(graph: Graph, node: Node) -> str:
    del graph
    pads = any(node.attributes.get("pads", ())) or node.attributes.get("ceil_mode", 0)
    counts = "count_include_pad" in node.attributes or not pads
    return "" if counts else "it averages the padding, against ONNX's default"


def _maximum_departs(graph: Graph, node: Node) -> str:
    del graph
    padded = any(node.attributes.get("pads", ()))
    return (
        "it pads with 0.0, against ONNX, which tells where all values are negative"
        if padded
        else ""
    )


def _flatten_departs(graph: Graph, node: Node) -> str:
    del graph
    two = node.attributes.get("axis", 1) == 1
    return "" if two else "it keeps all axes before `axis`, against ONNX"


def _cast_departs(graph: Graph, node: Node) -> str:
    del graph
    truth = node.attributes.get("to") == TensorProto.BOOL
    return "it keeps the numbers, against ONNX" if truth else ""


def _prelu_departs(graph: Graph, node: Node) -> str:
    slope = _constant(graph, node, 1)
    whole = slope is not None and not np.any(slope < 0)
    return "" if whole else "it takes negative slopes as 0 and adds them above, against ONNX"


def _unsqueeze_departs(graph: Graph, node: Node) -> str:
    axes = _constant(graph, node, 1)
    one = axes is None or np.size(axes) == 1
    return "" if one else "it puts several new axes in other places than ONNX"


def _filled_departs(graph: Graph, node: Node) -> str:
    del graph
    filled = bool(np.any(node.attributes.get("value", 0)))
    return "it fills with 0 whatever `value` says, against ONNX" if filled else ""


_REFUSALS: dict[str, Callable[[Graph, Node], str]] = {
    "Add": _sum,
    "AveragePool": _average_pool,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Equal": _comparison,
    "Expand": _expand,
    "Gather": _gather,
    "Gemm": _gemm,
    "Greater": _comparison,
    "GreaterOrEqual": _comparison,
    "Less": _comparison,
    "LessOrEqual": _comparison,
    "MatMul": _matmul,
    "Max": _extreme,
    "MaxPool": _max_pool,
    "Min": _extreme,
    "Pad": _pad,
    "ReduceSum": _reduce_sum,
    "Reshape": _reshape,
    "Slice": _slice,
    "Sub": _sum,
    "Transpose": _transpose,
    "Unfold": _unfold,
}

_DEPARTURES: dict[str, Callable[[Graph, Node], str]] = {
    "AveragePool": _average_departs,
    "Cast": _cast_departs,
    "ConstantOfShape": _filled_departs,
    "Flatten": _flatten_departs,
    "MaxPool": _maximum_departs,
    "PRelu": _prelu_departs,
    "Unsqueeze": _unsqueeze_departs,
}
