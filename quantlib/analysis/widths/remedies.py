"""What brings a layer's accumulator within the limit: predicted, and measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.observation import observe
from quantlib.analysis.widths.bounds import bounds
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.feasible import has_weights, operand_at, weights_at
from quantlib.analysis.widths.noise import layer_noise, predicted_sqnr_db
from quantlib.analysis.widths.rounding import rounded_width
from quantlib.analysis.widths.targets import Target, targets_of
from quantlib.core.scheme import LayerOverride
from quantlib.core.tensor import Tensor
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from quantlib.analysis.observation import Seen
    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.analysis.widths.ranges import ChannelRange
    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.scheme import Scheme
    from quantlib.quantized_module import QuantizedModule


AT_ONCE_S = 1.0
"""A model that one configuration takes less time than this is measured instead of predicted, s."""

PREDICTION_ERROR_DB = 4.5
"""Nine of ten predicted SQNRs are this close to the measured ones, dB.

Of 845 remedies of all layers of six sample models at 3 to 8 bits; the mean distance is 1.8 dB,
the largest 9.1 dB.
"""


@dataclass(frozen=True, slots=True)
class Remedy:
    """A configuration in which a layer's accumulator is narrower.

    Parameters
    ----------
    title : str
        What changes, in a few words.
    layer : str
        The layer it is for.
    config : QuantizationConfig
        The whole configuration.
    predicted_width_bits : int
        Width that would count against the limit, by the criterion.
    predicted_sqnr_db : float
        Lead output against the float model, by the noise model; `PREDICTION_ERROR_DB`
        tells how far that can be off.
    criterion : Criterion
        Which integers count against the limit.
    """

    title: str
    layer: str
    config: QuantizationConfig
    predicted_width_bits: int
    predicted_sqnr_db: float
    criterion: Criterion = Criterion.ANY_INPUT

    @property
    def predicted_to_fit(self) -> bool:
        """Whether the predicted width is within the limit."""
        return self.predicted_width_bits <= self.config.limit_bits

    @property
    def targets(self) -> frozenset[Target]:
        """Where the configuration can be taken."""
        return targets_of(self.config)


@dataclass(frozen=True, slots=True, eq=False)
class VerifiedRemedy:
    """A remedy that was quantized, run and measured.

    Parameters
    ----------
    remedy : Remedy
        What was predicted.
    width_bits : int
        Width that the weights allow, after rounding where there is any.
    seen_width_bits : int or None
        Width on calibration and evaluation data, after rounding where there is any.
    sqnr_db : float
        Lead output against the float model on the evaluation data.
    agreement : float or None
        Share of samples with the same class; None for outputs that are no scores.
    """

    remedy: Remedy
    width_bits: int
    seen_width_bits: int | None
    sqnr_db: float
    agreement: float | None

    @property
    def fits(self) -> bool:
        """Whether the width is within the limit for every input on the grid."""
        return self.width_bits <= self.remedy.config.limit_bits

    @property
    def fits_seen(self) -> bool:
        """Whether the width is within the limit on the data."""
        return (self.seen_width_bits or 0) <= self.remedy.config.limit_bits

    def fits_by(self, criterion: Criterion) -> bool:
        """Tell whether what counts is within the limit."""
        return self.fits if criterion is Criterion.ANY_INPUT else self.fits_seen


@dataclass(frozen=True, slots=True, eq=False)
class RemedyStudy:
    """What can be done about one layer.

    Parameters
    ----------
    layer : str
        The layer.
    criterion : Criterion
        Which integers count against the limit.
    width_bits : int
        What counts now.
    sqnr_db : float
        Of the present configuration, dB.
    proposed : tuple of Remedy
        What was predicted; empty for a layer within the limit, which needs none.
    measured : tuple of VerifiedRemedy or None
        The same measured, the best first: what fits before what does not, within these what
        Concrete ML carries before what needs exceptions by layer, within these by SQNR. None
        where the model takes too long, or it was stopped.
    evaluation_s : float
        Time that one configuration took, s.
    """

    layer: str
    criterion: Criterion
    width_bits: int
    sqnr_db: float
    proposed: tuple[Remedy, ...]
    measured: tuple[VerifiedRemedy, ...] | None
    evaluation_s: float


def study_remedies(
    bench: Workbench,
    config: QuantizationConfig,
    layer: str,
    *,
    criterion: Criterion = Criterion.ANY_INPUT,
    at_once_s: float = AT_ONCE_S,
    go_on: Callable[[], bool] = lambda: True,
) -> RemedyStudy:
    """Find what brings a layer within the limit, measured where the model is quick.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    config : QuantizationConfig
        The present configuration; its limit is the limit.
    layer : str
        An integer operator.
    criterion : Criterion
        Which integers count against the limit.
    at_once_s : float
        A model that one configuration takes longer is only predicted, s; ``inf`` measures any.
    go_on : callable
        Asked before each configuration; after False what is predicted is returned.

    Raises
    ------
    OptionsError
        The model has no integer operator of that name, or none with a rule.
    """
    started = time.perf_counter()
    output = bench.graph.lead_output
    module, found = bench.module(config), evaluate(bench, config, output=output)
    took_s = time.perf_counter() - started
    held = observe(module, bench.data.evaluation, memo=bench.memo)
    proposed = remedies(
        module, layer, seen=held, sqnr_db=found.sqnr_db, criterion=criterion, all_seen=found.seen
    )
    budget = bit_width_budget(module, seen=found.seen)
    measured: list[VerifiedRemedy] = []
    for remedy in proposed if took_s <= at_once_s else ():
        if not go_on():
            break
        measured.append(_verified(bench, remedy))
    return RemedyStudy(
        layer=layer,
        criterion=criterion,
        width_bits=budget[layer].counted_bits(criterion),
        sqnr_db=found.sqnr_db,
        proposed=proposed,
        measured=tuple(sorted(measured, key=_merit)) if len(measured) == len(proposed) else None,
        evaluation_s=took_s,
    )


def _merit(entry: VerifiedRemedy) -> tuple[bool, bool, float]:
    """Return what measured remedies are ordered by."""
    fits = entry.fits_by(entry.remedy.criterion)
    return not fits, Target.CONCRETE_ML not in entry.remedy.targets, -entry.sqnr_db


def remedies(
    module: QuantizedModule,
    layer: str,
    *,
    seen: Mapping[str, Seen] | None = None,
    sqnr_db: float | None = None,
    criterion: Criterion = Criterion.ANY_INPUT,
    all_seen: Mapping[str, Seen] | None = None,
) -> tuple[Remedy, ...]:
    """Return what makes a layer's accumulator narrower, the mildest predicted error first.

    Parameters
    ----------
    module : QuantizedModule
        The model under its present configuration, whose `limit_bits` is the limit.
    layer : str
        An integer operator.
    seen : mapping of str to Seen, optional
        From `quantlib.analysis.observation.observe`; measured powers make better predictions.
    sqnr_db : float, optional
        SQNR of the present configuration, dB; predictions start from it.
    criterion : Criterion
        Which integers count against the limit; what was seen needs `seen` or `all_seen`.
    all_seen : mapping of str to Seen, optional
        What layers held on all data (`Evaluation.seen`), where `seen` is of a part.

    Returns
    -------
    tuple of Remedy
        Nothing for a layer within the limit. Else one bit less for all activations, all weights
        or both, and as many less as the limit asks for; the same for this layer's alone, and
        split between its weights and activations; symmetric weights, if they have a zero point;
        rounding to the limit. What makes no integer of the layer narrower (a grid that came with
        the model) is left out; those that fit come first.

    Raises
    ------
    OptionsError
        The module has no integer operator of that name, or none with a rule.

    Notes
    -----
    Widths are exact for the present calibration; a remedy that moves ranges can move them a
    little. Of what was seen it is taken that it narrows as what is possible does. SQNR is that
    of `quantlib.analysis.widths.noise`: a ranking, not a measurement; `study_remedies` measures.
    """
    every = layer_facts(module)
    facts = next((entry for entry in every if entry.layer.name == layer), None)
    present = None if facts is None else bounds(facts)
    if facts is None or present is None:
        known = ", ".join(entry.layer.name for entry in every) or "none"
        raise OptionsError(f"{layer!r} is no integer operator with bounds; there are {known}.")
    powers = seen or {}
    budget = bit_width_budget(module, seen=all_seen or powers)
    counted, limit = budget[layer].counted_bits(criterion), module.config.limit_bits
    if counted <= limit:
        return ()
    # widths below are those that any input can reach; what was seen lies this far within
    margin = present.weights.width_bits - counted
    widest = max(x.width_bits for x in (present.weights, *(p.weights for p in present.parts)))
    noise = {entry.layer.name: layer_noise(entry, powers.get(entry.layer.name)) for entry in every}
    before = sum(noise.values())
    found = []
    for change in _changes(module, facts, every, powers, counted - limit):
        if change.width_bits >= widest:
            continue
        after = before + sum(new - noise[name] for name, new in change.noise.items())
        found.append(
            Remedy(
                title=change.title,
                layer=layer,
                config=change.config,
                predicted_width_bits=limit
                if change.rounds and criterion is Criterion.SEEN
                else max(1, change.width_bits - (0 if change.rounds else margin)),
                predicted_sqnr_db=predicted_sqnr_db(after, before=before, measured_db=sqnr_db),
                criterion=criterion,
            )
        )
    distinct = {remedy.config: remedy for remedy in found}
    return tuple(
        sorted(distinct.values(), key=lambda r: (not r.predicted_to_fit, -r.predicted_sqnr_db))
    )


def verify(bench: Workbench, proposed: Sequence[Remedy]) -> tuple[VerifiedRemedy, ...]:
    """Quantize, bound and run each remedy.

    Parameters
    ----------
    bench : Workbench
        Model and data.
    proposed : sequence of Remedy
        What to measure.

    Returns
    -------
    tuple of VerifiedRemedy
        In the order given.
    """
    return tuple(_verified(bench, remedy) for remedy in proposed)


def _verified(bench: Workbench, remedy: Remedy) -> VerifiedRemedy:
    measured = evaluate(bench, remedy.config, output=bench.graph.lead_output)
    layer = bit_width_budget(bench.module(remedy.config), seen=measured.seen)[remedy.layer]
    return VerifiedRemedy(
        remedy=remedy,
        width_bits=layer.counted_bits(Criterion.ANY_INPUT),
        seen_width_bits=layer.counted_bits(Criterion.SEEN) or None,
        sqnr_db=measured.sqnr_db,
        agreement=measured.agreement,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """A configuration, the layer's width under it, and the noise of the layers it touches."""

    title: str
    config: QuantizationConfig
    width_bits: int
    noise: Mapping[str, float]
    rounds: bool = False


