"""Make everything fit: the mildest change that brings every layer within the limit, measured."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.search.descent import Effort, Ending, best_of
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.runs import Outcome, Runner, outcome_of
from quantlib.analysis.search.search import Progress, Question, explore
from quantlib.analysis.search.space import space_of
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.targets import CONCRETE_ML_ROUNDING, Target, targets_of
from quantlib.errors import OptionsError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.scheme import LayerOverride, Scheme

NARROWEST = 2
"""Narrowest grid and threshold that is tried, bits."""

AS_MILD_BITS = 1
"""Uniform widths that lose up to this many bits more than others that fit are tried too."""


@dataclass(frozen=True, slots=True)
class Change:
    """One width that is another afterwards.

    Parameters
    ----------
    what : str
        ``"weights"``, ``"activations"``, ``"outputs"``, ``"inputs"`` or ``"rounding threshold"``.
    layer : str or None
        The layer it is an exception of; None for the whole configuration.
    before, after : int or None
        Widths, bits; None for no rounding. Equal for a layer that does not follow the others.
    """

    what: str
    layer: str | None
    before: int | None
    after: int | None

    def __str__(self) -> str:
        """Return the change in words."""
        where = "all layers" if self.layer is None else self.layer
        if self.before == self.after:
            return f"{where}: {self.what} stay {self.after} bits"
        before, after = ("none" if b is None else f"{b} bits" for b in (self.before, self.after))
        return f"{where}: {self.what} {before} → {after}"


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A configuration in which every layer is within the limit, before it is applied.

    Parameters
    ----------
    before, after : Outcome
        The configuration that was given and the one that fits, both measured.
    criterion : Criterion
        Which integers count against the limit.
    target : Target or None
        Where it must be possible to take it; None for anywhere.
    changes : tuple of Change
        What differs between the two.
    uniform : Outcome or None
        The best that needs no further exceptions by layer; None where nothing such fits.
    runs : int
        Configurations that were run.
    ending : Ending
        Why the search for exceptions ended; `Ending.ENUMERATED` where there was none to make.
    """

    before: Outcome
    after: Outcome
    criterion: Criterion
    target: Target | None
    changes: tuple[Change, ...]
    uniform: Outcome | None
    runs: int
    ending: Ending

    @property
    def config(self) -> QuantizationConfig:
        """The configuration that fits."""
        return self.after.config

    @property
    def targets(self) -> frozenset[Target]:
        """Where the configuration can be taken."""
        return targets_of(self.config)


