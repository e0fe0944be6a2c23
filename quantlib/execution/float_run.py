"""Every tensor of a model in float, from ONNX Runtime."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

import onnx

from quantlib import breadcrumbs
from quantlib.errors import UnsupportedOpError
from quantlib.execution.calls import calls, joined
from quantlib.execution.inputs import in_model_precision
from quantlib.graph.faults import failing, in_words, why
from quantlib.graph.runtime import open_session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnxruntime as ort

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph


class _Sessions:
    """The sessions opened last, bounded in number and in bytes of their models.

    The last one stays whatever its size: it is asked for again and again.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._held: OrderedDict[tuple[bytes, tuple[str, ...]], ort.InferenceSession] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, source: bytes, extra: tuple[str, ...]) -> ort.InferenceSession:
        """Return the session of a model with further outputs, opened when it is new."""
        key = source, extra
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        opened = _session(source, extra)
        with self._lock:
            self._held[key] = opened
            while len(self._held) > 1 and (
                len(self._held) > self._most
                or sum(len(held) for held, _ in self._held) > self._most_bytes
            ):
                self._held.popitem(last=False)
        return opened


_SESSIONS = _Sessions(most=8, most_bytes=64 * 2**20)


def _session(source: bytes, extra: tuple[str, ...]) -> ort.InferenceSession:
    """Open the model with further tensors as outputs."""
    model = onnx.ModelProto.FromString(source)
    present = {value.name for value in model.graph.output}
    for name in extra:
        if name not in present:
            model.graph.output.append(onnx.ValueInfoProto(name=name))
    return open_session(model.SerializeToString())


def float_names(graph: Graph) -> tuple[str, ...]:
    """Return the tensors that the float model makes, in the order of the graph's nodes.

    What operators on integers are spelled out into is not among them.
    """

    def made() -> frozenset[str]:
        source = onnx.ModelProto.FromString(graph.source).graph
        return frozenset(name for node in source.node for name in node.output if name)

    known = graph.fact("tensors of the float model", made)
    produced = [name for node in graph.nodes for name in node.outputs if name in known]
    return tuple(dict.fromkeys([*produced, *graph.output_names]))


def float_batches(
    graph: Graph, inputs: Sequence[AnyArray], *, tensors: Sequence[str]
) -> Iterator[dict[str, AnyArray]]:
    """Yield the named tensors for consecutive calls; see `quantlib.execution.calls`.

    Parameters
    ----------
    graph : Graph
        The model.
    inputs : sequence of arrays
        One per model input, checked.
    tensors : sequence of str
        Tensor names of the original model: intermediate ones or outputs.

    Yields
    ------
    dict of str to array
        In the model's own precision (float32 for most models).

    Raises
    ------
    UnsupportedOpError
        ONNX Runtime fails on the data.
    """
    wanted = tuple(dict.fromkeys(tensors))
    try:
        session = _SESSIONS.get(graph.source, wanted)
    except Exception as error:  # a model that no data ever ran
        raise _failure(graph, {}, error) from error
    for call in calls(graph, inputs):
        names = (info.name for info in graph.inputs)
        feeds = dict(zip(names, in_model_precision(graph, call), strict=True))
        breadcrumbs.leave("ONNX Runtime")
        try:
            results = session.run(list(wanted), feeds)
        except Exception as error:  # ONNX Runtime's own kinds share no base class
            raise _failure(graph, feeds, error) from error
        yield dict(zip(wanted, results, strict=True))


def _failure(graph: Graph, feeds: Mapping[str, AnyArray], error: Exception) -> UnsupportedOpError:
    """Return the error for data on which the model does not run, with the node at fault."""
    nodes = onnx.ModelProto.FromString(graph.source).graph.node
    node = failing(error, nodes)
    what = in_words(node) if node is not None else "the model"
    cause = why(error, {name: value.shape for name, value in feeds.items()})
    return UnsupportedOpError(
        f"{graph.name}: {what} cannot be computed: {cause}; check the model and the shape of the "
        "data.",
        op_type=node.op_type if node is not None else "",
        node_name=node.name if node is not None else "",
    )


def float_tensors(
    graph: Graph, inputs: Sequence[AnyArray], *, tensors: Sequence[str]
) -> dict[str, AnyArray]:
    """Return the named tensors for all samples; see `float_batches`."""
    batches = list(float_batches(graph, inputs, tensors=tensors))
    return {name: joined(graph, name, [batch[name] for batch in batches]) for name in batches[0]}
