"""From the steps of an integer program to gates."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.errors import OptionsError
from quantlib.fhe import gates
from quantlib.fhe.evaluate import bounds
from quantlib.fhe.plan import Plan
from quantlib.fhe.refusals import check_convertible
from quantlib.ops.kernels import round_low_bits
from quantlib.program import steps

if TYPE_CHECKING:
    from quantlib.arrays import IntArray
    from quantlib.program.program import IntegerProgram


def plan_of(program: IntegerProgram) -> Plan:
    """Return an integer program as gates, with the bounds that hold for any codes.

    Raises
    ------
    OptionsError
        Something stays in float; the message names every place and its remedy.

    Notes
    -----
    Two encrypted integers are multiplied as ``(x + y)**2 // 4 - (x - y)**2 // 4``: two look-ups.
    The largest of k integers takes ``k - 1`` look-ups, ``max(a, b) = b + max(a - b, 0)``.
    """
    check_convertible(program)
    return _Lowering(program).plan()


@dataclass(frozen=True, slots=True)
class _Held:
    """An integer tensor of the program: a gate's integers, of which low bits go first.

    Rounding waits for the look-up that follows it, since it is part of it under encryption.
    """

    gate: str
    lsbs: int = 0


class _Lowering:
    """The gates so far, and which of them holds each tensor of the program."""

    def __init__(self, program: IntegerProgram) -> None:
        self.program = program
        self.made: dict[str, gates.Gate] = {}
        self.held: dict[str, _Held] = {}
        self.known: dict[tuple[Any, ...], str] = {}
        self.layer = ""
        self.title = ""
        readers: dict[str, list[steps.Step]] = {}
        for step in program.steps:
            for name in step.sources:
                readers.setdefault(name, []).append(step)
        outputs = {output.source for output in program.outputs}
        self.centred = {
            step.source: step
            for step in program.steps
            if isinstance(step, steps.Centre)
            and len(readers[step.source]) == 1
            and step.source not in outputs
        }

    def plan(self) -> Plan:
        """Lower every step."""
        for step in self.program.steps:
            self.layer, self.title = step.layer, step.name
            self.held[step.name] = self.lower(step)
        outputs = []
        for output in self.program.outputs:
            self.layer = self.title = output.name
            outputs.append(self.whole(output.source))
        needed = set(outputs)
        kept = []
        for gate in reversed(self.made.values()):
            if gate.name in needed or isinstance(gate, gates.Entry):
                kept.append(gate)
                needed.update(gate.sources)
        return Plan(self.program, tuple(reversed(kept)), tuple(outputs))

    # -- making gates ---------------------------------------------------------------------------

    def add(
        self,
        kind: type[gates.Gate],
        *sources: str,
        shape: tuple[int, ...],
        within: tuple[int, int] | None = None,
        **members: Any,
    ) -> str:
        """Append a gate; return its tensor's name.

        `within` bounds its integers where the sources' bounds alone say less.
        """
        name, count = self.title, 1
        while name in self.made:
            count += 1
            name = f"{self.title}~{count}"
        gate = kind(
            name=name, layer=self.layer, shape=shape, low=0, high=0, sources=sources, **members
        )
        low, high = bounds(gate, *((self.made[s].low, self.made[s].high) for s in sources))
        if within is not None:
            low, high = max(low, within[0]), min(high, within[1])
        self.made[name] = replace(gate, low=low, high=high)
        return name

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.made[name].shape

    def shift(self, source: str, amount: IntArray | int) -> str:
        """Add a constant, if there is one to add."""
        constant = np.asarray(amount, dtype=np.int64)
        if not constant.any():
            return source
        return self.add(gates.Shift, source, shape=self.shape(source), amount=constant)

    def gather(self, source: str, index: IntArray) -> str:
        """Move elements, if they move."""
        if index.shape == self.shape(source) and np.array_equal(
            index.ravel(), np.arange(index.size)
        ):
            return source
        return self.add(gates.Gather, source, shape=index.shape, index=index.astype(np.int64))

    def numbers(self, source: str) -> IntArray:
        """Return the numbers of a tensor's elements, in its shape."""
        return np.arange(self.made[source].size).reshape(self.shape(source))

    def widened(self, source: str, shape: tuple[int, ...]) -> str:
        """Broadcast a tensor."""
        return self.gather(source, np.broadcast_to(self.numbers(source), shape))

    def table(self, source: str, function: Any) -> str:
        """Look a function of an integer up, at every integer that the source can have."""
        made = self.made[source]
        integers = np.arange(made.low, made.high + 1, dtype=np.int64)
        return self.look_up(source, np.asarray(function(integers))[None], made.low)

    def look_up(
        self, source: str, entries: IntArray, first: int, *, lsbs: int = 0, which: Any = 0
    ) -> str:
        """Look up; low bits are rounded away before."""
        shape = self.shape(source)
        if lsbs:
            key = (source, lsbs)
            if key not in self.known:
                self.known[key] = self.add(gates.Rounded, source, shape=shape, lsbs=lsbs)
            source = self.known[key]
        return self.add(
            gates.LookUp, source, shape=shape, entries=entries, first=first, lsbs=lsbs,
            which=np.asarray(which, dtype=np.int64),
        )  # fmt: skip

    def whole(self, tensor: str) -> str:
        """Return the gate that holds a tensor of the program, its low bits taken by a table."""
        held = self.held[tensor]
        if not held.lsbs:
            return held.gate
        key = ("whole", held.gate, held.lsbs)
        if key not in self.known:
            made = self.made[held.gate]
            half = 2 ** (held.lsbs - 1)
            first, last = ((end + half) >> held.lsbs for end in (made.low, made.high))
            entries = np.arange(first, last + 1, dtype=np.int64)[None]
            self.known[key] = self.look_up(held.gate, entries, first, lsbs=held.lsbs)
        return self.known[key]

    def copy(self, source: str) -> str:
        """Return the same integers under a width of their own."""
        return self.table(source, lambda integers: integers)

    # -- steps ----------------------------------------------------------------------------------

    @singledispatchmethod
    def lower(self, step: steps.Step) -> _Held:
        """Add a step's gates; return where its tensor is."""
        raise OptionsError(
            f"layer {step.layer!r}: {type(step).__name__} has no form under encryption."
        )

    @lower.register
    def _(self, step: steps.Input) -> _Held:
        entry = gates.Entry(
            name=step.name, layer=step.layer, shape=step.shape, low=step.low, high=step.high,
            sources=(), input_name=step.input_name,
        )  # fmt: skip
        self.made[entry.name] = entry
        return _Held(entry.name)

    @lower.register
    def _(self, step: steps.MatMul) -> _Held:
        product = self.add(
            gates.Product, self.whole(step.source), shape=step.shape, weights=step.centred,
            on_left=False,
        )  # fmt: skip
        return _Held(self.shift(product, step.offset))

    @lower.register
    def _(self, step: steps.Conv) -> _Held:
        source = self.whole(step.source)
        flat = len(step.shape) == 2
        if flat:  # Concrete convolves in two dimensions
            channels, length = self.shape(source)
            source = self.gather(source, np.arange(channels * length).reshape(channels, 1, length))
        if len(self.shape(source)) == 3:
            weights = step.centred[:, :, None] if flat else step.centred
            ones = (1,) if flat else ()
            shape = (step.shape[0], *ones, *step.shape[1:])
            made = self.add(
                gates.Convolution, source, shape=shape, weights=weights,
                strides=(*ones, *step.strides), dilations=(*ones, *step.dilations),
                group=step.group,
            )  # fmt: skip
            if flat:
                made = self.gather(made, np.arange(math.prod(shape)).reshape(step.shape))
        else:
            made = self._windows_times_weights(step, source)
        offset = np.broadcast_to(step.offset, step.shape[:1])
        return _Held(self.shift(made, offset.reshape(-1, *(1,) * (len(step.shape) - 1))))

    def _windows_times_weights(self, step: steps.Conv, source: str) -> str:
        """Convolve in any number of dimensions: windows times weights, group by group."""
        kernel = step.weights.shape[2:]
        windows = _windows(self.numbers(source), kernel, step.strides, step.dilations)
        per_group = windows.shape[0] // step.group
        outputs = step.shape[0] // step.group
        weights = step.centred.reshape(step.group, outputs, -1)
        taken = [
            np.moveaxis(windows[g * per_group : (g + 1) * per_group], 0, -2).reshape(
                math.prod(step.shape[1:]), -1
            )
            for g in range(step.group)
        ]
        gathered = self.gather(source, np.stack(taken))
        made = self.add(
            gates.Product, gathered, shape=(step.group, math.prod(step.shape[1:]), outputs),
            weights=weights.transpose(0, 2, 1), on_left=False,
        )  # fmt: skip
        return self.gather(made, self.numbers(made).transpose(0, 2, 1).reshape(step.shape))

    @lower.register
    def _(self, step: steps.PairMatMul) -> _Held:
        right = self.whole(step.right)
        if step.weights is not None and step.square_lsbs is None:
            made = self.add(
                gates.Product, self.shift(right, -step.right_zero), shape=step.shape,
                weights=step.weights, on_left=True,
            )  # fmt: skip
            return _Held(made)
        if step.weights is not None:
            return _Held(self._squares_of_constant(step, step.weights, right))
        left = self.whole(step.left)
        if step.square_lsbs is not None:
            products = self._pairs(self.copy(left), self.copy(right), step.square_lsbs)
            term = self.total(left, keepdims=True)
            scaled = self.add(gates.Scale, term, shape=self.shape(term), factor=-step.right_zero)
            return _Held(self.add(gates.Add, products, scaled, shape=step.shape))
        centre = self.centred.get(step.name)
        left = self.shift(left, -centre.left_zero if centre is not None else 0)
        return _Held(self._pairs(left, self.shift(right, -step.right_zero), (0, 0)))

    def _pairs(self, left: str, right: str, lsbs: tuple[int, int]) -> str:
        """Multiply two tensors as matrices, each product by two squares."""
        *stack, rows, inner = self.shape(left)
        columns = self.shape(right)[-1]
        every = (*stack, rows, inner, columns)
        a = self.widened(self.gather(left, self.numbers(left)[..., None]), every)
        b = self.widened(self.gather(right, self.numbers(right)[..., None, :, :]), every)
        ends = [(self.made[name].low, self.made[name].high) for name in (left, right)]
        products = self.products(a, b, ends, lsbs)
        return self.total(products, axis=-2)

    def products(
        self, a: str, b: str, ends: list[tuple[int, int]], lsbs: tuple[int, int] = (0, 0)
    ) -> str:
        """Multiply element by element, by two look-ups."""
        shape = self.shape(a)
        total = self.add(gates.Add, a, b, shape=shape)
        difference = self.add(gates.Subtract, a, b, shape=shape)
        squares = [
            self._square(name, taken) for name, taken in zip((total, difference), lsbs, strict=True)
        ]
        corners = [x * y for x in ends[0] for y in ends[1]]
        exact = lsbs == (0, 0)
        return self.add(
            gates.Subtract, *squares, shape=shape,
            within=(min(corners), max(corners)) if exact else None,
        )  # fmt: skip

    def _square(self, source: str, lsbs: int) -> str:
        """Look up a quarter of a square, of an integer rounded to multiples."""
        made = self.made[source]
        half = 2**lsbs // 2
        first, last = ((end + half) >> lsbs for end in (made.low, made.high))
        multiples = np.arange(first, last + 1, dtype=np.int64) << lsbs
        return self.look_up(source, (multiples**2 // 4)[None], first, lsbs=lsbs)

    def _squares_of_constant(self, step: steps.PairMatMul, weights: IntArray, right: str) -> str:
        """Multiply by a constant as rounded squares do: a function of each element."""
        assert step.square_lsbs is not None
        *stack, inner, columns = self.shape(right)
        rows = weights.shape[-2]
        every = (*stack, rows, inner, columns)
        spread = self.widened(self.gather(right, self.numbers(right)[..., None, :, :]), every)
        factors, which = np.unique(weights, return_inverse=True)
        made = self.made[right]
        integers = np.arange(made.low, made.high + 1, dtype=np.int64)
        entries = np.stack([
            round_low_bits(f + integers, step.square_lsbs[0]) ** 2 // 4
            - round_low_bits(f - integers, step.square_lsbs[1]) ** 2 // 4
            for f in factors
        ])  # fmt: skip
        products = self.look_up(
            spread, entries, made.low, which=which.reshape(weights.shape)[..., None]
        )
        total = self.total(products, axis=-2)
        return self.shift(total, -step.right_zero * weights.sum(axis=-1, keepdims=True))

    @lower.register
    def _(self, step: steps.Centre) -> _Held:
        source = self.held[step.source]
        pair = self.program.step(step.source)
        assert isinstance(pair, steps.PairMatMul)
        if pair.weights is None and pair.square_lsbs is None and step.source in self.centred:
            return source  # its left factor was centred before the product
        right = self.whole(step.right)
        centred = self.shift(right, -step.right_zero)
        total = self.total(centred, axis=-2, keepdims=True)
        scaled = self.add(gates.Scale, total, shape=self.shape(total), factor=-step.left_zero)
        return _Held(self.add(gates.Add, self.whole(step.source), scaled, shape=step.shape))

    @lower.register
    def _(self, step: steps.Sum) -> _Held:
        return _Held(self.total(self.whole(step.source)))

    def total(self, source: str, *, axis: int = -1, keepdims: bool = False) -> str:
        """Sum over an axis, counted from the end."""
        shape = list(self.shape(source))
        count = shape[axis]
        shape[axis] = 1
        if not keepdims:
            del shape[axis]
        return self.add(
            gates.Total, source, shape=tuple(shape), axis=axis, keepdims=keepdims, count=count
        )

    @lower.register
    def _(self, step: steps.Pool) -> _Held:
        source = self.whole(step.source)
        windows = _windows(self.numbers(source), step.kernel, step.strides, step.dilations)
        gathered = self.gather(source, windows)
        return _Held(self.largest(gathered) if step.largest else self.total(gathered))

    def largest(self, source: str) -> str:
        """Take the largest along the last axis, halving it again and again."""
        *kept, count = self.shape(source)
        numbers = self.numbers(source)
        if count == 1:
            return self.gather(source, numbers.reshape(kept))
        half = count // 2
        a, b = (self.gather(source, numbers[..., i * half : (i + 1) * half]) for i in (0, 1))
        difference = self.add(gates.Subtract, a, b, shape=self.shape(a))
        above = self.table(difference, lambda integers: np.maximum(integers, 0))
        ends = self.made[source].low, self.made[source].high
        larger = self.add(gates.Add, above, b, shape=self.shape(a), within=ends)
        if count % 2:
            left_over = self.gather(source, numbers[..., -1:])
            larger = self.joined(
                [larger, left_over],
                np.concatenate(
                    [
                        self.numbers(larger),
                        self.made[larger].size + self.numbers(left_over),
                    ],
                    axis=-1,
                ),
            )
        return self.largest(larger)

    def joined(self, parts: list[str], index: IntArray, constants: IntArray | None = None) -> str:
        """Join tensors and move their elements."""
        given = np.zeros(0, dtype=np.int64) if constants is None else constants
        size = sum(self.made[part].size for part in parts) + given.size
        every = self.add(gates.Join, *parts, shape=(size,), constants=given)
        return self.gather(every, index)

    @lower.register
    def _(self, step: steps.Add) -> _Held:
        sources = (self.whole(name) for name in step.sources)
        return _Held(self.add(gates.Add, *sources, shape=step.shape))

    @lower.register
    def _(self, step: steps.Multiply) -> _Held:
        left = self.shift(self.whole(step.left), -step.left_zero)
        right = self.shift(self.whole(step.right), -step.right_zero)
        ends = [(self.made[name].low, self.made[name].high) for name in (left, right)]
        products = self.products(left, right, ends)
        return _Held(self.shift(products, step.offset - step.left_zero * step.right_zero))

    @lower.register
    def _(self, step: steps.Round) -> _Held:
        return _Held(self.shift(self.whole(step.source), step.offset), step.lsbs)

    @lower.register
    def _(self, step: steps.Table) -> _Held:
        held = self.held[step.source]
        which = step.rows
        if step.axes:
            placed = [size if i in step.axes else 1 for i, size in enumerate(step.shape)]
            which = np.reshape(step.rows, placed)
        return _Held(
            self.look_up(held.gate, step.entries(), step.source_low, lsbs=held.lsbs, which=which)
        )

    @lower.register
    def _(self, step: steps.Move) -> _Held:
        constant = step.index < 0
        if len(step.parts) == 1 and not constant.any():
            held = self.held[step.parts[0]]
            return _Held(self.gather(held.gate, step.index), held.lsbs)
        parts = [self.whole(part) for part in step.parts]
        if len(parts) == 1 and step.fill.ndim == 0:
            start = _place(step.index, self.shape(parts[0]))
            if start is not None:
                made = self.add(gates.Pad, parts[0], shape=step.shape, start=start, fill=step.fill)
                return _Held(made)
        values = np.broadcast_to(step.fill, step.shape)[constant]
        constants, number = np.unique(values, return_inverse=True)
        index = step.index.copy()
        index[constant] = sum(self.made[part].size for part in parts) + number.ravel()
        if len(parts) == 1 and not constants.size:
            return _Held(self.gather(parts[0], index))
        return _Held(self.joined(parts, index, constants.astype(np.int64)))


def _windows(
    numbers: IntArray, kernel: tuple[int, ...], strides: tuple[int, ...], dilations: tuple[int, ...]
) -> IntArray:
    """Return the elements of each window of (C, *spatial): (C, *outputs, elements)."""
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    axes = tuple(range(1, numbers.ndim))
    every = np.lib.stride_tricks.sliding_window_view(numbers, reach, axis=axes)
    spatial = tuple(slice(None, None, s) for s in strides)
    inside = tuple(slice(None, None, d) for d in dilations)
    taken = every[(slice(None), *spatial, *inside)]
    return taken.reshape(*taken.shape[: numbers.ndim], -1)


def _place(index: IntArray, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return where a tensor stands within a move that only pads it; None for any other move."""
    taken = np.argwhere(index >= 0)
    if index.ndim != len(shape) or not len(taken):
        return None
    start = tuple(int(a) for a in taken.min(axis=0))
    inside = index[gates.box(start, shape)]
    numbers = np.arange(inside.size).reshape(inside.shape)
    whole = inside.shape == shape and len(taken) == inside.size
    return start if whole and np.array_equal(inside, numbers) else None