def make_fit(
    bench: Workbench,
    config: QuantizationConfig,
    *,
    criterion: Criterion = Criterion.ANY_INPUT,
    target: Target | None = None,
    effort: Effort | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> Iterator[Progress | Fit]:
    """Find what brings every layer within ``config.limit_bits`` with the least loss.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    config : QuantizationConfig
        The present configuration. No width becomes larger, and signs and ranges stay.
    criterion : Criterion
        Which integers count against the limit.
    target : Target, optional
        Where it must be possible to take the answer: Concrete ML has neither exceptions by layer
        nor thresholds beyond 2 to 8 bits, a QDQ model does not round.
    effort : Effort, optional
        What the search for exceptions may take beyond its tables; ``Effort(runs=200)`` when not
        given.
    go_on : callable
        Asked before each configuration; after False nothing new starts, and the best of what was
        run is the result, if anything fits.

    Yields
    ------
    Progress, and at the end one Fit; none if it was stopped before anything fitted

    Raises
    ------
    UnreachableError
        Nothing that was run fits; the message says what is closest.
    OptionsError
        The target cannot carry the configuration's signs or ranges.

    Notes
    -----
    First one width for all weights and one for all activations, from the mildest to the coarsest;
    where a pair does not fit, with the widest rounding threshold that makes it fit, and where
    sums keep it from fitting with narrower outputs. Then, where the target carries them,
    exceptions by layer: the search over widths of `quantlib.analysis.search.search.search` for
    the highest SQNR, on widths up to the present ones. The answer is the best of all that was
    measured.
    """
    base = _base(config, target)
    trial = _Trial(bench, criterion, go_on)
    before = trial.of(config)
    if before is None:
        if not trial.stopped:
            raise OptionsError(
                "the present configuration cannot be applied to this model; choose another one."
            )
        return
    if before.fits and (target is None or target in targets_of(config)):
        yield Fit(before, before, criterion, target, (), before, trial.runs, Ending.ENUMERATED)
        return
    yield from _uniform(base, trial, target)
    fitting = [found for found in trial.done if found.fits and _carries(found.config, target)]
    uniform = max(fitting, key=lambda found: found.sqnr_db, default=None)
    ending, runs, best = Ending.ENUMERATED, trial.runs, uniform
    if trial.stopped:
        ending = Ending.STOPPED
    elif target is not Target.CONCRETE_ML:
        for start in dict.fromkeys(_starts(base, uniform)):
            space = space_of(bench.module(start), *_up_to(start))
            runner = Runner(bench, space, criterion)
            steps = explore(
                runner, Question(Objective.SQNR), effort=effort or Effort(runs=200), go_on=go_on
            )
            for step in steps:
                if isinstance(step, Progress):
                    yield step
                else:
                    ending = step
            runs += runner.runs
            found = best_of(runner.done, Objective.SQNR, None)
            if found is not None and (best is None or found.sqnr_db > best.sqnr_db):
                best = found.outcome
    if best is None:
        if ending is Ending.STOPPED:
            return
        closest = min(trial.done, key=lambda found: found.width_bits)
        raise UnreachableError(
            f"nothing of what was run fits {config.limit_bits} bits; the narrowest needs "
            f"{closest.width_bits} bits in layer {closest.widest!r}. Raise the limit"
            + (", or allow other targets." if target is not None else " or change the model.")
        )
    changes = tuple(_changes(config, best.config))
    yield Fit(before, best, criterion, target, changes, uniform, runs, ending)


class _Trial:
    """Configurations that were measured, each once."""

    def __init__(self, bench: Workbench, criterion: Criterion, go_on: Callable[[], bool]) -> None:
        self._bench, self._criterion = bench, criterion
        self._go_on = go_on
        self._known: dict[QuantizationConfig, Outcome | None] = {}
        self.stopped = False

    @property
    def runs(self) -> int:
        return len(self._known)

    @property
    def done(self) -> list[Outcome]:
        return [found for found in self._known.values() if found is not None]

    def of(self, config: QuantizationConfig) -> Outcome | None:
        """Return a configuration's figures; None where it cannot be applied, or when stopped."""
        if config not in self._known:
            if self.stopped or not self._go_on():
                self.stopped = True
                return None
            self._known[config] = outcome_of(self._bench, config, self._criterion)
        return self._known[config]


def _base(config: QuantizationConfig, target: Target | None) -> QuantizationConfig:
    """Return what is made narrower: the configuration without what the target cannot carry."""
    if target is Target.CONCRETE_ML:
        base = config.replace(overrides=())
        if not base.is_reference:
            raise OptionsError(
                f"Concrete ML has no choice of {', '.join(base.departures)}; set these back, or "
                "ask for another target."
            )
        return base
    if target is Target.QDQ:
        return config.replace(rounding_threshold_bits=None)
    return config


def _carries(config: QuantizationConfig, target: Target | None) -> bool:
    return target is None or target in targets_of(config)


def _uniform(base: QuantizationConfig, trial: _Trial, target: Target | None) -> Iterator[Progress]:
    """Try one width for all weights and one for all activations, the mildest pairs first."""
    pairs = [
        (w, a)
        for w in range(min(NARROWEST, base.weights.n_bits), base.weights.n_bits + 1)
        for a in range(min(NARROWEST, base.activations.n_bits), base.activations.n_bits + 1)
    ]
    pairs.sort(key=lambda pair: (-sum(pair), -min(pair)))
    fitting: list[tuple[int, int]] = []
    for i, (w, a) in enumerate(pairs):
        # what loses more bits of both than a pair that fits as it is loses more signal
        beaten = any(v >= w and b >= a and v + b - w - a > AS_MILD_BITS for v, b in fitting)
        if not beaten and _fits_as_it_is(base, (w, a), trial, target):
            fitting.append((w, a))
        yield Progress("trying one width for all layers", i + 1, len(pairs))
        if trial.stopped:
            return


def _fits_as_it_is(
    base: QuantizationConfig, pair: tuple[int, int], trial: _Trial, target: Target | None
) -> bool:
    """Tell whether a pair fits without more rounding; else try the mildest rounding that does."""
    plain = _narrowed(base, *pair)
    if plain is None:
        return False
    if _carries(plain, target) and _fits(trial.of(plain)):
        return True
    # sums are as wide as outputs are
    outputs = range(plain.output_bits - 1, pair[1] - 1, -1)
    narrow = [plain.replace(output_bits=bits) for bits in outputs]
    if _mildest(plain, narrow, trial, target) or target is Target.QDQ:
        return False
    low, high = (
        CONCRETE_ML_ROUNDING
        if target is Target.CONCRETE_ML
        else (NARROWEST, max(NARROWEST, plain.limit_bits))
    )
    threshold = plain.rounding_threshold_bits
    high = high if threshold is None else min(high, threshold - 1)
    for config in (plain, *narrow[-1:]):
        steps = range(high, low - 1, -1)
        rounded = [config.replace(rounding_threshold_bits=bits) for bits in steps]
        if _mildest(config, rounded, trial, target):
            return False
    return False


def _mildest(
    plain: QuantizationConfig,
    coarser: Sequence[QuantizationConfig],
    trial: _Trial,
    target: Target | None,
) -> bool:
    """Try configurations from mild to coarse until one fits or they are in vain; tell if one did.

    They are in vain when no layer beyond the limit is narrower than in `plain`.
    """
    before = trial.of(plain)
    for config in coarser:
        found = trial.of(config)
        if found is None or before is None:
            return False
        if found.fits and _carries(config, target):
            return True
        beyond = [name for name, bits in found.counted_bits.items() if bits > config.limit_bits]
        if beyond and all(found.counted_bits[x] >= before.counted_bits[x] for x in beyond):
            return False
    return False


def _fits(found: Outcome | None) -> bool:
    return found is not None and found.fits


def _narrowed(
    config: QuantizationConfig, weight_bits: int, activation_bits: int
) -> QuantizationConfig | None:
    """Return a configuration in which no grid is wider than this; None where there is none."""
    try:
        overrides = {
            layer: dataclasses.replace(
                override,
                weights=_capped(override.weights, weight_bits),
                activations=_capped(override.activations, activation_bits),
            )
            for layer, override in config.overrides
        }
        return config.replace(
            weights=config.weights.replace(n_bits=weight_bits),
            activations=config.activations.replace(n_bits=activation_bits),
            overrides=overrides,
        )
    except OptionsError:
        return None


def _capped(scheme: Scheme | None, n_bits: int) -> Scheme | None:
    return None if scheme is None else scheme.replace(n_bits=min(scheme.n_bits, n_bits))


def _starts(base: QuantizationConfig, uniform: Outcome | None) -> Iterator[QuantizationConfig]:
    """Yield the configurations whose layers are made narrower one by one."""
    yield base
    if uniform is not None:
        yield base.replace(
            rounding_threshold_bits=uniform.config.rounding_threshold_bits,
            output_bits=max(uniform.config.output_bits, base.activations.n_bits),
        )


def _up_to(
    config: QuantizationConfig,
) -> tuple[Callable[[str], Sequence[int]], Callable[[str], Sequence[int]]]:
    """Return the widths offered to each layer: its own and narrower ones."""

    def offered(scheme: Scheme) -> range:
        return range(min(NARROWEST, scheme.n_bits), scheme.n_bits + 1)

    return (
        lambda layer: offered(config.weights_of(layer)),
        lambda layer: offered(config.activations_of(layer)),
    )


def _changes(before: QuantizationConfig, after: QuantizationConfig) -> Iterator[Change]:
    """Yield the widths that differ."""
    for what, old, new in (
        ("weights", before.weights.n_bits, after.weights.n_bits),
        ("activations", before.activations.n_bits, after.activations.n_bits),
        ("inputs", before.input_bits, after.input_bits),
        ("outputs", before.output_bits, after.output_bits),
        ("rounding threshold", before.rounding_threshold_bits, after.rounding_threshold_bits),
    ):
        if old != new:
            yield Change(what, None, old, new)
    layers = [name for name, _ in (*before.overrides, *after.overrides)]
    for layer in dict.fromkeys(layers):
        old_override: LayerOverride = before.override(layer)
        new_override = after.override(layer)
        for what in ("weights", "activations"):
            if getattr(old_override, what) == getattr(new_override, what):
                continue
            of = f"{what}_of"
            yield Change(
                what, layer, getattr(before, of)(layer).n_bits, getattr(after, of)(layer).n_bits
            )
