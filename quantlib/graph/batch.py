"""How samples reach a model: found from its shapes, and believed once it was run."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import helper, numpy_helper

from quantlib.errors import ModelLoadError
from quantlib.graph.model import Batch
from quantlib.graph.runtime import open_session
from quantlib.graph.shapes import infer_shapes, shape_of
from quantlib.graph.widths import implied_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import onnxruntime as ort

    from quantlib.arrays import AnyArray
    from quantlib.graph.model import Shape

BATCH = "batch"
"""The symbol that replaces the fixed size."""

_SIZES = (8, 1, 32, 16, 2, 3, 4, 64, 224)
"""What a size that nobody knows may be, in the order in which it is tried."""

_SCALES = (1.0, 8.0, 0.125, 64.0)
"""Spread of the random samples of each draw: what saturates or vanishes at one need not at all."""

_SECONDS = 0.5
"""No further draw after this time."""

_MOST_VALUES = 2**25
"""No run with larger inputs: nothing is then known of the model's batch."""

_FLOAT32_TOLERANCE = 1e-4
"""Share of an output's largest value by which float32 sums in another order may differ."""

_ROUNDING_OPS = frozenset(
    ["QuantizeLinear", "DynamicQuantizeLinear", "Round", "Floor", "Ceil", "Sign", "Cast"]
)
"""A last bit can move their results by a whole step."""

