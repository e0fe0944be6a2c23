"""An ONNX graph as an immutable value; no protobuf objects inside."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from quantlib.arrays import digest_of
from quantlib.errors import OptionsError

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


@dataclass(frozen=True, slots=True)
class Batch:
    """How samples reach a model: the one fact by which data are cut into calls.

    Parameters
    ----------
    size : int or None
        How many samples one call takes; None for any number.
    mixes : bool
        Whether an output of one sample depends on the samples beside it, in a model that takes
        any number: all data are then one call.
    input_axes : mapping of str to int or None
        Axis that numbers the samples of an input; None for one that has no samples (a state, a
        sampling rate), which every call gets as it is. Inputs that are not named: axis 0.
    output_axes : mapping of str to int or None
        Likewise of the outputs; None for one without, whose calls are stacked on a new first
        axis. Outputs that are not named: axis 0.
    sizes : mapping of str to tuple of int
        Shape of each input for one call of one sample (of `size` where that is fixed), with
        which the model was run; empty where no run succeeded.
    """

    size: int | None = None
    mixes: bool = False
    input_axes: Mapping[str, int | None] = field(default_factory=dict)
    output_axes: Mapping[str, int | None] = field(default_factory=dict)
    sizes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def is_free(self) -> bool:
        """Whether samples can be run together in any number, each as if it were alone."""
        return self.size is None and not self.mixes

    @property
    def words(self) -> str:
        """What is out of the ordinary, in a sentence; empty where samples are free."""
        if self.mixes:
            return "Samples depend on one another: all of them are run together."
        if self.size == 1:
            return "It runs one sample at a time: samples that run together change one another."
        if self.size is not None:
            return f"It runs {self.size} samples at a time, the number it was exported for."
        return ""

    def axis_of(self, name: str) -> int | None:
        """Return the axis of the samples of an input or output; None without."""
        return self.input_axes.get(name, self.output_axes.get(name, 0))


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
        The model, with a name of its own for every node; its batch axis is free where `batch`
        says so.
    digest : str
        SHA-256 of the bytes that were given, hexadecimal.
    grids : mapping of str to UniformQuantizer
        Grids that came with the model, of constants that lie on one.
    batch : Batch
        How samples reach the model.
    notes : tuple of str
        What was mended, left out or converted while loading, one sentence each.

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
    batch: Batch = field(default_factory=Batch)
    notes: tuple[str, ...] = ()
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
        content.update(repr(self.batch).encode())
        content.update(repr((self.inputs, self.outputs, sorted(self.opsets.items()))).encode())
        for node in self.nodes:
            content.update(repr((node.name, node.inputs, node.outputs)).encode())
            content.update(node.proto or repr((node.op_type, node.attributes)).encode())
            content.update(node.body)
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

    def led_by(self, output: str) -> Graph:
        """Return the graph with one of its outputs first; see `lead_output`.

        Raises
        ------
        OptionsError
            The graph has no such output.
        """
        first = [info for info in self.outputs if info.name == output]
        if not first:
            known = ", ".join(map(repr, self.output_names))
            raise OptionsError(f"the model has no output {output!r}; its outputs are {known}.")
        others = [info for info in self.outputs if info.name != output]
        return replace(self, outputs=(*first, *others))

    @property
    def lead_output(self) -> str:
        """The output that studies of one output measure.

        The first that holds real numbers: class numbers cannot be subtracted. Without one, the
        first.
        """
        real = [info.name for info in self.outputs if info.dtype.startswith("float")]
        return (real or list(self.output_names))[0]

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(info.name for info in self.outputs)
