from __future__ import annotations

import itertools
from functools import cache
from typing import Any

import numpy as np
import pytest

import quantlib as ql
from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.search.descent import Ending
from quantlib.analysis.search.fitting import Change, Fit, make_fit
from quantlib.analysis.search.search import Progress
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.remedies import study_remedies
from quantlib.analysis.widths.targets import Target, targets_of
from quantlib.analysis.workbench import Workbench
from quantlib.export.scripts import concrete_ml_script
from tests.analysis.search.test_enumeration import workspace

BASE = ql.QuantizationConfig.from_n_bits(5).replace(limit_bits=9)


@cache
def fit_of(
    name: str, criterion: Criterion, target: Target | None, config: ql.QuantizationConfig = BASE
) -> Fit:
    *steps, found = make_fit(workspace(name), config, criterion=criterion, target=target)
    assert all(isinstance(step, Progress) and step.done <= step.total for step in steps)
    assert isinstance(found, Fit)
    return found


def widest_at(bench: Workbench, config: ql.QuantizationConfig, criterion: Criterion) -> int:
    """Return what counts, by a run of its own on all data."""
    module = ql.quantize(bench.graph, bench.data.calibration, config)
    x = np.concatenate([bench.data.calibration[0], bench.data.evaluation[0]])
    return bit_width_budget(module, x).counted_bits(criterion)


@pytest.mark.parametrize("criterion", list(Criterion))
@pytest.mark.parametrize("target", [None, *Target])
@pytest.mark.parametrize("name", ["relu", "gated"])
def test_what_is_found_fits_and_measures_as_it_says(
    name: str, criterion: Criterion, target: Target | None
) -> None:
    found = fit_of(name, criterion, target)
    space = workspace(name)
    assert widest_at(space, BASE, criterion) == found.before.width_bits > 9
    assert widest_at(space, found.config, criterion) == found.after.width_bits <= 9
    again = evaluate(space, found.config)
    assert again.sqnr_db == pytest.approx(found.after.sqnr_db)
    assert target is None or target in found.targets
    assert found.changes
    if found.uniform is not None:
        assert found.after.sqnr_db >= found.uniform.sqnr_db


@pytest.mark.parametrize("criterion", list(Criterion))
def test_for_concrete_ml_no_pair_of_widths_and_threshold_loses_less(criterion: Criterion) -> None:
    space = workspace("relu")
    best = -float("inf")
    for w, a, threshold in itertools.product(range(2, 6), range(2, 6), [None, *range(2, 9)]):
        config = BASE.replace(
            weights=ql.Scheme(w), activations=ql.Scheme(a), rounding_threshold_bits=threshold
        )
        if widest_at(space, config, criterion) <= 9:
            best = max(best, evaluate(space, config).sqnr_db)
    found = fit_of("relu", criterion, Target.CONCRETE_ML)
    assert found.after.sqnr_db == pytest.approx(best)
    assert found.config.is_reference
    assert not found.config.overrides
    assert "N_BITS" in concrete_ml_script(found.config, model="m", data="d", inputs=["x"])


def test_changes_say_what_differs_and_make_the_answer_of_what_was_given() -> None:
    found = fit_of("relu", Criterion.ANY_INPUT, None)
    for change in found.changes:
        if change.layer is None:
            part = getattr(found.config, change.what, None)
            after = part.n_bits if part else found.config.rounding_threshold_bits
            assert after == change.after
        else:
            assert getattr(found.config, f"{change.what}_of")(change.layer).n_bits == change.after
            assert getattr(BASE, f"{change.what}_of")(change.layer).n_bits == change.before
    assert str(Change("weights", None, 8, 6)) == "all layers: weights 8 bits → 6 bits"
    assert str(Change("weights", "g", 8, 8)) == "g: weights stay 8 bits"
    rounding = Change("rounding threshold", None, None, 7)
    assert str(rounding) == "all layers: rounding threshold none → 7 bits"


def test_what_fits_already_is_left_as_it_is() -> None:
    config = BASE.replace(limit_bits=16)
    found = fit_of("relu", Criterion.ANY_INPUT, None, config)
    assert found.config == config
    assert found.changes == ()
    assert found.before == found.after
    assert found.runs == 1


