"""What will happen to each node, said before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis import verdicts
from quantlib.execution.own_grids import runs_alone
from quantlib.execution.treatments import plan, unseen_nodes
from quantlib.graph.carried import DYNAMIC, carried_quantizer, is_carrier
from quantlib.ops.base import Treatment, WeightedOp

if TYPE_CHECKING:
    from quantlib.execution.treatments import NodePlan
    from quantlib.graph.model import Graph, Node


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
    departure : str
        How Concrete ML's result differs from ONNX's where it accepts the node; empty if it is
        the same.
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
    departure: str = ""

    @property
    def verdict(self) -> str:
        """What Concrete ML says of the node, in a few words."""
        if self.refusal:
            return self.refusal
        return f"it accepts it but {self.departure[3:]}" if self.departure else "accepts it"


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
        refusal=verdicts.refusal_of_file(graph, plans),
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
        refusal=verdicts.refusal(graph, node, decided),
        carried_bits=_carried_bits(graph, node),
        departure=verdicts.departure(graph, node),
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
