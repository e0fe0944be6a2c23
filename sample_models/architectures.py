"""Describe the sample networks as plain sequences of layers, independent of any framework."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Conv:
    """3x3 convolution with stride 1 and padding 1."""

    name: str
    inputs: int
    outputs: int
    bias: bool = True


@dataclass(frozen=True)
class BatchNorm:
    """Per-channel normalization with running statistics."""

    name: str
    channels: int
    epsilon: float = 1e-5
    momentum: float = 0.9


@dataclass(frozen=True)
class Gemm:
    """Fully connected layer with bias."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Relu:
    """Elementwise max(x, 0)."""


@dataclass(frozen=True)
class AveragePool:
    """2x2 average pooling with stride 2."""


@dataclass(frozen=True)
class Flatten:
    """Collapse everything but the batch dimension."""


@dataclass(frozen=True)
class Residual:
    """Add the input of `body` to its output."""

    name: str
    body: tuple[Layer, ...]


Layer = Conv | BatchNorm | Gemm | Relu | AveragePool | Flatten | Residual


@dataclass(frozen=True)
class Network:
    """A chain of layers with the shapes at both ends, batch dimension excluded."""

    input_shape: tuple[int, ...]
    outputs: int
    layers: tuple[Layer, ...]


def walk(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    """Yield every layer in execution order, entering residual bodies."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from walk(layer.body)
        yield layer


def perceptron(*widths: int) -> Network:
    """Return a Gemm chain with Relu between layers; the layers are f1, f2, ... or a lone f."""
    pairs = list(pairwise(widths))
    layers: list[Layer] = []
    for index, (inputs, outputs) in enumerate(pairs, start=1):
        layers.append(Gemm("f" if len(pairs) == 1 else f"f{index}", inputs, outputs))
        layers.append(Relu())
    return Network((widths[0],), widths[-1], tuple(layers[:-1]))


def _block(name: str, channels: int) -> tuple[Layer, ...]:
    """Return Conv, Relu, Conv around a skip connection, then Relu."""
    first = Conv(f"{name}/c1", channels, channels)
    second = Conv(f"{name}/c2", channels, channels)
    return Residual(name, (first, Relu(), second)), Relu()


def normalized_cnn() -> Network:
    """Return two Conv, BatchNormalization, Relu, AveragePool stages and a Gemm."""
    layers: tuple[Layer, ...] = (
        Conv("c1", 1, 8, bias=False),
        BatchNorm("b1", 8),
        Relu(),
        AveragePool(),
        Conv("c2", 8, 16, bias=False),
        BatchNorm("b2", 16),
        Relu(),
        AveragePool(),
        Flatten(),
        Gemm("f", 64, 10),
    )
    return Network((1, 8, 8), 10, layers)


def residual_cnn(channels: int = 12) -> Network:
    """Return a stem convolution, two residual blocks with pooling and a Gemm."""
    layers: tuple[Layer, ...] = (
        Conv("stem", 1, channels),
        Relu(),
        *_block("block1", channels),
        AveragePool(),
        *_block("block2", channels),
        AveragePool(),
        Flatten(),
        Gemm("f", 4 * channels, 10),
    )
    return Network((1, 8, 8), 10, layers)
