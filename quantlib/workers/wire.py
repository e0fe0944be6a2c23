"""What travels between processes: plain values, arrays and the library's own frozen classes.

A message is one JSON document and the bytes beside it. Nothing of it is code: the receiver makes
frozen dataclasses and enumerations that it has itself, by name, without calling anything of theirs;
so whoever has taken over the other process can send wrong numbers, and no more.

::

    uint32 length of the document | uint32 number of byte strings | uint64 length of each
    document, UTF-8 | byte strings

Numbers, strings, true, false and null stand for themselves; everything else is an array that begins
with one of `_Tag`.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import struct
import sys
from collections import OrderedDict, defaultdict
from functools import lru_cache
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

import quantlib.questions  # noqa: F401 - the classes of its answers are those that travel
from quantlib import errors
from quantlib.errors import QuantlibError, UnsupportedOpError, WorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Blobs = list[bytes]

MAX_BYTES = 1024 * 2**20
"""Longest message that is read."""

MAX_DOCUMENT_BYTES = 32 * 2**20
"""Longest document that is read: its parts take some twenty times as much memory."""

MAX_BLOBS = 2**20
"""Most byte strings of a message."""

_HEAD = struct.Struct("<II")
_ATOMS = frozenset({str, int, float, bool, type(None)})
_KINDS = frozenset("biufcSU")
_NAMED: dict[str, np.dtype[Any]] = {
    dtype.name: dtype
    for dtype in map(
        helper.tensor_dtype_to_np_dtype,
        (
            TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2,
            TensorProto.INT4, TensorProto.UINT4,
        ),
    )
}  # fmt: skip
"""Element types that NumPy's own short names do not tell."""


class _Tag(enum.IntEnum):
    """What an array of the document stands for, and what follows in it."""

    LIST = 0
    TUPLE = 1
    DICT = 2
    SET = 3
    FROZENSET = 4
    BYTES = 5
    ARRAY = 6
    SCALAR = 7
    OBJECT = 8
    MEMBER = 9
    COMPLEX = 10


class WireError(WorkerError):
    """What came is no message."""


def packed(value: object) -> list[bytes]:
    """Return the parts of a message.

    Raises
    ------
    TypeError
        Something in the value is neither plain, nor an array, nor a frozen class of the library.
    """
    blobs: list[bytes] = []
    document = json.dumps(_plain(value, blobs), separators=(",", ":")).encode()
    head = _HEAD.pack(len(document), len(blobs))
    return [head + struct.pack(f"<{len(blobs)}Q", *map(len, blobs)) + document, *blobs]


def send(stream: IO[bytes], value: object) -> None:
    """Write a message."""
    for part in packed(value):
        stream.write(part)
    stream.flush()


def receive(stream: IO[bytes], *, at_most: int = MAX_BYTES) -> tuple[bytes, Blobs] | None:
    """Read a message without looking into it; None at the end of the stream.

    Raises
    ------
    WireError
        It is cut short, longer than `at_most` bytes, or its document than `MAX_DOCUMENT_BYTES`.
    """
    head = _exactly(stream, _HEAD.size, may_end=True)
    if head is None:
        return None
    length, count = _HEAD.unpack(head)
    if count > MAX_BLOBS:
        raise WireError(f"an answer has {count} parts; it cannot be read.")
    if length > MAX_DOCUMENT_BYTES:
        raise WireError(
            f"an answer has {length / 2**20:.0f} MiB beside its arrays, above the limit of "
            f"{MAX_DOCUMENT_BYTES // 2**20} MiB."
        )
    lengths = struct.unpack(f"<{count}Q", _exactly(stream, 8 * count) or b"")
    if length + sum(lengths) > at_most:
        raise WireError(
            f"an answer of {(length + sum(lengths)) / 2**20:.0f} MiB is above the limit of "
            f"{at_most // 2**20} MiB."
        )
    document = _exactly(stream, length) or b""
    return document, [_exactly(stream, size) or b"" for size in lengths]


