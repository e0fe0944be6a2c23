"""A declared grid of configurations: which values each choice takes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantlib.calibration.estimators import MAX_BITS as ESTIMATOR_BITS
from quantlib.core.config import DEFAULT_MODEL_BITS
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quantlib.core.config import QuantizationConfig
    from quantlib.core.estimator import Estimator
    from quantlib.core.scheme import Scheme

MAX_COMBINATIONS = 50_000
"""Largest grid that is spelled out."""

_LISTED = 4
"""How many kinds of contradiction a message names."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """What a grid comes to.

    Parameters
    ----------
    configs : tuple of QuantizationConfig
        Valid combinations, each once, in the order of the grid.
    contradictions : tuple of (str, int)
        Why combinations are left out, and how many for this reason; the most frequent first.
    repeats : int
        Combinations that are a configuration of `configs` again.
    """

    configs: tuple[QuantizationConfig, ...]
    contradictions: tuple[tuple[str, int], ...]
    repeats: int = 0

    @property
    def left_out(self) -> int:
        """Combinations that contradict themselves."""
        return sum(count for _, count in self.contradictions)


@dataclass(frozen=True, slots=True)
class SweepGrid:
    """The values that each choice takes; every combination is a configuration.

    Parameters
    ----------
    weight_bits, activation_bits : tuple of int, optional
        Widths, bits.
    weights_signed, weights_symmetric : tuple of (bool or None), optional
        Members of the weights' scheme; a member that is None is the automatic rule.
    weights_per_channel : tuple of bool, optional
        One grid per output channel, or one per tensor.
    weights_estimator, activations_estimator : tuple of Estimator, optional
        Which range a grid covers.
    activations_signed, activations_symmetric : tuple of (bool or None), optional
        Members of the activations' scheme.
    input_bits, output_bits : tuple of (int or None), optional
        Widths of the model's edges; a member that is None follows the activations as
        ``max(5, activation bits)``, which is the default.
    rounding_threshold_bits : tuple of (int or None), optional
        Rounding of accumulators; a member that is None is no rounding.
    calibrate_on : tuple of str, optional
        What ranges are measured on.

    Notes
    -----
    A choice that is None as a whole is not varied: it stays as in the base configuration, as do
    the base's other members and its overrides.

    Examples
    --------
    >>> import quantlib as ql
    >>> grid = ql.SweepGrid(weight_bits=(3, 4), activation_bits=(4, 6, 8))
    >>> len(grid.expand(ql.QuantizationConfig.from_n_bits(4)).configs)
    6
    """

    weight_bits: tuple[int, ...] | None = None
    activation_bits: tuple[int, ...] | None = None
    weights_signed: tuple[bool | None, ...] | None = None
    weights_symmetric: tuple[bool | None, ...] | None = None
    weights_per_channel: tuple[bool, ...] | None = None
    weights_estimator: tuple[Estimator, ...] | None = None
    activations_signed: tuple[bool | None, ...] | None = None
    activations_symmetric: tuple[bool | None, ...] | None = None
    activations_estimator: tuple[Estimator, ...] | None = None
    input_bits: tuple[int | None, ...] | None = (None,)
    output_bits: tuple[int | None, ...] | None = (None,)
    rounding_threshold_bits: tuple[int | None, ...] | None = None
    calibrate_on: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            values = getattr(self, field.name)
            if values is not None:
                object.__setattr__(self, field.name, tuple(dict.fromkeys(values)))

    @property
    def n_combinations(self) -> int:
        """The product of the numbers of values, contradictions included."""
        return math.prod(len(values) for values in self._varied().values())

    def expand(self, base: QuantizationConfig) -> Expansion:
        """Return every valid combination.

        Parameters
        ----------
        base : QuantizationConfig
            Everything that is not varied.

        Raises
        ------
        OptionsError
            A choice without values, only contradictions (they are named), a value out of range,
            or more than `MAX_COMBINATIONS`.
        """
        for name, values in self._varied().items():
            if not values:
                what = "width" if name.endswith("_bits") else "value"
                raise OptionsError(
                    f"the grid is empty: {_words(name)} has no value; choose at least one {what}."
                )
        if self.n_combinations > MAX_COMBINATIONS:
            raise OptionsError(
                f"the grid has {self.n_combinations} combinations; at most {MAX_COMBINATIONS} are "
                "computed, choose fewer values."
            )
        found: dict[QuantizationConfig, None] = {}
        refused: Counter[str] = Counter()
        repeats = 0
        for outcome, count in self._combined(base):
            if isinstance(outcome, str):
                refused[outcome] += count
            else:
                repeats += outcome in found
                found[outcome] = None
        contradictions = tuple(refused.most_common())
        if not found:
            named = "; ".join(f"{why} ({count} times)" for why, count in contradictions[:_LISTED])
            raise OptionsError(f"the grid is empty, all its combinations contradict: {named}")
        return Expansion(tuple(found), contradictions, repeats)

    def _varied(self) -> dict[str, tuple[Any, ...]]:
        """Return the values of each choice that is varied, by name."""
        return {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(self, field.name) is not None
        }

    def _combined(self, base: QuantizationConfig) -> Iterator[tuple[QuantizationConfig | str, int]]:
        """Yield configurations, or why there is none and how many combinations that is."""
        edges = {
            "input_bits": self.input_bits,
            "output_bits": self.output_bits,
            "rounding_threshold_bits": self.rounding_threshold_bits,
            "calibrate_on": self.calibrate_on,
        }
        varied = {name: values for name, values in edges.items() if values is not None}
        rest = list(itertools.product(*varied.values()))
        weights = self._schemes(base.weights, "weights")
        activations = self._schemes(base.activations, "activations")
        for w, a in itertools.product(weights, activations):
            if isinstance(w, str) or isinstance(a, str):
                yield (w if isinstance(w, str) else str(a)), len(rest)
                continue
            for values in rest:
                members = dict(zip(varied, values, strict=True))
                for edge in ("input_bits", "output_bits"):
                    if members.get(edge, 0) is None:
                        members[edge] = max(DEFAULT_MODEL_BITS, a.n_bits)
                try:
                    yield base.replace(weights=w, activations=a, **members), 1
                except OptionsError as error:
                    yield str(error), 1

    def _schemes(self, base: Scheme, kind: str) -> list[Scheme | str]:
        """Return every scheme of weights or activations, or what each contradicts."""
        members = {
            "n_bits": f"{kind[:-1]}_bits",
            "signed": f"{kind}_signed",
            "symmetric": f"{kind}_symmetric",
            "per_channel": f"{kind}_per_channel",
            "estimator": f"{kind}_estimator",
        }
        given = self._varied()
        varied = {member: given[name] for member, name in members.items() if name in given}
        found: list[Scheme | str] = []
        for values in itertools.product(*varied.values()):
            try:
                scheme = base.replace(**dict(zip(varied, values, strict=True)))
            except OptionsError as error:
                found.append(f"{kind}: {error}")
                continue
            wide = scheme.estimator.kind.uses_width and scheme.n_bits > ESTIMATOR_BITS
            found.append(
                f"{kind}: {scheme.estimator.name} judges grids of at most {ESTIMATOR_BITS} bits; "
                "use min-max."
                if wide
                else scheme
            )
        return found


def _words(name: str) -> str:
    """Return a field's name as words: "weight bits"."""
    return name.replace("_", " ")
