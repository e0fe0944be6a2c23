"""The limits are in one place, and that place is documented."""

from __future__ import annotations

import tomllib
from dataclasses import fields

import pytest

import quantlib as ql
from quantlib.limits import Limits, above, limits, samples_only, variable
from tests.paths import ROOT


def test_each_limit_is_set_by_its_variable_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in fields(Limits):
        with monkeypatch.context() as patched:
            patched.setenv(variable(field.name), "7")
            found = limits()
            assert getattr(found, field.name) == 7
            others = [f.name for f in fields(Limits) if f.name != field.name]
            assert all(getattr(found, name) == getattr(Limits(), name) for name in others)
            assert not above(field.name, 7)
            assert "limit of 7" in above(field.name, 7.01)
            assert variable(field.name) in above(field.name, 8)


@pytest.mark.parametrize("word", ["-1", "0", "many", "1.5", "²"])
def test_a_variable_that_is_no_number_is_refused(
    monkeypatch: pytest.MonkeyPatch, word: str
) -> None:
    monkeypatch.setenv("QUANTLIB_MAX_NODES", word)
    with pytest.raises(ql.OptionsError, match="QUANTLIB_MAX_NODES"):
        limits()


def test_samples_only_is_1_or_0(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not samples_only()
    monkeypatch.setenv("QUANTLIB_SAMPLES_ONLY", "1")
    assert samples_only()
    monkeypatch.setenv("QUANTLIB_SAMPLES_ONLY", "yes")
    with pytest.raises(ql.OptionsError, match="QUANTLIB_SAMPLES_ONLY"):
        samples_only()


def test_every_limit_is_in_the_table_of_the_serving_guide_with_its_default() -> None:
    guide = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    for field in fields(Limits):
        assert f"| `{variable(field.name)}` | {field.default} |" in guide, field.name


def test_streamlit_takes_no_larger_file_than_the_screens() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    server = config["server"]
    assert server["maxUploadSize"] == max(Limits().upload_model_mb, Limits().upload_data_mb)
    assert server["address"] == "127.0.0.1"
    assert server["allowedHosts"]
    assert server["enableXsrfProtection"]
    assert not server["enableStaticServing"]
