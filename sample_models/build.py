"""Regenerate every sample model, its arrays and cards.json from fixed seeds."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import datasets
import jax
import numpy as np
import onnxruntime
from architectures import normalized_cnn, perceptron, residual_cnn
from sklearn.metrics import accuracy_score, r2_score
from threadpoolctl import threadpool_limits
from trained import classifier, regressor, sklearn_pipeline
from training import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable

    from architectures import Network
    from datasets import Array, Dataset
    from trained import Trained

FOLDER = Path(__file__).resolve().parent
DIGITS = [str(digit) for digit in range(10)]


@dataclass(frozen=True)
class Sample:
    """One sample: the texts of its card, its data and the way to train it."""

    name: str
    title: str
    task: str
    data: str
    interesting: str
    load: Callable[[], Dataset]
    train: Callable[[str, Dataset], Trained]
    class_names: list[str] | None = None
    image_shape: list[int] | None = None


def _jax(
    kind: Callable[..., Trained], network: Network, recipe: Recipe
) -> Callable[[str, Dataset], Trained]:
    """Bind a network and its recipe to a training function."""
    return lambda name, data: kind(name, network, recipe, data)


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
]


def _verified_outputs(path: Path, inputs: Array, expected: Array) -> Array:
    """Run the saved model in onnxruntime and require agreement with the training library."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {session.get_inputs()[0].name: inputs})
    outputs = np.asarray(result)
    tolerance = 1e-5 * max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=tolerance)
    return outputs


def _metric(outputs: Array, labels: Array) -> dict[str, Any]:
    """Return R2 for float labels and accuracy for class ids."""
    if labels.dtype.kind == "f":
        return {"name": "R2", "value": round(float(r2_score(labels, outputs)), 4)}
    return {"name": "accuracy", "value": round(float(accuracy_score(labels, outputs.argmax(1))), 4)}


def build(sample: Sample) -> dict[str, Any]:
    """Train, save and verify one sample and return its card."""
    data = sample.load()
    model, expected = sample.train(sample.name, data)
    path = FOLDER / f"{sample.name}.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))
    np.savez_compressed(
        path.with_suffix(".npz"),
        calibration=data.calibration,
        evaluation=data.evaluation,
        labels=data.labels,
    )
    return {
        "name": sample.name,
        "title": sample.title,
        "task": sample.task,
        "data": sample.data,
        "float_metric": _metric(_verified_outputs(path, data.evaluation, expected), data.labels),
        "size_bytes": path.stat().st_size,
        "samples": {"calibration": len(data.calibration), "evaluation": len(data.evaluation)},
        "class_names": sample.class_names,
        "image_shape": sample.image_shape,
        "interesting": sample.interesting,
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
    print(f"{'sample':<15}{'metric':<10}{'value':>8}{'bytes':>9}")
    with threadpool_limits(1), jax.default_device(jax.devices("cpu")[0]):
        for sample in SAMPLES:
            if only in (None, sample.name):
                card = cards[sample.name] = build(sample)
                metric, size = card["float_metric"], card["size_bytes"]
                print(f"{sample.name:<15}{metric['name']:<10}{metric['value']:>8.4f}{size:>9}")
    _write_cards(cards)


if __name__ == "__main__":
    main()