def test_after_it_no_layer_has_a_remedy_left() -> None:
    """Seen before: a mended layer was offered one bit less again and again."""
    found = fit_of("relu", Criterion.ANY_INPUT, Target.CONCRETE_ML)
    for layer in ("g1", "g2", "g3"):
        study = study_remedies(workspace("relu"), found.config, layer)
        assert study.proposed == ()
        assert study.measured == ()
        assert study.width_bits <= 9


def test_exceptions_of_layers_stay_and_become_no_wider() -> None:
    own = ql.LayerOverride(weights=BASE.weights.replace(n_bits=3, per_channel=True))
    found = fit_of("relu", Criterion.ANY_INPUT, Target.QDQ, BASE.with_override("g2", own))
    scheme = found.config.weights_of("g2")
    assert scheme.per_channel
    assert scheme.n_bits <= 3


def test_it_can_be_stopped_and_then_gives_the_best_so_far_or_nothing() -> None:
    def stopped_after(runs: int) -> list[Progress | Fit]:
        left = iter(range(runs))
        return list(
            make_fit(workspace("relu"), BASE, go_on=lambda: next(left, None) is not None)
        )  # fmt: skip

    assert not any(isinstance(step, Fit) for step in stopped_after(0))
    last = stopped_after(40)[-1]
    assert isinstance(last, Fit)
    assert last.ending is Ending.STOPPED
    assert last.after.fits


def test_a_limit_nothing_meets_names_the_layer_and_what_is_closest() -> None:
    config = BASE.replace(limit_bits=3)
    with pytest.raises(ql.OptionsError, match=r"the narrowest needs \d bits in layer 'g\d'"):
        list(make_fit(workspace("relu"), config))


def test_signs_that_concrete_ml_does_not_take_are_refused_for_it() -> None:
    config = BASE.replace(weights=ql.Scheme(5, symmetric=True))
    steps = make_fit(workspace("relu"), config, target=Target.CONCRETE_ML)
    with pytest.raises(ql.OptionsError, match="set these back"):
        next(steps)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        pytest.param({"weights": ql.Scheme(5, signed=True)}, "signs of weights", id="signs"),
        pytest.param({"activations": ql.Scheme(5, narrow=True)}, "narrow range", id="narrow"),
        pytest.param({"calibrate_on": "float"}, "ranges of the float model", id="calibration"),
        pytest.param({"conventions": "onnx"}, "as in ONNX", id="conventions"),
        pytest.param({"quantize_rest": False}, "the model's own grids", id="rest"),
    ],
)
def test_what_concrete_ml_does_not_take_is_named_alone(changed: dict[str, Any], named: str) -> None:
    steps = make_fit(workspace("relu"), BASE.replace(**changed), target=Target.CONCRETE_ML)
    with pytest.raises(ql.OptionsError, match=named) as refusal:
        next(steps)
    assert str(refusal.value).count(",") == 1  # before "or ask": nothing else is listed


@pytest.mark.parametrize(
    "config",
    [
        BASE,
        BASE.replace(rounding_threshold_bits=8),
        BASE.replace(rounding_threshold_bits=9),
        BASE.replace(weights=ql.Scheme(5, per_channel=True)),
        BASE.replace(calibrate_on="float"),
        BASE.with_override("g", ql.LayerOverride(weights=ql.Scheme(3))),
        BASE.replace(weights=ql.Scheme(17)),
        BASE.with_override("g", ql.LayerOverride(activations=ql.Scheme(17))),
    ],
)
def test_concrete_ml_carries_what_its_script_can_be_written_for(
    config: ql.QuantizationConfig,
) -> None:
    found = targets_of(config)
    assert Target.LIBRARY in found
    try:
        concrete_ml_script(config, model="m", data="d", inputs=["x"])
        written = True
    except ql.OptionsError:
        written = False
    assert (Target.CONCRETE_ML in found) == written
    wide = 17 in (config.weights.n_bits, config.activations_of("g").n_bits)
    assert (Target.QDQ in found) == (config.rounding_threshold_bits is None and not wide)
