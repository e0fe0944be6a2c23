"""The source: one function of loops over static arrays, no floats, no allocation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatchmethod
from typing import TYPE_CHECKING

import numpy as np

import quantlib.export.c.text as c
from quantlib.export.c.memory import Loop, plan, stored_type
from quantlib.export.c.tables import Lookup, lookup
from quantlib.program import steps

if TYPE_CHECKING:
    from quantlib.arrays import IntArray
    from quantlib.program.program import IntegerProgram


@dataclass(frozen=True, slots=True)
class Source:
    """A program in C.

    Parameters
    ----------
    name : str
        What all its identifiers begin with.
    header, body : str
        The .h and the .c file.
    flash_bytes : int
        Bytes of weights and tables; instructions come on top.
    ram_bytes : int
        Bytes of static memory.
    input_types, output_types : tuple of str
        C types of the function's parameters.
    """

    name: str
    header: str
    body: str
    flash_bytes: int
    ram_bytes: int
    input_types: tuple[str, ...]
    output_types: tuple[str, ...]


def emit(program: IntegerProgram, stem: str) -> Source:
    """Write a program without islands in C99."""
    return _Emitter(program, c.identifier(stem)).source()


class _Emitter:
    """The definitions and statements so far."""

    def __init__(self, program: IntegerProgram, name: str) -> None:
        self.program, self.name = program, name
        self.plan = plan(program)
        self.definitions: list[str] = []
        self.functions: dict[str, str] = {}
        self.flash = 0
        self.count = 0

    def source(self) -> Source:
        """Write both files."""
        statements: list[str] = []
        for loop in self.plan.loops:
            title = " + ".join(type(s).__name__ for s in (loop.head, *loop.rest))
            statements.append(f"/* {_comment(loop.head.layer)}: {title} */")
            statements += self.loop(loop)
        statements += self._copies()
        signature = self._signature()
        memory = [
            "static union {\n"
            + "".join(
                f"    {kind} {c.short(kind)}[{count}];\n" for kind, count in slot.members.items()
            )
            + f"}} slot{i};"
            for i, slot in enumerate(self.plan.slots)
        ]
        body = "\n".join(
            [
                f"/* {self.name}: see {self.name}.h. Made by quantlib. */",
                "#include <stddef.h>",
                "#include <stdint.h>",
                f'#include "{self.name}.h"',
                "",
                *memory,
                *self.definitions,
                *self.functions.values(),
                "",
                signature,
                "{",
                *(f"    {line}" if line else "" for line in statements),
                "}",
                "",
            ]
        )
        inputs = tuple(stored_type(step) for step in self.program.inputs)
        outputs = tuple(stored_type(self.program.step(o.source)) for o in self.program.outputs)
        return Source(self.name, self._header(signature), body, self.flash, self.plan.ram_bytes,
                      inputs, outputs)  # fmt: skip

    def _signature(self) -> str:
        inputs = [
            f"const {stored_type(s)} in{i}[{s.size}]" for i, s in enumerate(self.program.inputs)
        ]
        outputs = []
        for i, output in enumerate(self.program.outputs):
            step = self.program.step(output.source)
            outputs.append(f"{stored_type(step)} out{i}[{step.size}]")
        return f"void {self.name}_run({', '.join([*inputs, *outputs])})"

    def _header(self, signature: str) -> str:
        guard = f"{self.name.upper()}_H"
        lines = [
            f"/* {self.name}: an integer program, made by quantlib.",
            " *",
            f" * Weights and tables: {self.flash} bytes of read-only memory (flash), instructions",
            f" * on top. Static memory (RAM): {self.plan.ram_bytes} bytes; inputs and outputs are",
            " * the caller's. No allocation, no floating point, no library.",
            " *",
        ]
        for i, given in enumerate(self.program.inputs):
            lines += [
                f" * in{i}: codes of {_comment(given.input_name)!r}, shape {list(given.shape)},",
                f" *   from {given.low} to {given.high}:",
                f" *   round(x / {given.scale!r} + {given.zero_point}), ties to even, saturated.",
            ]
        for i, output in enumerate(self.program.outputs):
            step = self.program.step(output.source)
            lines += [f" * out{i}: {_comment(output.name)!r}, shape {list(step.shape)}, from"
                      f" {step.low} to {step.high}:"]  # fmt: skip
            scale, zero = (np.ravel(v).tolist() for v in (output.scale, output.zero_point))
            lines += [
                f" *   real = scale * (integer - zero), scale {_few(scale)}, zero {_few(zero)}."
            ]
        sizes = [
            *(f"#define {self.name.upper()}_IN{i}_SIZE {s.size}"
              for i, s in enumerate(self.program.inputs)),
            *(f"#define {self.name.upper()}_OUT{i}_SIZE {self.program.step(o.source).size}"
              for i, o in enumerate(self.program.outputs)),
        ]  # fmt: skip
        return "\n".join([*lines, " */", f"#ifndef {guard}", f"#define {guard}", "",
                          "#include <stdint.h>", "", *sizes, "", "/* Not reentrant. */",
                          f"{signature};", "", "#endif", ""])  # fmt: skip

    # -- names ----------------------------------------------------------------------------------

    def data(self, values: IntArray, what: str) -> str:
        """Define a constant array; return its name."""
        self.count += 1
        name = f"{what}{self.count}"
        text, size = c.array(name, values)
        self.definitions.append(text)
        self.flash += size
        return name

    def memory(self, name: str) -> str:
        """Return the expression of a tensor's array."""
        root = self.plan.root(name)
        if root in self.plan.given:
            return self.plan.given[root]
        return f"slot{self.plan.places[root]}.{c.short(stored_type(self.program.step(root)))}"

    def _copies(self) -> list[str]:
        """Copy outputs that others read too."""
        lines = []
        for i, output in enumerate(self.program.outputs):
            memory = self.memory(output.source)
            if memory != f"out{i}":
                size = self.program.step(output.source).size
                lines += c.loops(["i"], [size], [f"out{i}[{_index('i', size)}] = "
                                                 f"{memory}[{_index('i', size)}];"])  # fmt: skip
        return lines

    # -- loops ----------------------------------------------------------------------------------

    def loop(self, loop: Loop) -> list[str]:
        """Return the statements of a loop."""
        if isinstance(loop.head, steps.Move):
            return self.moved(loop.head)
        return ["{", "    size_t n = 0;", *(f"    {line}" for line in self.head(loop.head, loop)),
                "}"]  # fmt: skip

    def store(self, loop: Loop, value: str, kind: str) -> list[str]:
        """Return the statements that finish the element ``n`` and store it."""
        lines = []
        for i, step in enumerate(loop.rest, 1):
            made, made_kind = self.followed(step, value, kind)
            kind = made_kind
            lines.append(f"const {kind} r{i} = {made};")
            value = f"r{i}"
        stored = stored_type(loop.result)
        lines.append(f"{self.memory(loop.result.name)}[n++] = ({stored}){value};")
        return lines

    def followed(self, step: steps.Step, value: str, kind: str) -> tuple[str, str]:
        """Return rounding or table of a value, and the type of the result."""
        if isinstance(step, steps.Round):
            source = self.program.step(step.source)
            return _shifted(value, kind, source.low, source.high, step.lsbs, step.offset)
        assert isinstance(step, steps.Table)
        found = lookup(step, self.data)
        self._use(found)
        return found.expression(value), found.kind

    def _use(self, found: Lookup) -> None:
        if found.function:
            self.functions.setdefault(found.function_name, found.function)

    @singledispatchmethod
    def head(self, step: steps.Step, loop: Loop) -> list[str]:
        """Return the loops that give each element of a step."""
        raise NotImplementedError(type(step).__name__)

    @head.register(steps.Round)
    @head.register(steps.Table)
    def _(self, step: steps.Round | steps.Table, loop: Loop) -> list[str]:
        source = self.program.step(step.source)
        kind = c.signed_type(source.magnitude)
        first = f"const {kind} v = ({kind}){self.memory(step.source)}[n];"
        again = Loop(step, (step, *loop.rest))
        return c.loops(["i"], [step.size], [first, *self.store(again, "v", kind)])

    def _weights(self, step: steps.Weighted) -> tuple[str, str, str]:
        """Return the weights' array, its type, and what is taken off them: ``""`` for nothing."""
        centred = step.centred
        small, codes = (
            c.size_of(c.c_type(int(w.min()), int(w.max()))) for w in (centred, step.weights)
        )
        kept = step.weights if codes < small else centred
        name = self.data(kept, "weights")
        kind = c.c_type(int(kept.min()), int(kept.max()))
        if codes >= small:
            return name, kind, ""
        if step.weight_zero.ndim:
            return name, kind, self.data(step.weight_zero, "zeros")
        return name, kind, c.number(int(step.weight_zero))

    def _start(self, step: steps.Weighted, kind: str, channel: str) -> str:
        if not np.any(step.offset):
            return "0"
        name = self.data(np.broadcast_to(step.offset, step.shape[:1]), "offsets")
        return f"({kind}){name}[{channel}]"

    @head.register(steps.Conv)
    def _(self, step: steps.Conv, loop: Loop) -> list[str]:
        source = self.program.step(step.source)
        kind = c.signed_type(max(step.partial + int(np.abs(step.offset).max()), source.magnitude,
                                 int(np.abs(step.centred).max())))  # fmt: skip
        weights, weight_kind, zero = self._weights(step)
        rank = len(step.shape) - 1
        groups, each = step.group, step.shape[0] // step.group
        depth, kernel = step.weights.shape[1], step.weights.shape[2:]
        own = c.strides(source.shape)
        out, taps = [f"y{i}" for i in range(rank)], [f"k{i}" for i in range(rank)]
        terms = [("g", own[0] * depth, groups), ("d", own[0], depth)]
        terms += [(out[i], own[i + 1] * step.strides[i], step.shape[i + 1]) for i in range(rank)]
        terms += [(taps[i], own[i + 1] * step.dilations[i], kernel[i]) for i in range(rank)]
        channel = c.offset([("g", each, groups), ("o", 1, each)])
        if zero:
            taken = f"{zero}[{channel}]" if step.weight_zero.ndim else zero
            weight = f"(({kind})*w++ - ({kind}){taken})"
        else:
            weight = f"({kind})*w++"
        size = int(np.prod(step.weights.shape[1:]))
        inner = c.loops(
            ["d", *taps], [depth, *kernel],
            [f"v += ({kind}){self.memory(step.source)}[{c.offset(terms)}] * {weight};"],
        )  # fmt: skip
        at = c.offset([("g", each * size, groups), ("o", size, each)])
        body = [
            f"const {weight_kind} *w = {weights} + {at};",
            f"{kind} v = {self._start(step, kind, channel)};",
            *inner,
            *self.store(loop, "v", kind),
        ]
        return c.loops(["g", "o", *out], [groups, each, *step.shape[1:]], body)

    @head.register(steps.MatMul)
    def _(self, step: steps.MatMul, loop: Loop) -> list[str]:
        source = self.program.step(step.source)
        kind = c.signed_type(max(step.partial + int(np.abs(step.offset).max()), source.magnitude,
                                 int(np.abs(step.centred).max())))  # fmt: skip
        depth, columns = step.weights.shape[-2:]
        stack = step.weights.shape[:-2]
        weights, weight_kind, zero = self._weights(_by_column(step))
        rows = step.shape[-2] if len(step.shape) > 1 else 1
        batches = step.shape[:-2]
        names = [f"b{i}" for i in range(len(batches))]
        own = c.strides(source.shape)
        row_axis = [("m", own[-2], rows)] if len(source.shape) > 1 else []
        terms = [(name, own[i], source.shape[i]) for i, name in enumerate(names)]
        terms += [*row_axis, ("k", 1, depth)]
        per_stack = c.strides((*stack, columns, depth))
        skipped = len(batches) - len(stack)
        at = [(names[i + skipped], per_stack[i], stack[i]) for i in range(len(stack))]
        start = c.offset([*at, ("o", depth, columns)])
        weight = f"({kind})w[{_index('k', depth)}]"
        if zero:
            taken = f"{zero}[o]" if zero.startswith("zeros") else zero
            weight = f"({weight} - ({kind}){taken})"
        body = [
            f"const {weight_kind} *w = {weights} + {start};",
            f"{kind} v = {self._start(step, kind, 'o')};",
            *c.loops(["k"], [depth],
                     [f"v += ({kind}){self.memory(step.source)}[{c.offset(terms)}] * {weight};"]),
            *self.store(loop, "v", kind),
        ]  # fmt: skip
        return c.loops([*names, "m", "o"], [*batches, rows, columns], body)

    @head.register(steps.PairMatMul)
    def _(self, step: steps.PairMatMul, loop: Loop) -> list[str]:
        right = self.program.step(step.right)
        if step.weights is None:
            left = self.program.step(step.left)
            reach, left_shape = left.magnitude, left.shape
            memory = self.memory(step.left)
        else:
            reach, left_shape = int(np.abs(step.weights).max()), step.weights.shape
            memory = self.data(step.weights, "weights")
        depth = right.shape[-2]
        products = reach * (right.magnitude + abs(step.right_zero))
        slack = 0
        if step.square_lsbs is not None:
            slack = (reach + right.magnitude + 2 ** max(step.square_lsbs)) ** 2
        kind = c.signed_type(depth * (products + 2 * slack) + step.magnitude)
        batches = step.shape[:-2]
        names = [f"b{i}" for i in range(len(batches))]
        own, other = c.strides(left_shape), c.strides(right.shape)
        skipped = len(batches) - (len(left_shape) - 2)
        a = [(names[i + skipped], own[i], left_shape[i]) for i in range(len(left_shape) - 2)]
        a += [("m", own[-2], left_shape[-2]), ("k", 1, depth)]
        b = [(n, other[i], right.shape[i]) for i, n in enumerate(names)]
        b += [("k", other[-2], depth), ("o", 1, right.shape[-1])]
        first = f"const {kind} p = ({kind}){memory}[{c.offset(a)}];"
        second = f"const {kind} q = ({kind}){self.memory(step.right)}[{c.offset(b)}];"
        zero = c.number(step.right_zero)
        if step.square_lsbs is None:
            inner = [first, second, f"v += p * (q - ({kind}){zero});" if step.right_zero
                     else "v += p * q;"]  # fmt: skip
        else:
            inner = [first, second]
            furthest = reach + right.magnitude
            for sign, bits, target in zip("+-", step.square_lsbs, "st", strict=True):
                value = f"(p {sign} q)"
                if bits:
                    shifted, _ = _shifted(value, kind, -furthest, furthest, bits, 0)
                    value = f"(({kind})({shifted}) * ({kind}){c.number(2**bits)})"
                inner.append(f"const {kind} {target} = {value};")
            inner.append("v += s * s / 4 - t * t / 4;")
            if step.right_zero:
                inner.append(f"v -= ({kind}){zero} * p;")
        body = [f"{kind} v = 0;", *c.loops(["k"], [depth], inner), *self.store(loop, "v", kind)]
        return c.loops([*names, "m", "o"], [*batches, *step.shape[-2:]], body)

    @head.register(steps.Centre)
    def _(self, step: steps.Centre, loop: Loop) -> list[str]:
        source, right = self.program.step(step.source), self.program.step(step.right)
        depth = right.shape[-2]
        share = abs(step.left_zero) * depth * (right.magnitude + abs(step.right_zero))
        kind = c.signed_type(source.magnitude + share)
        batches = step.shape[:-2]
        names = [f"b{i}" for i in range(len(batches))]
        other = c.strides(right.shape)
        b = [(n, other[i], right.shape[i]) for i, n in enumerate(names)]
        b += [("k", other[-2], depth), ("o", 1, right.shape[-1])]
        body = [
            f"{kind} v = 0;",
            *c.loops(["k"], [depth], [f"v += ({kind}){self.memory(step.right)}[{c.offset(b)}] - "
                                      f"({kind}){c.number(step.right_zero)};"]),
            f"v = ({kind}){self.memory(step.source)}[n] - ({kind}){c.number(step.left_zero)} * v;",
            *self.store(loop, "v", kind),
        ]  # fmt: skip
        return c.loops([*names, "m", "o"], [*batches, *step.shape[-2:]], body)

    @head.register(steps.Sum)
    def _(self, step: steps.Sum, loop: Loop) -> list[str]:
        source = self.program.step(step.source)
        depth = source.shape[-1]
        kind = c.signed_type(max(source.magnitude * depth, source.magnitude))
        terms = [("i", depth, step.size), ("k", 1, depth)]
        taken = f"v += ({kind}){self.memory(step.source)}[{c.offset(terms)}];"
        body = [f"{kind} v = 0;", *c.loops(["k"], [depth], [taken]), *self.store(loop, "v", kind)]
        return c.loops(["i"], [step.size], body)

    @head.register(steps.Pool)
    def _(self, step: steps.Pool, loop: Loop) -> list[str]:
        source = self.program.step(step.source)
        rank = len(step.kernel)
        count = 1 if step.largest else int(np.prod(step.kernel))
        kind = c.signed_type(source.magnitude * count)
        own = c.strides(source.shape)
        out, taps = [f"y{i}" for i in range(rank)], [f"k{i}" for i in range(rank)]
        base = [("ch", own[0], source.shape[0])]
        base += [(out[i], own[i + 1] * step.strides[i], step.shape[i + 1]) for i in range(rank)]
        terms = base + [(taps[i], own[i + 1] * step.dilations[i], step.kernel[i])
                        for i in range(rank)]  # fmt: skip
        memory = self.memory(step.source)
        taken = f"({kind}){memory}[{c.offset(terms)}]"
        if step.largest:
            first = f"({kind}){memory}[{c.offset(base)}]"
            inner = [f"const {kind} p = {taken};", "if (p > v) v = p;"]
        else:
            first, inner = "0", [f"v += {taken};"]
        body = [f"{kind} v = {first};", *c.loops(taps, step.kernel, inner),
                *self.store(loop, "v", kind)]  # fmt: skip
        return c.loops(["ch", *out], [step.shape[0], *step.shape[1:]], body)

    @head.register(steps.Add)
    def _(self, step: steps.Add, loop: Loop) -> list[str]:
        left, right = (self.program.step(n) for n in step.sources)
        kind = c.signed_type(left.magnitude + right.magnitude)
        a, b = (f"({kind}){self.memory(n)}[n]" for n in step.sources)
        return c.loops(["i"], [step.size], [f"const {kind} v = {a} + {b};",
                                            *self.store(loop, "v", kind)])  # fmt: skip

    @head.register(steps.Multiply)
    def _(self, step: steps.Multiply, loop: Loop) -> list[str]:
        left, right = (self.program.step(n).magnitude for n in step.sources)
        reach = left * right + abs(step.left_zero) * right + abs(step.right_zero) * left
        kind = c.signed_type(reach + abs(step.offset))
        a, b = (f"({kind}){self.memory(n)}[n]" for n in step.sources)
        terms = ["p * q"]
        if step.left_zero:
            terms.append(f"({kind}){c.number(step.left_zero)} * q")
        if step.right_zero:
            terms.append(f"({kind}){c.number(step.right_zero)} * p")
        value = " - ".join(terms)
        if step.offset:
            value += f" + ({kind}){c.number(step.offset)}"
        body = [f"const {kind} p = {a};", f"const {kind} q = {b};", f"const {kind} v = {value};",
                *self.store(loop, "v", kind)]  # fmt: skip
        return c.loops(["i"], [step.size], body)

    # -- moves ----------------------------------------------------------------------------------

    def moved(self, step: steps.Move) -> list[str]:
        """Return the statements of a move: loops where places follow a rule, else a table."""
        target, kind = self.memory(step.name), stored_type(step)
        sources = [self.program.step(p) for p in step.parts]
        starts = np.cumsum([0, *(s.size for s in sources)])
        lines: list[str] = []
        outside = step.index < 0
        if outside.any():
            if step.fill.ndim:
                constants = self.data(np.where(outside, step.fill, 0), "constants")
                value = f"{constants}[{_index('i', step.size)}]"
            else:
                value = c.number(int(step.fill))
            at = _index("i", step.size)
            lines += c.loops(["i"], [step.size], [f"{target}[{at}] = ({kind}){value};"])
        for source, start in zip(sources, starts, strict=False):
            inside = (step.index >= start) & (step.index < start + source.size)
            if inside.any():
                lines += self._part(step, source, inside, int(start), target, kind)
        return lines

    def _part(
        self, step: steps.Move, source: steps.Step, inside: IntArray, start: int, target: str,
        kind: str,
    ) -> list[str]:  # fmt: skip
        memory = self.memory(source.name)
        rule = _box_rule(step.index, inside)
        if rule is None:
            places = np.flatnonzero(inside)
            numbers = self.data(step.index.ravel()[places] - start, "from")
            count = len(places)
            at = "i" if count == step.size else f"{self.data(places, 'to')}[{_index('i', count)}]"
            return c.loops(["i"], [count], [f"{target}[{at}] = ({kind}){memory}"
                                            f"[{numbers}[{_index('i', count)}]];"])  # fmt: skip
        corner, sizes, first, steps_of = rule
        own = c.strides(step.shape)
        names = [f"i{a}" for a in range(len(sizes))]
        to = c.offset(list(zip(names, own, sizes, strict=True)),
                      sum(b * s for b, s in zip(corner, own, strict=True)))  # fmt: skip
        origin = c.offset(list(zip(names, steps_of, sizes, strict=True)), first - start)
        return c.loops(names, sizes, [f"{target}[{to}] = ({kind}){memory}[{origin}];"])


