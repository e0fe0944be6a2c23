"""Operators on integers, spelled out as what they do to the real values on their grids.

An integer tensor with a constant scale and zero point is real values on a grid. Whatever makes,
moves, clips or multiplies such codes is written as the same operation on the real values, between
quantizers that hold the grids; `quantlib.ops` then computes it on integers as it does any other
model that brings its grids.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from quantlib.arrays import read_only
from quantlib.graph.carried import DYNAMIC, OWN_DOMAIN, PAIR, carried_quantizer
from quantlib.graph.mending import unique
from quantlib.graph.model import Node
from quantlib.graph.node_functions import serialize_node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Graph

_DOMAINS = frozenset(["", "com.microsoft"])

_MOVES = frozenset(
    ["Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Gather", "Expand",
     "Identity", "Tile", "MaxPool", "DepthToSpace", "SpaceToDepth"]
)  # fmt: skip
"""What selects or rearranges codes, and does the same to real values."""

_POOL_ATTRIBUTES = (
    "auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides",
)  # fmt: skip

_CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


@dataclass(frozen=True, slots=True)
class _Coded:
    """An integer tensor and the real values it stands for.

    Parameters
    ----------
    real : str
        Tensor of the real values.
    scale, zero_point : str
        Their names; the zero point is ``""`` where it is 0.
    kind : str
        NumPy name of the integer type.
    codes : (int, int) or None
        Lowest and highest code where the type holds more.
    """

    real: str
    scale: str
    zero_point: str
    kind: str
    codes: tuple[int, int] | None = None


def spell_out_integers(graph: Graph) -> Graph:
    """Write operators on integers as operators on real values between quantizers.

    Parameters
    ----------
    graph : Graph
        Constants folded, quantizers and clips of constant codes kept.

    Returns
    -------
    Graph
        A DequantizeLinear whose codes are known is the last of these operators; one that reads
        integers from elsewhere stays, with their type and rank as attributes. What depends on
        scales that are no constants stays as it is.
    """
    return _Speller(graph).spelled()


class _Speller:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = dict(graph.constants)
        self.nodes: list[Node] = []
        self.makers: dict[str, Node] = {}
        self.coded: dict[str, _Coded] = {}
        self.clipped: dict[str, tuple[int, int]] = {}
        self.shapes = dict(graph.shapes)

    def spelled(self) -> Graph:
        for node in self.graph.nodes:
            writer = _WRITERS.get(node.op_type) if node.domain in _DOMAINS else None
            if writer is None or not writer(self, node):
                self._keep(node)
        kept = _needed(self.nodes, self.graph.output_names)
        names = {node.name for node in kept if not node.name.endswith(_TWIN)}
        nodes = []
        for node in kept:
            plain = node.name.removesuffix(_TWIN)
            if plain != node.name:
                name = plain if plain not in names else node.name
                node = dataclasses.replace(node, name=unique(name, names))
            nodes.append(node)
        return dataclasses.replace(
            self.graph, nodes=tuple(nodes), constants=self.constants, shapes=self.shapes
        )

    def _keep(self, node: Node) -> None:
        self.nodes.append(node)
        self.makers.update(dict.fromkeys(filter(None, node.outputs), node))

    def add(
        self,
        like: Node,
        op_type: str,
        inputs: Sequence[str],
        attributes: dict[str, Any] | None = None,
        *,
        part: str = "",
        output: str = "",
        shape_of: str = "",
        domain: str = "",
    ) -> str:
        """Append an operator that is spelled out of another; return its output's name.

        It takes the other's name, with `part` behind it, where that is free in the end.
        """
        name = f"{like.name}{part}{_TWIN}"
        made = output or f"{like.outputs[0]}{part}{_TWIN}"
        values = attributes or {}
        proto = b"" if domain else serialize_node(op_type, name, inputs, [made], values)
        self._keep(Node(name, op_type, domain, tuple(inputs), (made,), values, proto))
        if shape_of in self.shapes:
            self.shapes[made] = self.shapes[shape_of]
        return made

    def constant(self, like: Node, part: str, value: Any) -> str:
        """Return the name of a new constant."""
        name = f"{like.name}{part}{_TWIN}"
        self.constants[name] = read_only(np.asarray(value))
        return name

    def array(self, name: str) -> AnyArray | None:
        """Return a constant; None for what is computed or left out."""
        return self.constants.get(name) if name else None

    def kind_of(self, name: str, fallback: str = "") -> str:
        """Return the integer type of a zero point."""
        value = self.array(name)
        return fallback if value is None else value.dtype.name

    # -- grids -------------------------------------------------------------------------------

    def pair(
        self,
        like: Node,
        x: str,
        grid: tuple[str, str, str],
        *,
        codes: tuple[int, int] | None = None,
        axis: int = 1,
        part: str = "",
        output: str = "",
        shape_of: str = "",
    ) -> str | None:
        """Append a quantizer that rounds real values to a grid; None if that is no grid."""
        scale, zero_point, kind = grid
        if not self._is_grid(scale, zero_point, kind):
            return None
        attributes: dict[str, Any] = {"kind": kind, "axis": axis, "rank": self._rank(shape_of)}
        if codes is not None:
            attributes["codes"] = codes
        inputs = (x, scale, zero_point) if zero_point else (x, scale)
        probe = Node(like.name, PAIR, OWN_DOMAIN, inputs, ("",), attributes, b"")
        if carried_quantizer(probe, [self.array(name) for name in inputs[1:]]) is None:
            return None
        return self.add(
            like, PAIR, inputs, attributes, part=part, output=output, shape_of=shape_of,
            domain=OWN_DOMAIN,
        )  # fmt: skip

    def _is_grid(self, scale: str, zero_point: str, kind: str) -> bool:
        known = self.array(scale) is not None and (not zero_point or zero_point in self.constants)
        return known and kind.removeprefix("u").startswith("int")

    def _rank(self, name: str) -> int:
        value = self.array(name)
        return len(self.shapes.get(name, ())) if value is None else value.ndim

    def real(
        self, like: Node, place: int, scale: str, zero_point: str, *, axis: int = 1
    ) -> str | None:
        """Return the real values of an integer operand, None where they cannot be told."""
        name = like.inputs[place]
        known = self.coded.get(name)
        if known is not None and self._same(known, scale, zero_point):
            return known.real
        if not self._is_grid(scale, zero_point, "int"):
            return None
        value = self.array(name)
        kind = self.kind_of(zero_point, "" if value is None else value.dtype.name)
        if not kind:
            kind = next((i.dtype for i in self.graph.inputs if i.name == name), "")
        if not kind.removeprefix("u").startswith("int"):
            return None
        attributes: dict[str, Any] = {"kind": kind, "axis": axis, "rank": self._rank(name)}
        if name in self.clipped:
            attributes["codes"] = self.clipped[name]
        inputs = (name, scale, zero_point) if zero_point else (name, scale)
        return self.add(
            like, "DequantizeLinear", inputs, attributes, part=f"/operand {place}", shape_of=name
        )

    def _same(self, known: _Coded, scale: str, zero_point: str) -> bool:
        """Tell whether a reader takes codes for what their maker means; left out is 0."""
        if known.scale != scale:
            mine, theirs = self.array(known.scale), self.array(scale)
            if mine is None or theirs is None or not np.array_equal(mine, theirs):
                return False
        if known.zero_point == zero_point:
            return True
        a, b = self.array(known.zero_point), self.array(zero_point)
        if (known.zero_point and a is None) or (zero_point and b is None):
            return False
        return np.array_equal(
            np.broadcast_arrays(0 if a is None else a, 0 if b is None else b)[0],
            np.broadcast_arrays(0 if b is None else b, 0 if a is None else a)[0],
        )

    def made(self, node: Node, real: str, scale: str, zero_point: str) -> bool:
        """Round real values to a node's output grid; its codes are then known."""
        kind = self.kind_of(zero_point, "uint8")
        output = node.outputs[0]
        rounded = self.pair(node, real, (scale, zero_point, kind), part="/grid", shape_of=output)
        if rounded is None:
            return False
        self.coded[output] = _Coded(rounded, scale, zero_point, kind)
        inputs = [rounded, scale, zero_point] if zero_point else [rounded, scale]
        self.add(node, "QuantizeLinear", inputs, part="/codes", output=output)
        return True

    # -- writers: True where the node was spelled out -----------------------------------------

    def quantize(self, node: Node) -> bool:
        if node.attributes.get("block_size"):
            return False
        x, scale, zero_point = (*node.inputs, "", "")[:3]
        wanted = node.attributes.get("output_dtype", 0) or TensorProto.UINT8
        kind = self.kind_of(zero_point, helper.tensor_dtype_to_np_dtype(wanted).name)
        axis = int(node.attributes.get("axis", 1))
        real = self.pair(node, x, (scale, zero_point, kind), axis=axis, shape_of=x)
        if real is not None:
            self.coded[node.outputs[0]] = _Coded(real, scale, zero_point, kind)
        return False  # its codes may have other readers

    def dequantize(self, node: Node) -> bool:
        name, scale, zero_point = (*node.inputs, "", "")[:3]
        known = self.coded.get(name)
        if known is not None and self._same(known, scale, zero_point):
            maker = self.makers[known.real]
            if maker.op_type == PAIR and maker.attributes.get("axis", 1) != node.attributes.get(
                "axis", 1
            ):
                scales = self.array(known.scale)
                if scales is not None and scales.size > 1:
                    return self._read(node)
            if maker.op_type == PAIR:
                self._keep(dataclasses.replace(maker, name=node.name, outputs=node.outputs))
                return True
            proto = serialize_node(
                maker.op_type, maker.name, maker.inputs, node.outputs, maker.attributes
            )
            self._keep(dataclasses.replace(maker, outputs=node.outputs, proto=proto))
            return True
        return self._read(node)

    def _read(self, node: Node) -> bool:
        """Keep a DequantizeLinear of integers from elsewhere; note their rank and type."""
        name, _, zero_point = (*node.inputs, "", "")[:3]
        value = self.array(name)
        kind = "" if value is None else value.dtype.name
        kind = kind or self.kind_of(zero_point)
        if not kind:
            kind = next((i.dtype for i in self.graph.inputs if i.name == name), "")
        attributes = {**node.attributes, "rank": self._rank(name), "kind": kind}
        if name in self.clipped:
            attributes["codes"] = self.clipped[name]
        self._keep(dataclasses.replace(node, attributes=attributes))
        return True

    def move(self, node: Node) -> bool:
        known = self.coded.get(node.inputs[0])
        if known is None or len([n for n in node.outputs if n]) != 1 or not self._plain(known):
            return False
        real = self.add(
            node, node.op_type, (known.real, *node.inputs[1:]), dict(node.attributes),
            shape_of=node.outputs[0],
        )  # fmt: skip
        self.coded[node.outputs[0]] = dataclasses.replace(known, real=real)
        return False

    def _plain(self, known: _Coded) -> bool:
        """Tell whether a grid is one per tensor, so that its codes can be moved anywhere."""
        arrays = [self.array(known.scale), self.array(known.zero_point)]
        return all(a is None or a.size == 1 for a in arrays)

    def concat(self, node: Node) -> bool:
        known = [self.coded.get(name) for name in node.inputs]
        first = known[0]
        if first is None or not self._plain(first):
            return False
        if not all(k and k.kind == first.kind and k.codes == first.codes
                   and self._same(k, first.scale, first.zero_point) for k in known):  # fmt: skip
            return False
        reals = [k.real for k in known if k is not None]
        real = self.add(node, "Concat", reals, dict(node.attributes), shape_of=node.outputs[0])
        self.coded[node.outputs[0]] = dataclasses.replace(first, real=real)
        return False

    def pad(self, node: Node) -> bool:
        known = self.coded.get(node.inputs[0])
        constant = node.attributes.get("mode", "constant") == "constant"
        if known is None or not self._plain(known) or not constant or len(node.inputs) < 2:
            return False
        filler = self.array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else 0
        scale, point = self.array(known.scale), self.array(known.zero_point)
        if filler is None or scale is None:
            return False
        value = (np.int64(filler) - (0 if point is None else np.int64(point))) * scale
        name = self.constant(node, "/filler", np.float32(value).reshape(()))
        inputs = (known.real, node.inputs[1], name, *node.inputs[3:])
        real = self.add(node, "Pad", inputs, dict(node.attributes), shape_of=node.outputs[0])
        self.coded[node.outputs[0]] = dataclasses.replace(known, real=real)
        return False

    def clip(self, node: Node) -> bool:
        return self._narrowed(node, *(*node.inputs[1:], "", "")[:2])

    def relu(self, node: Node) -> bool:
        known = self.coded.get(node.inputs[0])
        if known is None:
            return False
        point = self.array(known.zero_point)
        if point is not None and np.any(point):
            return False  # 0 is then no real zero
        return self._narrowed(node, self.constant(node, "/low", np.int64(0)), "")

    def _narrowed(self, node: Node, low: str, high: str) -> bool:
        """Let the grid of clipped codes hold no more than what is left."""
        value = self.array(node.inputs[0])
        known = self.coded.get(node.inputs[0])
        ends = [self.array(name) if name else None for name in (low, high)]
        if any(name and end is None for name, end in zip((low, high), ends, strict=True)):
            return False
        if value is not None and value.dtype.kind in "iuV" and known is None:
            return self._narrowed_constant(node, value, ends)
        if known is None or not self._plain(known):
            return False
        codes = _intersected(known.codes or _reach(known.kind), ends)
        maker, x = self.makers[known.real], known.real
        if maker.op_type == PAIR:
            x = maker.inputs[0]  # rounded and clipped once is what rounded, then clipped is
        real = self.pair(
            node, x, (known.scale, known.zero_point, known.kind), codes=codes,
            shape_of=node.outputs[0],
        )  # fmt: skip
        if real is not None:
            self.coded[node.outputs[0]] = dataclasses.replace(known, real=real, codes=codes)
        return False

    def _narrowed_constant(
        self, node: Node, value: AnyArray, ends: Sequence[AnyArray | None]
    ) -> bool:
        """Clip constant codes; whoever reads them learns of the narrower grid."""
        kind = value.dtype.name
        low, high = _intersected(_reach(kind), ends)
        clipped = np.clip(value.astype(np.int64), low, high).astype(value.dtype)
        self.constants[node.outputs[0]] = read_only(clipped)
        self.clipped[node.outputs[0]] = (low, high)
        return True

    # -- products and functions with integer operands and results ------------------------------

    def q_conv(self, node: Node) -> bool:
        """Spell out ``x, sx, zx, w, sw, zw, sy, zy, bias``; the bias is in units of sx * sw."""
        if node.attributes.get("channels_last", 0):
            return False
        _, sx, zx, _, sw, zw, sy, zy, bias = (*node.inputs, "")[:9]
        x, w = self.real(node, 0, sx, zx), self.real(node, 3, sw, zw, axis=0)
        if x is None or w is None:
            return False
        operands = [x, w, *self._bias(node, bias, sx, sw)]
        if bias and len(operands) < 3:
            return False
        attributes = _picked(node, _CONV_ATTRIBUTES)
        real = self.add(node, "Conv", operands, attributes, shape_of=node.outputs[0])
        return self.made(node, real, sy, zy)

    def _bias(self, node: Node, bias: str, sx: str, sw: str) -> list[str]:
        value, a, b = self.array(bias), self.array(sx), self.array(sw)
        if value is None or a is None or b is None:
            return []
        return [self.constant(node, "/bias", (value * (a * b)).astype(np.float32))]

    def q_matmul(self, node: Node) -> bool:
        """Spell out ``a, sa, za, b, sb, zb, sy, zy``."""
        _, sa, za, b_name, sb, zb, sy, zy = node.inputs
        a = self.real(node, 0, sa, za)
        b = self.real(node, 3, sb, zb, axis=max(0, self._rank(b_name) - 1))
        if a is None or b is None:
            return False
        real = self.add(node, "MatMul", [a, b], shape_of=node.outputs[0])
        return self.made(node, real, sy, zy)

    def q_gemm(self, node: Node) -> bool:
        """Spell out ``A, sa, za, B, sb, zb, C, sy, zy``; C is in units of alpha * sa * sb."""
        _, sa, za, _, sb, zb, bias, sy, zy = (*node.inputs, "", "", "")[:9]
        attributes = _picked(node, ("alpha", "transA", "transB"))
        a = self.real(node, 0, sa, za)
        b = self.real(node, 3, sb, zb, axis=0 if attributes.get("transB", 0) else 1)
        if a is None or b is None:
            return False
        operands = [a, b]
        if bias:
            alpha = np.float32(attributes.get("alpha", 1.0))
            found = self._bias(node, bias, sa, sb)
            if not found:
                return False
            operands.append(self.constant(node, "/bias", self.constants[found[0]] * alpha))
        output = "" if sy else node.outputs[0]
        real = self.add(node, "Gemm", operands, attributes, output=output, shape_of=node.outputs[0])
        return self.made(node, real, sy, zy) if sy else True

    def q_two(self, node: Node, op_type: str) -> bool:
        """Spell out ``A, sa, za, B, sb, zb, sy, zy``."""
        _, sa, za, _, sb, zb, sy, zy = (*node.inputs, "")[:8]
        a, b = self.real(node, 0, sa, za), self.real(node, 3, sb, zb)
        if a is None or b is None:
            return False
        real = self.add(node, op_type, [a, b], shape_of=node.outputs[0])
        return self.made(node, real, sy, zy)

    def q_one(self, node: Node, op_type: str, attributes: dict[str, Any]) -> bool:
        """Spell out ``x, sx, zx, sy, zy``."""
        _, sx, zx, sy, zy = (*node.inputs, "")[:5]
        x = self.real(node, 0, sx, zx)
        if x is None or node.attributes.get("channels_last", 0):
            return False
        real = self.add(node, op_type, [x], attributes, shape_of=node.outputs[0])
        return self.made(node, real, sy, zy)

    def q_softmax(self, node: Node) -> bool:
        rank = self._rank(node.inputs[0])
        axis = int(node.attributes.get("axis", -1))
        before_13 = int(node.attributes.get("opset", 13)) < 13
        if (before_13 or self.graph.opsets.get("", 0) < 13) and axis not in (-1, rank - 1):
            return False  # Softmax of the older sets flattens
        return self.q_one(node, "Softmax", {"axis": axis})

    def q_concat(self, node: Node) -> bool:
        """Spell out ``sy, zy`` and then ``x, sx, zx`` of each input."""
        sy, zy, *rest = node.inputs
        reals = [
            self.real(node, i + 2, rest[i + 1], rest[i + 2]) for i in range(0, len(rest) - 2, 3)
        ]
        if any(real is None for real in reals):
            return False
        found = [real for real in reals if real is not None]
        attributes = {"axis": int(node.attributes.get("axis", 1))}
        real = self.add(node, "Concat", found, attributes, shape_of=node.outputs[0])
        return self.made(node, real, sy, zy)

    # -- products of integers that come without scales -----------------------------------------

    def integer_product(self, node: Node) -> bool:
        """Spell out MatMulInteger and ConvInteger: ``a, b, za, zb`` give 32-bit sums."""
        _, b_name, za, zb = (*node.inputs, "", "")[:4]
        known = self.coded.get(node.inputs[0])
        one = self.constant(node, "/one", np.float32(1.0))
        scale = known.scale if known else one
        a = self.real(node, 0, scale, za)
        conv = node.op_type == "ConvInteger"
        b = self.real(node, 1, one, zb, axis=0 if conv else max(0, self._rank(b_name) - 1))
        if a is None or b is None:
            return False
        op_type = "Conv" if conv else "MatMul"
        attributes = _picked(node, _CONV_ATTRIBUTES) if conv else {}
        real = self.add(node, op_type, [a, b], attributes, shape_of=node.outputs[0])
        self.coded[node.outputs[0]] = _Coded(real, scale, "", "int32")
        return False  # the sums may have other readers

    def cast(self, node: Node) -> bool:
        """Turn sums into real numbers: the product over the scales of its factors."""
        known = self.coded.get(node.inputs[0])
        wanted = node.attributes.get("to")
        if known is None or known.kind != "int32" or wanted != TensorProto.FLOAT:
            return False
        self.add(
            node, "Div", [known.real, known.scale], output=node.outputs[0],
            shape_of=node.outputs[0],
        )  # fmt: skip
        return True

    def dynamic(self, node: Node) -> bool:
        """Let the codes of DynamicQuantizeLinear stand for their reals; all three outputs stay."""
        if node.inputs[0] in self.constants:
            return False
        self._keep(node)
        codes, scale, zero_point = node.outputs
        real = self._dynamic(node, node.inputs[0])
        self.coded[codes] = _Coded(real, scale, zero_point, "uint8")
        return True

    def _dynamic(self, node: Node, x: str) -> str:
        return self.add(node, DYNAMIC, [x], part="/dynamic", shape_of=x, domain=OWN_DOMAIN)

    def dynamic_matmul(self, node: Node) -> bool:
        """Spell out ``A, B, sb, zb, bias``: A on a grid of its own range."""
        x, b_name, sb, zb, bias = (*node.inputs, "", "")[:5]
        b = self.real(node, 1, sb, zb, axis=max(0, self._rank(b_name) - 1))
        if b is None:
            return False
        self._product(node, self._dynamic(node, x), b, bias)
        return True

    def matmul_to_float(self, node: Node) -> bool:
        """Spell out ``A, B, sa, sb, za, zb, bias``."""
        _, b_name, sa, sb, za, zb, bias = (*node.inputs, "", "", "")[:7]
        a = self.real(node, 0, sa, za)
        b = self.real(node, 1, sb, zb, axis=max(0, self._rank(b_name) - 1))
        if a is None or b is None:
            return False
        self._product(node, a, b, bias)
        return True

    def _product(self, node: Node, a: str, b: str, bias: str) -> None:
        output = node.outputs[0]
        if not bias:
            self.add(node, "MatMul", [a, b], output=output)
            return
        real = self.add(node, "MatMul", [a, b], part="/product", shape_of=output)
        self.add(node, "Add", [real, bias], output=output)


