"""What will happen to each node, said before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from onnx import TensorProto

from quantlib.execution.own_grids import runs_alone
from quantlib.execution.treatments import plan, unseen_nodes
from quantlib.graph.carried import DYNAMIC, PAIR, carried_quantizer, is_carrier
from quantlib.ops.base import Treatment, WeightedOp
from quantlib.ops.linear import Gemm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.execution.treatments import NodePlan
    from quantlib.graph.model import Graph, Node

CONCRETE_ML_OPSET = 14

CONCRETE_ML_OPS = frozenset(
    [
        "Abs",
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Cast",
        "Celu",
        "Clip",
        "Concat",
        "ConstantOfShape",
        "Conv",
        "Div",
        "Elu",
        "Equal",
        "Erf",
        "Exp",
        "Expand",
        "Flatten",
        "Floor",
        "Gather",
        "Gemm",
        "Greater",
        "GreaterOrEqual",
        "HardSigmoid",
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Less",
        "LessOrEqual",
        "Log",
        "MatMul",
        "Max",
        "MaxPool",
        "Min",
        "Mul",
        "Neg",
        "Not",
        "onnx.brevitas.Quant",
        "Or",
        "Pad",
        "Pow",
        "PRelu",
        "ReduceSum",
        "Relu",
        "Reshape",
        "Round",
        "Selu",
        "Shape",
        "Sigmoid",
        "Sign",
        "Slice",
        "Softplus",
        "Squeeze",
        "Sub",
        "Tanh",
        "Transpose",
        "Unfold",
        "Unsqueeze",
        "Where",
    ]
)
"""The 58 operators that Concrete ML 1.9 quantizes."""


@dataclass(frozen=True, slots=True)
class NodeReport:
    """One node before anything runs.

    Parameters
    ----------
    name, op_type : str
        Which.
    treatment : Treatment
        What happens to it.
    segment : int or None
        Table look-up it is fused into; nodes of one segment share a number.
    fan_in : int or None
        Products that one accumulator sums.
    macs : int or None
        Multiply-accumulates per sample, where shapes are known.
    refusal : str
        Why Concrete ML would refuse the node; empty if it accepts it.
    carried_bits : int or None
        Width of the grid the model brings: a quantizer's own, or that of a node's weights.
    unseen : bool
        Whether products inside are neither quantized nor bounded.
    convention : str
        What Concrete ML does here otherwise than ONNX, and costs accuracy; empty where nothing.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/digits_cnn.onnx")
    >>> node = ql.inspect_model(graph).nodes[0]
    >>> node.name, str(node.treatment), node.fan_in, node.refusal
    ('/c1/Conv', 'integer', 9, '')
    """

    name: str
    op_type: str
    treatment: Treatment
    segment: int | None
    fan_in: int | None
    macs: int | None
    refusal: str
    carried_bits: int | None = None
    unseen: bool = False
    convention: str = ""


@dataclass(frozen=True, slots=True)
class Preflight:
    """A model before anything runs.

    Parameters
    ----------
    nodes : tuple of NodeReport
        In execution order.
    refusal : str
        Why Concrete ML would refuse the file as it is; empty if it reads it.

    Examples
    --------
    >>> import quantlib as ql
    >>> found = ql.inspect_model(ql.load_model("sample_models/digits_cnn.onnx"))
    >>> len(found.nodes), len(found.refused)
    (10, 0)
    """

    nodes: tuple[NodeReport, ...]
    refusal: str

    @property
    def carried(self) -> tuple[NodeReport, ...]:
        """The nodes whose grid came with the model (quantization-aware training, QDQ)."""
        return tuple(node for node in self.nodes if node.carried_bits is not None)

    @property
    def unseen(self) -> tuple[NodeReport, ...]:
        """The nodes whose products nobody looks into: no limit can be confirmed over them."""
        return tuple(node for node in self.nodes if node.unseen)

    @property
    def conventions(self) -> tuple[NodeReport, ...]:
        """The nodes at which Concrete ML's rules differ from ONNX's and cost accuracy."""
        return tuple(node for node in self.nodes if node.convention)

    @property
    def refused(self) -> tuple[NodeReport, ...]:
        """The nodes that Concrete ML would refuse."""
        return tuple(node for node in self.nodes if node.refusal)


def inspect_model(graph: Graph) -> Preflight:
    """Report treatment, fused segment, size and Concrete ML's verdict of every node.

    Parameters
    ----------
    graph : Graph
        From `load_model`.

    Returns
    -------
    Preflight
        Concat is judged by where its inputs come from; whether their scales differ is known
        only after calibration.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/digits_cnn.onnx")
    >>> {str(node.treatment) for node in ql.inspect_model(graph).nodes} >= {"integer", "mover"}
    True
    """
    plans = plan(graph)
    alone = runs_alone(graph, None)
    unseen = frozenset(unseen_nodes(graph, plans))
    segments = _segments(graph, plans)
    opset = graph.opsets.get("", 0)
    chain = len(plans) > 1 and all(decided.op_class is Gemm for decided in plans)
    if chain:
        refusal = "it refuses or clips a chain of matrix products without a function between them"
    elif opset != CONCRETE_ML_OPSET:
        refusal = (
            f"it reads operator set {CONCRETE_ML_OPSET} only, this is {opset}; the exported "
            "script converts"
        )
    else:
        refusal = ""
    return Preflight(
        nodes=tuple(
            _report(
                graph,
                node,
                decided,
                segment,
                unseen=node.name in unseen,
                convention="" if alone else _convention(graph, node),
            )
            for node, decided, segment in zip(graph.nodes, plans, segments, strict=True)
        ),
        refusal=refusal,
    )


def _segments(graph: Graph, plans: tuple[NodePlan, ...]) -> list[int | None]:
    """Number the table look-ups: nodes that read each other's results share one."""
    of_tensor: dict[str, int] = {}
    numbers: list[int | None] = []
    count = 0
    for node, decided in zip(graph.nodes, plans, strict=True):
        if decided.treatment is not Treatment.LOOKUP:
            numbers.append(None)
            continue
        joined = [of_tensor[name] for name in node.inputs if name in of_tensor]
        if not joined:
            count += 1
        number = joined[0] if joined else count
        of_tensor.update(dict.fromkeys(node.outputs, number))
        numbers.append(number)
    return numbers


