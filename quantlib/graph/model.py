"""An ONNX graph as an immutable value; no protobuf objects inside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer

_T = TypeVar("_T")

Shape: TypeAlias = "tuple[int | str | None, ...]"
"""Known sizes, symbols (``"batch"``), or None for a size nobody knows."""


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Name, element type and shape of a graph input or output.

    Parameters
    ----------
    name : str
        Tensor name.
    dtype : str
        NumPy name of the element type, ``"float32"``.
    shape : Shape
        Its sizes.
    """

    name: str
    dtype: str
    shape: Shape


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operator of a graph.

    Parameters
    ----------
    name : str
        Unique within the graph; made from operator and position where the file has none.
    op_type, domain : str
        Operator; ``""`` is ONNX's own domain.
    inputs, outputs : tuple of str
        Tensor names; ``""`` marks an optional input that is left out. What the bodies of an If,
        Loop or Scan read from outside follows the node's own inputs.
    attributes : mapping
        Plain Python values and arrays.
    proto : bytes
        The serialized ONNX node, for whoever executes it as it is.
    body : bytes
        A serialized ONNX graph that computes the node where no runtime knows its operator;
        tensors have the names they have outside. Empty for all others.
    kinds : mapping of str to int
        ONNX element types of its inputs and outputs in the model, as far as they are known.
    fixed : mapping of str to array
        The inputs that are constants, for whoever runs the node alone: shapes, axes and sizes
        decide what it is.
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: bytes
    body: bytes = b""
    kinds: Mapping[str, int] = field(default_factory=dict)
    fixed: Mapping[str, AnyArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A checked model.

    Parameters
    ----------
    name : str
        File stem or graph name, for messages and downloads.
    inputs, outputs : tuple of TensorInfo
        Variable inputs (constants are not among them) and outputs, in the file's order.
    nodes : tuple of Node
        In topological order, after the passes of `quantlib.graph.passes`.
    constants : mapping of str to array
        Initializers and folded constants, read-only.
    opsets : mapping of str to int
        Version of each operator domain.
    shapes : mapping of str to tuple
        Shapes of the tensors whose rank can be inferred.
    source : bytes
        The model, with a name of its own for every node and a free batch axis.
    digest : str
        SHA-256 of the bytes that were given, hexadecimal.
    grids : mapping of str to UniformQuantizer
        Grids that came with the model, of constants that lie on one.
    notes : tuple of str
        What was mended, left out or converted while loading, one sentence each.
    facts : dict
        What was computed from the constants alone, shared by all configurations; see `fact`.
    """

    name: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    nodes: tuple[Node, ...]
    constants: Mapping[str, AnyArray]
    opsets: Mapping[str, int]
    shapes: Mapping[str, Shape]
    source: bytes
    digest: str
    grids: Mapping[str, UniformQuantizer] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    facts: dict[Any, Any] = field(default_factory=dict, repr=False)

    def fact(self, key: Any, compute: Callable[[], _T]) -> _T:
        """Return what `compute` says about the graph's constants, asked once per `key`."""
        if key not in self.facts:
            self.facts[key] = compute()
        found: _T = self.facts[key]
        return found

    @property
    def n_parameters(self) -> int:
        """How many numbers the floating-point constants hold."""
        return sum(a.size for a in self.constants.values() if a.dtype.kind == "f")

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(info.name for info in self.outputs)
