"""Round during training: values a learned power of two apart, with straight-through gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from architectures import Conv, Gemm, Quantize, every_layer

if TYPE_CHECKING:
    from architectures import Network

Weights = dict[str, np.ndarray[Any, Any]]


def code_range(n_bits: int, *, signed: bool) -> tuple[int, int]:
    """Return the smallest and largest code; signed codes are symmetric around 0."""
    if not signed:
        return 0, 2**n_bits - 1
    high = 2 ** (n_bits - 1) - 1
    return -high, high


def step_of(exponent: Any) -> float:
    """Return the distance of neighbouring values, an exact power of two."""
    return float(2.0 ** int(np.round(exponent)))


def codes_of(values: np.ndarray[Any, Any], exponent: Any, n_bits: int) -> np.ndarray[Any, Any]:
    """Return the signed codes of weights as int8."""
    low, high = code_range(n_bits, signed=True)
    return np.round(np.clip(values / step_of(exponent), low, high)).astype(np.int8)


def fake_quantize(x: jax.Array, exponent: jax.Array, n_bits: int, *, signed: bool) -> jax.Array:
    """Round to the grid; gradients pass the rounding of values and exponent unchanged."""
    low, high = code_range(n_bits, signed=signed)
    step = _step(exponent)
    return _rounded(jnp.clip(x / step, low, high)) * step


def _rounded(x: jax.Array) -> jax.Array:
    return x + jax.lax.stop_gradient(jnp.round(x) - x)


def _step(exponent: jax.Array) -> jax.Array:
    """Return two to the rounded exponent; XLA's own power is off by a last bit."""
    whole = jnp.round(exponent).astype(jnp.int32)
    exact = jnp.ldexp(jnp.float32(1), whole)
    smooth = jnp.exp2(_rounded(exponent))
    return smooth + jax.lax.stop_gradient(exact - smooth)


def rounded_layers(network: Network) -> list[Conv | Gemm]:
    """Return the layers whose weights are rounded."""
    return [
        layer
        for layer in every_layer(network)
        if isinstance(layer, Conv | Gemm) and layer.weight_bits
    ]


def weight_exponents(network: Network, weights: Weights) -> Weights:
    """Return the exponents whose grids reach the largest weights."""
    found = {}
    for layer in rounded_layers(network):
        assert layer.weight_bits
        _, high = code_range(layer.weight_bits, signed=True)
        largest = np.abs(weights[f"{layer.name}.weight"]).max()
        found[f"{layer.name}.weight_exponent"] = np.float32(np.log2(largest / high))
    return found


def on_accumulators(network: Network, weights: Weights) -> Weights:
    """Round the biases to the grid of the sums of products that they are added to."""
    moved, operand = dict(weights), None
    for layer in network.layers:
        if isinstance(layer, Quantize):
            operand = step_of(weights[f"{layer.name}.exponent"])
        elif isinstance(layer, Conv | Gemm) and layer.weight_bits:
            assert operand is not None
            step = operand * step_of(weights[f"{layer.name}.weight_exponent"])
            moved[f"{layer.name}.bias"] = np.round(weights[f"{layer.name}.bias"] / step) * step
    return moved