def unpacked(document: bytes, blobs: Blobs) -> Any:
    """Return the value of a message.

    Raises
    ------
    WireError
        It is no message of ours.
    """
    try:
        return _value(json.loads(document), blobs)
    except WireError:
        raise
    except (
        ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError,
        ValueError,
    ) as error:  # fmt: skip
        raise WireError(f"an answer cannot be read ({type(error).__name__}).") from error


def _exactly(stream: IO[bytes], size: int, *, may_end: bool = False) -> bytes | None:
    found = stream.read(size) if size else b""
    if may_end and not found:
        return None
    if len(found) < size:
        raise WireError("an answer is cut short.")
    return found


def _plain(value: Any, blobs: Blobs) -> Any:
    """Return what JSON can say of a value; bytes go beside it."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    writer = _WRITERS.get(kind)
    if writer is not None:
        return writer(value, blobs)
    if isinstance(value, enum.Enum):
        return [_Tag.MEMBER, _name(kind), value.name]
    if dataclasses.is_dataclass(kind):
        name, members = _members(kind)
        return [_Tag.OBJECT, name, *(_plain(getattr(value, member), blobs) for member in members)]
    if isinstance(value, np.generic):
        return [_Tag.SCALAR, _element(value.dtype), _blob(value.tobytes(), blobs)]
    raise TypeError(f"{kind.__module__}.{kind.__qualname__} does not travel between processes")


def _sequence(tag: _Tag) -> Callable[[Any, Blobs], Any]:
    def write(value: Iterable[Any], blobs: Blobs) -> Any:
        parts = list(value)
        if _ATOMS.issuperset(map(type, parts)):
            return [tag, *parts]
        return [tag, *(_plain(part, blobs) for part in parts)]

    return write


def _dict(value: dict[Any, Any], blobs: Blobs) -> Any:
    return [_Tag.DICT, *(_plain(part, blobs) for pair in value.items() for part in pair)]


def _array(value: np.ndarray[Any, Any], blobs: Blobs) -> Any:
    return [_Tag.ARRAY, _element(value.dtype), _blob(value.tobytes(), blobs), *value.shape]


def _blob(content: bytes, blobs: Blobs) -> int:
    blobs.append(content)
    return len(blobs) - 1


_WRITERS: dict[type, Callable[[Any, Blobs], Any]] = {
    list: _sequence(_Tag.LIST),
    tuple: _sequence(_Tag.TUPLE),
    set: _sequence(_Tag.SET),
    frozenset: _sequence(_Tag.FROZENSET),
    dict: _dict,
    OrderedDict: _dict,
    defaultdict: _dict,
    MappingProxyType: _dict,
    np.ndarray: _array,
    bytes: lambda value, blobs: [_Tag.BYTES, _blob(value, blobs)],
    bytearray: lambda value, blobs: [_Tag.BYTES, _blob(bytes(value), blobs)],
    complex: lambda value, _: [_Tag.COMPLEX, value.real, value.imag],
}


def _element(dtype: np.dtype[Any]) -> str:
    """Return the name of an element type."""
    if dtype.name in _NAMED:
        return dtype.name
    if dtype.kind not in _KINDS:
        raise TypeError(f"arrays of {dtype} do not travel between processes")
    return dtype.str


@lru_cache(maxsize=256)
def _dtype(name: str) -> np.dtype[Any]:
    """Return the element type of a name."""
    if name in _NAMED:
        return _NAMED[name]
    if name.strip("<>|=")[:1] not in _KINDS or len(name) > 12:
        raise WireError("an answer has an array of unknown elements.")
    return np.dtype(name)


def _read_array(name: str, content: bytes, shape: Iterable[int]) -> Any:
    """Return an array over received bytes; nothing can write to it."""
    return np.frombuffer(content, dtype=_dtype(name)).reshape(tuple(shape))


def _value(plain: Any, blobs: Blobs) -> Any:
    """Return what a part of the document stands for."""
    if type(plain) in _ATOMS:
        return plain
    if type(plain) is not list or not plain:
        raise WireError("an answer has a part without meaning.")
    reader = _READERS.get(plain[0])
    if reader is None:
        raise WireError("an answer has a part of unknown kind.")
    return reader(plain, blobs)


def _parts(plain: list[Any], blobs: Blobs) -> list[Any]:
    parts = plain[1:]
    if _ATOMS.issuperset(map(type, parts)):
        return parts
    return [_value(part, blobs) for part in parts]


def _read_dict(plain: list[Any], blobs: Blobs) -> dict[Any, Any]:
    parts = iter(_parts(plain, blobs))
    return dict(zip(parts, parts, strict=True))


def _read_object(plain: list[Any], blobs: Blobs) -> Any:
    kind = _class(plain[1])
    members = _members(kind)[1]
    made: Any = object.__new__(kind)
    for member, part in zip(members, plain[2:], strict=True):
        object.__setattr__(made, member, _value(part, blobs))
    return made


def _read_member(plain: list[Any], _: Blobs) -> Any:
    kind = _class(plain[1])
    if not issubclass(kind, enum.Enum):
        raise WireError(f"an answer takes {plain[1]} for an enumeration.")
    return kind[plain[2]]


_READERS: dict[int, Callable[[list[Any], Blobs], Any]] = {
    _Tag.LIST: _parts,
    _Tag.TUPLE: lambda plain, blobs: tuple(_parts(plain, blobs)),
    _Tag.DICT: _read_dict,
    _Tag.SET: lambda plain, blobs: set(_parts(plain, blobs)),
    _Tag.FROZENSET: lambda plain, blobs: frozenset(_parts(plain, blobs)),
    _Tag.BYTES: lambda plain, blobs: blobs[plain[1]],
    _Tag.ARRAY: lambda plain, blobs: _read_array(plain[1], blobs[plain[2]], plain[3:]),
    _Tag.SCALAR: lambda plain, blobs: _read_array(plain[1], blobs[plain[2]], ())[()],
    _Tag.OBJECT: _read_object,
    _Tag.MEMBER: _read_member,
    _Tag.COMPLEX: lambda plain, _: complex(plain[1], plain[2]),
}


def _name(kind: type) -> str:
    """Return how a class is called on the way; it must be one that the other side may make."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        known = _class(name)
    except WireError as error:
        raise TypeError(f"{name} does not travel between processes: {error}") from None
    if known is not kind:
        raise TypeError(f"{name} is another class there")
    return name


