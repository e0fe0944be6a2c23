"""The one door for calibration and evaluation data: .npz, .npy, .csv, or generated."""

from __future__ import annotations

import hashlib
import io
import math
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from quantlib.arrays import AnyArray, read_only
from quantlib.csv_table import read_table
from quantlib.errors import DataLoadError, TensorError
from quantlib.execution.calls import n_samples, samples_of, sized_shapes, values_per_sample
from quantlib.execution.inputs import check_inputs
from quantlib.graph.batch import random_values
from quantlib.limits import MIB, above

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quantlib.graph.model import Graph, TensorInfo

MAX_RATIO = 500
"""Most times that a large archive member may grow when unpacked."""

LARGE_MEMBER_BYTES = 8 * 2**20
"""Members up to this size may grow as they like: labels of one class compress a thousandfold."""

SYNTHETIC_SAMPLES = 256
"""Most samples that are generated for calibration, and again for evaluation."""

SYNTHETIC_BYTES = 256 * 2**20
"""About what all tensors of the generated samples of one set may take in float32."""

SYNTHETIC_SECONDS = 2.0
"""About how long one pass over one set may take, by the rates below."""

_PRODUCTS_PER_SECOND, _VALUES_PER_SECOND, _SECONDS_PER_NODE = 4e9, 2e8, 1e-4
"""Orders of magnitude of one processor; what they make of a model is the same everywhere."""

