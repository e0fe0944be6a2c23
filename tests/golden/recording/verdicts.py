"""Record which small graphs Concrete ML takes, and whether it computes what ONNX says.

A graph is taken when it is quantized and runs on integers in the clear; whether it compiles too
is recorded beside it. What it computes at 12 bits is then compared with the onnx package.
"""

from __future__ import annotations

import contextlib

import numpy as np
import onnx
from common import GOLDEN, integers, narrow, packed, quantized, save
from concrete import fhe
from concrete.fhe.tracing import Tracer
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ROW, LINE, IMAGE, SOLID = ["n", 4], ["n", 2, 6], ["n", 2, 6, 6], ["n", 2, 4, 4, 4]
SAMPLES, N_BITS = 40, 12
SIMULATED = fhe.Configuration(fhe_simulation=True, fhe_execution=False)
CASES = {}


def node(op_type, inputs="x", output="y", **attributes):
    """Return a node with one output."""
    return helper.make_node(op_type, inputs.split(), output.split(), f"{op_type}_{output}",
                            **attributes)  # fmt: skip


def case(name, *nodes, x=ROW, outputs="y", opset=14, **constants):
    """Keep a graph under a name."""
    CASES[name] = (nodes, x, outputs.split(), opset, constants)


def f32(*shape, seed=0, shift=0.0):
    """Return normal numbers."""
    values = np.random.default_rng(seed).normal(shift, 0.6, shape)
    return np.asarray(values, dtype=np.float32)


W, V, WIDE = f32(4, 4), f32(4, 4, seed=1), f32(4, 3, seed=2)
H = node("Gemm", "x w", "h")
HV = node("Gemm", "x v", "g")
END = node("Gemm", "f e", "y")


def conv_cases():
    """Conv with each attribute left out, and with each of its variants."""
    whole = {"kernel_shape": [2, 2], "pads": [0] * 4, "strides": [1, 1], "dilations": [1, 1],
             "group": 1}  # fmt: skip
    k = f32(3, 2, 2, 2)
    case("Conv", node("Conv", "x k", **whole), x=IMAGE, k=k)
    for name in whole:
        less = {key: value for key, value in whole.items() if key != name}
        case(f"Conv without {name}", node("Conv", "x k", **less), x=IMAGE, k=k)
    for name, more in {
        "bare": None, "dilated": {"dilations": [2, 2]}, "dilated once": {"dilations": [1, 2]},
        "strided": {"strides": [2, 2]}, "padded": {"pads": [1, 0, 2, 1]},
        "auto_pad NOTSET": {"auto_pad": "NOTSET"}, "auto_pad VALID": {"auto_pad": "VALID"},
        "auto_pad SAME_UPPER": {"auto_pad": "SAME_UPPER"},
    }.items():  # fmt: skip
        case(
            f"Conv {name}", node("Conv", "x k", **({**whole, **more} if more else {})), x=IMAGE, k=k
        )
    case("Conv with bias", node("Conv", "x k b", **whole), x=IMAGE, k=k, b=f32(3))
    case("Conv grouped", node("Conv", "x k", **{**whole, "group": 2}), x=IMAGE, k=f32(4, 1, 2, 2))
    line = {"kernel_shape": [2], "pads": [0, 0], "strides": [1], "dilations": [1], "group": 1}
    case("Conv of one axis", node("Conv", "x k", **line), x=LINE, k=f32(3, 2, 2))
    for name in line:
        less = {key: value for key, value in line.items() if key != name}
        case(f"Conv of one axis without {name}", node("Conv", "x k", **less), x=LINE,
             k=f32(3, 2, 2))  # fmt: skip
    solid = {"kernel_shape": [2] * 3, "pads": [0] * 6, "strides": [1] * 3, "dilations": [1] * 3}
    case("Conv of three axes", node("Conv", "x k", **solid), x=SOLID, k=f32(3, 2, 2, 2, 2))
    case("Conv then Relu", node("Conv", "x k", "h", **whole), node("Relu", "h"), x=IMAGE, k=k)
    case("ConvTranspose", node("ConvTranspose", "x k"), x=IMAGE, k=f32(2, 3, 2, 2))


