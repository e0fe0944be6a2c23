"""Describe the sample networks as plain sequences of layers, independent of any framework."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Conv:
    """3x3 convolution with stride 1 and padding 1; its weights are rounded if `weight_bits`."""

    name: str
    inputs: int
    outputs: int
    bias: bool = True
    weight_bits: int | None = None


@dataclass(frozen=True)
class BatchNorm:
    """Per-channel normalization with running statistics."""

    name: str
    channels: int
    epsilon: float = 1e-5
    momentum: float = 0.9


@dataclass(frozen=True)
class Gemm:
    """Fully connected layer with bias; its weights are rounded if `weight_bits`."""

    name: str
    inputs: int
    outputs: int
    weight_bits: int | None = None


@dataclass(frozen=True)
class Relu:
    """Elementwise max(x, 0)."""


@dataclass(frozen=True)
class AveragePool:
    """2x2 average pooling with stride 2."""


@dataclass(frozen=True)
class MaxPool:
    """2x2 maximum pooling with stride 2."""


@dataclass(frozen=True)
class Flatten:
    """Collapse everything but the batch dimension."""


@dataclass(frozen=True)
class Residual:
    """Add the input of `body` to its output."""

    name: str
    body: tuple[Layer, ...]


@dataclass(frozen=True)
class Quantize:
    """Round to 2^n_bits values from 0 on, a learned power of two apart."""

    name: str
    n_bits: int


@dataclass(frozen=True)
class Patches:
    """Cut a one-channel square image into square patches: [rows * rows, patch * patch]."""

    rows: int
    patch: int


@dataclass(frozen=True)
class Dense:
    """The same fully connected layer for every token, as MatMul and Add."""

    name: str
    inputs: int
    outputs: int


@dataclass(frozen=True)
class Positions:
    """Add a learned vector to every token."""

    name: str
    tokens: int
    width: int


@dataclass(frozen=True)
class LayerNorm:
    """Normalization of every token with learned gain and shift."""

    name: str
    width: int
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Attention:
    """Scaled dot-product attention of all tokens to all, in several heads."""

    name: str
    tokens: int
    width: int
    heads: int

    @property
    def projections(self) -> dict[str, Dense]:
        """The four fully connected layers by their part in it."""
        parts = ("query", "key", "value", "out")
        return {part: Dense(f"{self.name}/{part}", self.width, self.width) for part in parts}


@dataclass(frozen=True)
class Gelu:
    """x times the normal distribution function of x, by Erf."""


@dataclass(frozen=True)
class TokenMean:
    """Mean over the tokens."""


Layer = (
    Conv | BatchNorm | Gemm | Relu | AveragePool | MaxPool | Flatten | Residual | Quantize
    | Patches | Dense | Positions | LayerNorm | Attention | Gelu | TokenMean
)  # fmt: skip


@dataclass(frozen=True)
class Head:
    """One output of a network: its name, its width and its own layers after the shared ones."""

    name: str
    width: int
    layers: tuple[Layer, ...] = ()


# Concrete ML reads this operator set only.
CONCRETE_ML_OPSET = 14


@dataclass(frozen=True)
class Network:
    """A chain of layers that ends in one head or several; shapes without the batch dimension."""

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    heads: tuple[Head, ...]
    opset: int = CONCRETE_ML_OPSET


def every_layer(network: Network) -> Iterator[Layer]:
    """Yield the shared layers, then those of each head."""
    yield from walk(network.layers)
    for head in network.heads:
        yield from walk(head.layers)


def walk(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    """Yield every layer in execution order, entering residual bodies and attention."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from walk(layer.body)
        if isinstance(layer, Attention):
            yield from layer.projections.values()
        yield layer


def perceptron(*widths: int) -> Network:
    """Return a Gemm chain with Relu between layers; the layers are f1, f2, ... or a lone f."""
    pairs = list(pairwise(widths))
    layers: list[Layer] = []
    for index, (inputs, outputs) in enumerate(pairs, start=1):
        layers.append(Gemm("f" if len(pairs) == 1 else f"f{index}", inputs, outputs))
        layers.append(Relu())
    return Network((widths[0],), tuple(layers[:-1]), (Head("output", widths[-1]),))


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
    return Network((1, 8, 8), layers, (Head("output", 10),))


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
    return Network((1, 8, 8), layers, (Head("output", 10),))


def low_bit_cnn(n_bits: int | None) -> Network:
    """Return two convolutions and a Gemm, all operands rounded to `n_bits`; in float if None.

    Every product reads what a Quantize or a MaxPool after it gives, so that each operand has a
    grid of its own and the integers are the model's, whoever runs it.
    """

    def quantized(name: str) -> tuple[Layer, ...]:
        return () if n_bits is None else (Quantize(name, n_bits),)

    layers: tuple[Layer, ...] = (
        *quantized("q0"),
        Conv("c1", 1, 12, weight_bits=n_bits),
        Relu(),
        *quantized("q1"),
        MaxPool(),
        Conv("c2", 12, 24, weight_bits=n_bits),
        Relu(),
        *quantized("q2"),
        MaxPool(),
        Flatten(),
        Gemm("f", 96, 10, weight_bits=n_bits),
    )
    return Network((1, 8, 8), layers, (Head("output", 10),))


def transformer(width: int = 32, heads: int = 4, inner: int = 64, blocks: int = 2) -> Network:
    """Return an encoder over 16 patches of 2x2 pixels, normalized before each part."""
    tokens = 16
    layers: list[Layer] = [
        Patches(4, 2),
        Dense("embed", 4, width),
        Positions("positions", tokens, width),
    ]
    for index in range(1, blocks + 1):
        name = f"block{index}"
        attention = Attention(f"{name}/attention", tokens, width, heads)
        layers += [
            Residual(f"{name}/skip1", (LayerNorm(f"{name}/norm1", width), attention)),
            Residual(
                f"{name}/skip2",
                (
                    LayerNorm(f"{name}/norm2", width),
                    Dense(f"{name}/up", width, inner),
                    Gelu(),
                    Dense(f"{name}/down", inner, width),
                ),
            ),
        ]
    layers += [LayerNorm("norm", width), TokenMean(), Gemm("f", width, 10)]
    return Network((1, 8, 8), tuple(layers), (Head("output", 10),), opset=17)


def detector() -> Network:
    """Return three convolutions over 16x16 pixels, a head for the place and one for the class."""
    layers: tuple[Layer, ...] = (
        Conv("c1", 1, 12),
        Relu(),
        AveragePool(),
        Conv("c2", 12, 24),
        Relu(),
        AveragePool(),
        Conv("c3", 24, 24),
        Relu(),
        Flatten(),
        Gemm("f", 384, 48),
        Relu(),
    )
    boxes = Head("boxes", 2, (Gemm("boxes", 48, 2),))
    classes = Head("classes", 10, (Gemm("classes", 48, 10),))
    return Network((1, 16, 16), layers, (boxes, classes))
