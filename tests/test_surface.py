from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import quantlib as ql
from tests.paths import ROOT

PUBLIC = set(
    """
    ONNX_OPS_TO_QUANTIZED_IMPL Budget ConfigurationError DataLoadError Dataset Estimator Evaluation
    Graph LayerOverride LimitError Memo MinMaxQuantizationStats ModelLoadError NodeReport Objective
    OptionsError PostTrainingAffineQuantization Preflight QuantizationConfig QuantizationOptions
    QuantizedArray QuantizedModule QuantlibError Scheme SearchResult SweepError SweepGrid
    SweepResult TensorError UniformQuantizationParameters UniformQuantizer UnreachableError
    UnsupportedOpError Workbench bit_width_budget evaluate inspect_model load_data load_model
    quantize search sweep synthetic_data
    """.split()  # noqa: SIM905 - a list to read, not to type
)
MODULES = [found.name for found in pkgutil.walk_packages(ql.__path__, "quantlib.")]
ERRORS = {name for name in PUBLIC if name.endswith("Error")}


def test_the_package_offers_these_names_and_no_others() -> None:
    assert set(ql.__all__) == PUBLIC
    assert all(hasattr(ql, name) for name in PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC - ERRORS))
def test_every_public_name_has_an_example(name: str) -> None:
    if not isinstance(getattr(ql, name), dict):
        assert ">>>" in (getattr(ql, name).__doc__ or ""), name


@pytest.mark.parametrize("name", [name for name in MODULES if "__main__" not in name])
def test_examples_in_docstrings_run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert not doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS).failed
