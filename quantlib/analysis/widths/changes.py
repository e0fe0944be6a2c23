"""Changes of a configuration that may narrow one layer's accumulator, with width and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from quantlib.analysis.widths.bounds import bounds
from quantlib.analysis.widths.feasible import has_weights, operand_at, weights_at
from quantlib.analysis.widths.noise import layer_noise
from quantlib.analysis.widths.rounding import rounded_width
from quantlib.core.scheme import LayerOverride
from quantlib.core.tensor import Tensor
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from quantlib.analysis.observation import Seen
    from quantlib.analysis.widths.facts import LayerFacts
    from quantlib.analysis.widths.ranges import ChannelRange
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.scheme import Scheme
    from quantlib.quantized_module import QuantizedModule


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A configuration, the layer's width under it, and the noise of the layers it touches.

    Parameters
    ----------
    title : str
        The change in words.
    config : QuantizationConfig
        What it leads to.
    width_bits : int
        Of the layer's accumulator for any input, bits.
    noise : mapping of str to float
        Predicted noise power at the output of each layer that changes; see
        `quantlib.analysis.widths.noise`.
    rounds : bool
        Whether accumulators are rounded rather than narrowed.
    """

    title: str
    config: QuantizationConfig
    width_bits: int
    noise: Mapping[str, float]
    rounds: bool = False


def changes(
    module: QuantizedModule,
    facts: LayerFacts,
    every: Sequence[LayerFacts],
    powers: Mapping[str, Seen],
    excess: int,
) -> Iterator[Change]:
    """Yield the changes that exist for a layer `excess` bits beyond the limit.

    `every` are the facts of all integer layers, `powers` what was seen of them, by name.
    """
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
                yield Change("symmetric weights", config.with_override(name, override), *changed)

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
) -> Iterator[Change]:
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
            yield Change(title, config.with_override(name, override), *changed)


def _alike(
    config: QuantizationConfig,
    facts: LayerFacts,
    every: Sequence[LayerFacts],
    powers: Mapping[str, Seen],
    excess: int,
) -> Iterator[Change]:
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
            yield Change(", ".join(words), changed, width, noise)


def _with_bits(scheme: Scheme, n_bits: int) -> Scheme | None:
    """Return a scheme at another width; None where it has no such grid."""
    try:
        return scheme.replace(n_bits=n_bits)
    except OptionsError:
        return None


def _balanced(
    config: QuantizationConfig, facts: LayerFacts, power: Seen | None, excess: int
) -> Iterator[Change]:
    """Yield the splits of the excess between weights and activations that noise likes best."""
    name = facts.layer.name
    weights, activations = config.weights_of(name), config.activations_of(name)
    found: list[Change] = []
    for of_weights in range(1, excess):
        w, a = weights.n_bits - of_weights, activations.n_bits - (excess - of_weights)
        changed = _tried(facts, power, weight_bits=w, activation_bits=a) if min(w, a) > 1 else None
        if changed is not None:
            override = LayerOverride(weights.replace(n_bits=w), activations.replace(n_bits=a))
            title = f"{w} weight and {a} activation bits for the layer"
            found.append(Change(title, config.with_override(name, override), *changed))
    yield from sorted(found, key=lambda change: sum(change.noise.values()))[:1]


def _rounded(
    config: QuantizationConfig,
    facts: LayerFacts,
    every: Sequence[LayerFacts],
    powers: Mapping[str, Seen],
) -> Change:
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
    return Change(title, config.replace(rounding_threshold_bits=limit), width, noise, rounds=True)


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
