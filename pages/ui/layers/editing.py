"""The editable table of layers: what it shows, and which configuration an edit means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from quantlib import wording
from quantlib.core.estimator import Estimator
from quantlib.core.scheme import LayerOverride, Scheme
from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from quantlib.analysis.reports import Evaluation
    from quantlib.core.config import QuantizationConfig
    from quantlib.core.quantizer import UniformQuantizer

VALUES = {word: value for value, word in wording.TRISTATE.items()}


EDITABLE = (
    "weight bits",
    "activation bits",
    "weights signed",
    "weights symmetric",
    "weights range",
    "per channel",
    "activations signed",
    "activations symmetric",
    "activations range",
)
OF_WEIGHTS = ("weight bits", "weights signed", "weights symmetric", "weights range", "per channel")


def layer_rows(found: Evaluation, config: QuantizationConfig) -> pd.DataFrame:
    """Return the editable table: one row per integer operator, its choices spelled out.

    A grid that came with the model, and weights that are not there, leave their cells empty.
    """
    layers = [layer for layer in found.layers if layer.input_grid is not None]
    weights = [
        config.weights_of(layer.name) if _is_chosen(layer.weight_grid) else None for layer in layers
    ]
    activations = [
        config.activations_of(layer.name) if _is_chosen(layer.input_grid) else None
        for layer in layers
    ]
    return pd.DataFrame(
        {
            "layer": [layer.name for layer in layers],
            "operator": [layer.op_type for layer in layers],
            "seen (bits)": pd.array([layer.width_bits for layer in layers], dtype="Int64"),
            "SQNR (dB)": [layer.sqnr_db for layer in layers],
            "weight bits": pd.array([w.n_bits if w else None for w in weights], dtype="Int64"),
            "activation bits": pd.array(
                [a.n_bits if a else None for a in activations], dtype="Int64"
            ),
            **_words("weights", weights),
            "per channel": pd.array([w.per_channel if w else None for w in weights], "boolean"),
            **_words("activations", activations),
        }
    )


def _is_chosen(grid: UniformQuantizer | None) -> bool:
    return grid is not None and not grid.is_carried


def _words(part: str, schemes: list[Scheme | None]) -> dict[str, list[str | None]]:
    return {
        f"{part} signed": [wording.TRISTATE[s.signed] if s else None for s in schemes],
        f"{part} symmetric": [wording.TRISTATE[s.symmetric] if s else None for s in schemes],
        f"{part} range": [s.estimator.words if s else None for s in schemes],
    }


def edited(
    config: QuantizationConfig, before: pd.DataFrame, after: pd.DataFrame
) -> QuantizationConfig:
    """Return the configuration that an edited table means; a cleared cell is the sidebar's choice.

    Parameters
    ----------
    config : QuantizationConfig
        What `before` shows.
    before, after : DataFrame
        The table of `layer_rows`, and the same after edits in the columns `EDITABLE`.

    Raises
    ------
    OptionsError
        A row contradicts itself, or chooses what its layer does not have; the message names the
        layer.
    """
    overrides = dict(config.overrides)
    rows = zip(before.to_dict("records"), after.to_dict("records"), strict=True)
    for old, new in rows:
        changed = [name for name in EDITABLE if not _is_same(old[name], new[name])]
        if changed:
            layer = str(old["layer"])
            try:
                overrides[layer] = _override(config, layer, old, new, changed)
            except OptionsError as error:
                raise OptionsError(f"layer {layer!r}: {error}") from None
    return config.replace(overrides=overrides)


def _is_same(old: Any, new: Any) -> bool:
    if pd.isna(old) or pd.isna(new):
        return bool(pd.isna(old) and pd.isna(new))
    return bool(old == new)


def _override(
    config: QuantizationConfig,
    layer: str,
    old: Mapping[Hashable, Any],
    new: Mapping[Hashable, Any],
    changed: list[str],
) -> LayerOverride:
    """Return what a changed row says; a part that equals the sidebar's is no override."""
    given = config.override(layer)
    parts = {"weights": given.weights, "activations": given.activations}
    for part, default in (("weights", config.weights), ("activations", config.activations)):
        if any((name in OF_WEIGHTS) == (part == "weights") for name in changed):
            bits = f"{part.removesuffix('s')} bits"
            if pd.isna(old[bits]):
                raise OptionsError(
                    f"its {part} are not to choose: it has none, or their grid came with the "
                    f"model; clear the cells of its {part}."
                )
            scheme = _scheme(new, part, bits, parts[part] or default, default)
            parts[part] = None if scheme == default else scheme
    return LayerOverride(**parts)


def _scheme(
    row: Mapping[Hashable, Any], part: str, bits: str, before: Scheme, default: Scheme
) -> Scheme:
    """Return the scheme that a row spells out; what the table does not show stays."""

    def cell(name: str, otherwise: Any) -> Any:
        return otherwise if pd.isna(row[name]) else row[name]

    return before.replace(
        n_bits=int(cell(bits, default.n_bits)),
        signed=VALUES[cell(f"{part} signed", wording.TRISTATE[default.signed])],
        symmetric=VALUES[cell(f"{part} symmetric", wording.TRISTATE[default.symmetric])],
        estimator=Estimator.parse(cell(f"{part} range", default.estimator.words)),
        per_channel=part == "weights" and bool(cell("per channel", default.per_channel)),
    )
