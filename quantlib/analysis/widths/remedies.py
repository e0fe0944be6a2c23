"""What brings a layer's accumulator within the limit: predicted, and measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.observation import observe
from quantlib.analysis.widths.bounds import bounds
from quantlib.analysis.widths.budget import bit_width_budget
from quantlib.analysis.widths.changes import changes
from quantlib.analysis.widths.criterion import Criterion
from quantlib.analysis.widths.facts import layer_facts
from quantlib.analysis.widths.noise import layer_noise, predicted_sqnr_db
from quantlib.analysis.widths.targets import Target, targets_of
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from quantlib.analysis.observation import Seen
    from quantlib.analysis.workbench import Workbench
    from quantlib.core.config import QuantizationConfig
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
    for change in changes(module, facts, every, powers, counted - limit):
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
