"""Split the data sets inside scikit-learn into training, calibration and evaluation arrays."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

Array = np.ndarray[Any, Any]
SPLIT_SEED = 0


@dataclass(frozen=True)
class Dataset:
    """Training and evaluation arrays are disjoint; calibration is part of the training data."""

    train_inputs: Array
    train_targets: Array | dict[str, Array]
    calibration: Array
    evaluation: Array
    labels: Array
    truths: dict[str, Array] = field(default_factory=dict)
    """What other outputs than the labelled one should give on the evaluation rows, by name."""


def _split(inputs: Array, targets: Array, calibration: int, evaluation: int) -> Dataset:
    """Drop repeated rows and shuffle once, stratified when targets are class ids."""
    inputs = inputs.astype(np.float32)
    kept = np.sort(np.unique(inputs, axis=0, return_index=True)[1])
    inputs, targets = inputs[kept], targets[kept]
    classes = targets if targets.dtype.kind == "i" else None
    train_x, test_x, train_y, test_y = train_test_split(
        inputs,
        targets,
        test_size=evaluation,
        random_state=SPLIT_SEED,
        stratify=classes,
    )
    return Dataset(train_x, train_y, train_x[:calibration], test_x, test_y)


def _standardize(data: Dataset) -> Dataset:
    """Scale the inputs to zero mean and unit deviation over the training data."""
    mean, deviation = data.train_inputs.mean(0), data.train_inputs.std(0)
    train, calibration, evaluation = (
        (inputs - mean) / deviation
        for inputs in (data.train_inputs, data.calibration, data.evaluation)
    )
    return Dataset(train, data.train_targets, calibration, evaluation, data.labels)


def digit_vectors() -> Dataset:
    """Return digits as 64 values in 0..1."""
    inputs, targets = datasets.load_digits(return_X_y=True)
    return _split(inputs / 16, targets.astype(np.int64), calibration=300, evaluation=497)


def digit_images() -> Dataset:
    """Return digits as one-channel 8x8 images in 0..1."""
    data = digit_vectors()
    train, calibration, evaluation = (
        inputs.reshape(-1, 1, 8, 8)
        for inputs in (data.train_inputs, data.calibration, data.evaluation)
    )
    return Dataset(train, data.train_targets, calibration, evaluation, data.labels)


PLACINGS = 8
"""How often each training digit is put on a canvas."""


def digit_canvases() -> Dataset:
    """Return 16x16 canvases with one digit each at a random place; the targets are both.

    A box is the column and row of the digit's upper left corner, 0 to 8 pixels. Every evaluation
    digit appears once, and no training digit among them.
    """
    data = digit_images()
    rng = np.random.default_rng(SPLIT_SEED)
    repeated = np.repeat(data.train_inputs, PLACINGS, axis=0)
    order = rng.permutation(len(repeated))
    assert isinstance(data.train_targets, np.ndarray)
    classes = np.repeat(data.train_targets, PLACINGS)[order]
    train, boxes = _placed(repeated[order], rng)
    evaluation, truth = _placed(data.evaluation, rng)
    return replace(
        data,
        train_inputs=train,
        train_targets={"boxes": boxes, "classes": classes},
        calibration=train[: len(data.calibration)],
        evaluation=evaluation,
        truths={"boxes": truth},
    )


def _placed(digits: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Put digits on empty canvases; return these and the places as column and row."""
    size = digits.shape[-1]
    canvases = np.zeros((len(digits), 1, 2 * size, 2 * size), np.float32)
    places = rng.integers(0, size + 1, (len(digits), 2))
    for canvas, digit, (column, row) in zip(canvases, digits, places, strict=True):
        canvas[:, row : row + size, column : column + size] = digit
    return canvases, places.astype(np.float32)


def diabetes() -> Dataset:
    """Return ten standardized features and the progression score in its own unit."""
    inputs, targets = datasets.load_diabetes(return_X_y=True, scaled=False)
    targets = targets.astype(np.float32)[:, None]
    return _standardize(_split(inputs, targets, calibration=150, evaluation=110))


def iris() -> Dataset:
    """Return four lengths in centimetres."""
    inputs, targets = datasets.load_iris(return_X_y=True)
    return _split(inputs, targets.astype(np.int64), calibration=60, evaluation=50)


def wine() -> Dataset:
    """Return thirteen chemical measurements in their own units."""
    inputs, targets = datasets.load_wine(return_X_y=True)
    return _split(inputs, targets.astype(np.int64), calibration=80, evaluation=60)


def cancer() -> Dataset:
    """Return thirty standardized features of cell nuclei."""
    inputs, targets = datasets.load_breast_cancer(return_X_y=True)
    data = _split(inputs, targets.astype(np.int64), calibration=200, evaluation=169)
    return _standardize(data)