def _changes(
    module: QuantizedModule,
    facts: LayerFacts,
    every: Sequence[LayerFacts],
    powers: Mapping[str, Seen],
    excess: int,
) -> Iterator[_Change]:
    """Yield the changes that exist for a layer `excess` bits beyond the limit."""
    config, name = module.config, facts.layer.name
    own = config.override(name)
    power = powers.get(name)

    yield from _narrower(config, facts, power, excess, part="activations")
    if has_weights(facts):
        weights = config.weights_of(name)
        yield from _narrower(config, facts, power, excess, part="weights")
        if excess > 1:
            yield from _balanced(config, facts, power, excess)
        if _has_zero_point(facts) and weights.n_bits > 1:
            scheme = weights.replace(symmetric=True, signed=None)
            changed = _tried(facts, power, weight_bits=weights.n_bits, symmetric=True)
            if changed is not None:
                override = LayerOverride(scheme, own.activations)
                yield _Change("symmetric weights", config.with_override(name, override), *changed)

    yield from _alike(config, facts, every, powers, excess)
    if facts.op.rounds_accumulator and not facts.leaves:
        yield _rounded(config, facts, every, powers)


def _narrower(
    config: QuantizationConfig,
    facts: LayerFacts,
    power: Seen | None,
    excess: int,
    *,
    part: Literal["weights", "activations"],
) -> Iterator[_Change]:
    """Yield a bit less for the layer's weights or activations, and as many as are too many."""
    name = facts.layer.name
    of_weights = part == "weights"
    scheme = config.weights_of(name) if of_weights else config.activations_of(name)
    for less in sorted({1, excess} - {0}):
        narrow = _with_bits(scheme, scheme.n_bits - less)
        if narrow is None:
            continue
        changed = _tried(
            facts,
            power,
            weight_bits=narrow.n_bits if of_weights else None,
            activation_bits=None if of_weights else narrow.n_bits,
        )
        if changed is not None:
            override = config.override(name).replace(**{part: narrow})
            title = f"{_bits(less)} less for the layer's {part}"
            yield _Change(title, config.with_override(name, override), *changed)


