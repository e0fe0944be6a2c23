"""Initialize, evaluate and train a network with JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from architectures import (
    AveragePool,
    BatchNorm,
    Conv,
    Flatten,
    Gemm,
    Relu,
    Residual,
    walk,
)

if TYPE_CHECKING:
    from architectures import (
        Layer,
        Network,
    )

Arrays = dict[str, jax.Array]
Weights = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training run."""

    epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int = 50
    seed: int = 0


def initialize(network: Network, seed: int) -> Arrays:
    """Draw He-normal weights; biases and statistics start at their neutral values."""
    rng = np.random.default_rng(seed)
    values: Weights = {}
    for layer in walk(network.layers):
        match layer:
            case Conv(name, inputs, outputs, bias):
                deviation = np.sqrt(2 / (9 * inputs))
                values[f"{name}.weight"] = rng.normal(0, deviation, (outputs, inputs, 3, 3))
                if bias:
                    values[f"{name}.bias"] = np.zeros(outputs)
            case Gemm(name, inputs, outputs):
                values[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / inputs), (outputs, inputs))
                values[f"{name}.bias"] = np.zeros(outputs)
            case BatchNorm(name, channels):
                values[f"{name}.weight"] = np.ones(channels)
                values[f"{name}.bias"] = np.zeros(channels)
                values[f"{name}.running_mean"] = np.zeros(channels)
                values[f"{name}.running_var"] = np.ones(channels)
    return {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}


def _normalize(
    layer: BatchNorm, values: Arrays, x: jax.Array, train: bool
) -> tuple[jax.Array, Arrays]:
    """Normalize with batch statistics in training and running statistics otherwise."""
    keys = f"{layer.name}.running_mean", f"{layer.name}.running_var"
    statistics = tuple(values[key] for key in keys)
    update: Arrays = {}
    if train:
        batch = x.mean((0, 2, 3)), x.var((0, 2, 3))
        update = {
            key: layer.momentum * old + (1 - layer.momentum) * new
            for key, old, new in zip(keys, statistics, batch, strict=True)
        }
        statistics = batch
    mean, variance, scale, shift = (
        value[:, None, None]
        for value in (*statistics, values[f"{layer.name}.weight"], values[f"{layer.name}.bias"])
    )
    return (x - mean) * jax.lax.rsqrt(variance + layer.epsilon) * scale + shift, update


def apply(
    layers: tuple[Layer, ...], values: Arrays, x: jax.Array, train: bool = False
) -> tuple[jax.Array, Arrays]:
    """Return the output and, in training, the updated running statistics."""
    updates: Arrays = {}
    for layer in layers:
        match layer:
            case Conv(name):
                x = jax.lax.conv_general_dilated(x, values[f"{name}.weight"], (1, 1), "SAME")
                if layer.bias:
                    x = x + values[f"{name}.bias"][:, None, None]
            case Gemm(name):
                x = x @ values[f"{name}.weight"].T + values[f"{name}.bias"]
            case BatchNorm():
                x, update = _normalize(layer, values, x, train)
                updates |= update
            case Relu():
                x = jax.nn.relu(x)
            case AveragePool():
                batch, channels, height, width = x.shape
                x = x.reshape(batch, channels, height // 2, 2, width // 2, 2).mean((3, 5))
            case Flatten():
                x = x.reshape(x.shape[0], -1)
            case Residual(_, body):
                inner, update = apply(body, values, x, train)
                x = x + inner
                updates |= update
    return x, updates


def _loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return cross-entropy for integer class ids and squared error for float targets."""
    if jnp.issubdtype(targets.dtype, jnp.integer):
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
        return jnp.mean(losses)
    return jnp.mean(jnp.square(outputs - targets))


def fit(
    network: Network,
    inputs: np.ndarray[Any, Any],
    targets: np.ndarray[Any, Any],
    recipe: Recipe,
) -> Weights:
    """Train with AdamW under a cosine schedule and return all weights and statistics."""
    values = initialize(network, recipe.seed)
    statistics = {name: value for name, value in values.items() if "running_" in name}
    weights = {name: value for name, value in values.items() if name not in statistics}
    steps = len(inputs) // recipe.batch_size
    schedule = optax.cosine_decay_schedule(recipe.learning_rate, recipe.epochs * steps)
    optimizer = optax.adamw(schedule, weight_decay=recipe.weight_decay)
    state = optimizer.init(weights)

    def objective(
        weights: Arrays, statistics: Arrays, x: jax.Array, y: jax.Array
    ) -> tuple[jax.Array, Arrays]:
        outputs, updates = apply(network.layers, weights | statistics, x, train=True)
        return _loss(outputs, y), updates

    @jax.jit
    def step(
        weights: Arrays, statistics: Arrays, state: optax.OptState, x: jax.Array, y: jax.Array
    ) -> tuple[Arrays, Arrays, optax.OptState]:
        gradients, statistics = jax.grad(objective, has_aux=True)(weights, statistics, x, y)
        changes, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, changes), statistics, state

    rng = np.random.default_rng(recipe.seed)
    for _ in range(recipe.epochs):
        order = rng.permutation(len(inputs))[: steps * recipe.batch_size]
        for rows in order.reshape(steps, -1):
            weights, statistics, state = step(
                weights, statistics, state, inputs[rows], targets[rows]
            )
    return {name: np.asarray(value) for name, value in (weights | statistics).items()}


def predict(
    network: Network, weights: Weights, inputs: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return the inference outputs of a trained network."""
    values = {name: jnp.asarray(value) for name, value in weights.items()}
    return np.asarray(apply(network.layers, values, jnp.asarray(inputs))[0])