def pool_cases():
    """Pools with each attribute left out, and with each of its variants."""
    whole = {"kernel_shape": [2, 2], "pads": [0] * 4, "strides": [2, 2]}
    for op_type, extra in {
        "AveragePool": {
            "count_include_pad 0": {"count_include_pad": 0},
            "count_include_pad 1": {"count_include_pad": 1},
            "padded and counted": {"pads": [1] * 4, "count_include_pad": 1},
            "ceil_mode counted": {"ceil_mode": 1, "count_include_pad": 1, "kernel_shape": [3, 3]},
        },
        "MaxPool": {
            "dilations 1": {"dilations": [1, 1]}, "dilated": {"dilations": [2, 2]},
            "storage_order 0": {"storage_order": 0}, "storage_order 1": {"storage_order": 1},
        },
    }.items():  # fmt: skip
        case(op_type, node(op_type, **whole), x=IMAGE)
        for name in whole:
            less = {key: value for key, value in whole.items() if key != name}
            case(f"{op_type} without {name}", node(op_type, **less), x=IMAGE)
        case(f"{op_type} bare", node(op_type, kernel_shape=[2, 2]), x=IMAGE)
        for name, more in {
            **extra, "padded": {"pads": [1] * 4}, "padded on one side": {"pads": [0, 0, 1, 1]},
            "ceil_mode": {"ceil_mode": 1, "kernel_shape": [3, 3]}, "ceil_mode 0": {"ceil_mode": 0},
            "auto_pad NOTSET": {"auto_pad": "NOTSET"}, "auto_pad VALID": {"auto_pad": "VALID"},
            "auto_pad SAME_UPPER": {"auto_pad": "SAME_UPPER"},
            "strides of one": {"strides": [1, 1]},
        }.items():  # fmt: skip
            case(f"{op_type} {name}", node(op_type, **{**whole, **more}), x=IMAGE)
        one = {"kernel_shape": [2], "pads": [0, 0], "strides": [2]}
        three = {"kernel_shape": [2] * 3, "pads": [0] * 6, "strides": [2] * 3}
        case(f"{op_type} of one axis", node(op_type, **one), x=LINE)
        case(f"{op_type} of three axes", node(op_type, **three), x=SOLID)
    case("MaxPool with indices", node("MaxPool", "x", "y i", **whole), x=IMAGE)
    case("GlobalAveragePool", node("GlobalAveragePool"), x=IMAGE)