@lru_cache(maxsize=1024)
def _class(name: str) -> type:
    """Return a frozen dataclass or enumeration of the library that this process has imported."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module) if module.split(".")[0] == "quantlib" else None
    for part in path.split("."):
        found = vars(found).get(part) if found is not None else None
    if not isinstance(found, type) or found.__module__ != module:
        raise WireError("an answer has a class that is not the library's.")
    frozen = dataclasses.is_dataclass(found) and found.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if not frozen and not issubclass(found, enum.Enum):
        raise WireError("an answer has a class that is no frozen value.")
    return found


@lru_cache(maxsize=1024)
def _members(kind: type) -> tuple[str, tuple[str, ...]]:
    """Return a dataclass's name on the way and its members."""
    name = _name(kind)
    if issubclass(kind, enum.Enum):
        raise WireError(f"an answer takes {name} for a dataclass.")
    return name, tuple(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]


_ERRORS = {
    kind.__name__: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, QuantlibError)
}


def error_record(error: QuantlibError) -> tuple[str, str, str, str]:
    """Return what is sent of an error: its kind's name, its words, operator and node."""
    kind = next(k.__name__ for k in type(error).__mro__ if _ERRORS.get(k.__name__) is k)
    node = (str(getattr(error, "op_type", "")), str(getattr(error, "node_name", "")))
    return (kind, str(error), *node)


def error_of(record: tuple[str, str, str, str]) -> QuantlibError:
    """Return the error that was sent."""
    kind, words, op_type, node_name = map(str, record)
    if kind not in _ERRORS:
        raise WireError("an answer has an error that is not the library's.")
    if issubclass(_ERRORS[kind], UnsupportedOpError):
        return UnsupportedOpError(words, op_type=op_type, node_name=node_name)
    return _ERRORS[kind](words)