def _alike(
    config: QuantizationConfig,
    facts: LayerFacts,
    every: Sequence[LayerFacts],
    powers: Mapping[str, Seen],
    excess: int,
) -> Iterator[_Change]:
    """Yield fewer bits for all weights, all activations or both: what every target carries."""
    own = config.override(facts.layer.name)
    splits = {(0, 1), (1, 0), (0, excess), (excess, 0), (excess - excess // 2, excess // 2)}
    for less_weights, less_activations in sorted(splits):
        follows = (own.weights is None and has_weights(facts), own.activations is None)
        if (less_weights and not follows[0]) or (less_activations and not follows[1]):
            continue
        weights = _with_bits(config.weights, config.weights.n_bits - less_weights)
        activations = _with_bits(config.activations, config.activations.n_bits - less_activations)
        if weights is None or activations is None:
            continue
        noise: dict[str, float] = {}
        for entry in every:
            given = config.override(entry.layer.name)
            tried = _tried(
                entry,
                powers.get(entry.layer.name),
                weight_bits=weights.n_bits
                if less_weights and has_weights(entry) and given.weights is None
                else None,
                activation_bits=activations.n_bits
                if less_activations and given.activations is None
                else None,
            )
            if tried is None:
                break
            noise.update(tried[1])
            if entry is facts:
                width = tried[0]
        else:
            parts = ((less_weights, "weights"), (less_activations, "activations"))
            words = [f"{_bits(less)} less for all {what}" for less, what in parts if less]
            changed = config.replace(weights=weights, activations=activations)
            yield _Change(", ".join(words), changed, width, noise)


def _with_bits(scheme: Scheme, n_bits: int) -> Scheme | None:
    """Return a scheme at another width; None where it has no such grid."""
    try:
        return scheme.replace(n_bits=n_bits)
    except OptionsError:
        return None


def _balanced(
    config: QuantizationConfig, facts: LayerFacts, power: Seen | None, excess: int
) -> Iterator[_Change]:
    """Yield the splits of the excess between weights and activations that noise likes best."""
    name = facts.layer.name
    weights, activations = config.weights_of(name), config.activations_of(name)
    found: list[_Change] = []
    for of_weights in range(1, excess):
        w, a = weights.n_bits - of_weights, activations.n_bits - (excess - of_weights)
        changed = _tried(facts, power, weight_bits=w, activation_bits=a) if min(w, a) > 1 else None
        if changed is not None:
            override = LayerOverride(weights.replace(n_bits=w), activations.replace(n_bits=a))
            title = f"{w} weight and {a} activation bits for the layer"
            found.append(_Change(title, config.with_override(name, override), *changed))
    yield from sorted(found, key=lambda change: sum(change.noise.values()))[:1]


def _rounded(
    config: QuantizationConfig,
    facts: LayerFacts,
    every: Sequence[LayerFacts],
    powers: Mapping[str, Seen],
) -> _Change:
    """Return the change that rounds every accumulator to the limit."""
    limit = config.limit_bits
    noise = {}
    for entry in every:
        if entry.leaves or not entry.op.rounds_accumulator:
            continue
        lsbs = _lsbs(entry, powers.get(entry.layer.name), limit)
        noise[entry.layer.name] = layer_noise(
            entry, powers.get(entry.layer.name), lsbs_to_remove=lsbs
        )
    lsbs = _lsbs(facts, powers.get(facts.layer.name), limit)
    width = rounded_width(_range_with(facts), lsbs)
    title = f"accumulators rounded to {_bits(limit)}"
    return _Change(title, config.replace(rounding_threshold_bits=limit), width, noise, rounds=True)


def _lsbs(facts: LayerFacts, seen: Seen | None, threshold: int) -> int:
    """Return the low bits that a threshold takes: those seen beyond it, or allowed beyond it."""
    found = bounds(facts)
    reach = seen.accumulator if seen else found.weights if found else None
    return 0 if reach is None else max(0, reach.width_bits - threshold)


def _tried(
    facts: LayerFacts,
    seen: Seen | None,
    *,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    symmetric: bool | None = None,
) -> tuple[int, dict[str, float]] | None:
    """Return width and noise of a layer on other grids; None where such a grid does not exist."""
    try:
        weights = (
            None if weight_bits is None else weights_at(facts, weight_bits, symmetric=symmetric)
        )
        operands = (
            {}
            if activation_bits is None
            else {i: operand_at(facts, i, activation_bits) for i, _ in facts.variables()}
        )
    except OptionsError:
        return None
    noise = layer_noise(
        facts, seen, weights=weights, grids={i: x.quantizer for i, x in operands.items()}
    )
    return _range_with(facts, weights, operands).width_bits, {facts.layer.name: noise}


def _range_with(
    facts: LayerFacts, weights: Tensor | None = None, operands: Mapping[int, Tensor] | None = None
) -> ChannelRange:
    """Return what the weights allow when some of a layer's operands are on other grids."""
    changed = dict(operands or {})
    if weights is not None:
        assert facts.layer.weight_position is not None
        changed[facts.layer.weight_position] = weights
    found = bounds(facts.with_operands(changed))
    assert found is not None
    return found.weights


def _has_zero_point(facts: LayerFacts) -> bool:
    return any(
        isinstance(constant, Tensor) and bool(np.any(constant.quantizer.zero_point))
        for i, constant in facts.layer.constants.items()
        if i < 2
    )


def _bits(count: int) -> str:
    return f"{count} bit" if count == 1 else f"{count} bits"