_ROLES = {
    "calibration": ("calibration", "calib_x", "calibration_x", "x_calib", "x", "x_train"),
    "evaluation": ("evaluation", "eval_x", "evaluation_x", "x_eval", "x_test"),
    "labels": ("labels", "label", "y", "y_test", "target", "targets"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Inputs to calibrate on, inputs to evaluate on, and what the answers should be.

    Parameters
    ----------
    name : str
        For messages and downloads.
    calibration, evaluation : tuple of arrays
        One array per model input; samples along the axis that the model's `Batch` tells.
    labels : array or None
        Class numbers or target values of the evaluation samples.
    notes : tuple of str
        What was decided while reading, in words.
    digest : str
        SHA-256 of the content, hexadecimal.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> len(data.calibration[0]), len(data.evaluation[0]), data.labels.shape
    (60, 50, (50,))
    """

    name: str
    calibration: tuple[AnyArray, ...]
    evaluation: tuple[AnyArray, ...]
    labels: AnyArray | None
    notes: tuple[str, ...]
    digest: str

    @property
    def is_synthetic(self) -> bool:
        """Whether the data were generated, so that accuracy means nothing."""
        return self.name == "synthetic"


def load_data(data: bytes | str | Path, graph: Graph, *, name: str = "") -> Dataset:
    """Read data for a model.

    Parameters
    ----------
    data : bytes, or path
        Content of a .npz, .npy or .csv file, or where it lies.
    graph : Graph
        The model whose inputs the data must fit.
    name : str
        The file's name, for messages; its ending is not trusted. A path's own by default.

    Returns
    -------
    Dataset
        A .npz may hold ``calibration``, ``evaluation`` and ``labels`` (several inputs:
        ``calibration.NAME``, or one array per input name). One array alone is split in halves.
        A .csv has one sample per row; one column more than the model's features is the label.

    Raises
    ------
    DataLoadError
        The file cannot be read, or does not fit the model.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> data.calibration[0].shape, data.notes
    ((60, 4), ())
    """
    if not isinstance(data, bytes):
        path = Path(data)
        name = name or path.name
        if not path.is_file():
            raise DataLoadError(f"{name}: there is no such file; check the path.")
        if too_much := above("data_mb", path.stat().st_size / MIB):
            raise DataLoadError(f"{name}: the file is {too_much}; give fewer samples.")
        data = path.read_bytes()
    if not data:
        raise DataLoadError(f"{name}: the file is empty; choose another.")
    notes: list[str] = []
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        calibration, evaluation, labels = _from_npz(data, graph, name, notes)
    elif data.startswith(b"\x93NUMPY"):
        _check_bytes(_declared_bytes(io.BytesIO(data), name), name)
        calibration, evaluation, labels = (_read_npy(io.BytesIO(data), name),), None, None
    elif name.lower().endswith((".npz", ".npy")):
        raise DataLoadError(
            f"{name}: this is no NumPy file, although its name says so; save it with numpy.savez, "
            "or give a table the ending .csv."
        )
    else:
        features, labels = read_table(data, graph, name, notes)
        calibration, evaluation = (features,), None
    try:
        if evaluation is None:
            samples = check_inputs(graph, calibration, what=name)
            checked, evaluated = _halves(graph, samples, notes)
            if labels is not None and len(labels) == n_samples(graph, samples):
                labels = labels[-n_samples(graph, evaluated) :]
        else:
            checked = check_inputs(graph, calibration, what=f"{name}, calibration data")
            evaluated = check_inputs(graph, evaluation, what=f"{name}, evaluation data")
    except TensorError as error:
        raise DataLoadError(str(error)) from None
    count = n_samples(graph, evaluated)
    if labels is not None and len(labels) != count:
        raise DataLoadError(
            f"{name}: {len(labels)} labels for {count} evaluation samples; "
            "give one label per sample."
        )
    return _dataset(name, checked, evaluated, labels, notes, hashlib.sha256(data).hexdigest())


def synthetic_data(graph: Graph, *, samples: int | None = None, seed: int = 0) -> Dataset:
    """Generate data that fit a model: standard normal values, whole numbers of 0 and 1.

    Parameters
    ----------
    graph : Graph
        The model. Sizes that it leaves open are those with which it was run when it was loaded.
    samples : int, optional
        How many for calibration, and again for evaluation; by default what memory and time
        allow for a model of this size, at most `SYNTHETIC_SAMPLES`. A model that is fixed to a
        number of samples gets whole calls.
    seed : int
        Of the generator.

    Returns
    -------
    Dataset
        Marked as synthetic. Inputs without samples are the same in both sets.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> ql.synthetic_data(graph, samples=8).calibration[0].shape
    (8, 4)
    """
    rng = np.random.default_rng(seed)
    size = graph.batch.size or 1
    count = affordable_samples(graph) if samples is None else samples
    count = max(1, -(-count // size)) * size
    fixed = {
        info.name: random_values(rng, np.dtype(info.dtype), _drawn_shape(graph, info, count))
        for info in graph.inputs
        if graph.batch.axis_of(info.name) is None
    }

    def draw() -> tuple[AnyArray, ...]:
        return tuple(
            fixed[info.name]
            if info.name in fixed
            else random_values(rng, np.dtype(info.dtype), _drawn_shape(graph, info, count))
            for info in graph.inputs
        )

    kinds = {np.dtype(info.dtype).kind == "f" for info in graph.inputs}
    words = {True: "from a standard normal distribution", False: "as whole numbers of 0 and 1"}
    drawn = " and ".join(words[real] for real in sorted(kinds, reverse=True))
    notes = (f"{count} + {count} samples drawn {drawn}",)
    digest = hashlib.sha256(f"{graph.digest}:{count}:{seed}".encode()).hexdigest()
    return _dataset("synthetic", draw(), draw(), None, notes, digest)


def affordable_samples(graph: Graph) -> int:
    """Return how many samples one pass can take in `SYNTHETIC_BYTES` and `SYNTHETIC_SECONDS`.

    Estimated from the sizes of tensors and weights: the same on every machine.
    """
    values, seconds = values_per_sample(graph), seconds_per_sample(graph)
    fitting = min(SYNTHETIC_BYTES / max(1, 4 * values), SYNTHETIC_SECONDS / max(1e-9, seconds))
    return int(max(1, min(SYNTHETIC_SAMPLES, fitting)))


def seconds_per_sample(graph: Graph) -> float:
    """Return about how long one sample takes, s, from the sizes of tensors and weights."""
    values, products = values_per_sample(graph), _products_per_sample(graph)
    seconds = products / _PRODUCTS_PER_SECOND + values / _VALUES_PER_SECOND
    if graph.batch.size is not None:  # every call visits every node
        seconds += _SECONDS_PER_NODE * len(graph.nodes) / graph.batch.size
    return seconds


def beginning(graph: Graph, data: Dataset, samples: int) -> Dataset:
    """Return the first samples of each set, in whole calls of the model; all where there are few.

    Parameters
    ----------
    graph : Graph
        The model.
    data : Dataset
        Its data.
    samples : int
        How many for calibration, and again for evaluation.

    Returns
    -------
    Dataset
        `data` itself where it holds no more.
    """
    size = graph.batch.size or 1
    part = slice(0, max(1, -(-samples // size)) * size)
    every = (data.calibration, data.evaluation)
    if all(n_samples(graph, arrays) <= part.stop for arrays in every):
        return data
    calibration, evaluation = (samples_of(graph, arrays, part) for arrays in every)
    labels = None if data.labels is None else data.labels[part]
    return replace(data, calibration=calibration, evaluation=evaluation, labels=labels)


def _products_per_sample(graph: Graph) -> int:
    """Return about how many products the layers with constant weights take."""
    total = 0
    for node in graph.nodes:
        weight = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if weight is None or weight.ndim < 2 or node.op_type not in ("Conv", "Gemm", "MatMul"):
            continue
        shape = sized_shapes(graph).get(node.outputs[0], ())
        depth = weight.size // max(1, weight.shape[0 if node.op_type == "Conv" else -1])
        total += depth * math.prod(size for size in shape[1:] if isinstance(size, int))
    return total


def _drawn_shape(graph: Graph, info: TensorInfo, samples: int) -> list[int]:
    """Return the shape of generated values; open sizes are 1 where no size is known to run."""
    known = graph.batch.sizes.get(info.name)
    shape = [
        known[i] if known else size if isinstance(size, int) and size > 0 else 1
        for i, size in enumerate(info.shape)
    ]
    axis = graph.batch.axis_of(info.name)
    if axis is not None:
        shape[axis] = samples
    return shape


def _dataset(
    name: str,
    calibration: tuple[AnyArray, ...],
    evaluation: tuple[AnyArray, ...],
    labels: AnyArray | None,
    notes: list[str] | tuple[str, ...],
    digest: str,
) -> Dataset:
    return Dataset(
        name=name,
        calibration=tuple(map(read_only, calibration)),
        evaluation=tuple(map(read_only, evaluation)),
        labels=None if labels is None else read_only(labels),
        notes=tuple(notes),
        digest=digest,
    )


def _halves(
    graph: Graph, arrays: tuple[AnyArray, ...], notes: list[str]
) -> tuple[tuple[AnyArray, ...], tuple[AnyArray, ...]]:
    """Split one set of samples into calibration and evaluation, in whole calls of the model."""
    size = graph.batch.size or 1
    n = n_samples(graph, arrays)
    if n < 2 * size:
        what = "one sample: it serves" if n == 1 else f"{n} samples, one call: they serve"
        notes.append(f"{what} calibration and evaluation")
        return arrays, arrays
    half = n // size // 2 * size
    notes.append(f"the first {half} samples calibrate, the other {n - half} evaluate")
    first, second = (
        samples_of(graph, arrays, part) for part in (slice(0, half), slice(half, None))
    )
    return first, second


def _declared_bytes(stream: IO[bytes], name: str) -> int:
    """Return what the array of a .npy stream takes in the precision it is computed in.

    Its header alone is read. Whole numbers and narrow reals become float32 at least.
    """
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else _newer_header
        shape, _, dtype = read(stream)
    except Exception:  # NumPy's header parser has many ways to fail
        raise _damaged(name) from None
    if min(shape, default=0) < 0:
        raise _damaged(name)
    return math.prod(shape) * max(dtype.itemsize, 4)


def _newer_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    return np.lib.format.read_array_header_2_0(stream)


def _damaged(name: str) -> DataLoadError:
    return DataLoadError(f"{name}: the array is damaged or cut short; save it again.")


def _check_bytes(size: int, name: str) -> None:
    if too_much := above("data_mb", size / MIB):
        raise DataLoadError(
            f"{name}: the arrays take {size / MIB:.0f} MB unpacked, {too_much}; give fewer samples."
        )


def _read_npy(stream: IO[bytes], name: str) -> AnyArray:
    """Read one .npy stream whose size is known to fit."""
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except ValueError as error:
        if "pickle" not in str(error):
            raise _damaged(name) from None
        raise DataLoadError(
            f"{name}: the array holds Python objects; save plain numbers with NumPy."
        ) from None
    except Exception:  # NumPy's header parser and zlib have many ways to fail
        raise _damaged(name) from None
    if array.dtype.kind not in "fiub":
        raise DataLoadError(
            f"{name}: the array has dtype {array.dtype}, and holds no real numbers; give real "
            "numbers."
        )
    try:
        rest = stream.read(1)
    except Exception:  # a wrong checksum is found at the end
        raise _damaged(name) from None
    if rest:
        raise DataLoadError(f"{name}: bytes follow the end of the array; save it again.")
    return np.asarray(array)


def _from_npz(data: bytes, graph: Graph, name: str, notes: list[str]) -> tuple[Any, Any, Any]:
    """Read a .npz archive: sizes first, then members, never pickles."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception:
        raise DataLoadError(f"{name}: the archive is damaged; save it again.") from None
    with archive:
        members = archive.infolist()
        _check_members(members, name)
        arrays: dict[str, zipfile.ZipInfo] = {}
        known = {info.name for info in graph.inputs}
        for member in members:
            key = member.filename.removesuffix(".npy")
            if not member.filename.endswith(".npy"):
                notes.append(f"member {member.filename!r} is no array and was ignored")
                continue
            if key in arrays:
                raise DataLoadError(f"{name}: the archive holds {key!r} twice; save it again.")
            if {"/", "\\"}.intersection(key) and not known & {key, key.partition(".")[2]}:
                raise DataLoadError(
                    f"{name}: {key!r} is a path, and no input is called so; save it again."
                )
            arrays[key] = member
        if not arrays:
            raise DataLoadError(f"{name}: the archive holds no arrays; save them with numpy.savez.")
        total = 0
        for key, member in arrays.items():
            with _opened(archive, member, name) as stream:
                total += _declared_bytes(stream, f"{name}, array {key!r}")
            _check_bytes(total, name)
        found = {}
        for key, member in arrays.items():
            with _opened(archive, member, name) as stream:
                found[key] = _read_npy(stream, f"{name}, array {key!r}")
    return _by_role(found, graph, name, notes)


def _opened(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> IO[bytes]:
    try:
        return archive.open(member)
    except Exception:
        key = member.filename.removesuffix(".npy")
        raise DataLoadError(f"{name}: {key!r} is damaged; save the file again.") from None


_OTHER_ARCHIVES = (
    ("[Content_Types].xml", "a spreadsheet or document", "save the table as .csv"),
    ("mimetype", "a spreadsheet or document", "save the table as .csv"),
    ("data.pkl", "a PyTorch file", "save the arrays with numpy.savez"),
)
"""Members by which other archives are told from those of NumPy."""


def _check_members(members: Sequence[zipfile.ZipInfo], name: str) -> None:
    """Raise DataLoadError for other archives, encrypted members, and bombs; nothing is unpacked."""
    for member in members:
        for mark, what, remedy in _OTHER_ARCHIVES:
            if member.filename.rpartition("/")[2] == mark:
                raise DataLoadError(f"{name}: this is {what}, no data; {remedy}.")
    _check_bytes(sum(member.file_size for member in members), name)
    for member in members:
        key = member.filename.removesuffix(".npy")
        if member.flag_bits & 1:
            raise DataLoadError(f"{name}: {key!r} is encrypted; save it without a password.")
        large = member.file_size > LARGE_MEMBER_BYTES
        if large and member.file_size > MAX_RATIO * max(1, member.compress_size):
            raise DataLoadError(
                f"{name}: {key!r} unpacks to {member.file_size} bytes from "
                f"{member.compress_size}; such archives are refused: save it without compression."
            )


def _by_role(
    arrays: dict[str, AnyArray], graph: Graph, name: str, notes: list[str]
) -> tuple[Any, Any, Any]:
    """Sort an archive's arrays into calibration, evaluation and labels; name what is left."""
    found = _Archive(arrays, graph)
    labels = found.first(_ROLES["labels"])
    if labels is not None and labels.ndim == 0:
        raise DataLoadError(f"{name}: the labels are a single number; give one per sample.")
    calibration, evaluation = found.role("calibration"), found.role("evaluation")
    if calibration is None and evaluation is None:
        calibration = found.inputs()
    if calibration is None and evaluation is None:
        inputs = ", ".join(repr(info.name) for info in graph.inputs)
        raise DataLoadError(
            f"{name}: found arrays {', '.join(map(repr, arrays))}; name them 'calibration', "
            f"'evaluation' and 'labels', or after the model's inputs ({inputs})."
        )
    notes.extend(
        f"array {key!r} is no input of the model and was left out"
        for key in arrays
        if key not in found.used
    )
    if calibration is not None and evaluation is not None:
        return calibration, evaluation, labels
    return calibration or evaluation or (), None, labels


class _Archive:
    """The arrays of an archive, looked up by name.

    Letters may be of the other case where that leaves one array, and it is not what another
    input is called.
    """

    def __init__(self, arrays: dict[str, AnyArray], graph: Graph) -> None:
        self.arrays = arrays
        self.graph = graph
        self.used: set[str] = set()
        self._taken = {info.name for info in graph.inputs}

    def first(self, keys: Iterable[str]) -> AnyArray | None:
        """Return the array of the first key that there is."""
        for key in keys:
            if key in self.arrays:
                self.used.add(key)
                return self.arrays[key]
            same = [k for k in self.arrays if k.lower() == key.lower() and k not in self._taken]
            if len(same) == 1:
                self.used.add(same[0])
                return self.arrays[same[0]]
        return None

    def role(self, kind: str) -> tuple[AnyArray, ...] | None:
        """Return one array per input: ``KIND.NAME``, or KIND for the one that has samples.

        What has no samples may be there once, under its own name.
        """
        sampled = [i for i in self.graph.inputs if self.graph.batch.axis_of(i.name) is not None]
        parts = []
        for info in self.graph.inputs:
            keys = [f"{kind}.{info.name}"]
            if info not in sampled:
                keys += [info.name, f"calibration.{info.name}"]
            elif len(sampled) == 1:
                keys += _ROLES[kind]
            parts.append(self._only_if_all(keys))
        return self._complete(parts, sampled)

    def inputs(self) -> tuple[AnyArray, ...] | None:
        """Return one array per input by the inputs' names; the only one of an only input."""
        parts = [self._only_if_all([info.name]) for info in self.graph.inputs]
        found = self._complete(parts, self.graph.inputs)
        if found is None and len(self.arrays) == len(self.graph.inputs) == 1:
            self.used.update(self.arrays)
            return tuple(self.arrays.values())
        return found

    def _only_if_all(self, keys: list[str]) -> tuple[set[str], AnyArray | None]:
        """Look an array up without counting it as used yet."""
        before = set(self.used)
        found = self.first(keys)
        taken, self.used = self.used - before, before
        return taken, found

    def _complete(
        self, parts: Sequence[tuple[set[str], AnyArray | None]], sampled: Sequence[TensorInfo]
    ) -> tuple[AnyArray, ...] | None:
        arrays = tuple(array for _, array in parts if array is not None)
        if len(arrays) < len(parts) or not sampled:
            return None
        self.used.update(*(taken for taken, _ in parts))
        return arrays
