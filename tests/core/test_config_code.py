"""A configuration in a link: it comes back whole, and nothing else comes in."""

from __future__ import annotations

import base64
import re
import zlib

import pytest

import quantlib as ql
from quantlib.core.config_code import MAX_CODE, config_code, read_config_code
from quantlib.errors import ConfigurationError


def configs() -> list[ql.QuantizationConfig]:
    plain = ql.QuantizationConfig.from_n_bits(4)
    wide = plain.replace(
        weights=plain.weights.replace(n_bits=7, per_channel=True, signed=True),
        activations=plain.activations.replace(estimator=ql.Estimator("percentile", 99.9)),
        rounding_threshold_bits=6,
        limit_bits=12,
    )
    override = wide.override("a").replace(weights=wide.weights.replace(n_bits=2))
    many = wide
    for i in range(300):
        many = many.with_override(f"/layer.{i}/Gemm — é", override)
    return [plain, wide, wide.with_override("a", override), many]


@pytest.mark.parametrize("place", range(4))
def test_a_configuration_comes_back_whole(place: int) -> None:
    config = configs()[place]
    code = config_code(config)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", code)
    assert read_config_code(code) == config


def test_a_code_is_short_enough_for_an_address() -> None:
    assert len(config_code(configs()[1])) < 600
    assert len(config_code(configs()[3])) < 6000


@pytest.mark.parametrize(
    "code",
    ["", "x", "99", "é", "A" * (MAX_CODE + 1), "a b c",
     base64.urlsafe_b64encode(zlib.compress(b"{}")).decode().rstrip("="),
     base64.urlsafe_b64encode(zlib.compress(b"[" * 100_000)).decode().rstrip("="),
     base64.urlsafe_b64encode(zlib.compress(b" " * 5_000_000)).decode().rstrip("="),
     config_code(ql.QuantizationConfig.from_n_bits(4))[:-9]],
)  # fmt: skip
def test_anything_else_is_refused_in_words(code: str) -> None:
    with pytest.raises(ConfigurationError):
        read_config_code(code)
