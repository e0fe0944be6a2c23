"""C text: types, names, arrays, loops."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from quantlib.program.archive import smallest_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.arrays import IntArray

LINE = 96
"""Most characters in a line of numbers."""


def identifier(name: str) -> str:
    """Return a C identifier for any name."""
    cleaned = re.sub(r"\W", "_", name, flags=re.ASCII)
    return cleaned if cleaned[:1].isalpha() else f"m_{cleaned}"


def c_type(low: int, high: int) -> str:
    """Return the smallest type that holds both ends."""
    return f"{smallest_type(low, high)}_t"


def signed_type(bound: int) -> str:
    """Return the smallest signed type that holds a magnitude; at least 16 bits, to compute in."""
    for bits in (16, 32):
        if bound < 2 ** (bits - 1):
            return f"int{bits}_t"
    return "int64_t"


def wider(*types: str) -> str:
    """Return the widest of signed types."""
    return max(types, key=size_of)


def size_of(kind: str) -> int:
    """Return a type's bytes."""
    return np.dtype(kind.removesuffix("_t")).itemsize


def number(value: int) -> str:
    """Return a constant that has a type in C99, the most negative ones too."""
    if value == -(2**63):
        return "INT64_MIN"
    if value == -(2**31):
        return "INT32_MIN"
    suffix = "LL" if abs(value) >= 2**31 else ("L" if abs(value) >= 2**15 else "")
    return f"{value}{suffix}"


def array(name: str, values: IntArray) -> tuple[str, int]:
    """Return the definition of a constant array in the smallest type, and its bytes."""
    flat = np.ravel(values)
    kind = c_type(int(flat.min()), int(flat.max()))
    words = [number(int(v)) for v in flat]
    lines, line = [], " "
    for word in words:
        if len(line) + len(word) + 2 > LINE:
            lines.append(line)
            line = " "
        line += f" {word},"
    lines.append(line)
    body = "\n".join(lines)
    return f"static const {kind} {name}[{len(words)}] = {{\n{body}\n}};", len(words) * size_of(kind)


def loops(variables: Sequence[str], sizes: Sequence[int], body: Sequence[str]) -> list[str]:
    """Return nested loops around statements; axes of size 1 have none, their variable is 0."""
    opened = [
        f"for (size_t {variable} = 0; {variable} < {size}; {variable}++) {{"
        for variable, size in zip(variables, sizes, strict=True)
        if size != 1
    ]
    lines = [f"{'    ' * depth}{line}" for depth, line in enumerate(opened)]
    inside = "    " * len(opened)
    lines += [inside + line for line in body]
    lines += ["    " * depth + "}" for depth in reversed(range(len(opened)))]
    return lines


def offset(terms: Sequence[tuple[str, int, int]], constant: int = 0) -> str:
    """Return an index: the sum of ``variable * stride`` for axes longer than 1, and a constant.

    `terms` are variable, stride and size of the axis.
    """
    parts = [
        variable if stride == 1 else f"{variable} * {stride}"
        for variable, stride, size in terms
        if size != 1 and stride != 0
    ]
    if constant or not parts:
        parts.append(str(constant))
    return " + ".join(parts)


def strides(shape: Sequence[int]) -> list[int]:
    """Return the C-order strides of a shape, in elements."""
    return [int(np.prod(shape[i + 1 :], dtype=np.int64)) for i in range(len(shape))]


def short(kind: str) -> str:
    """Return a type's name as part of others: ``u8``, ``i32``."""
    return kind.removesuffix("_t").replace("uint", "u").replace("int", "i")
