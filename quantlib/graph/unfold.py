"""Unfold, Concrete ML's own operator: spelled out in ONNX to be run, kept whole to be quantized."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import helper, numpy_helper

from quantlib.errors import UnsupportedOpError

if TYPE_CHECKING:
    import onnx

OP_TYPE = "Unfold"

_FIRST_OPSET = 11
"""Operator set in which Pad and Slice take their numbers as inputs."""

_TO_THE_END = np.iinfo(np.int64).max


def is_unfold(node: onnx.NodeProto) -> bool:
    """Tell whether a node is Concrete ML's Unfold, which has no schema."""
    return node.op_type == OP_TYPE and not node.domain


def expand(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Replace every Unfold of `model` by nodes of ONNX with the same output name, in place.

    Parameters
    ----------
    model : onnx.ModelProto
        Every node has a name of its own.

    Returns
    -------
    dict of str to onnx.NodeProto
        Which node the new ones, by name, stand for, as `lower_quantizers` tells it; an Unfold of
        a constant is not among them, its replacement is folded.

    Raises
    ------
    UnsupportedOpError
        A node without a kernel shape, with members of unequal length, or an operator set
        before 11.
    """
    replaced: dict[str, onnx.NodeProto] = {}
    if not any(map(is_unfold, model.graph.node)):
        return replaced
    constants = {tensor.name for tensor in model.graph.initializer}
    constants.update(n.output[0] for n in model.graph.node if n.op_type == "Constant")
    opset = max((e.version for e in model.opset_import if not e.domain), default=0)
    nodes: list[onnx.NodeProto] = []
    for node in list(model.graph.node):
        if is_unfold(node):
            group = _Expansion(model, node, opset).nodes
            nodes += group
            if node.input[0] not in constants:
                replaced.update((part.name, node) for part in group)
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return replaced


class _Expansion:
    """One Unfold as a padded input, one strided slice per place in the kernel, and their join.

    Nothing of it depends on the number of channels, which many files do not tell.
    """

    def __init__(self, model: onnx.ModelProto, node: onnx.NodeProto, opset: int) -> None:
        self.graph = model.graph
        self.node = node
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[tuple[int, ...], str] = {}
        kernel, strides, dilations, pads = self._attributes(opset)
        axes = list(range(2, 2 + len(kernel)))
        half = len(kernel)
        x = node.input[0]
        if any(pads):
            x = self._add("Pad", [x, self._const([0, 0, *pads[:half], 0, 0, *pads[half:]])])
        rows = []
        for tap in np.ndindex(*kernel):
            left = [(k - 1 - t) * d for k, t, d in zip(kernel, tap, dilations, strict=True)]
            bounds = (
                [t * d for t, d in zip(tap, dilations, strict=True)],
                [-size or _TO_THE_END for size in left],
                axes,
                strides,
            )
            seen = self._add("Slice", [x, *map(self._const, bounds)])
            rows.append(self._add("Reshape", [seen, self._const([0, 0, 1, -1])]))
        # (N, C, K, L) -> (N, L, C, K) -> (N, L, C * K) -> (N, C * K, L)
        joined = self._add("Concat", rows, axis=2)
        turned = self._add("Transpose", [joined], perm=[0, 3, 1, 2])
        merged = self._add("Reshape", [turned, self._const([0, 0, -1])])
        self._add("Transpose", [merged], perm=[0, 2, 1])
        self.nodes[-1].name, self.nodes[-1].output[0] = node.name, node.output[0]

    def _attributes(self, opset: int) -> tuple[list[int], ...]:
        """Return kernel, strides, dilations and pads, or raise UnsupportedOpError."""
        given = {a.name: list(a.ints) for a in self.node.attribute}
        kernel = given.get("kernel_shape", [])
        ones = [1] * len(kernel)
        strides, dilations = given.get("strides", ones), given.get("dilations", ones)
        pads = given.get("pads", [0] * (2 * len(kernel)))
        wired = len(self.node.input) == len(self.node.output) == 1
        lengths = (len(strides), len(dilations), len(pads) / 2)
        if not wired:
            fault = "wants one input and one output"
        elif not kernel or any(length != len(kernel) for length in lengths):
            fault = "wants kernel_shape, and strides and pads that fit it"
        elif min(*kernel, *strides, *dilations) < 1 or min(pads) < 0 or math.prod(kernel) > 4096:
            fault = "wants positive sizes, pads of at least 0 and at most 4096 places in a kernel"
        elif opset < _FIRST_OPSET:
            fault = f"wants operator set {_FIRST_OPSET} or newer, this is {opset}"
        else:
            return kernel, strides, dilations, pads
        raise UnsupportedOpError(
            f"node {self.node.name!r}: Unfold {fault}; correct the node and export again.",
            op_type=OP_TYPE,
            node_name=self.node.name,
        )

    def _const(self, values: list[int]) -> str:
        """Return the name of a constant, one for equal values."""
        key = tuple(values)
        if key not in self.constants:
            name = f"{self.node.name}/{OP_TYPE}/c{len(self.constants)}"
            array = np.asarray(values, dtype=np.int64)
            self.graph.initializer.append(numpy_helper.from_array(array, name))
            self.constants[key] = name
        return self.constants[key]

    def _add(self, op_type: str, inputs: list[str], **attributes: Any) -> str:
        name = f"{self.node.name}/{OP_TYPE}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], name, **attributes))
        return name
