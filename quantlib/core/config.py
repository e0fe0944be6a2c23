"""A whole configuration as one value: library, screens and links share it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from quantlib.core import config_json
from quantlib.core.estimator import MIN_MAX
from quantlib.core.options import MAX_BITS, check_n_bits
from quantlib.core.scheme import NO_OVERRIDE, LayerOverride, Scheme, check_weights
from quantlib.errors import OptionsError

CALIBRATE_ON = ("quantized", "float")
CONVENTIONS = ("concrete-ml", "onnx")
DEFAULT_MODEL_BITS = 5
"""Fewest bits the reference gives a model's inputs and outputs when one n_bits is given."""

N_BITS_KEYS = ("model_inputs", "op_inputs", "op_weights", "model_outputs")


def n_bits_of_model(n_bits: int | Mapping[str, int]) -> dict[str, int]:
    """Spell out Concrete ML's n_bits argument as its four widths.

    Parameters
    ----------
    n_bits : int or mapping
        One width, or `op_inputs` and `op_weights` with optional `model_inputs` (default 5) and
        `model_outputs` (default ``max(5, op_inputs)``).

    Raises
    ------
    OptionsError
        A width out of range, an unknown or missing key, or `model_outputs` below `op_inputs`.
    """
    if not isinstance(n_bits, Mapping):
        try:
            width = check_n_bits(n_bits)
        except OptionsError:
            raise OptionsError(
                f"n_bits is {n_bits!r}; give an integer or a mapping of widths, each from 1 to "
                f"{MAX_BITS}."
            ) from None
        edge = max(DEFAULT_MODEL_BITS, width)
        return dict(zip(N_BITS_KEYS, (edge, width, width, edge), strict=True))
    given = dict(n_bits)
    unknown = sorted(set(given) - set(N_BITS_KEYS))
    missing = [key for key in ("op_inputs", "op_weights") if key not in given]
    if unknown or missing:
        raise OptionsError(
            f"n_bits has {'unknown key ' + ', '.join(map(str, unknown)) if unknown else ''}"
            f"{' and ' if unknown and missing else ''}"
            f"{'no ' + ' and no '.join(missing) if missing else ''}; "
            f"give op_inputs and op_weights, optionally model_inputs and model_outputs."
        )
    widths = {key: check_n_bits(value, what=f"n_bits[{key!r}]") for key, value in given.items()}
    widths.setdefault("model_inputs", DEFAULT_MODEL_BITS)
    widths.setdefault("model_outputs", max(DEFAULT_MODEL_BITS, widths["op_inputs"]))
    return {key: widths[key] for key in N_BITS_KEYS}