def _report(
    graph: Graph,
    node: Node,
    decided: NodePlan,
    segment: int | None,
    *,
    unseen: bool,
    convention: str,
) -> NodeReport:
    fan_in, macs = _products(graph, node, decided)
    return NodeReport(
        name=node.name,
        op_type=node.op_type,
        treatment=decided.treatment,
        segment=segment,
        fan_in=fan_in,
        macs=macs,
        refusal=_refusal(graph, node, decided),
        carried_bits=_carried_bits(graph, node),
        unseen=unseen,
        convention=convention,
    )


def _convention(graph: Graph, node: Node) -> str:
    """Return what is done at a node as Concrete ML does it, unless told otherwise."""
    if node.domain:
        return ""
    if node.op_type == "BatchNormalization":
        return "its output range leaves out 0.1 % of the values on each side, as in Concrete ML"
    padded = any(node.attributes.get("pads", ())) or str(
        node.attributes.get("auto_pad", "NOTSET")
    ).startswith("SAME")
    if node.op_type == "MaxPool" and padded and not _never_negative(graph, node.inputs[0]):
        return "it pads with 0.0, which wins over negative values, as in Concrete ML"
    return ""


def _never_negative(graph: Graph, name: str) -> bool:
    """Tell whether the operator before makes no negative value."""
    maker = next((node for node in graph.nodes if name in node.outputs), None)
    return maker is not None and maker.op_type in ("Relu", "Sigmoid", "Abs", "Softmax", "Exp")


def _carried_bits(graph: Graph, node: Node) -> int | None:
    """Return the width of a quantizer node's grid, or of the weights a node reads."""
    if node.op_type == DYNAMIC:
        return 8
    if is_carrier(node):
        grid = carried_quantizer(node, [graph.constants.get(name) for name in node.inputs[1:]])
    else:
        grid = next((graph.grids[name] for name in node.inputs[:2] if name in graph.grids), None)
    return grid.n_bits if grid else None


