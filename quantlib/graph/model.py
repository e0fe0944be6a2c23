"""An ONNX graph as an immutable value; no protobuf objects inside."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from quantlib.arrays import digest_of

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
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: bytes


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

    Notes
    -----
    What is computed from the graph alone is kept with it, see `fact`. A graph that is made from
    another one, by `dataclasses.replace` for example, begins with nothing known.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> [node.op_type for node in graph.nodes], graph.inputs[0].shape
    (['Gemm'], ('batch', 4))
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
    _facts: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def fact(self, key: Any, compute: Callable[[], _T]) -> _T:
        """Return what `compute` says about the graph, asked once per `key`.

        Parameters
        ----------
        key : hashable
            What is asked, with everything the answer depends on beside the graph.
        compute : callable
            Gives the answer.
        """
        if key not in self._facts:
            self._facts[key] = compute()
        found: _T = self._facts[key]
        return found

    @property
    def identity(self) -> str:
        """Digest of what the graph computes: nodes, constants, grids, inputs and outputs.

        Unlike `digest`, which names the bytes that were loaded, it differs for a graph that was
        made from another one with other constants.
        """
        return self.fact("identity", self._identity)

    def _identity(self) -> str:
        content = hashlib.blake2b(digest_size=16)
        content.update(repr((self.inputs, self.outputs, sorted(self.opsets.items()))).encode())
        for node in self.nodes:
            content.update(repr((node.name, node.inputs, node.outputs)).encode())
            content.update(node.proto)
        for name, array in self.constants.items():
            content.update(f"{name}:{digest_of(array)}".encode())
        for name, grid in sorted(self.grids.items()):
            content.update(repr((name, grid.quant_options, grid.no_clipping)).encode())
            content.update(digest_of(np.asarray(grid.scale), np.asarray(grid.zero_point)).encode())
        return content.hexdigest()

    @property
    def n_parameters(self) -> int:
        """How many numbers the floating-point constants hold."""
        return sum(a.size for a in self.constants.values() if a.dtype.kind == "f")

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(info.name for info in self.outputs)