def product_cases():
    """Gemm and MatMul."""
    for name, attributes in {
        "": {}, " alpha 1": {"alpha": 1.0}, " alpha 0.5": {"alpha": 0.5}, " beta 0": {"beta": 0.0},
        " beta 0.5": {"beta": 0.5}, " beta 1": {"beta": 1.0}, " transB": {"transB": 1},
        " transA 0": {"transA": 0},
    }.items():  # fmt: skip
        case(f"Gemm{name}", node("Gemm", "x w b", **attributes), w=W, b=f32(4))
    case("Gemm without bias", node("Gemm", "x w"), w=W)
    case("Gemm bias of rows", node("Gemm", "x w b"), w=W, b=f32(1, 4))
    case("Gemm bias a number", node("Gemm", "x w b"), w=W, b=np.float32(0.3))
    case("Gemm bias of data", H, node("Gemm", "x v h"), w=W, v=V)
    case("Gemm bias of data then Relu", H, node("Relu", "h", "r"), node("Gemm", "x v r", "f"),
         node("Relu", "f"), w=W, v=V)  # fmt: skip
    case("MatMul constant first then Relu", node("MatMul", "w x", "h"), node("Relu", "h"), x=LINE,
         w=f32(3, 2))  # fmt: skip
    case("MatMul of two, perm spelled out", H, node("Transpose", "h", "t", perm=[1, 0]),
         node("MatMul", "h t"), w=W)  # fmt: skip
    case("two products of one input", H, node("Gemm", "x v", "g"), outputs="h g", w=W, v=V)
    case("Gemm of two", H, HV, node("Transpose", "g", "t"), node("Gemm", "h t"), w=W, v=V)
    case("Gemm of two transB", H, HV, node("Gemm", "h g", transB=1), w=W, v=V)
    case("MatMul", node("MatMul", "x w"), w=W)
    case("MatMul by a vector", node("MatMul", "x w"), w=f32(4))
    case("MatMul of three axes", node("MatMul", "x w"), x=LINE, w=f32(6, 3))
    case("MatMul of three axes by three", node("MatMul", "x w"), x=LINE, w=f32(1, 6, 3))
    case("MatMul of four axes", node("MatMul", "x w"), x=IMAGE, w=f32(6, 3))
    case("MatMul of four axes by four", node("MatMul", "x w"), x=IMAGE, w=f32(1, 2, 6, 3))
    case("MatMul constant first", node("MatMul", "w x"), x=LINE, w=f32(3, 2))
    case("MatMul plus bias", node("MatMul", "x w", "h"), node("Add", "h b"), w=W, b=f32(4))
    case("MatMul of two", H, node("Transpose", "h", "t"), node("MatMul", "h t"), w=W)
    case(
        "MatMul of two in stacks",
        node("MatMul", "x w", "h"),
        node("Transpose", "h", "t", perm=[0, 2, 1]),
        node("MatMul", "h t"),
        x=LINE,
        w=f32(6, 6),
    )
    case("chain of products", H, node("Gemm", "h v"), w=W, v=V)
    case("chain of three products", H, node("Gemm", "h v", "f"), END, w=W, v=V, e=WIDE)
    case("chain of MatMul", node("MatMul", "x w", "h"), node("MatMul", "h v"), w=W, v=V)
    case("product, function, product", H, node("Relu", "h", "f"), END, w=W, e=WIDE)
    case("product read and returned", H, node("Relu", "h", "y"), outputs="h y", w=W)
    case("product of a returned product", H, node("Relu", "h", "f"), END, outputs="y h", w=W,
         e=WIDE)  # fmt: skip


def pair_cases():
    """Operators of two values: with a constant, of one tensor, of two."""
    for op in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu", "Greater",
               "GreaterOrEqual", "Less", "LessOrEqual", "Equal"):  # fmt: skip
        back = [node("Cast", "c", "y", to=1)] if op[0] in "GLE" else []
        out = "c" if back else "y"
        c = np.abs(f32(4, seed=3)) + np.float32(0.5)
        if op == "Pow":
            power_cases(c)
            continue
        case(f"{op} with a constant", node(op, "x k", out), *back, k=c)
        case(f"{op} with a number", node(op, "x k", out), *back, k=np.float32(0.7))
        case(f"{op} after a product", H, node(op, "h k", out), *back, w=W, k=c)
        case(f"{op} of one tensor", H, node("Relu", "h", "r"), node("Sigmoid", "h", "s"),
             node(op, "r s", out), *back, w=W)  # fmt: skip
        case(f"{op} of a tensor and itself", node(op, "x x", out), *back)
        if op != "PRelu":
            case(f"{op} constant first", node("Abs", "x", "a"), node(op, "k a", out), *back, k=c)
        case(f"{op} of two tensors", H, HV, node("Sigmoid", "h", "s"), node("Sigmoid", "g", "t"),
             node(op, "s t", out), *back, w=W, v=V)  # fmt: skip
        case(f"{op} of product and input", H, node(op, "h x", out), *back, w=W)
    case("PRelu with a negative slope", node("PRelu", "x k"), k=-np.abs(f32(4)) - np.float32(0.1))
    for op in ("Max", "Min"):
        case(f"{op} of one", node(op, "x"))
        case(f"{op} of three", node(op, "x k l"), k=f32(4), l=f32(4, seed=5))
    case(
        "Or of comparisons",
        node("Greater", "x k", "a"),
        node("Less", "x l", "b"),
        node("Or", "a b", "c"),
        node("Cast", "c", to=1),
        k=np.float32(0.5),
        l=np.float32(-0.5),
    )
    case(
        "Or with a constant",
        node("Greater", "x k", "a"),
        node("Or", "a l", "c"),
        node("Cast", "c", to=1),
        k=np.float32(0.5),
        l=np.array([True, False, True, False]),
    )
    case(
        "Or of two tensors",
        H,
        HV,
        node("Greater", "h k", "a"),
        node("Greater", "g k", "b"),
        node("Or", "a b", "c"),
        node("Cast", "c", to=1),
        w=W,
        v=V,
        k=np.float32(0.5),
    )
    case(
        "And",
        node("Greater", "x k", "a"),
        node("Less", "x l", "b"),
        node("And", "a b", "c"),
        node("Cast", "c", to=1),
        k=np.float32(-0.5),
        l=np.float32(0.5),
    )
    case("Not", node("Greater", "x k", "a"), node("Not", "a", "c"), node("Cast", "c", to=1),
         k=np.float32(0.5))  # fmt: skip
    compare = node("Greater", "x k", "c")
    case("Where of constants", compare, node("Where", "c a b"), k=np.float32(0), a=f32(4),
         b=f32(4, seed=4))  # fmt: skip
    case("Where of numbers", compare, node("Where", "c a b"), k=np.float32(0), a=np.float32(1),
         b=np.float32(-1))  # fmt: skip
    case("Where of data", compare, node("Where", "c x b"), k=np.float32(0), b=np.float32(-1))
    case("Where of two functions", compare, node("Abs", "x", "a"), node("Exp", "x", "b"),
         node("Where", "c a b"), k=np.float32(0))  # fmt: skip
    case("Where of two tensors", H, compare, node("Where", "c h b"), w=W, k=np.float32(0),
         b=np.float32(-1))  # fmt: skip


