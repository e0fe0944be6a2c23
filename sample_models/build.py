"""Regenerate every sample model, its arrays and cards.json from fixed seeds."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import jax
import numpy as np
import onnxruntime
from architectures import (
    detector,
    low_bit_cnn,
    normalized_cnn,
    perceptron,
    residual_cnn,
    transformer,
)
from datasets import Dataset
from sklearn.metrics import accuracy_score, r2_score
from threadpoolctl import threadpool_limits
from trained import Trained, classifier, low_bit_classifier, regressor, sklearn_pipeline
from training import Recipe

if TYPE_CHECKING:
    from architectures import Network
    from datasets import Array

FOLDER = Path(__file__).resolve().parent
DIGITS = [str(digit) for digit in range(10)]


Train = Callable[[str, Dataset], Trained]


@dataclass(frozen=True)
class Variant:
    """The same network trained another way, to compare a sample with; it shares its data."""

    name: str
    title: str
    train: Train


@dataclass(frozen=True)
class Sample:
    """One sample: the texts of its card, its data and the way to train it."""

    name: str
    title: str
    task: str
    data: str
    interesting: str
    load: Callable[[], Dataset]
    train: Train
    class_names: list[str] | None = None
    image_shape: list[int] | None = None
    variants: tuple[Variant, ...] = ()
    labelled: str = ""
    """The output that the labels are of, where there are several."""


def _jax(kind: Callable[..., Trained], network: Network, recipe: Recipe) -> Train:
    """Bind a network and its recipe to a training function."""
    return lambda name, data: kind(name, network, recipe, data)


FLOAT = Recipe(40, 4e-3, 1e-2)


def _low_bits(n_bits: int) -> Train:
    """Bind a width to the training that rounds its operands."""
    recipe = Recipe(30, 2e-3, 1e-2)
    return lambda name, data: low_bit_classifier(name, n_bits, FLOAT, recipe, data)


SAMPLES = [
    Sample(
        "digits_cnn",
        "Digits, convolutional network with BatchNormalization",
        "classification",
        "8x8 handwritten digits (scikit-learn load_digits), values in 0..1",
        "BatchNormalization maps each integer of a channel to one value, so it becomes a table "
        "look-up per channel. AveragePool needs a rounding rule.",
        datasets.digit_images,
        _jax(classifier, normalized_cnn(), Recipe(60, 5e-3, 1e-2)),
        DIGITS,
        [8, 8],
    ),
    Sample(
        "digits_resnet",
        "Digits, residual convolutional network",
        "classification",
        "8x8 handwritten digits (scikit-learn load_digits), values in 0..1",
        "The residual Add mixes two integer tensors and needs a common scale. Errors of one "
        "block reach the next along the skip connection.",
        datasets.digit_images,
        _jax(classifier, residual_cnn(), Recipe(60, 6e-3, 1e-2)),
        DIGITS,
        [8, 8],
    ),
    Sample(
        "digits_mlp",
        "Digits, multilayer perceptron",
        "classification",
        "8x8 handwritten digits (scikit-learn load_digits) as 64 values in 0..1",
        "Three Gemm nodes hold all weights, so bit width trades directly against size. Some "
        "pixels are almost always zero, so their weights barely matter.",
        datasets.digit_vectors,
        _jax(classifier, perceptron(64, 48, 48, 10), Recipe(80, 3e-3, 3e-1)),
        DIGITS,
        [8, 8],
    ),
    Sample(
        "diabetes_mlp",
        "Diabetes progression, regression",
        "regression",
        "Ten standardized patient features, progression score 25..346 (scikit-learn load_diabetes)",
        "A regression output has no argmax to hide rounding. The step of the output scale limits "
        "the resolution of the score.",
        datasets.diabetes,
        _jax(regressor, perceptron(10, 32, 32, 1), Recipe(100, 3e-3, 3.0)),
    ),
    Sample(
        "iris_linear",
        "Iris, one Gemm",
        "classification",
        "Sepal and petal length and width in cm (scikit-learn load_iris)",
        "Twelve weights and three biases fit on one screen. Every product and sum can be checked "
        "by hand.",
        datasets.iris,
        _jax(classifier, perceptron(4, 3), Recipe(300, 5e-2, 1e-3, batch_size=24)),
        ["setosa", "versicolor", "virginica"],
    ),
    Sample(
        "wine_sklearn",
        "Wine, scikit-learn pipeline",
        "classification",
        "Thirteen chemical measurements in their own units (scikit-learn load_wine)",
        "The inputs span four orders of magnitude, so one input scale loses the small features "
        "before the Scaler. A Softmax gives the probabilities.",
        datasets.wine,
        sklearn_pipeline,
        ["class_0", "class_1", "class_2"],
    ),
    Sample(
        "cancer_linear",
        "Breast cancer, one Gemm",
        "classification",
        "Thirty standardized features of cell nuclei (scikit-learn load_breast_cancer)",
        "Rare large inputs stretch a min-max range. Clipping them competes with a coarse step.",
        datasets.cancer,
        _jax(classifier, perceptron(30, 2), Recipe(60, 1e-2, 1e-1)),
        ["malignant", "benign"],
    ),
    Sample(
        "digits_transformer",
        "Digits, transformer encoder",
        "classification",
        "8x8 handwritten digits (scikit-learn load_digits), values in 0..1",
        "Attention multiplies two variable tensors; LayerNormalization and Softmax stay float "
        "islands between the products. 8 bits keep 30 dB, 4 bits leave 5 dB.",
        datasets.digit_images,
        _jax(classifier, transformer(), Recipe(40, 3e-3, 1e-2)),
        DIGITS,
        [8, 8],
    ),
    Sample(
        "digits_qat",
        "Digits, trained for 4 bits",
        "classification",
        "8x8 handwritten digits (scikit-learn load_digits), values in 0..1",
        "Weights and activations bring grids of 4 bits from training: accuracy 0.982. The same "
        "network trained in float and quantized to 4 bits afterwards has 0.942.",
        datasets.digit_images,
        _low_bits(4),
        DIGITS,
        [8, 8],
        (
            Variant("digits_qat_3", "trained for 3 bits", _low_bits(3)),
            Variant("digits_qat_2", "trained for 2 bits", _low_bits(2)),
            Variant(
                "digits_qat_float", "trained in float", _jax(classifier, low_bit_cnn(None), FLOAT)
            ),
        ),
    ),
    Sample(
        "digits_detector",
        "Digits, where and which",
        "detection",
        "One 8x8 digit (scikit-learn load_digits) at a random place of a 16x16 canvas, values in "
        "0..1",
        "Place and class are two outputs of one trunk and lose differently: at 5 bits the place is "
        "0.9 pixel off, the class right in 0.70 of the canvases; in float 0.3 pixel and 0.94.",
        datasets.digit_canvases,
        _jax(classifier, detector(), Recipe(12, 3e-3, 1e-2)),
        DIGITS,
        [16, 16],
        labelled="classes",
    ),
]


def _verified_outputs(path: Path, inputs: Array, expected: dict[str, Array]) -> dict[str, Array]:
    """Run the saved model in onnxruntime and require agreement with the training library."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    results = session.run(names, {session.get_inputs()[0].name: inputs})
    outputs = {name: np.asarray(result) for name, result in zip(names, results, strict=True)}
    for name, values in expected.items():
        tolerance = 1e-5 * max(1.0, float(np.abs(values).max()))
        np.testing.assert_allclose(outputs[name], values, rtol=0, atol=tolerance)
    return outputs