def _by_column(step: steps.MatMul) -> steps.MatMul:
    """Return a product with each column's weights side by side.

    Zero points are one for all or one a column; where each matrix of a stack has its own, they
    are taken off.
    """
    if step.weight_zero.ndim > 2:
        none = np.zeros((), dtype=np.int64)
        return replace(step, weights=np.swapaxes(step.centred, -1, -2), weight_zero=none)
    return replace(step, weights=np.swapaxes(step.weights, -1, -2), weight_zero=step.weight_zero.T)


def _box_rule(
    index: IntArray, inside: IntArray
) -> tuple[list[int], list[int], int, list[int]] | None:
    """Return corner, sizes, first number and strides of a box of numbers, if they are one."""
    found = np.argwhere(inside)
    corner, end = found.min(axis=0), found.max(axis=0) + 1
    window = tuple(slice(b, e) for b, e in zip(corner, end, strict=True))
    if not inside[window].all():
        return None
    box = index[window]
    first = int(box.flat[0])
    strides, expected = [], np.full(box.shape, first)
    for axis, size in enumerate(box.shape):
        place = [0] * box.ndim
        place[axis] = 1 if size > 1 else 0
        stride = int(box[tuple(place)]) - first
        strides.append(stride)
        shape = [-1 if a == axis else 1 for a in range(box.ndim)]
        expected = expected + stride * np.arange(size).reshape(shape)
    if not np.array_equal(box, expected) or min(strides, default=0) < 0:
        return None
    return [int(b) for b in corner], list(box.shape), first, strides


def _shifted(
    value: str, kind: str, low: int, high: int, lsbs: int, offset: int
) -> tuple[str, str]:  # fmt: skip
    """Return ``floor((value + offset + half) / 2**lsbs)`` and its type.

    What is shifted is made non-negative first: C99 leaves shifts of negative numbers open.
    """
    half = 2 ** (lsbs - 1)
    least = (low + offset + half) >> lsbs
    lift = offset + half - (least << lsbs)
    made = c.wider(kind, c.signed_type(max(abs(low), abs(high)) + abs(lift) + 2**lsbs))
    unsigned = f"u{made}"
    expression = (
        f"({made})(({unsigned})(({made}){value} + ({made}){c.number(lift)}) >> {lsbs}) + "
        f"({made}){c.number(least)}"
    )
    return expression, made


def _index(variable: str, size: int) -> str:
    """Return a loop's variable, or 0 where there is no loop."""
    return variable if size != 1 else "0"


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ").encode("ascii", "replace").decode()


def _few(values: list[float]) -> str:
    """Return numbers for a comment: one, or all by channel."""
    return repr(values[0]) if len(values) == 1 else "[" + ", ".join(map(repr, values)) + "]"
