"""What an operator computes in float: asked of the onnx package, unless it is not in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from quantlib.errors import UnsupportedOpError
from quantlib.graph.float_definitions import DEFINITIONS
from quantlib.graph.runtime import open_session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnxruntime as ort

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Node


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
        return tuple(np.asarray(named[n]) if n else None for n in self._node.outputs)

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
        self._sessions: dict[tuple[str, ...], ort.InferenceSession] = {}

    def __call__(self, *arguments: AnyArray | None) -> tuple[Any, ...]:
        """Return one array per declared output, None for outputs and inputs that are left out."""
        feeds = {
            name: value.astype(np.float32) if value.dtype == np.float64 else value
            for name, value in zip(self._node.inputs, arguments, strict=False)
            if name and value is not None
        }
        outputs = [name for name in self._node.outputs if name]
        try:
            results = self._session(feeds, outputs).run(outputs, feeds)
        except Exception as error:
            raise _failure(self._node, feeds, error) from error
        named = dict(zip(outputs, results, strict=True))
        return tuple(named[name] if name else None for name in self._node.outputs)

    def _session(self, feeds: dict[str, AnyArray], outputs: list[str]) -> ort.InferenceSession:
        """Open the node as a model for the dtypes of `feeds`, once."""
        kinds = tuple(f"{value.dtype}/{value.ndim}" for value in feeds.values())
        if kinds not in self._sessions:
            graph = helper.make_graph(
                [onnx.NodeProto.FromString(self._node.proto)],
                self._node.op_type,
                [
                    helper.make_tensor_value_info(
                        name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim
                    )
                    for name, value in feeds.items()
                ],
                [onnx.ValueInfoProto(name=name) for name in outputs],
            )
            imports = [helper.make_opsetid(d, version) for d, version in self._opsets.items()]
            model = helper.make_model(graph, opset_imports=imports, ir_version=10)
            self._sessions[kinds] = open_session(model.SerializeToString())
        return self._sessions[kinds]


def _failure(node: Node, feeds: Mapping[str, AnyArray], error: Exception) -> UnsupportedOpError:
    shapes = ", ".join(str(np.shape(value)) for value in feeds.values())
    reason = " ".join(str(error).split())[:300]
    return UnsupportedOpError(
        f"node {node.name!r}: operator {node.op_type!r} fails on inputs of shape {shapes} "
        f"({reason}); check the model and the shape of the data.",
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
