"""``quantlib inspect``: a model before anything runs."""

from quantlib.analysis.preflight import Preflight, inspect_model
from quantlib.cli import options, words
from quantlib.cli.console import say, show_table, write_json
from quantlib.cli.documents import model_document
from quantlib.graph.loader import load_model
from quantlib.graph.model import TensorInfo


def inspect(model: options.Model, as_json: options.Json = False) -> None:
    """Show what happens to each node of MODEL.

    Treatment, fused table look-up, fan-in, multiply-accumulates per sample, bits of a grid that
    came with the model, and why Concrete ML would refuse the node.
    """
    graph = load_model(model)
    found = inspect_model(graph)
    if as_json:
        write_json(model_document(graph, found))
        return
    say(f"{graph.name}: {graph.n_parameters} parameters, {len(graph.nodes)} nodes")
    say(f"inputs   {', '.join(map(_tensor, graph.inputs))}")
    say(f"outputs  {', '.join(map(_tensor, graph.outputs))}")
    say()
    columns: dict[str, list[str]] = {
        "node": [node.name for node in found.nodes],
        "operator": [node.op_type for node in found.nodes],
        "treatment": [str(node.treatment) for node in found.nodes],
        "look-up": [words.whole(node.segment) for node in found.nodes],
        "fan-in": [words.whole(node.fan_in) for node in found.nodes],
        "MACs": [words.whole(node.macs) for node in found.nodes],
        "own grid": [words.whole(node.carried_bits) for node in found.nodes],
        "Concrete ML": [node.verdict for node in found.nodes],
    }
    if not found.carried:
        del columns["own grid"]
    show_table(
        list(columns),
        zip(*columns.values(), strict=True),
        words=("node", "operator", "treatment", "Concrete ML"),
    )
    say()
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
