"""Functions of one value whose float64 result the onnx package does not give.

Its reference rounds Erf to float32, and reads attributes that a node leaves out as float32
numbers. Concrete ML computes in float64, and in another
order; the order decides the last bit, and the last bit decides ties. Each function here takes
and returns arrays; a float32 argument, which only a model's own input is, gives what Concrete ML
gives on it: float32, or float64 where its selection between two branches widens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from quantlib.arrays import AnyArray

SMALLEST_LOG_ARGUMENT = 1e-8
"""What Log takes for anything smaller, as Concrete ML does: ONNX's -inf and NaN have no grid."""

_ERF_INSIDE = (
    (9.60497373987051638749e0, 9.00260197203842689217e1, 2.23200534594684319226e3,
     7.00332514112805075473e3, 5.55923013010394962768e4),
    (1.0, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3,
     2.26290000613890934246e4, 4.92673942608635921086e4),
)  # fmt: skip
_ERF_OUTSIDE = (
    (2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687e0,
     4.86371970985681366614e1, 1.96520832956077098242e2, 5.26445194995477358631e2,
     9.34528527171957607540e2, 1.02755188689515710272e3, 5.57535335369399327526e2),
    (1.0, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2,
     9.75708501743205489753e2, 1.82390916687909736289e3, 2.24633760818710981792e3,
     1.65666309194161350182e3, 5.57535340817727675546e2),
)  # fmt: skip
_ERF_ONE = 6.0
"""From here on ``1 - erf(x)`` is less than half a step below 1."""


def erf(x: AnyArray) -> AnyArray:
    """Return the error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t**2)`` to x.

    Notes
    -----
    The rational approximations of Moshier, Methods and Programs for Mathematical Functions
    (1989): ``x * T(x**2) / U(x**2)`` up to 1, ``1 - exp(-x**2) * P(x) / Q(x)`` beyond. SciPy,
    which Concrete ML asks, uses them too: results are equal to the last bit up to 1, and to one
    unit of the last place beyond, where NumPy's and the C library's exponentials may differ.
    """
    real = np.asarray(x, dtype=np.float64)
    size = np.minimum(np.abs(real), _ERF_ONE)
    inside = size <= 1.0
    result = np.empty_like(size)
    result[inside] = _rational(size[inside], size[inside] ** 2, *_ERF_INSIDE)
    outer = size[~inside]
    result[~inside] = 1.0 - _rational(np.exp(-outer * outer), outer, *_ERF_OUTSIDE)
    return np.copysign(result, real).astype(_float_type(x), copy=False)


def _rational(
    factor: AnyArray, x: AnyArray, numerator: tuple[float, ...], denominator: tuple[float, ...]
) -> AnyArray:
    """Return ``factor * numerator(x) / denominator(x)``, multiplied before it is divided."""
    return np.asarray(factor * _polynomial(x, numerator) / _polynomial(x, denominator))


def _polynomial(x: AnyArray, coefficients: tuple[float, ...]) -> AnyArray:
    """Return a polynomial by Horner's scheme, highest power first; each operation is rounded."""
    result = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        result *= x
        result += coefficient
    return result


def _float_type(x: AnyArray) -> Any:
    """Return the type of `x` where it is one of floats, float64 else."""
    return x.dtype if x.dtype.kind == "f" else np.float64


def sigmoid(x: AnyArray) -> AnyArray:
    """Return ``1 / (1 + exp(-x))`` as ``exp(-log(exp(0) + exp(-x)))``."""
    return np.asarray(np.exp(-np.logaddexp(0, -x)))


def softplus(x: AnyArray) -> AnyArray:
    """Return ``log(exp(x) + 1)``, and x itself where the exponential is not a finite number."""
    power = np.exp(x)
    return np.where(np.isinf(power), x, np.log(power + 1))


def log(x: AnyArray) -> AnyArray:
    """Return the natural logarithm of x, or of `SMALLEST_LOG_ARGUMENT` where that is more."""
    return np.asarray(np.log(np.maximum(x, SMALLEST_LOG_ARGUMENT)))


def elu(x: AnyArray, *, alpha: float = 1.0) -> AnyArray:
    """Return x where it is positive, else ``alpha * (exp(x) - 1)``; float64 always."""
    return where(x > 0, x, alpha * (np.exp(x) - 1))


def selu(
    x: AnyArray,
    *,
    alpha: float = 1.6732632423543772848170429916717,
    gamma: float = 1.0507009873554804934193349852946,
) -> AnyArray:
    """Return ``gamma * x`` where x is positive, else ``gamma * alpha * (exp(x) - 1)``; float64.

    The defaults are those of Klambauer et al. 2017 (arXiv:1706.02515), which ONNX rounds to
    float32.
    """
    return where(x > 0, gamma * x, (gamma * alpha) * (np.exp(x) - 1))


def celu(x: AnyArray, *, alpha: float = 1.0) -> AnyArray:
    """Return ``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``."""
    return np.asarray(np.maximum(0, x) + np.minimum(0, alpha * (np.exp(x / alpha) - 1)))


def leaky_relu(x: AnyArray, *, alpha: float = 0.01) -> AnyArray:
    """Return x where it is positive, else ``alpha * x``; float64 always."""
    return where(x > 0, x, alpha * x)


def hard_sigmoid(x: AnyArray, *, alpha: float = 0.2, beta: float = 0.5) -> AnyArray:
    """Return ``alpha * x + beta`` kept within 0 and 1."""
    return np.asarray(np.maximum(0, np.minimum(1, alpha * x + beta)))


def hard_swish(x: AnyArray) -> AnyArray:
    """Return ``x * (x / 6 + 1 / 2)``, the second factor kept within 0 and 1."""
    return np.asarray(x * hard_sigmoid(x, alpha=1.0 / 6, beta=0.5))


def divide(a: AnyArray, b: AnyArray) -> AnyArray:
    """Return ``a / b`` in float64; a divisor of 0, which ONNX leaves undefined, counts as 1."""
    divisor = np.asarray(b, dtype=np.float64)
    return np.asarray(a / np.where(divisor == 0, 1.0, divisor))


def where(condition: AnyArray, chosen: AnyArray, other: AnyArray) -> AnyArray:
    """Return one of two values by a truth value; real ones in float64 always."""
    selected = np.where(condition, chosen, other)
    return selected.astype(np.float64, copy=False) if selected.dtype.kind == "f" else selected


DEFINITIONS: Mapping[str, Callable[..., AnyArray]] = {
    "Celu": celu,
    "Div": divide,
    "Elu": elu,
    "Erf": erf,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "LeakyRelu": leaky_relu,
    "Log": log,
    "Selu": selu,
    "Sigmoid": sigmoid,
    "Softplus": softplus,
    "Where": where,
}
"""By operator of ONNX's own domain; a keyword is an attribute, its default ONNX's."""