def power_cases(exponents):
    """Powers of what is not negative."""
    size = node("Abs", "x", "a")
    case("Pow with a constant", size, node("Pow", "a k"), k=exponents)
    case("Pow with a number", size, node("Pow", "a k"), k=np.float32(0.7))
    case("Pow square", node("Pow", "x k"), k=np.float32(2))
    case("Pow constant first", node("Pow", "k x"), k=exponents)
    case("Pow of a tensor and itself", size, node("Pow", "a a"))
    case("Pow of one tensor", size, node("Sigmoid", "x", "s"), node("Pow", "a s"))
    case("Pow of two tensors", H, HV, node("Sigmoid", "h", "s"), node("Sigmoid", "g", "t"),
         node("Pow", "s t"), w=W, v=V)  # fmt: skip


def mover_cases():
    """Operators that move or select."""
    for name, attributes in {
        "": {}, " axis 0": {"axis": 0}, " axis 1": {"axis": 1}, " axis 2": {"axis": 2},
        " axis 3": {"axis": 3}, " axis -1": {"axis": -1},
    }.items():  # fmt: skip
        case(f"Flatten{name}", node("Flatten", **attributes), x=IMAGE)
    for name, shape in {
        "-1": [-1, 12],
        "0": [0, 12],
        "0 and -1": [0, -1],
        "all axes": [-1, 6, 2],
    }.items():
        case(f"Reshape {name}", node("Reshape", "x s"), x=LINE, s=np.array(shape))
    case("Reshape allowzero 0", node("Reshape", "x s", allowzero=0), x=LINE, s=np.array([-1, 12]))
    case("Reshape allowzero 1", node("Reshape", "x s", allowzero=1), x=LINE, s=np.array([-1, 12]))
    case("Reshape to the shape", node("Shape", "x", "s"), node("Reshape", "x s"), x=LINE)
    case("Reshape after a product", H, node("Reshape", "h s"), w=W, s=np.array([-1, 2, 2]))
    case("Shape returned", node("Shape", "x"), x=LINE)
    case(
        "Shape with start",
        node("Shape", "x", "s", start=0),
        node("Reshape", "x s"),
        x=LINE,
        opset=15,
    )
    case("ConstantOfShape times data", node("Shape", "x", "s"),
         node("ConstantOfShape", "s", "o", value=numpy_helper.from_array(f32(1))),
         node("Mul", "x o"))  # fmt: skip
    case("ConstantOfShape times a product", H, node("Shape", "x", "s"),
         node("ConstantOfShape", "s", "o", value=numpy_helper.from_array(f32(1))),
         node("Mul", "h o"), w=W)  # fmt: skip
    case("ConstantOfShape plus a product", H, node("Shape", "x", "s"),
         node("ConstantOfShape", "s", "o"), node("Add", "h o"), w=W)  # fmt: skip
    case("ConstantOfShape, Expand", node("Expand", "x s"), x=["n", 1, 4], s=np.array([4]))
    case("ConstantOfShape", node("Shape", "x", "s"), node("ConstantOfShape", "s", "o"),
         node("Add", "x o"))  # fmt: skip
    case("ConstantOfShape of a constant", node("ConstantOfShape", "s", "o"), node("Add", "x o"),
         s=np.array([4]))  # fmt: skip
    case("Transpose", node("Transpose", perm=[0, 2, 1]), x=LINE)
    case("Transpose without perm", node("Transpose"), x=LINE)
    case("Transpose of samples", node("Transpose", perm=[1, 0, 2]), x=LINE)
    one = ["n", 1, 4]
    case("Squeeze", node("Squeeze", "x a"), x=one, a=np.array([1]))
    case("Squeeze negative", node("Squeeze", "x a"), x=one, a=np.array([-2]))
    case("Squeeze without axes", node("Squeeze"), x=one)
    case("Squeeze two axes", node("Squeeze", "x a"), x=["n", 1, 1, 4], a=np.array([1, 2]))
    case("Unsqueeze", node("Unsqueeze", "x a"), a=np.array([1]))
    case("Unsqueeze negative", node("Unsqueeze", "x a"), a=np.array([-1]))
    case("Unsqueeze two axes", node("Unsqueeze", "x a"), a=np.array([1, 2]))
    case("Expand", node("Expand", "x s"), x=one, s=np.array([1, 3, 4]))
    case("Expand to the shape", node("Shape", "x", "s"), node("Expand", "x s"), x=one)
    s, e = np.array([0]), np.array([2])
    case("Slice", node("Slice", "x s e a"), s=s, e=e, a=np.array([1]))
    case("Slice without axes", node("Slice", "x s e"), s=s, e=e)
    case("Slice with steps", node("Slice", "x s e a t"), s=s, e=np.array([4]), a=np.array([1]),
         t=np.array([2]))  # fmt: skip
    case("Slice backwards", node("Slice", "x s e a t"), s=np.array([3]), e=np.array([-5]),
         a=np.array([1]), t=np.array([-1]))  # fmt: skip
    case("Slice backwards to an index", node("Slice", "x s e a t"), s=np.array([3]),
         e=np.array([0]), a=np.array([1]), t=np.array([-1]))  # fmt: skip
    case("Slice backwards to the end", node("Slice", "x s e a t"), s=np.array([3]),
         e=np.array([-(2**31)]), a=np.array([1]), t=np.array([-1]))  # fmt: skip
    case(
        "Slice to the end", node("Slice", "x s e a"), s=s, e=np.array([2**31 - 1]), a=np.array([1])
    )
    case("Slice after a product", H, node("Slice", "h s e a"), w=W, s=s, e=e, a=np.array([1]))
    case("Slice of samples", node("Slice", "x s e a"), s=s, e=e, a=np.array([0]))
    case("Gather", node("Gather", "x i", axis=1), i=np.array([2, 0]))
    case("Gather one", node("Gather", "x i", axis=1), i=np.array(2))
    case("Gather negative", node("Gather", "x i", axis=1), i=np.array([-1]))
    case("Gather negative axis", node("Gather", "x i", axis=-1), i=np.array([1]))
    case("Gather without axis", node("Gather", "x i"), i=np.array([0, 1]))
    case("Gather after a product", H, node("Gather", "h i", axis=1), w=W, i=np.array([2, 0]))
    case("Gather of a matrix", node("Gather", "x i", axis=1), i=np.array([[2, 0], [1, 3]]))
    case("Concat of a tensor and itself", node("Concat", "x x", axis=1))
    case("Concat of a product and itself", H, node("Concat", "h h", axis=1), w=W)
    case(
        "Concat of a function and itself",
        H,
        node("Relu", "h", "r"),
        node("Concat", "r r", axis=1),
        w=W,
    )
    case("Concat of a mover's result and itself", node("Transpose", "x", "t", perm=[0, 2, 1]),
         node("Concat", "t t", axis=1), x=LINE)  # fmt: skip
    case("Concat of two movers of one tensor", node("Slice", "x s e a", "p"),
         node("Slice", "x e f a", "q"), node("Concat", "p q", axis=1), s=s, e=e, f=np.array([4]),
         a=np.array([1]))  # fmt: skip
    case("Concat of input and its slice", node("Slice", "x s e a", "p"),
         node("Concat", "x p", axis=1), s=s, e=e, a=np.array([1]))  # fmt: skip
    case("Concat of two products", H, HV, node("Concat", "h g", axis=1), w=W, v=V)
    case("Concat of two functions", H, HV, node("Sigmoid", "h", "r"), node("Sigmoid", "g", "s"),
         node("Concat", "r s", axis=1), w=W, v=V)  # fmt: skip
    case("Concat of input and function", node("Relu", "x", "r"), node("Concat", "x r", axis=1))
    case("Concat of input and identity", node("Identity", "x", "r"), node("Concat", "x r", axis=1))
    case("Concat with a constant", node("Concat", "x k", axis=1), k=f32(SAMPLES, 2))
    case("Concat of one", node("Concat", "x", axis=1))
    case("Concat on the last axis", node("Concat", "x x", axis=-1))
    pads = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    case("Pad", node("Pad", "x p", mode="constant"), x=IMAGE, p=pads)
    case("Pad without mode", node("Pad", "x p"), x=IMAGE, p=pads)
    case("Pad with zero", node("Pad", "x p v", mode="constant"), x=IMAGE, p=pads, v=np.float32(0))
    case("Pad with a number", node("Pad", "x p v", mode="constant"), x=IMAGE, p=pads,
         v=np.float32(0.5))  # fmt: skip
    case("Pad uneven", node("Pad", "x p", mode="constant"), x=IMAGE,
         p=np.array([0, 0, 1, 0, 0, 0, 0, 2]))  # fmt: skip
    for mode in ("reflect", "edge"):
        case(f"Pad {mode}", node("Pad", "x p", mode=mode), x=IMAGE, p=pads)
    case("Pad channels", node("Pad", "x p", mode="constant"), x=IMAGE,
         p=np.array([0, 1, 0, 0, 0, 0, 0, 0]))  # fmt: skip
    case("Pad of one axis", node("Pad", "x p", mode="constant"), x=LINE,
         p=np.array([0, 0, 1, 0, 0, 1]))  # fmt: skip
    case("Pad of rows", node("Pad", "x p", mode="constant"), p=np.array([0, 1, 0, 1]))
    case("Pad before Conv", node("Pad", "x p", "q", mode="constant"),
         node("Conv", "q k", kernel_shape=[2, 2], pads=[0] * 4, strides=[1, 1], dilations=[1, 1]),
         x=IMAGE, p=pads, k=f32(3, 2, 2, 2))  # fmt: skip
    case("Pad without mode before Conv", node("Pad", "x p", "q"),
         node("Conv", "q k", kernel_shape=[2, 2], pads=[0] * 4, strides=[1, 1], dilations=[1, 1]),
         x=IMAGE, p=pads, k=f32(3, 2, 2, 2))  # fmt: skip
    case("Pad channels before Conv", node("Pad", "x p", "q", mode="constant"),
         node("Conv", "q k", kernel_shape=[2, 2], pads=[0] * 4, strides=[1, 1], dilations=[1, 1]),
         x=IMAGE, p=np.array([0, 1, 0, 0, 0, 0, 0, 0]), k=f32(3, 3, 2, 2))  # fmt: skip
    case("Pad by nothing", node("Pad", "x p"), x=IMAGE, p=np.zeros(8, dtype=np.int64))
    case("Pad with zero before Conv", node("Pad", "x p v", "q", mode="constant"),
         node("Conv", "q k", kernel_shape=[2, 2], pads=[0] * 4, strides=[1, 1], dilations=[1, 1]),
         x=IMAGE, p=pads, v=np.float32(0), k=f32(3, 2, 2, 2))  # fmt: skip
    case("Pad after a function", node("Relu", "x", "r"), node("Pad", "r p v", mode="constant"),
         x=IMAGE, p=pads, v=np.float32(0))  # fmt: skip
    for name, axes, attributes in (
        ("", [1], {}), (" keepdims 0", [1], {"keepdims": 0}), (" keepdims 1", [1], {"keepdims": 1}),
        (" negative", [-1], {}), (" two axes", [1, 2], {}), (" samples", [0], {}),
    ):  # fmt: skip
        case(f"ReduceSum{name}", node("ReduceSum", "x a", **attributes), x=LINE, a=np.array(axes))
    case("ReduceSum of all", node("ReduceSum"), x=LINE)
    case("ReduceSum of none", node("ReduceSum", noop_with_empty_axes=1), x=LINE)
    case("ReduceSum noop 0", node("ReduceSum", "x a", noop_with_empty_axes=0), x=LINE,
         a=np.array([1]))  # fmt: skip
    case("ReduceSum then Relu", node("ReduceSum", "x a", "h"), node("Relu", "h"), x=LINE,
         a=np.array([1]))  # fmt: skip


