"""Split the data sets inside scikit-learn into training, calibration and evaluation arrays."""

from __future__ import annotations

from dataclasses import dataclass
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
    train_targets: Array
    calibration: Array
    evaluation: Array
    labels: Array


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
