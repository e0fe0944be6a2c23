"""``quantlib inspect``: a model before anything runs."""

from pathlib import Path
from typing import Annotated

import typer

from quantlib import wording
from quantlib.analysis.preflight import Preflight
from quantlib.cli import options
from quantlib.cli.console import say, show_table, write_json
from quantlib.cli.documents import model_document
from quantlib.errors import ModelLoadError
from quantlib.graph.loader import load_model
from quantlib.graph.model import TensorInfo
from quantlib.questions.evaluations import Inspected, inspected
from quantlib.workers import Content, Session, Source
from quantlib.workers.desk import Desk

Isolated = Annotated[
    bool,
    typer.Option(
        "--isolated",
        help="Read the model in a process of its own with limits of memory and time, as the app "
        "does: for files that nobody vouches for.",
    ),
]


def inspect(
    model: options.Model, isolated: Isolated = False, as_json: options.Json = False
) -> None:
    """Show what happens to each node of MODEL.

    Treatment, fused table look-up, fan-in, multiply-accumulates per sample, bits of a grid that
    came with the model, whether products inside are looked into, and why Concrete ML would refuse
    the node; then what is done as Concrete ML does it and costs accuracy.
    """
    read = _isolated(model) if isolated else Inspected.of(load_model(model))
    found = read.preflight
    if as_json:
        write_json(model_document(read))
        return
    say(f"{read.name}: {read.n_parameters} parameters, {read.n_nodes} nodes")
    say(f"inputs   {', '.join(map(_tensor, read.inputs))}")
    say(f"outputs  {', '.join(map(_tensor, read.outputs))}")
    if read.samples_words:
        say(f"samples  {read.samples_words}")
    for note in read.notes:
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


def _isolated(path: Path) -> Inspected:
    """Ask a worker that may be lost."""
    if not path.is_file():
        raise ModelLoadError(f"{path.name}: there is no such file; check the path.")
    desk = Desk()
    try:
        session = Session(desk)
        session.keep("model", Content(path.stem, path.read_bytes()))
        found: Inspected = session.ask(Source("model", ""), inspected.name).value
    finally:
        desk.close()
    return found


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
