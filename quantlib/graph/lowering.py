"""QONNX's quantizers in ONNX's own operators, so that any runtime runs the model in float."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantlib.errors import UnsupportedOpError
from quantlib.graph.carried import QONNX_DOMAINS, is_qonnx

if TYPE_CHECKING:
    from collections.abc import Mapping

OLDEST_OPSET = 11
"""Round came with it."""


def lower_quantizers(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, onnx.NodeProto]]:
    """Replace QONNX's operators.

    Returns
    -------
    model : ModelProto
        The model itself when it has none.
    originals : dict of str to NodeProto
        Which node the new ones, by name, stand for; the last of each group has the original's
        name, the others have a ``/`` and a number behind it.

    Raises
    ------
    UnsupportedOpError
        The model's operator set is older than Round.
    """
    found = [n for n in model.graph.node if is_qonnx(n.domain, n.op_type)]
    if not found:
        return model, {}
    version = next((entry.version for entry in model.opset_import if not entry.domain), 0)
    if version < OLDEST_OPSET:
        raise UnsupportedOpError(
            f"node {found[0].name!r}: {found[0].op_type} needs operator set {OLDEST_OPSET} or "
            f"newer, the model has {version}; export it again.",
            op_type=found[0].op_type,
            node_name=found[0].name,
        )
    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    del lowered.graph.node[:], lowered.opset_import[:]
    lowered.opset_import.extend(e for e in model.opset_import if e.domain not in QONNX_DOMAINS)
    originals: dict[str, onnx.NodeProto] = {}
    for node in model.graph.node:
        if is_qonnx(node.domain, node.op_type):
            group = _Group(node)
            _WRITERS[node.op_type](group, _attributes(node))
            group.close()
            originals.update((part.name, node) for part in group.nodes)
            lowered.graph.node.extend(group.nodes)
            lowered.graph.initializer.extend(group.constants)
        else:
            lowered.graph.node.append(node)
    return lowered, originals


class _Group:
    """The nodes that replace one node, written one after another."""

    def __init__(self, node: onnx.NodeProto) -> None:
        self.node = node
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op_type: str, *inputs: str) -> str:
        """Append an operator; return its output's name."""
        name = f"{self.node.name}/{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [name], name))
        return name

    def number(self, value: float) -> str:
        """Return the name of a new float constant."""
        name = f"{self.node.name}/c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    def real(self, name: str) -> str:
        """Cast a tensor to float32: widths may be integers."""
        cast = self.add("Cast", name)
        self.nodes[-1].attribute.append(helper.make_attribute("to", onnx.TensorProto.FLOAT))
        return cast

    def close(self) -> None:
        """Give the last node the replaced node's name and output."""
        self.nodes[-1].name = self.node.name
        self.nodes[-1].output[0] = self.node.output[0]


def _attributes(node: onnx.NodeProto) -> dict[str, str | int]:
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in values.items()}


def _clip(group: _Group, codes: str, width: str, attributes: Mapping[str, str | int]) -> str:
    """Clip to the codes of a width."""
    signed, narrow = (int(attributes.get(n, d)) for n, d in (("signed", 1), ("narrow", 0)))
    bits = group.real(width)
    bits = group.add("Sub", bits, group.number(1.0)) if signed else bits
    reach = group.add("Pow", group.number(2.0), bits)
    top = group.add("Sub", reach, group.number(2.0 if narrow and not signed else 1.0))
    low = group.add("Sub", group.number(float(narrow)), reach) if signed else group.number(0.0)
    return group.add("Max", group.add("Min", codes, top), low)


def _round(group: _Group, codes: str, mode: str) -> str:
    """Round by one of QONNX's modes; see `quantlib.core.rounding`."""
    plain = {"ROUND": "Round", "HALF_EVEN": "Round", "CEIL": "Ceil", "FLOOR": "Floor"}
    if mode in plain:
        return group.add(plain[mode], codes)
    size, sign = group.add("Abs", codes), group.add("Sign", codes)
    if mode == "HALF_UP":
        size = group.add("Floor", group.add("Add", size, group.number(0.5)))
    elif mode == "HALF_DOWN":
        size = group.add("Ceil", group.add("Sub", size, group.number(0.5)))
    elif mode == "UP":
        size = group.add("Ceil", size)
    elif mode in {"DOWN", "ROUND_TO_ZERO"}:
        size = group.add("Floor", size)
    else:
        node = group.node
        raise UnsupportedOpError(
            f"node {node.name!r}: {node.op_type} has the rounding mode {mode!r}, which QONNX does "
            "not define; export the model again.",
            op_type=node.op_type,
            node_name=node.name,
        )
    return group.add("Mul", sign, size)


def _write_quant(group: _Group, attributes: Mapping[str, str | int]) -> None:
    x, scale, zero_point, width = group.node.input[:4]
    position = group.add("Add", group.add("Div", x, scale), zero_point)
    codes = _clip(group, position, width, attributes)
    codes = _round(group, codes, str(attributes.get("rounding_mode", "ROUND")).upper())
    group.add("Mul", group.add("Sub", codes, zero_point), scale)


def _write_bipolar(group: _Group, attributes: Mapping[str, str | int]) -> None:
    del attributes
    x, scale = group.node.input[:2]
    negative = group.add("Less", x, group.number(0.0))
    sign = group.add("Where", negative, group.number(-1.0), group.number(1.0))
    group.add("Mul", sign, scale)


def _write_trunc(group: _Group, attributes: Mapping[str, str | int]) -> None:
    x, scale, zero_point, in_width, *rest = group.node.input
    mode = str(attributes.get("rounding_mode", "FLOOR")).upper()
    codes = group.add("Round", group.add("Add", group.add("Div", x, scale), zero_point))
    two = group.number(2.0)
    if len(rest) == 1:
        bits = group.add("Sub", group.real(in_width), group.real(rest[0]))
        codes = _round(group, group.add("Div", codes, group.add("Pow", two, bits)), mode)
        group.add("Mul", group.add("Sub", codes, zero_point), scale)
        return
    out_scale, out_width = rest[0], rest[-1]
    ratio = group.add("Log", group.add("Div", out_scale, scale))
    bits = group.add("Round", group.add("Div", ratio, group.number(float(np.log(2.0)))))
    step = group.add("Pow", two, bits)
    clipped = _clip(group, group.add("Div", codes, step), out_width, attributes)
    codes = _round(group, clipped, mode)
    group.add("Mul", group.add("Sub", codes, group.add("Div", zero_point, step)), out_scale)


_WRITERS = {
    "Quant": _write_quant,
    "IntQuant": _write_quant,
    "BipolarQuant": _write_bipolar,
    "Trunc": _write_trunc,
}
