"""Initialize, evaluate and train a network with JAX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from architectures import (
    Attention,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Gelu,
    Gemm,
    LayerNorm,
    MaxPool,
    Patches,
    Positions,
    Quantize,
    Relu,
    Residual,
    TokenMean,
    every_layer,
)
from quantization import code_range, fake_quantize, weight_exponents

if TYPE_CHECKING:
    from architectures import (
        Layer,
        Network,
    )

Arrays = dict[str, jax.Array]
Weights = dict[str, np.ndarray[Any, Any]]
Targets = np.ndarray[Any, Any] | dict[str, np.ndarray[Any, Any]]
"""Of the only output, or by the names of several."""


@dataclass(frozen=True)
class Recipe:
    """Hyper-parameters of one training run."""

    epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int = 50
    seed: int = 0


def initialize(network: Network, seed: int) -> Arrays:
    """Draw normal weights, He's before a Relu; biases and statistics start neutral."""
    rng = np.random.default_rng(seed)
    values: Weights = {}
    for layer in every_layer(network):
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
            case Dense(name, inputs, outputs):
                values[f"{name}.weight"] = rng.normal(0, np.sqrt(1 / inputs), (inputs, outputs))
                values[f"{name}.bias"] = np.zeros(outputs)
            case Positions(name, tokens, width):
                values[f"{name}.weight"] = rng.normal(0, 0.1, (tokens, width))
            case LayerNorm(name, width):
                values[f"{name}.weight"] = np.ones(width)
                values[f"{name}.bias"] = np.zeros(width)
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


def _layer_normalized(layer: LayerNorm, values: Arrays, x: jax.Array) -> jax.Array:
    centred = x - x.mean(-1, keepdims=True)
    variance = jnp.square(centred).mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt(variance + layer.epsilon)
    return scaled * values[f"{layer.name}.weight"] + values[f"{layer.name}.bias"]


def _dense(name: str, values: Arrays, x: jax.Array) -> jax.Array:
    return x @ values[f"{name}.weight"] + values[f"{name}.bias"]


def _attended(layer: Attention, values: Arrays, x: jax.Array) -> jax.Array:
    size = layer.width // layer.heads

    def split(part: str) -> jax.Array:
        y = _dense(layer.projections[part].name, values, x)
        return y.reshape(-1, layer.tokens, layer.heads, size).transpose(0, 2, 1, 3)

    query, key, value = map(split, ("query", "key", "value"))
    weights = jax.nn.softmax(query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(size)))
    mixed = (weights @ value).transpose(0, 2, 1, 3).reshape(x.shape)
    return _dense(layer.projections["out"].name, values, mixed)


def _weight(layer: Conv | Gemm, values: Arrays) -> jax.Array:
    """Return a layer's weights, rounded if it says so."""
    weight = values[f"{layer.name}.weight"]
    if layer.weight_bits is None:
        return weight
    exponent = values[f"{layer.name}.weight_exponent"]
    return fake_quantize(weight, exponent, layer.weight_bits, signed=True)