def _metric(outputs: Array, labels: Array) -> dict[str, Any]:
    """Return R2 for float labels and accuracy for class ids."""
    if labels.dtype.kind == "f":
        return {"name": "R2", "value": round(float(r2_score(labels, outputs)), 4)}
    return {"name": "accuracy", "value": round(float(accuracy_score(labels, outputs.argmax(1))), 4)}


def _measured(
    sample: Sample, name: str, train: Train, data: Dataset
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Train, save and verify one model; return what it measures and its outputs."""
    model, expected = train(name, data)
    path = FOLDER / f"{name}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    outputs = _verified_outputs(path, data.evaluation, expected)
    labelled = outputs[sample.labelled or next(iter(outputs))]
    card = {"float_metric": _metric(labelled, data.labels), "size_bytes": path.stat().st_size}
    return card, outputs


def build(sample: Sample) -> dict[str, Any]:
    """Train, save and verify one sample and return its card."""
    data = sample.load()
    measured, outputs = _measured(sample, sample.name, sample.train, data)
    for name, truth in data.truths.items():
        distance = np.sqrt(np.square(outputs[name] - truth).sum(1))
        print(f"{sample.name}: {name} off by {distance.mean():.2f} on average")
    np.savez_compressed(
        FOLDER / f"{sample.name}.npz",
        calibration=data.calibration,
        evaluation=data.evaluation,
        labels=data.labels,
        **data.truths,
    )
    return {
        "name": sample.name,
        "title": sample.title,
        "task": sample.task,
        "data": sample.data,
        **measured,
        "samples": {"calibration": len(data.calibration), "evaluation": len(data.evaluation)},
        "class_names": sample.class_names,
        "image_shape": sample.image_shape,
        "interesting": sample.interesting,
        "variants": [
            {"name": v.name, "title": v.title, **_measured(sample, v.name, v.train, data)[0]}
            for v in sample.variants
        ],
    }


def _write_cards(built: dict[str, dict[str, Any]]) -> None:
    """Write cards.json in display order, keeping the cards of samples not built this time."""
    path = FOLDER / "cards.json"
    kept = {card["name"]: card for card in json.loads(path.read_text())} if path.exists() else {}
    cards = kept | built
    ordered = [cards[sample.name] for sample in SAMPLES if sample.name in cards]
    path.write_text(json.dumps(ordered, indent=2) + "\n")


def main() -> None:
    """Build the selected samples on one thread and print their float metrics."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", metavar="NAME", choices=[sample.name for sample in SAMPLES])
    only = parser.parse_args().only
    # The number of XLA threads changes the order of sums, hence the trained weights.
    os.environ["NPROC"] = "1"
    cards = {}
    print(f"{'sample':<20}{'metric':<10}{'value':>8}{'bytes':>9}")
    with threadpool_limits(1), jax.default_device(jax.devices("cpu")[0]):
        for sample in SAMPLES:
            if only in (None, sample.name):
                card = cards[sample.name] = build(sample)
                metric, size = card["float_metric"], card["size_bytes"]
                print(f"{sample.name:<20}{metric['name']:<10}{metric['value']:>8.4f}{size:>9}")
                for v in card["variants"]:
                    metric, size = v["float_metric"], v["size_bytes"]
                    print(f"{v['name']:<20}{metric['name']:<10}{metric['value']:>8.4f}{size:>9}")
    _write_cards(cards)


if __name__ == "__main__":
    main()
