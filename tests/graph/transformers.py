"""A small transformer encoder, written as the exporters write it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TOKENS, WIDTH, HEADS, INNER, VOCABULARY, BLOCKS = 12, 128, 2, 512, 200, 2

"""BERT-tiny's, but for tokens and vocabulary, which only cost time."""

SPREAD = 0.05
"""Standard deviation of the weights: that of BERT's after training, 0.02 before."""


class Encoder:
    """Writes an encoder in one of the ways in which exporters do.

    Parameters
    ----------
    opset : int
        Operator set.
    style : str
        ``torchscript``: LayerNormalization and GELU spelled out in small operators, shapes
        computed from Shape; ``dynamo``: whole operators where the operator set has them, constant
        shapes; ``fused``: ONNX Runtime's own operators, as its optimizer leaves them.
    """

    def __init__(self, opset: int, style: str, seed: int = 0) -> None:
        self.opset = opset
        self.style = style
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Any] = {}

    def op(
        self, op_type: str, *inputs: str, outputs: int = 1, domain: str = "", **named: Any
    ) -> Any:
        names = [f"{op_type.lower()}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(
            helper.make_node(op_type, list(inputs), names, f"/{op_type}_{len(self.nodes)}",
                             domain=domain, **named)
        )  # fmt: skip
        return names[0] if outputs == 1 else names

    def const(self, value: Any) -> str:
        name = f"constant_{len(self.constants)}"
        array = np.asarray(value)
        self.constants[name] = array.astype(np.float32) if array.dtype.kind == "f" else array
        return name

    def weights(self, *shape: int) -> str:
        return self.const(SPREAD * self.rng.normal(size=shape))

    def model(self) -> onnx.ModelProto:
        hidden = self.embedded()
        for _ in range(BLOCKS):
            hidden = self.block(hidden)
        self.nodes[-1].output[0] = "last_hidden_state"
        graph = helper.make_graph(
            self.nodes,
            "encoder",
            [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", TOKENS])
             for name in ("input_ids", "attention_mask")],
            [helper.make_tensor_value_info("last_hidden_state", 1, ["batch", TOKENS, WIDTH])],
            [numpy_helper.from_array(value, name) for name, value in self.constants.items()],
        )  # fmt: skip
        imports = [helper.make_opsetid("", self.opset)]
        if self.style == "fused":
            imports.append(helper.make_opsetid("com.microsoft", 1))
        return helper.make_model(graph, opset_imports=imports, ir_version=8)

    def embedded(self) -> str:
        words = self.op(
            "Gather", self.const(self.rng.normal(size=(VOCABULARY, WIDTH))), "input_ids"
        )
        places = self.const(0.3 * self.rng.normal(size=(TOKENS, WIDTH)))
        if self.style == "torchscript":  # the first rows of a table, as many as there are tokens
            length = self.op(
                "Gather", self.op("Shape", "input_ids"), self.const(np.array(1)), axis=0
            )
            end = self.op("Unsqueeze", length, self.const(np.array([0])))
            zero = self.const(np.array([0]))
            places = self.op("Slice", places, zero, end, zero)
        return self.normalized(self.op("Add", words, places))

    def normalized(self, x: str) -> str:
        gain = self.const(1 + 0.1 * self.rng.normal(size=WIDTH))
        bias = self.const(0.1 * self.rng.normal(size=WIDTH))
        if self.opset >= 17 and self.style != "torchscript":
            return str(self.op("LayerNormalization", x, gain, bias, axis=-1, epsilon=1e-12))
        mean = self.reduced_mean(x)
        centred = self.op("Sub", x, mean)
        squares = self.op("Pow", centred, self.const(2.0))
        variance = self.op("Add", self.reduced_mean(squares), self.const(1e-12))
        scaled = self.op("Div", centred, self.op("Sqrt", variance))
        return str(self.op("Add", self.op("Mul", scaled, gain), bias))

    def reduced_mean(self, x: str) -> str:
        if self.opset >= 18:
            return str(self.op("ReduceMean", x, self.const(np.array([-1])), keepdims=1))
        return str(self.op("ReduceMean", x, axes=[-1], keepdims=1))

    def dense(self, x: str, width: int, to: int) -> str:
        bias = self.const(0.1 * self.rng.normal(size=to))
        product = self.op("MatMul", x, self.weights(width, to))
        return str(self.op("Add", bias, product) if self.style == "torchscript"
                   else self.op("Add", product, bias))  # fmt: skip

    def block(self, x: str) -> str:
        attended = self.fused_attention(x) if self.style == "fused" else self.attention(x)
        if self.style == "fused":
            return self.fused_rest(x, attended)
        x = self.normalized(self.op("Add", self.dense(attended, WIDTH, WIDTH), x))
        inner = self.gelu(self.dense(x, WIDTH, INNER))
        return self.normalized(self.op("Add", self.dense(inner, INNER, WIDTH), x))

    def gelu(self, x: str) -> str:
        if self.style == "dynamo" and self.opset >= 20:
            return str(self.op("Gelu", x))
        error = self.op("Erf", self.op("Div", x, self.const(np.sqrt(2.0))))
        doubled = self.op("Mul", x, self.op("Add", error, self.const(1.0)))
        return str(self.op("Mul", doubled, self.const(0.5)))

    def mask(self) -> str:
        """Return 0 for tokens that are there and a large negative number for others."""
        axes = self.const(np.array([1, 2]))
        wide = self.op("Cast", self.op("Unsqueeze", "attention_mask", axes), to=TensorProto.FLOAT)
        missing = self.op("Sub", self.const(1.0), wide)
        return str(self.op("Mul", missing, self.const(-10000.0)))

    def heads(self, x: str, perm: list[int]) -> str:
        size = WIDTH // HEADS
        if self.style == "torchscript":
            shape = self.op("Shape", x)
            first = [self.op("Gather", shape, self.const(np.array(i)), axis=0) for i in (0, 1)]
            axis = self.const(np.array([0]))
            parts = [self.op("Unsqueeze", part, axis) for part in first]
            target = self.op("Concat", *parts, self.const(np.array([HEADS])),
                             self.const(np.array([size])), axis=0)  # fmt: skip
        else:
            target = self.const(np.array([0, TOKENS, HEADS, size]))
        return str(self.op("Transpose", self.op("Reshape", x, target), perm=perm))

    def attention(self, x: str) -> str:
        query, key, value = (
            self.heads(self.dense(x, WIDTH, WIDTH), perm)
            for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        )
        root = np.sqrt(WIDTH // HEADS)
        if self.style == "dynamo":  # scales both factors by the fourth root
            query = self.op("Mul", query, self.const(1 / np.sqrt(root)))
            key = self.op("Mul", key, self.const(1 / np.sqrt(root)))
            scores = self.op("MatMul", query, key)
        else:
            scores = self.op("Div", self.op("MatMul", query, key), self.const(root))
        weights = self.op("Softmax", self.op("Add", scores, self.mask()), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        return str(self.op("Reshape", mixed, self.const(np.array([0, 0, WIDTH]))))

    def fused_attention(self, x: str) -> str:
        mask = self.op("Cast", "attention_mask", to=TensorProto.INT32)
        return str(
            self.op("Attention", x, self.weights(WIDTH, 3 * WIDTH),
                    self.const(0.1 * self.rng.normal(size=3 * WIDTH)), mask,
                    domain="com.microsoft", num_heads=HEADS)
        )  # fmt: skip

    def fused_rest(self, x: str, attended: str) -> str:
        def norm(y: str, skip: str) -> str:
            gain = self.const(1 + 0.1 * self.rng.normal(size=WIDTH))
            beta, bias = (self.const(0.1 * self.rng.normal(size=WIDTH)) for _ in range(2))
            return str(self.op("SkipLayerNormalization", y, skip, gain, beta, bias,
                               domain="com.microsoft", epsilon=1e-12))  # fmt: skip

        x = norm(self.op("MatMul", attended, self.weights(WIDTH, WIDTH)), x)
        inner = self.op("MatMul", x, self.weights(WIDTH, INNER))
        bias = self.const(0.1 * self.rng.normal(size=INNER))
        kind = "FastGelu" if len(self.nodes) % 2 else "BiasGelu"
        inner = self.op(kind, inner, bias, domain="com.microsoft")
        return norm(self.op("MatMul", inner, self.weights(INNER, WIDTH)), x)


def tokens(samples: int, seed: int = 1) -> tuple[Any, Any]:
    """Return token numbers and a mask that leaves out a tail of each sample."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, VOCABULARY, size=(samples, TOKENS))
    lengths = rng.integers(TOKENS // 2, TOKENS + 1, size=samples)
    return ids, (np.arange(TOKENS) < lengths[:, None]).astype(np.int64)
