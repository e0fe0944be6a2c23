from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from quantlib.graph.float_definitions import DEFINITIONS, SMALLEST_LOG_ARGUMENT, divide, erf
from quantlib.graph.model import Node
from quantlib.graph.node_functions import NodeFunction, serialize_node

UNIVARIATE = np.load(Path(__file__).parents[1] / "golden" / "univariate.npz")
POINTS = np.concatenate([np.linspace(-6, 6, 97), [1e-9, -1e-9, 0.3, -4.2186, 20.0, -20.0]])
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459")


def decimal_erf(x: Decimal) -> Decimal:
    """Return the error function by its Maclaurin series, in 90 digits."""
    term = total = x
    for n in range(1, 400):
        term *= -x * x / n
        total += term / (2 * n + 1)
    return 2 * total / PI.sqrt()


def one_of(x: Decimal, positive: Decimal, other: Decimal) -> Decimal:
    return positive if x > 0 else other


def unit(x: Decimal) -> Decimal:
    return max(Decimal(0), min(Decimal(1), x))


EXACT: dict[str, Callable[[Decimal], Decimal]] = {
    "Celu": lambda x: one_of(x, x, x.exp() - 1),
    "Elu": lambda x: one_of(x, x, x.exp() - 1),
    "Erf": lambda x: decimal_erf(x) if abs(x) < 7 else Decimal(1).copy_sign(x),
    "HardSigmoid": lambda x: unit(Decimal("0.2") * x + Decimal("0.5")),
    "HardSwish": lambda x: x * unit(x / 6 + Decimal("0.5")),
    "LeakyRelu": lambda x: one_of(x, x, Decimal("0.01") * x),
    "Log": lambda x: max(x, Decimal(SMALLEST_LOG_ARGUMENT)).ln(),
    "Selu": lambda x: (
        Decimal("1.0507009873554804934193349852946")
        * one_of(x, x, Decimal("1.6732632423543772848170429916717") * (x.exp() - 1))
    ),
    "Sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "Softplus": lambda x: (1 + x.exp()).ln(),
}


def function(op_type: str, **attributes: Any) -> NodeFunction:
    proto = serialize_node(op_type, "op", ["x"], ["y"], attributes)
    node = Node("op", op_type, "", ("x",), ("y",), attributes, proto)
    return NodeFunction(node, {"": 14})


@pytest.mark.parametrize("op_type", EXACT)
def test_a_function_is_right_to_the_last_digits_of_float64(op_type: str) -> None:
    """Attributes left out are the written decimals: float32 ones would be off by 1e-9."""
    (found,) = function(op_type)(POINTS)
    assert found.dtype == np.float64
    with localcontext() as context:
        context.prec = 90
        for x, y in zip(POINTS, found, strict=True):
            right = EXACT[op_type](Decimal(float(x)))
            error = abs(Decimal(float(y)) - right)
            assert error <= Decimal(4 * np.finfo(float).eps) * max(Decimal(1), abs(right)), x


def test_every_definition_of_one_value_is_checked() -> None:
    assert set(DEFINITIONS) - {"Div", "Where"} == set(EXACT)


def test_erf_is_scipy_s() -> None:
    """To the last bit where no exponential enters, to one unit of it beyond."""
    x, wanted = UNIVARIATE["erf.x"], UNIVARIATE["erf.y"]
    found = erf(x)
    inside = np.abs(x) <= 1
    assert inside.sum() > 300
    assert np.array_equal(found[inside], wanted[inside])
    assert np.all(np.abs(found - wanted) <= np.spacing(np.abs(wanted)))


def test_erf_is_odd_and_keeps_what_is_no_number() -> None:
    x = np.array([0.0, 0.5, 1.0, 1.5, 5.9, 6.0, 40.0, np.inf])
    assert np.array_equal(erf(-x), -erf(x))
    assert np.array_equal(erf(x[-3:]), [1.0, 1.0, 1.0])
    assert np.isnan(erf(np.array([np.nan])))[0]
    assert erf(np.array(0.25)).shape == ()


def test_attributes_that_are_written_count() -> None:
    x = np.array([-3.0, -0.5, 0.5, 3.0])
    (found,) = function("Selu", alpha=2.0, gamma=0.5)(x)
    assert np.allclose(found, np.where(x > 0, 0.5 * x, 1.0 * np.expm1(x)), rtol=1e-15)
    (found,) = function("HardSigmoid", alpha=0.0, beta=0.25)(x)
    assert np.array_equal(found, np.full(4, 0.25))
    (found,) = function("Celu", alpha=2.0)(x)
    assert np.allclose(found, np.where(x > 0, x, 2 * np.expm1(x / 2)), rtol=1e-15)


@pytest.mark.parametrize(
    ("op_type", "dtype"),
    [("Sigmoid", np.float32), ("Erf", np.float32), ("Elu", np.float64), ("Selu", np.float64),
     ("LeakyRelu", np.float64), ("Celu", np.float32), ("HardSwish", np.float32)],
)  # fmt: skip
def test_a_model_s_own_input_keeps_its_type_unless_branches_are_chosen(
    op_type: str, dtype: Any
) -> None:
    (found,) = function(op_type)(POINTS.astype(np.float32))
    assert found.dtype == dtype


def test_softplus_of_large_values_is_the_value_itself() -> None:
    with np.errstate(over="ignore"):
        found = DEFINITIONS["Softplus"](np.array([800.0, np.inf, -800.0]))
    assert np.array_equal(found, [800.0, np.inf, 0.0])


def test_a_divisor_of_zero_counts_as_one() -> None:
    a, b = np.array([6.0, 6.0], dtype=np.float32), np.array([0.0, 4.0], dtype=np.float32)
    found = divide(a, b)
    assert found.dtype == np.float64
    assert np.array_equal(found, [6.0, 1.5])


def test_another_domain_has_its_own_meaning() -> None:
    """An operator of the same name in a domain of its own is not ONNX's."""
    proto = helper.make_node("Erf", ["x"], ["y"], domain="own").SerializeToString()
    node = Node("op", "Erf", "own", ("x",), ("y",), {}, proto)
    with pytest.raises(Exception, match="no implementation"):
        NodeFunction(node, {"": 14, "own": 1})
