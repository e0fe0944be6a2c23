"""What an operator computes in float: asked of the onnx package, unless it is not in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from quantlib.errors import UnsupportedOpError
from quantlib.graph.faults import why
from quantlib.graph.float_definitions import DEFINITIONS
from quantlib.graph.islands import given_as, plain, single_node_model, with_plain_outputs
from quantlib.graph.runtime import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    import onnxruntime as ort

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Node

    _Opened: TypeAlias = tuple[ort.InferenceSession, list[str], dict[str, str]]
    """A session, the names of its outputs, and by which names its inputs are fed."""


_MOST_SESSIONS = 8
"""Sessions that one node keeps open, each for other types and ranks."""


class NodeFunction:
    """A node as a function of arrays, in the precision of its arguments.

    Runs on the reference implementation of the onnx package: float64 arguments give float64
    results, which the reference's numbers need and ONNX Runtime does not offer. Where that
    implementation rounds to float32 on the way, `quantlib.graph.float_definitions` takes its
    place.

    Raises
    ------
    UnsupportedOpError
        The onnx package has no implementation of the operator.
    """

    def __init__(self, node: Node, opsets: Mapping[str, int]) -> None:
        self._node = node
        self._outputs = [name for name in node.outputs if name]
        self._definition = None if node.domain else DEFINITIONS.get(node.op_type)
        if self._definition is not None:
            return
        proto = onnx.NodeProto.FromString(node.proto)
        names = list(dict.fromkeys(name for name in node.inputs if name))
        graph = helper.make_graph(
            [proto],
            node.op_type,
            [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in names],
            [
                helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None)
                for name in self._outputs
            ],
        )
        imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
        try:
            self._run = ReferenceEvaluator(helper.make_model(graph, opset_imports=imports))
        except Exception as error:
            raise UnsupportedOpError(
                f"node {node.name!r}: operator {node.op_type!r} has no implementation that can be "
                f"run in float64; remove it from the model or replace it by supported operators.",
                op_type=node.op_type,
                node_name=node.name,
            ) from error

    def __call__(self, *arguments: AnyArray | None) -> tuple[Any, ...]:
        """Return one array per declared output, None for outputs and inputs that are left out."""
        feeds = _in_one_precision(
            {
                name: value
                for name, value in zip(self._node.inputs, arguments, strict=False)
                if name and value is not None
            }
        )
        try:
            with np.errstate(all="ignore"):  # infinities are found where ranges are measured
                results = self._evaluate(feeds, arguments)
        except Exception as error:
            raise _failure(self._node, feeds, error) from error
        named = dict(zip(self._outputs, results, strict=True))
        return tuple(plain(np.asarray(named[n])) if n else None for n in self._node.outputs)

    def _evaluate(
        self, feeds: Mapping[str, AnyArray], arguments: Sequence[AnyArray | None]
    ) -> Sequence[Any]:
        """Compute the outputs that are not left out."""
        if self._definition is None:
            results: Sequence[Any] = self._run.run(None, dict(feeds))
            return results
        return (self._definition(*arguments, **self._node.attributes),)


class RuntimeFunction:
    """A node as a function of arrays, run by ONNX Runtime in the model's own precision.

    For operators that nobody quantizes: ONNX Runtime keeps to the model's operator set, where
    the onnx package has one meaning for all (Softmax before and since 13).

    Raises
    ------
    UnsupportedOpError
        When called: ONNX Runtime cannot run the node on these arrays.
    """

    def __init__(self, node: Node, opsets: Mapping[str, int]) -> None:
        self._node = node
        self._opsets = opsets
        self._sessions: dict[tuple[str, ...], _Opened] = {}

    def __call__(self, *arguments: AnyArray | None) -> tuple[Any, ...]:
        """Return one array per declared output, None for outputs and inputs that are left out."""
        node = self._node
        feeds = {
            name: given_as(value, node.kinds.get(name))
            for name, value in zip(node.inputs, arguments, strict=False)
            if name and value is not None and name not in node.fixed
        }
        outputs = [name for name in node.outputs if name]
        try:
            session, names, given = self._session(feeds, outputs)
            results = session.run(names, {given[name]: feeds[name] for name in feeds})
        except Exception as error:
            raise _failure(node, feeds, error) from error
        named = dict(zip(outputs, results, strict=True))
        return tuple(named[name] if name else None for name in node.outputs)

    def _session(self, feeds: dict[str, AnyArray], outputs: list[str]) -> _Opened:
        """Open the node as a model for the types and ranks of `feeds`, once."""
        key = tuple(
            f"{value.dtype}/{value.shape if value.ndim == 1 else value.ndim}"
            if value.dtype.kind in "iu"
            else f"{value.dtype}/{value.ndim}"
            for value in feeds.values()
        )
        if key not in self._sessions:
            if len(self._sessions) == _MOST_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
            model = single_node_model(self._node, self._opsets, feeds, outputs)
            given = dict(zip(feeds, (value.name for value in model.graph.input), strict=True))
            session = open_session(model.SerializeToString())
            kinds = {value.name: value.type for value in session.get_outputs()}
            names = with_plain_outputs(model, kinds, outputs)
            if any(name != source for source, name in names.items()):
                session = open_session(model.SerializeToString())
            self._sessions[key] = session, list(names.values()), given
        return self._sessions[key]


def _failure(node: Node, feeds: Mapping[str, AnyArray], error: Exception) -> UnsupportedOpError:
    cause = why(error, {name: np.shape(value) for name, value in feeds.items()})
    return UnsupportedOpError(
        f"node {node.name!r} ({node.op_type}) cannot be computed: {cause}; check the model and "
        "the shape of the data.",
        op_type=node.op_type,
        node_name=node.name,
    )


def _in_one_precision(feeds: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """Widen narrower floats beside wider ones: the onnx package wants equal dtypes."""
    kinds = {value.dtype for value in feeds.values() if value.dtype.kind == "f"}
    if len(kinds) < 2:
        return feeds
    widest = np.result_type(*kinds)
    return {
        name: value.astype(widest) if value.dtype.kind == "f" else value
        for name, value in feeds.items()
    }


def serialize_node(
    op_type: str,
    name: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    attributes: Mapping[str, Any],
) -> bytes:
    """Return the serialized ONNX node of an operator of ONNX's own domain."""
    proto = helper.make_node(op_type, list(inputs), list(outputs), name=name, **attributes)
    return bytes(proto.SerializeToString())