def function_cases():
    """Functions of one value."""
    functions = {
        "Abs": [], "Celu": ["alpha"], "Elu": ["alpha"], "Erf": [], "Exp": [], "Floor": [],
        "HardSigmoid": ["alpha", "beta"], "HardSwish": [], "Identity": [], "LeakyRelu": ["alpha"],
        "Log": [], "Neg": [], "Relu": [], "Round": [], "Selu": ["alpha", "gamma"], "Sigmoid": [],
        "Sign": [], "Softplus": [], "Tanh": [],
    }  # fmt: skip
    for op, attributes in functions.items():
        case(op, node(op))
        case(f"{op} between products", H, node(op, "h", "f"), END, w=W, e=WIDE)
        case(f"{op} after a product", H, node(op, "h"), w=W)
        for name in attributes:
            case(f"{op} {name}", node(op, **{name: 0.7}))
    for name, to in {
        "float": 1,
        "double": 11,
        "bool": 9,
        "int64": 7,
        "int32": 6,
        "float16": 10,
    }.items():
        case(f"Cast to {name}", node("Cast", "x", "c", to=to), node("Cast", "c", to=1))
    for name, inputs in {"": "x a b", " below": "x a", " above": "x  b", " not": "x"}.items():
        ends = {k: v for k, v in (("a", -0.5), ("b", 0.5)) if k in inputs.split()}
        made = helper.make_node("Clip", inputs.split(" "), ["y"], "Clip_y")
        case(f"Clip{name}", made, **{k: np.float32(v) for k, v in ends.items()})
    norm = dict(zip("sbmv", (f32(2, shift=1.0), f32(2), f32(2), np.abs(f32(2)) + 1), strict=True))
    for name, attributes in {
        "": {}, " epsilon": {"epsilon": 0.1}, " momentum": {"momentum": 0.5},
        " training_mode 0": {"training_mode": 0},
    }.items():  # fmt: skip
        case(f"BatchNormalization{name}", node("BatchNormalization", "x s b m v", **attributes),
             x=IMAGE, **norm)  # fmt: skip
    case("BatchNormalization of one axis", node("BatchNormalization", "x s b m v"), x=LINE, **norm)
    case("BatchNormalization of rows", node("BatchNormalization", "x s b m v"), x=["n", 2], **norm)
    unknown = """Sin Cos Atan Softmax Sqrt Ceil ReduceMean Softsign ThresholdedRelu Reciprocal
                 Dropout LogSoftmax GlobalMaxPool"""
    for op in unknown.split():
        case(op, node("Abs", "x", "a"), node(op, "a"), x=IMAGE)