@dataclass(frozen=True, slots=True)
class QuantizationConfig:
    """Everything a person chooses about quantizing a model.

    Parameters
    ----------
    weights, activations : Scheme
        Constants that operators quantize; variable inputs of operators.
    input_bits, output_bits : int
        Widths of model inputs that no integer operator reads, and of operators' outputs.
    rounding_threshold_bits : int or None
        Accumulators wider than this lose their lowest bits.
    limit_bits : int
        Widest accumulator allowed; reports compare against it, numbers do not depend on it.
    calibrate_on : str
        What ranges are measured on: ``"quantized"``, what the quantized operators before
        produce (Concrete ML), or ``"float"``, the float model's tensors (ONNX Runtime, AIMET).
    quantize_rest : bool or None
        Whether a model that brings its grids is quantized where it brings none. None: where they
        came as QONNX's Quant, as Concrete ML does; a model with QuantizeLinear runs on its own
        grids alone, the rest in float, as in ONNX Runtime. Models without grids are quantized
        whatever this says.
    conventions : str
        ``"concrete-ml"``: MaxPool pads with 0.0, and BatchNormalization's output range leaves
        0.1 % of the values on each side out. ``"onnx"``: MaxPool's padding never wins, and that
        range is all values; so it is too where a model runs on its own grids alone.
    overrides : mapping of str to LayerOverride
        Exceptions by node name; kept as a sorted tuple of pairs.

    Raises
    ------
    OptionsError
        A width out of range, contradicting signs, `output_bits` below the activations', or a
        range of weights that would need samples.

    Examples
    --------
    >>> import quantlib as ql
    >>> config = ql.QuantizationConfig.from_n_bits(3)
    >>> config.weights.n_bits, config.input_bits
    (3, 5)
    >>> ql.QuantizationConfig.from_json(config.to_json()) == config
    True
    """

    weights: Scheme
    activations: Scheme
    input_bits: int
    output_bits: int
    rounding_threshold_bits: int | None = None
    limit_bits: int = 16
    calibrate_on: str = "quantized"
    overrides: tuple[tuple[str, LayerOverride], ...] = ()
    quantize_rest: bool | None = None
    conventions: str = "concrete-ml"

    def __post_init__(self) -> None:
        object.__setattr__(self, "overrides", _sorted_overrides(self.overrides))
        if self.calibrate_on not in CALIBRATE_ON:
            raise OptionsError(
                f"calibrate_on is {self.calibrate_on!r}; give {' or '.join(CALIBRATE_ON)}."
            )
        if self.conventions not in CONVENTIONS:
            raise OptionsError(
                f"conventions is {self.conventions!r}; give {' or '.join(CONVENTIONS)}."
            )
        check_weights(self.weights)
        if self.activations.per_channel:
            raise OptionsError("activations have one grid per tensor; set per_channel to no.")
        for name in ("input_bits", "output_bits", "limit_bits", "rounding_threshold_bits"):
            width = getattr(self, name)
            if width is not None or name != "rounding_threshold_bits":
                object.__setattr__(self, name, check_n_bits(width, what=name))
        if self.output_bits < self.activations.n_bits:
            raise OptionsError(
                f"outputs have {self.output_bits} bits, fewer than the {self.activations.n_bits} "
                "bits of the activations; raise the output bits or lower the activation bits."
            )

    @classmethod
    def from_n_bits(
        cls, n_bits: int | Mapping[str, int], *, rounding_threshold_bits: int | None = None
    ) -> QuantizationConfig:
        """Build the configuration that Concrete ML's arguments of these names mean."""
        widths = n_bits_of_model(n_bits)
        return cls(
            weights=Scheme(widths["op_weights"]),
            activations=Scheme(widths["op_inputs"]),
            input_bits=widths["model_inputs"],
            output_bits=widths["model_outputs"],
            rounding_threshold_bits=rounding_threshold_bits,
        )

    def replace(self, **changes: Any) -> QuantizationConfig:
        """Return a copy with some members changed."""
        return dataclasses.replace(self, **changes)

    @property
    def n_bits(self) -> dict[str, int]:
        """The four widths under Concrete ML's names."""
        widths = (self.input_bits, self.activations.n_bits, self.weights.n_bits, self.output_bits)
        return dict(zip(N_BITS_KEYS, widths, strict=True))

    @property
    def is_reference(self) -> bool:
        """Whether Concrete ML can express this configuration."""
        return not self.departures

    @property
    def departures(self) -> tuple[str, ...]:
        """The choices that Concrete ML does not have, in words."""
        schemes = {"weights": self.weights, "activations": self.activations}
        found = [f"{name} of {part}" for part, s in schemes.items() for name in s.departures]
        if self.calibrate_on != CALIBRATE_ON[0]:
            found.append("ranges of the float model")
        if self.conventions != CONVENTIONS[0]:
            found.append("padding and normalization as in ONNX")
        if self.quantize_rest is False:
            found.append("float beside the model's own grids")
        if self.overrides:
            found.append("exceptions by layer")
        return tuple(found)

    @property
    def uses_estimators(self) -> bool:
        """Whether any activation's range is not its extremes."""
        schemes = [self.activations, *(part.activations for _, part in self.overrides)]
        return any(scheme is not None and scheme.estimator != MIN_MAX for scheme in schemes)

    def weights_of(self, layer: str) -> Scheme:
        """Return the scheme of a layer's weights."""
        return self.override(layer).weights or self.weights

    def activations_of(self, layer: str) -> Scheme:
        """Return the scheme of the variable inputs a layer reads."""
        return self.override(layer).activations or self.activations

    def override(self, layer: str) -> LayerOverride:
        """Return what a layer does differently."""
        return dict(self.overrides).get(layer, NO_OVERRIDE)

    def with_override(self, layer: str, override: LayerOverride) -> QuantizationConfig:
        """Return a copy in which one layer has another override; an empty one is dropped."""
        return self.replace(overrides={**dict(self.overrides), layer: override})

    def to_json(self) -> str:
        """Return the configuration as JSON text with its schema version."""
        return config_json.write(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> QuantizationConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigurationError
            Not JSON, another schema version, an unknown, missing or wrong member; the message
            names its JSON path.
        """
        config: QuantizationConfig = config_json.read(cls, text)
        return config


def _sorted_overrides(given: Any) -> tuple[tuple[str, LayerOverride], ...]:
    """Return overrides as sorted pairs, without empty ones."""
    pairs = given.items() if hasattr(given, "items") else given
    return tuple(sorted((name, part) for name, part in dict(pairs).items() if part != NO_OVERRIDE))
