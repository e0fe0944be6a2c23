"""The one door for calibration and evaluation data: .npz, .npy, .csv, or generated."""

from __future__ import annotations

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.arrays import AnyArray, read_only
from quantlib.csv_table import read_table
from quantlib.errors import DataLoadError, TensorError
from quantlib.execution.inputs import check_inputs

if TYPE_CHECKING:
    from quantlib.graph.model import Graph

MAX_DATA_BYTES = 1024 * 2**20
"""Most bytes that uploaded data may take once unpacked."""

MAX_RATIO = 500
"""Most times that an archive member may grow when unpacked."""

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
        One array per model input; samples along axis 0.
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
            raise DataLoadError(f"{path}: there is no such file; check the path.")
        data = path.read_bytes()
    if not data:
        raise DataLoadError(f"{name}: the file is empty; choose another.")
    notes: list[str] = []
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        calibration, evaluation, labels = _from_npz(data, graph, name, notes)
    elif data.startswith(b"\x93NUMPY"):
        calibration, evaluation, labels = (_read_npy(io.BytesIO(data), name),), None, None
    else:
        features, labels = read_table(data, graph, name, notes)
        calibration, evaluation = (features,), None
    try:
        if evaluation is None:
            samples = check_inputs(graph, calibration, what=name)
            checked, evaluated = _halves(samples, notes)
            if labels is not None and len(labels) == len(samples[0]):
                labels = labels[-len(evaluated[0]) :]
        else:
            checked = check_inputs(graph, calibration, what=f"{name}, calibration data")
            evaluated = check_inputs(graph, evaluation, what=f"{name}, evaluation data")
    except TensorError as error:
        raise DataLoadError(str(error)) from None
    if labels is not None and len(labels) != len(evaluated[0]):
        raise DataLoadError(
            f"{name}: {len(labels)} labels for {len(evaluated[0])} evaluation samples; "
            "give one label per sample."
        )
    return _dataset(name, checked, evaluated, labels, notes, hashlib.sha256(data).hexdigest())


def synthetic_data(graph: Graph, *, samples: int = 256, seed: int = 0) -> Dataset:
    """Generate data for a model: standard normal values, random small integers.

    Unknown sizes are 1 along the batch axis' companions; the data are marked as synthetic.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> ql.synthetic_data(graph, samples=8).calibration[0].shape
    (8, 4)
    """
    rng = np.random.default_rng(seed)

    def draw() -> tuple[AnyArray, ...]:
        arrays: list[AnyArray] = []
        for info in graph.inputs:
            shape = (samples, *(s if isinstance(s, int) and s > 0 else 1 for s in info.shape[1:]))
            kind = np.dtype(info.dtype)
            values = rng.normal(size=shape) if kind.kind == "f" else rng.integers(0, 2, shape)
            arrays.append(values.astype(kind))
        return tuple(arrays)

    notes = (f"{samples} + {samples} samples drawn from a standard normal distribution",)
    digest = hashlib.sha256(f"{graph.digest}:{samples}:{seed}".encode()).hexdigest()
    return _dataset("synthetic", draw(), draw(), None, notes, digest)


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
    arrays: tuple[AnyArray, ...], notes: list[str]
) -> tuple[tuple[AnyArray, ...], tuple[AnyArray, ...]]:
    """Split one set of samples into calibration and evaluation."""
    n = len(arrays[0])
    if n < 2:
        notes.append("one sample: it serves calibration and evaluation")
        return arrays, arrays
    half = n // 2
    notes.append(f"the first {half} samples calibrate, the other {n - half} evaluate")
    return tuple(a[:half] for a in arrays), tuple(a[half:] for a in arrays)


def _read_npy(stream: Any, name: str) -> AnyArray:
    """Read one .npy stream; its header is checked before its body is allocated."""
    try:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    except ValueError as error:
        hint = "holds Python objects" if "pickle" in str(error) else "is damaged or cut short"
        raise DataLoadError(f"{name}: the array {hint}; save plain numbers with NumPy.") from None
    except Exception:  # NumPy's header parser and zlib have many ways to fail
        raise DataLoadError(f"{name}: the array is damaged or cut short; save it again.") from None
    if array.dtype.kind not in "fiub":
        raise DataLoadError(f"{name}: the array has dtype {array.dtype}; give real numbers.")
    return np.asarray(array)


def _from_npz(data: bytes, graph: Graph, name: str, notes: list[str]) -> tuple[Any, Any, Any]:
    """Read a .npz archive: sizes first, then members, never pickles."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except Exception:
        raise DataLoadError(f"{name}: the archive is damaged; save it again.") from None
    arrays: dict[str, AnyArray] = {}
    with archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        if total > MAX_DATA_BYTES:
            raise DataLoadError(
                f"{name}: {total / 2**20:.0f} MiB unpacked is above the limit of "
                f"{MAX_DATA_BYTES // 2**20} MiB; give fewer samples."
            )
        for member in members:
            key = member.filename.removesuffix(".npy")
            if member.flag_bits & 1:
                raise DataLoadError(f"{name}: {key!r} is encrypted; save it without a password.")
            if member.file_size > MAX_RATIO * max(1, member.compress_size) + 4096:
                raise DataLoadError(
                    f"{name}: {key!r} unpacks to {member.file_size} bytes from "
                    f"{member.compress_size}; such archives are refused."
                )
            if not member.filename.endswith(".npy"):
                notes.append(f"member {member.filename!r} is no array and was ignored")
                continue
            if key in arrays:
                raise DataLoadError(f"{name}: the archive holds {key!r} twice; save it again.")
            try:
                stream = archive.open(member)
            except Exception:
                raise DataLoadError(f"{name}: {key!r} is damaged; save the file again.") from None
            with stream:
                arrays[key] = _read_npy(stream, f"{name}, array {key!r}")
    if not arrays:
        raise DataLoadError(f"{name}: the archive holds no arrays; save them with numpy.savez.")
    return _by_role(arrays, graph, name)


def _by_role(arrays: dict[str, AnyArray], graph: Graph, name: str) -> tuple[Any, Any, Any]:
    """Sort an archive's arrays into calibration, evaluation and labels."""
    lowered = {key.lower(): value for key, value in arrays.items()}

    def role(kind: str) -> tuple[AnyArray, ...] | None:
        parts = [lowered.get(f"{kind}.{info.name}".lower()) for info in graph.inputs]
        if all(part is not None for part in parts):
            return tuple(part for part in parts if part is not None)
        for key in _ROLES[kind]:
            if key in lowered and len(graph.inputs) == 1:
                return (lowered[key],)
        return None

    labels = next((lowered[key] for key in _ROLES["labels"] if key in lowered), None)
    if labels is not None and labels.ndim == 0:
        raise DataLoadError(f"{name}: the labels are a single number; give one per sample.")
    calibration, evaluation = role("calibration"), role("evaluation")
    if calibration is None and evaluation is None:
        named = [lowered.get(info.name.lower()) for info in graph.inputs]
        if all(part is not None for part in named):
            calibration = tuple(part for part in named if part is not None)
        elif len(arrays) == 1 and len(graph.inputs) == 1:
            calibration = tuple(arrays.values())
        else:
            inputs = ", ".join(repr(info.name) for info in graph.inputs)
            raise DataLoadError(
                f"{name}: found arrays {', '.join(map(repr, arrays))}; name them 'calibration', "
                f"'evaluation' and 'labels', or after the model's inputs ({inputs})."
            )
    if calibration is not None and evaluation is not None:
        return calibration, evaluation, labels
    return calibration or evaluation or (), None, labels