def _products(graph: Graph, node: Node, decided: NodePlan) -> tuple[int | None, int | None]:
    """Return fan-in and multiply-accumulates per sample of an operator with weights."""
    if decided.treatment is not Treatment.INTEGER or not issubclass(decided.op_class, WeightedOp):
        return None, None
    op = decided.op_class.from_node(node, graph.opsets)
    weight = graph.constants.get(node.inputs[1])
    shape = weight.shape if weight is not None else graph.shapes.get(node.inputs[1])
    if not shape or not all(isinstance(size, int) for size in shape):
        return None, None
    sizes = tuple(int(size) for size in shape if isinstance(size, int))
    input_shape, output_shape = (graph.shapes.get(n, ()) for n in (node.inputs[0], node.outputs[0]))
    return op.fan_in(sizes), op.macs(sizes, input_shape, output_shape)


def _refusal(graph: Graph, node: Node, decided: NodePlan) -> str:
    """Return why Concrete ML 1.9 would refuse a node."""
    title = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    if node.op_type in (PAIR, DYNAMIC):
        return "it reads quantizers as Brevitas' Quant only, not as QuantizeLinear"
    if title not in CONCRETE_ML_OPS:
        return f"it does not know {title}"
    if sum(bool(name) for name in node.outputs) > 1:
        return "it takes one output per node"
    if decided.treatment is Treatment.FLOAT:
        return "it takes this operator on one integer tensor and constants only"
    rule = _RULES.get(node.op_type)
    return rule(node.attributes, _rank(graph, node)) if rule else ""


def _rank(graph: Graph, node: Node) -> int:
    return len(graph.shapes.get(node.inputs[0], ()))


def _conv(attributes: Mapping[str, Any], rank: int) -> str:
    if rank > 4:
        return "it convolves one or two axes"
    if any(step != 1 for step in attributes.get("dilations", ())):
        return "it does not dilate"
    if "kernel_shape" not in attributes or "dilations" not in attributes:
        return "it wants kernel_shape and dilations spelled out"
    return "" if attributes.get("auto_pad", "NOTSET") == "NOTSET" else "it wants explicit pads"


def _average_pool(attributes: Mapping[str, Any], rank: int) -> str:
    if rank not in (0, 4):
        return "it pools two axes"
    if attributes.get("auto_pad", "NOTSET") != "NOTSET":
        return "it wants explicit pads"
    if attributes.get("count_include_pad", 1) == 0:
        return "it wants count_include_pad=1"
    counts = "count_include_pad" in attributes or not any(attributes.get("pads", ()))
    return "" if counts else "it accepts it but averages the padding, against ONNX's default"


def _max_pool(attributes: Mapping[str, Any], rank: int) -> str:
    if rank not in (0, 4):
        return "it pools two axes"
    return "it does not take ceil_mode" if attributes.get("ceil_mode", 0) else ""


def _gemm(attributes: Mapping[str, Any], rank: int) -> str:
    del rank
    if attributes.get("alpha", 1.0) != 1.0:
        return "it wants alpha=1"
    return "" if attributes.get("beta", 1.0) in (0.0, 1.0) else "it wants beta of 0 or 1"


def _unfold(attributes: Mapping[str, Any], rank: int) -> str:
    if len(attributes["kernel_shape"]) != 2 or rank not in (0, 4):
        return "it unfolds two axes"
    if "pads" not in attributes or "dilations" in attributes:
        return "it wants pads spelled out and no dilations"
    return "it quantizes it but its ONNX checker refuses the file"


def _flatten(attributes: Mapping[str, Any], rank: int) -> str:
    del rank
    two = attributes.get("axis", 1) == 1
    return "" if two else "it accepts it but keeps all axes before `axis`, against ONNX"


def _cast(attributes: Mapping[str, Any], rank: int) -> str:
    del rank
    truth = attributes.get("to") == TensorProto.BOOL
    return "it accepts it but keeps the numbers, against ONNX" if truth else ""


def _concat(attributes: Mapping[str, Any], rank: int) -> str:
    del attributes, rank
    return "it refuses inputs whose scales differ, as those of different layers do"


def _pad(attributes: Mapping[str, Any], rank: int) -> str:
    del rank
    constant = attributes.get("mode", "constant") == "constant"
    return "" if constant else "it pads with a constant only"


_RULES: dict[str, Callable[[Mapping[str, Any], int], str]] = {
    "Conv": _conv,
    "AveragePool": _average_pool,
    "MaxPool": _max_pool,
    "Gemm": _gemm,
    "Concat": _concat,
    "Pad": _pad,
    "Unfold": _unfold,
    "Flatten": _flatten,
    "Cast": _cast,
}