def graph_cases():
    """What concerns the whole file."""
    for opset in (9, 11, 12, 13, 15, 17):
        case(f"operator set {opset}", node("Relu"), opset=opset)
    case("two outputs", H, node("Relu", "h", "y"), node("Tanh", "h", "z"), outputs="y z", w=W)
    case("output of the input", H, outputs="h", w=W)
    case("a node without a reader", H, node("Relu", "h", "y"), node("Tanh", "h", "z"), w=W)
    case(
        "a folded constant", node("Add", "k l", "m"), node("Add", "x m"), k=f32(4), l=f32(4, seed=2)
    )
    case("a folded product", node("MatMul", "k l", "m"), node("MatMul", "x m"), k=W, l=V)
    for name, attribute in {
        "value": {"value": numpy_helper.from_array(f32(4))}, "value_float": {"value_float": 0.5},
        "value_floats": {"value_floats": [0.5, 0.1, 0.2, 0.3]},
    }.items():  # fmt: skip
        case(f"Constant {name}", helper.make_node("Constant", [], ["k"], "c", **attribute),
             node("Add", "x k"))  # fmt: skip
    case("Unfold", node("Unfold", kernel_shape=[2, 2], pads=[0] * 4, strides=[1, 1]), x=IMAGE)


def build(name):
    """Return the model of a case, unchecked."""
    nodes, shape, outputs, opset, constants = CASES[name]
    graph = helper.make_graph(
        list(nodes), "case", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        made = onnx.shape_inference.infer_shapes(made, data_prop=True)
    for value in made.graph.output:  # the checker wants a shape, known or not
        value.type.tensor_type.shape.SetInParent()
    return made


def verdict(made, x):
    """Return what happened, and the integers.

    What happened is an error, or the largest deviation from ONNX as a share of the output's size.
    """
    try:
        module = quantized(made, N_BITS, x)
        _, outputs = integers(module, x)
        found = module.dequantize_output(*outputs)
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        return {"accepted": False, "error": f"{type(error).__name__}: {reason}"}, ()
    found = found if isinstance(found, tuple) else (found,)
    wanted = ReferenceEvaluator(made).run(None, {"x": x})
    same = all(np.shape(a) == np.shape(b) for a, b in zip(found, wanted, strict=True))
    gaps = [
        float(np.abs(np.asarray(a) - b).max() / max(np.ptp(np.asarray(b, dtype=float)), 1e-9))
        for a, b in zip(found, wanted, strict=True)
        if same
    ]
    entry = {"accepted": True, "same_shape": same, "deviation": round(max(gaps, default=0.0), 5)}
    return entry, outputs


def compile_error(made, x):
    """Return why the graph does not compile at few bits; empty if it does."""
    try:
        quantized(made, {"op_inputs": 2, "op_weights": 2, "model_inputs": 3, "model_outputs": 3},
                  x).compile(x[:10], configuration=SIMULATED)  # fmt: skip
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if "^" in line or line.strip()]
        return f"{type(error).__name__}: {lines[0][:160] if lines else ''}"
    finally:
        Tracer._is_tracing = False  # it stays set after a failure
    return ""


def main():
    """Record every case."""
    for fill in (conv_cases, pool_cases, product_cases, pair_cases, mover_cases, function_cases,
                 graph_cases):  # fmt: skip
        fill()
    arrays, cases = {}, []
    for name in CASES:
        made = build(name)
        rng = np.random.default_rng(9)
        shape = [SAMPLES if size == "n" else size for size in CASES[name][1]]
        x = rng.normal(size=shape).astype(np.float32)
        with np.errstate(all="ignore"):
            entry, outputs = verdict(made, x)
        cases.append({"name": name, "n_bits": N_BITS, "data": f"x{x.shape}", **entry})
        arrays |= {f"x{x.shape}": x, f"{name}.model": packed(made)}
        arrays |= {f"{name}.y{i}": narrow(output) for i, output in enumerate(outputs)}
    for entry in cases:
        if entry["accepted"]:
            x = arrays[entry["data"]]
            entry["compile_error"] = compile_error(build(entry["name"]), x)
    save("verdicts", cases, arrays)
    print(sum(entry["accepted"] for entry in cases), "accepted;", GOLDEN / "verdicts.json")


if __name__ == "__main__":
    main()