def apply(
    layers: tuple[Layer, ...], values: Arrays, x: jax.Array, train: bool = False
) -> tuple[jax.Array, Arrays]:
    """Return the output and, in training, the updated running statistics."""
    updates: Arrays = {}
    for layer in layers:
        match layer:
            case Conv(name):
                x = jax.lax.conv_general_dilated(x, _weight(layer, values), (1, 1), "SAME")
                if layer.bias:
                    x = x + values[f"{name}.bias"][:, None, None]
            case Gemm(name):
                x = x @ _weight(layer, values).T + values[f"{name}.bias"]
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
            case MaxPool():
                batch, channels, height, width = x.shape
                x = x.reshape(batch, channels, height // 2, 2, width // 2, 2).max((3, 5))
            case Quantize(name, n_bits):
                x = fake_quantize(x, values[f"{name}.exponent"], n_bits, signed=False)
            case Patches(rows, patch):
                x = x.reshape(-1, rows, patch, rows, patch).transpose(0, 1, 3, 2, 4)
                x = x.reshape(-1, rows * rows, patch * patch)
            case Dense(name):
                x = _dense(name, values, x)
            case Positions(name):
                x = x + values[f"{name}.weight"]
            case LayerNorm():
                x = _layer_normalized(layer, values, x)
            case Attention():
                x = _attended(layer, values, x)
            case Gelu():
                x = jax.nn.gelu(x, approximate=False)
            case TokenMean():
                x = x.mean(1)
            case Residual(_, body):
                inner, update = apply(body, values, x, train)
                x = x + inner
                updates |= update
    return x, updates


def apply_network(
    network: Network, values: Arrays, x: jax.Array, train: bool = False
) -> tuple[Arrays, Arrays]:
    """Return the outputs by name and, in training, the updated running statistics."""
    shared, updates = apply(network.layers, values, x, train)
    outputs = {}
    for head in network.heads:
        outputs[head.name], update = apply(head.layers, values, shared, train)
        updates |= update
    return outputs, updates


def _loss(outputs: jax.Array, targets: jax.Array) -> jax.Array:
    """Return cross-entropy for integer class ids and squared error for float targets."""
    if jnp.issubdtype(targets.dtype, jnp.integer):
        losses = optax.softmax_cross_entropy_with_integer_labels(outputs, targets)
        return jnp.mean(losses)
    return jnp.mean(jnp.square(outputs - targets))


def fit(
    network: Network,
    inputs: np.ndarray[Any, Any],
    targets: Targets,
    recipe: Recipe,
    start: Weights | None = None,
) -> Weights:
    """Train with AdamW under a cosine schedule and return all weights and statistics.

    Weights start at `start`, at random without it. The losses of several outputs add up.
    """
    values = initialize(network, recipe.seed)
    if start is not None:
        values = {name: jnp.asarray(value, jnp.float32) for name, value in start.items()}
    named = targets if isinstance(targets, dict) else {network.heads[0].name: targets}
    statistics = {name: value for name, value in values.items() if "running_" in name}
    weights = {name: value for name, value in values.items() if name not in statistics}
    steps = len(inputs) // recipe.batch_size
    schedule = optax.cosine_decay_schedule(recipe.learning_rate, recipe.epochs * steps)
    decays = {name: not name.endswith("exponent") for name in weights}
    optimizer = optax.adamw(schedule, weight_decay=recipe.weight_decay, mask=decays)
    state = optimizer.init(weights)

    def objective(
        weights: Arrays, statistics: Arrays, x: jax.Array, y: Arrays
    ) -> tuple[jax.Array, Arrays]:
        outputs, updates = apply_network(network, weights | statistics, x, train=True)
        return sum((_loss(outputs[name], y[name]) for name in y), jnp.float32(0)), updates

    @jax.jit
    def step(
        weights: Arrays, statistics: Arrays, state: optax.OptState, x: jax.Array, y: Arrays
    ) -> tuple[Arrays, Arrays, optax.OptState]:
        gradients, statistics = jax.grad(objective, has_aux=True)(weights, statistics, x, y)
        changes, state = optimizer.update(gradients, state, weights)
        return optax.apply_updates(weights, changes), statistics, state

    rng = np.random.default_rng(recipe.seed)
    for _ in range(recipe.epochs):
        order = rng.permutation(len(inputs))[: steps * recipe.batch_size]
        for rows in order.reshape(steps, -1):
            weights, statistics, state = step(
                weights, statistics, state, inputs[rows], {k: y[rows] for k, y in named.items()}
            )
    return {name: np.asarray(value) for name, value in (weights | statistics).items()}


def fit_low_bits(
    network: Network,
    weights: Weights,
    inputs: np.ndarray[Any, Any],
    targets: Targets,
    recipe: Recipe,
) -> Weights:
    """Go on from the weights of the same network in float, first on grids that clip nothing."""
    start = weights | weight_exponents(network, weights)
    values = {name: jnp.asarray(value) for name, value in start.items()}
    x = jnp.asarray(inputs)
    for layer in network.layers:
        if isinstance(layer, Quantize):
            _, high = code_range(layer.n_bits, signed=False)
            values[f"{layer.name}.exponent"] = jnp.log2(x.max() / high)
        x, _ = apply((layer,), values, x)
    start = {name: np.asarray(value) for name, value in values.items()}
    return fit(network, inputs, targets, recipe, start)


def predict(network: Network, weights: Weights, inputs: np.ndarray[Any, Any]) -> Weights:
    """Return the inference outputs of a trained network by name."""
    values = {name: jnp.asarray(value) for name, value in weights.items()}
    outputs, _ = apply_network(network, values, jnp.asarray(inputs))
    return {name: np.asarray(value) for name, value in outputs.items()}