_BATCH_NAME = re.compile(r"^(n|b|bs|batch.*|.*batch.*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Input:
    name: str
    dtype: np.dtype[np.generic]
    shape: Shape


def settle_batch(
    model: onnx.ModelProto, *, axes: Mapping[str, int | None] | None = None
) -> tuple[onnx.ModelProto, Batch]:
    """Find out how samples reach a model, and free a fixed batch where that changes nothing.

    Parameters
    ----------
    model : ModelProto
        One that ONNX Runtime loads.
    axes : mapping of str to int or None, optional
        Which axis of an input numbers the samples, None for an input without samples, where it
        is known; the others are found.

    Returns
    -------
    model : ModelProto
        With a symbolic batch axis where it was fixed and could be freed, else the model itself.
    batch : Batch
        What was found.

    Raises
    ------
    ModelLoadError
        `axes` names an input or axis that the model does not have.

    Notes
    -----
    Samples are independent if random ones that are run together give what each gives alone, to
    the tolerance of float32 and in all outputs. Where the model rounds, a last bit can move a
    result by a step; then replacing the other samples must not change one bit of the first's.
    Outputs that are the same for all samples tell nothing; the tensors inside are then asked.
    Sizes written into constant shapes of Reshape follow the freed axis. A fixed
    batch that is not proved independent stays, and the model runs call by call; a model that
    takes any number and mixes them gets all its data in one call. Where no random sample runs at
    all, a symbolic axis is believed.
    """
    inputs = _inputs(model)
    found, size = _proposed(inputs, axes or {})
    trial = _Trial(model, inputs, found, size or 1)
    if not trial.sizes:
        return model, Batch(size, input_axes=found)
    candidate = model if size is None else _freed(model, inputs, found, size)
    output_axes = trial.independent(candidate)
    if output_axes is not None:
        return candidate, Batch(None, False, found, output_axes, trial.sizes)
    if size is None and trial.runs(candidate, 2):
        return model, Batch(None, True, found, trial.ranks(), trial.sizes)
    return model, Batch(size or 1, False, found, trial.ranks(), trial.sizes)


def _inputs(model: onnx.ModelProto) -> list[_Input]:
    constants = {tensor.name for tensor in model.graph.initializer}
    found = []
    for value in model.graph.input:
        tensor = value.type.tensor_type
        if value.name not in constants and value.type.HasField("tensor_type"):
            try:
                kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
            except KeyError:  # no type that NumPy has; nothing runs with it
                kind = np.dtype(object)
            found.append(_Input(value.name, kind, shape_of(tensor)))
    return found


def _proposed(
    inputs: Sequence[_Input], given: Mapping[str, int | None]
) -> tuple[dict[str, int | None], int | None]:
    """Return the axis of the samples of each input, and their fixed number.

    A symbol in front of some input is the samples' number, wherever it stands in the others; one
    that is called batch is, wherever it stands. Without one the first size of the first input
    with axes is the fixed number, and inputs that do not begin with it have no samples.
    """
    _check_given(inputs, given)
    fronts = [info.shape[0] for info in inputs if info.shape]
    symbols = [size for size in fronts if isinstance(size, str)]
    named = [
        s for info in inputs for s in info.shape if isinstance(s, str) and _BATCH_NAME.match(s)
    ]
    free = bool(symbols) or any(size is None for size in fronts)
    if named and not free and 1 not in fronts:
        symbols, free = named, True
    axes: dict[str, int | None] = {}
    for info in inputs:
        places = [i for i, size in enumerate(info.shape) if size in symbols]
        if info.name in given:
            axes[info.name] = given[info.name]
        elif not info.shape:
            axes[info.name] = None
        elif free:
            axes[info.name] = places[0] if places else None if _is_fixed(info.shape[0]) else 0
        else:
            axes[info.name] = 0 if info.shape[0] == fronts[0] else None
    fixed = {
        info.shape[axis] for info in inputs if (axis := axes[info.name]) is not None
    }  # fmt: skip
    sizes = [size for size in fixed if _is_fixed(size)]
    size = sizes[0] if len(fixed) == len(sizes) == 1 else None
    return axes, size if isinstance(size, int) else None


def _is_fixed(size: int | str | None) -> bool:
    return isinstance(size, int) and size > 0


def _check_given(inputs: Sequence[_Input], given: Mapping[str, int | None]) -> None:
    shapes = {info.name: info.shape for info in inputs}
    for name, axis in given.items():
        if name not in shapes:
            known = ", ".join(map(repr, shapes))
            raise ModelLoadError(
                f"batch_axes names the input {name!r}; the model's inputs are {known}."
            )
        if axis is not None and not 0 <= axis < len(shapes[name]):
            raise ModelLoadError(
                f"batch_axes[{name!r}] is {axis}; the input has {len(shapes[name])} axes, 0 to "
                f"{len(shapes[name]) - 1}."
            )


class _Trial:
    """Random samples, and what a model makes of them together and alone."""

    def __init__(
        self,
        model: onnx.ModelProto,
        inputs: Sequence[_Input],
        axes: Mapping[str, int | None],
        rows: int,
    ) -> None:
        self.model = model
        self.inputs = inputs
        self.axes = axes
        self.rows = rows
        self.rng = np.random.default_rng(0)
        self.rounds = any(
            n.op_type in _ROUNDING_OPS or n.op_type.startswith("QLinear") for n in model.graph.node
        )
        self.names = [value.name for value in model.graph.output]
        self._session = open_session(model.SerializeToString())
        self.alone: list[AnyArray] = []
        self.sizes = self._working_sizes()

    def _working_sizes(self) -> dict[str, tuple[int, ...]]:
        """Return shapes of one call's inputs with which the model runs; none if none does."""
        implied = implied_sizes(self.model)
        tried = set()
        for unknown in _SIZES:
            sizes = dict(self._sized(implied, unknown))
            key = tuple(sorted(sizes.items()))
            total = sum(math.prod(shape) for shape in sizes.values())
            if key in tried or total > _MOST_VALUES:
                continue
            tried.add(key)
            results = self._run(self._session, self._draw(sizes, 1, 1.0))
            if results is not None:
                self.alone = results
                return sizes
        return {}

    def _sized(
        self, implied: Mapping[str, Mapping[int, int]], unknown: int
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        for info in self.inputs:
            axis, known = self.axes[info.name], implied.get(info.name, {})
            yield (
                info.name,
                tuple(
                    self.rows if i == axis
                    else int(size) if isinstance(size, int) and size > 0
                    else known.get(i, unknown)
                    for i, size in enumerate(info.shape)
                ),
            )  # fmt: skip

    def _draw(
        self, sizes: Mapping[str, tuple[int, ...]], count: int, scale: float
    ) -> dict[str, AnyArray]:
        """Return inputs of `count` calls together."""
        arrays = {}
        for info in self.inputs:
            axis, shape = self.axes[info.name], list(sizes[info.name])
            if axis is not None:
                shape[axis] *= count
            arrays[info.name] = random_values(self.rng, info.dtype, shape, scale=scale)
        return arrays

    def _part(self, feeds: Mapping[str, AnyArray], index: int) -> dict[str, AnyArray]:
        """Return the inputs of one call out of several."""
        window = slice(index * self.rows, (index + 1) * self.rows)
        return {
            name: array if (axis := self.axes[name]) is None
            else np.ascontiguousarray(array[(slice(None),) * axis + (window,)])
            for name, array in feeds.items()
        }  # fmt: skip

    def _run(
        self, session: ort.InferenceSession, feeds: Mapping[str, AnyArray]
    ) -> list[AnyArray] | None:
        try:
            results = session.run(None, dict(feeds))
        except Exception:  # ONNX Runtime's own kinds share no base class
            return None
        return list(results) if all(isinstance(r, np.ndarray) for r in results) else None

    def runs(self, model: onnx.ModelProto, count: int) -> bool:
        """Tell whether a model takes several calls' samples at once."""
        session = open_session(model.SerializeToString())
        return self._run(session, self._draw(self.sizes, count, 1.0)) is not None

    def ranks(self) -> dict[str, int | None]:
        """Return how results of calls are joined: along their first axis, if they have one."""
        return {
            name: 0 if result.ndim else None
            for name, result in zip(self.names, self.alone, strict=True)
        }

    def independent(self, model: onnx.ModelProto) -> dict[str, int | None] | None:
        """Return the outputs' axes if `model` gives each sample what it gets alone, else None."""
        try:
            together = self._session
            if model is not self.model:
                together = open_session(model.SerializeToString())
        except Exception:  # a shape inside contradicts the freed axis
            return None
        started = time.perf_counter()
        axes: dict[str, int | None] | None = None
        told = False
        for draw, scale in enumerate(_SCALES):
            found = self._draw_together(self._session, together, 2 + draw % 2, scale)
            if found is None or (axes is not None and found[0] != axes):
                return None
            axes = found[0]
            told = told or found[1]
            if time.perf_counter() - started > _SECONDS:
                break
        if axes is not None and self.rows > 1 and not self._takes_one(together, axes):
            return None
        if told:
            return axes
        inner = self._told_inside(model)
        # a symbolic axis is believed unless something speaks against it, a fixed one is kept
        return axes if inner or (inner is None and model is self.model) else None

    def _takes_one(self, session: ort.InferenceSession, axes: Mapping[str, int | None]) -> bool:
        """Tell whether one sample out of a fixed number gives what it gave among the others."""
        feeds = self._draw(self.sizes, 1, 1.0)
        first = {
            name: array if (axis := self.axes[name]) is None
            else np.ascontiguousarray(array[(slice(None),) * axis + (slice(0, 1),)])
            for name, array in feeds.items()
        }  # fmt: skip
        whole, one = self._run(session, feeds), self._run(session, first)
        if whole is None or one is None:
            return False
        for name, every, alone in zip(axes, whole, one, strict=True):
            axis = axes[name]
            if axis is None:
                continue
            size = every.shape[axis] // self.rows
            mine = every[(slice(None),) * axis + (slice(0, size),)]
            near = self._same(alone, mine)
            if not near and not (self.rounds and self._same_but_for_steps(alone, mine)):
                return False
        return True

    def _told_inside(self, model: onnx.ModelProto) -> bool | None:
        """Ask the tensors inside, where outputs are the same for all samples; None: no answer."""
        try:
            alone, together = (
                open_session(_with_inner_outputs(m).SerializeToString())
                for m in (self.model, model)
            )
        except Exception:  # a tensor that is no output anywhere
            return None
        found = self._draw_together(alone, together, 2, 1.0, inside=True)
        return False if found is None else found[1] or None

    def _draw_together(
        self,
        one: ort.InferenceSession,
        many: ort.InferenceSession,
        count: int,
        scale: float,
        *,
        inside: bool = False,
    ) -> tuple[dict[str, int | None], bool] | None:
        """Compare several calls together with each alone.

        Returns
        -------
        axes : dict of str to int or None
            Along which each output joins.
        told : bool
            Whether any output differs between samples: else equality says nothing.
        None
            Where the samples are not independent. `inside` leaves out tensors that have no axis
            of samples: a rearrangement may fold them.
        """
        feeds = self._draw(self.sizes, count, scale)
        results = self._run(many, feeds)
        alone = [self._run(one, self._part(feeds, i)) for i in range(count)]
        if results is None or any(part is None for part in alone):
            return None
        axes: dict[str, int | None] = {}
        told = False
        for j, name in enumerate(value.name for value in many.get_outputs()):
            parts = [part[j] for part in alone if part is not None]
            axis = _sample_axis(parts, results[j])
            if axis is False:
                if inside:
                    continue
                return None
            if axis is None and not all(self._same(part, results[j]) for part in parts):
                return None  # one of several samples, or something between them
            whole = parts[0] if axis is None else np.concatenate(parts, axis=axis)
            if not self._same(whole, results[j]) and not (
                self.rounds
                and axis is not None
                and self._same_but_for_steps(whole, results[j])
                and self._keeps(many, feeds, results, j, axis)
            ):
                return None
            axes[name] = axis
            told = told or (axis is not None and not _identical(parts[0], parts[1]))
        return axes, told

    def _keeps(
        self,
        many: ort.InferenceSession,
        feeds: Mapping[str, AnyArray],
        results: Sequence[AnyArray],
        output: int,
        axis: int,
    ) -> bool:
        """Tell whether the first sample keeps every bit of an output when others are replaced."""
        first = self._part(feeds, 0)
        changed = self._draw(self.sizes, 2, 1.0)
        count = results[output].shape[axis]
        replaced = dict(feeds)
        for name, array in feeds.items():
            place = self.axes[name]
            if place is None:
                continue
            others = self._part(changed, 1)[name]
            times = array.shape[place] // first[name].shape[place] - 1
            replaced[name] = np.concatenate([first[name], *[others] * times], axis=place)
        again = self._run(many, replaced)
        if again is None or again[output].shape != results[output].shape:
            return False
        rows = count // (next(iter(self._counts(feeds))))
        window = (slice(None),) * axis + (slice(0, rows),)
        return _identical(results[output][window], again[output][window])

    def _counts(self, feeds: Mapping[str, AnyArray]) -> Iterator[int]:
        """Yield how many calls each input that has samples holds."""
        for name, array in feeds.items():
            axis = self.axes[name]
            if axis is not None:
                yield array.shape[axis] // self.rows

    def _same(self, alone: AnyArray, together: AnyArray) -> bool:
        """Tell whether two results are equal but for the order of float32 sums."""
        if alone.shape != together.shape or alone.dtype != together.dtype:
            return False
        if alone.dtype.kind != "f":
            return np.array_equal(alone, together)
        return _near(alone, together, _FLOAT32_TOLERANCE)

    @staticmethod
    def _same_but_for_steps(alone: AnyArray, together: AnyArray) -> bool:
        """Tell whether two results are equal but for steps that a last bit decided.

        Nine integers in ten are equal, or the difference of reals has less than a hundredth of
        their energy.
        """
        if alone.shape != together.shape or not alone.size:
            return False
        if alone.dtype.kind != "f":
            return float(np.mean(alone == together)) >= 0.9
        a, b = alone.astype(np.float64), together.astype(np.float64)
        return float(np.sum((a - b) ** 2)) <= 0.01 * float(np.sum(a**2))


def _with_inner_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy in which every tensor that a node makes is an output."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    present = {value.name for value in model.graph.output}
    for node in model.graph.node:
        for name in node.output:
            if name and name not in present:
                present.add(name)
                opened.graph.output.append(onnx.ValueInfoProto(name=name))
    return opened


def _sample_axis(parts: Sequence[AnyArray], together: AnyArray) -> int | bool | None:
    """Return the axis along which results of calls join; None without, False if none fits."""
    shapes = {part.shape for part in parts}
    if len(shapes) != 1:
        return False
    (shape,) = shapes
    for axis, size in enumerate(shape):
        grown = (*shape[:axis], size * len(parts), *shape[axis + 1 :])
        if size and together.shape == grown:
            return axis
    return None if together.shape == shape else False


def _identical(a: AnyArray, b: AnyArray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _near(a: AnyArray, b: AnyArray, share: float) -> bool:
    """Tell whether two arrays agree within a share of the largest finite value."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(finite, np.isfinite(b)):
        return False
    reach = np.abs(a[finite]).max(initial=0.0)
    return bool(np.abs(a[finite] - b[finite]).max(initial=0.0) <= share * reach)


def random_values(
    rng: np.random.Generator,
    dtype: np.dtype[np.generic],
    shape: Sequence[int],
    *,
    scale: float = 1.0,
) -> AnyArray:
    """Return standard normal reals times `scale`, or integers of 0 and 1."""
    if dtype.kind == "f":
        return np.asarray(scale * rng.normal(size=shape), dtype=dtype)
    return np.asarray(rng.integers(0, 2, shape), dtype=dtype)


def _freed(
    model: onnx.ModelProto, inputs: Sequence[_Input], axes: Mapping[str, int | None], size: int
) -> onnx.ModelProto:
    """Return a copy whose samples' axes are symbolic."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    first_sizes = {name: shape[0] for name, shape in infer_shapes(model).items() if shape}
    names = {info.name for info in inputs}
    for value in freed.graph.input:
        axis = axes.get(value.name) if value.name in names else None
        if axis is not None:
            value.type.tensor_type.shape.dim[axis].dim_param = BATCH
    for value in freed.graph.output:
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value == size:
            dims[0].dim_param = BATCH
    del freed.graph.value_info[:]
    _free_reshapes(freed, size, first_sizes)
    return freed


def _free_reshapes(
    model: onnx.ModelProto, fixed: int, first_sizes: dict[str, int | str | None]
) -> None:
    """Let constant target shapes copy the batch from the data (0 means copy)."""
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            shapes[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    for i, node in enumerate(model.graph.node):
        if node.op_type != "Reshape" or first_sizes.get(node.input[0]) != fixed:
            continue
        if len(node.input) == 1:  # before operator set 5 the shape is an attribute
            (attribute,) = (a for a in node.attribute if a.name == "shape")
            if attribute.ints and attribute.ints[0] == fixed:
                attribute.ints[0] = 0
            continue
        shape = shapes.get(node.input[1])
        if shape is None or shape.size == 0 or shape[0] != fixed:
            continue
        name = f"{node.input[1]}/{BATCH}_{i}"
        freed = np.array([0, *shape[1:]], dtype=np.int64)
        model.graph.initializer.append(numpy_helper.from_array(freed, name))
        node.input[1] = name