_TWIN = "/real"
"""Behind the names of nodes that are spelled out, until it is known which originals stay."""


def _picked(node: Node, names: Iterable[str]) -> dict[str, Any]:
    return {name: node.attributes[name] for name in names if name in node.attributes}


def _reach(kind: str) -> tuple[int, int]:
    """Return the ends of an integer type of any width."""
    bits = int(kind.removeprefix("u").removeprefix("int"))
    return (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _intersected(reach: tuple[int, int], ends: Sequence[AnyArray | None]) -> tuple[int, int]:
    low, high = ends
    return (
        reach[0] if low is None else max(reach[0], int(low)),
        reach[1] if high is None else min(reach[1], int(high)),
    )


def _needed(nodes: Sequence[Node], outputs: Iterable[str]) -> list[Node]:
    """Return the nodes that outputs depend on, in order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.outputs):
            kept.append(node)
            wanted.update(node.inputs)
    return kept[::-1]


_WRITERS: dict[str, Callable[[_Speller, Node], bool]] = {
    "QuantizeLinear": _Speller.quantize,
    "DequantizeLinear": _Speller.dequantize,
    **dict.fromkeys(_MOVES, _Speller.move),
    "Concat": _Speller.concat,
    "Pad": _Speller.pad,
    "Clip": _Speller.clip,
    "Relu": _Speller.relu,
    "Cast": _Speller.cast,
    "QLinearConv": _Speller.q_conv,
    "QLinearMatMul": _Speller.q_matmul,
    "QGemm": _Speller.q_gemm,
    "QLinearAdd": lambda speller, node: speller.q_two(node, "Add"),
    "QLinearMul": lambda speller, node: speller.q_two(node, "Mul"),
    "QLinearSigmoid": lambda speller, node: speller.q_one(node, "Sigmoid", {}),
    "QLinearLeakyRelu": lambda speller, node: speller.q_one(
        node, "LeakyRelu", _picked(node, ["alpha"])
    ),
    "QLinearGlobalAveragePool": lambda speller, node: speller.q_one(node, "GlobalAveragePool", {}),
    "QLinearAveragePool": lambda speller, node: speller.q_one(
        node, "AveragePool", _picked(node, _POOL_ATTRIBUTES)
    ),
    "QLinearSoftmax": _Speller.q_softmax,
    "QLinearConcat": _Speller.q_concat,
    "MatMulInteger": _Speller.integer_product,
    "ConvInteger": _Speller.integer_product,
    "DynamicQuantizeLinear": _Speller.dynamic,
    "DynamicQuantizeMatMul": _Speller.dynamic_matmul,
    "MatMulIntegerToFloat": _Speller.matmul_to_float,
}
