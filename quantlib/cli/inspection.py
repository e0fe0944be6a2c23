"""``quantlib inspect``: a model before anything runs."""

from quantlib import wording
from quantlib.analysis.preflight import Preflight, inspect_model
from quantlib.cli import options
from quantlib.cli.console import say, show_table, write_json
from quantlib.cli.documents import model_document
from quantlib.graph.loader import load_model
from quantlib.graph.model import TensorInfo


def inspect(model: options.Model, as_json: options.Json = False) -> None:
    """Show what happens to each node of MODEL.

    Treatment, fused table look-up, fan-in, multiply-accumulates per sample, bits of a grid that
    came with the model, whether products inside are looked into, and why Concrete ML would refuse
    the node; then what is done as Concrete ML does it and costs accuracy.
    """
    graph = load_model(model)
    found = inspect_model(graph)
    if as_json:
        write_json(model_document(graph, found))
        return
    say(f"{graph.name}: {graph.n_parameters} parameters, {len(graph.nodes)} nodes")
    say(f"inputs   {', '.join(map(_tensor, graph.inputs))}")
    say(f"outputs  {', '.join(map(_tensor, graph.outputs))}")
    if graph.batch.words:
        say(f"samples  {graph.batch.words}")
    for note in graph.notes:
        say(f"note     {note}")
    say()
    columns: dict[str, list[str]] = {
        "node": [node.name for node in found.nodes],
        "operator": [node.op_type for node in found.nodes],
        "treatment": [str(node.treatment) for node in found.nodes],
        "look-up": [wording.whole(node.segment) for node in found.nodes],
        "fan-in": [wording.whole(node.fan_in) for node in found.nodes],
        "MACs": [wording.whole(node.macs) for node in found.nodes],
        "own grid": [wording.whole(node.carried_bits) for node in found.nodes],
        "inside": ["not looked into" if node.unseen else wording.NOTHING for node in found.nodes],
        "Concrete ML": [node.verdict for node in found.nodes],
    }
    if not found.carried:
        del columns["own grid"]
    if not found.unseen:
        del columns["inside"]
    show_table(
        list(columns),
        zip(*columns.values(), strict=True),
        words=("node", "operator", "treatment", "inside", "Concrete ML"),
    )
    say()
    if words := wording.unseen([node.name for node in found.unseen]):
        say(words)
    for node in found.conventions:
        said = node.departure and not node.refusal  # in the table already
        rule = "it is done so here" if said else node.convention
        say(f"{node.op_type} {node.name}: {rule}; --conventions onnx does not do it.")
    say(_verdict(found))


def _tensor(info: TensorInfo) -> str:
    sizes = " × ".join("?" if size is None else str(size) for size in info.shape)
    return f"{info.name} ({sizes}) {info.dtype}"


def _verdict(found: Preflight) -> str:
    """Return what Concrete ML would say of the model."""
    total = len(found.nodes)
    if found.refused:
        return f"Concrete ML would refuse {len(found.refused)} of {total} nodes."
    if found.refusal:
        return f"Concrete ML would take each node, but {found.refusal}."
    return f"Concrete ML takes all {total} nodes."
