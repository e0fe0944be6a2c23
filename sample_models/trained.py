"""Train one sample and return its ONNX model together with the outputs expected from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from architectures import CONCRETE_ML_OPSET, Gemm, low_bit_cnn
from datasets import Array
from onnx.utils import Extractor
from onnx_writer import IR_VERSIONS, to_onnx
from quantization import on_accumulators
from skl2onnx import to_onnx as pipeline_to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from training import fit, fit_low_bits, predict

if TYPE_CHECKING:
    from architectures import Network
    from datasets import Dataset
    from training import Recipe

Trained = tuple[onnx.ModelProto, dict[str, Array]]


def classifier(name: str, network: Network, recipe: Recipe, data: Dataset) -> Trained:
    """Train a JAX network whose outputs are logits, or values if its targets are."""
    weights = fit(network, data.train_inputs, data.train_targets, recipe)
    return to_onnx(name, network, weights), predict(network, weights, data.evaluation)


def regressor(name: str, network: Network, recipe: Recipe, data: Dataset) -> Trained:
    """Train on standardized targets, then fold their scale and mean into the last Gemm."""
    last = network.layers[-1]
    if not isinstance(last, Gemm):
        raise TypeError(f"a regressor ends in Gemm, not {type(last).__name__}")
    assert isinstance(data.train_targets, np.ndarray)
    mean, deviation = data.train_targets.mean(), data.train_targets.std()
    targets = (data.train_targets - mean) / deviation
    weights = fit(network, data.train_inputs, targets, recipe)
    weight, bias = f"{last.name}.weight", f"{last.name}.bias"
    weights[weight] = weights[weight] * deviation
    weights[bias] = weights[bias] * deviation + mean
    return to_onnx(name, network, weights), predict(network, weights, data.evaluation)


def low_bit_classifier(
    name: str, n_bits: int, float_recipe: Recipe, recipe: Recipe, data: Dataset
) -> Trained:
    """Train in float, then go on with operands rounded to `n_bits`."""
    weights = fit(low_bit_cnn(None), data.train_inputs, data.train_targets, float_recipe)
    network = low_bit_cnn(n_bits)
    weights = fit_low_bits(network, weights, data.train_inputs, data.train_targets, recipe)
    weights = on_accumulators(network, weights)
    return to_onnx(name, network, weights), predict(network, weights, data.evaluation)


def sklearn_pipeline(name: str, data: Dataset) -> Trained:
    """Fit StandardScaler and MLPClassifier, convert with skl2onnx, keep the probabilities."""
    mlp = MLPClassifier((16,), activation="relu", max_iter=600, random_state=0)
    pipeline = make_pipeline(StandardScaler(), mlp).fit(data.train_inputs, data.train_targets)
    features = data.train_inputs.shape[1]
    converted = pipeline_to_onnx(
        pipeline,
        initial_types=[("input", FloatTensorType([None, features]))],
        options={"zipmap": False},
        target_opset={"": CONCRETE_ML_OPSET, "ai.onnx.ml": 3},
    )
    model = Extractor(converted).extract_model(["input"], ["probabilities"])
    model.ir_version = IR_VERSIONS[CONCRETE_ML_OPSET]
    model.graph.name = name
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model, full_check=True)
    return model, {"probabilities": pipeline.predict_proba(data.evaluation).astype(np.float32)}
