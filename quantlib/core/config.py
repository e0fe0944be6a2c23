"""A whole configuration as one value: library, screens and links share it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quantlib.core.options import QuantizationOptions, check_n_bits
from quantlib.errors import ConfigurationError, OptionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA_VERSION = 1
DEFAULT_MODEL_BITS = 5
"""Fewest bits the reference gives a model's inputs and outputs when one n_bits is given."""

N_BITS_KEYS = ("model_inputs", "op_inputs", "op_weights", "model_outputs")


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one kind of tensor is quantized.

    Parameters
    ----------
    n_bits : int
        Width, bits.
    signed, symmetric : bool or None
        None is the reference's rule, decided per tensor from its values.
    """

    n_bits: int
    signed: bool | None = None
    symmetric: bool | None = None

    def __post_init__(self) -> None:
        check_n_bits(self.n_bits)
        if self.symmetric and self.signed is False:
            raise OptionsError("symmetric needs signed codes; set signed to auto or yes.")
        if self.symmetric and self.n_bits == 1:
            raise OptionsError("a symmetric grid needs 2 bits or more.")

    def options(self, *, auto_signed: bool, auto_symmetric: bool) -> QuantizationOptions:
        """Resolve what is automatic.

        A scheme that fixes symmetric makes signed follow, and unsigned makes affine follow.
        """
        symmetric = auto_symmetric if self.symmetric is None else self.symmetric
        if self.signed is False:
            symmetric = False
        signed = (auto_signed if self.signed is None else self.signed) or symmetric
        return QuantizationOptions(self.n_bits, is_signed=signed, is_symmetric=symmetric)


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
    if isinstance(n_bits, int) and not isinstance(n_bits, bool):
        check_n_bits(n_bits)
        edge = max(DEFAULT_MODEL_BITS, n_bits)
        return dict(zip(N_BITS_KEYS, (edge, n_bits, n_bits, edge), strict=True))
    if isinstance(n_bits, int) or not hasattr(n_bits, "keys"):
        raise OptionsError(f"n_bits is {n_bits!r}; give an integer or a mapping of widths.")
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

    Raises
    ------
    OptionsError
        A width out of range, contradicting signs, or `output_bits` below the activations'.
    """

    weights: Scheme
    activations: Scheme
    input_bits: int
    output_bits: int
    rounding_threshold_bits: int | None = None
    limit_bits: int = 16

    def __post_init__(self) -> None:
        check_n_bits(self.input_bits, what="input_bits")
        check_n_bits(self.output_bits, what="output_bits")
        check_n_bits(self.limit_bits, what="limit_bits")
        if self.rounding_threshold_bits is not None:
            check_n_bits(self.rounding_threshold_bits, what="rounding_threshold_bits")
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
        automatic = (None, None)
        return (self.weights.signed, self.weights.symmetric) == automatic and (
            self.activations.signed,
            self.activations.symmetric,
        ) == automatic

    def to_json(self) -> str:
        """Return the configuration as JSON text with its schema version."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **dataclasses.asdict(self)}, indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> QuantizationConfig:
        """Read what `to_json` wrote.

        Raises
        ------
        ConfigurationError
            Not JSON, another schema version, an unknown, missing or wrong member; the message
            names its JSON path.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigurationError(
                f"the configuration is not JSON ({error}); give a file that Export wrote."
            ) from None
        if not isinstance(document, dict):
            raise ConfigurationError("$: the configuration must be an object.")
        version = document.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise ConfigurationError(
                f"$.schema_version is {version!r}; this release reads {SCHEMA_VERSION}."
            )
        for part in ("weights", "activations"):
            document[part] = _member(Scheme, document.get(part), path=f"$.{part}")
        config: QuantizationConfig = _member(cls, document, path="$")
        return config


_KINDS: dict[str, tuple[type, ...]] = {
    "n_bits": (int,),
    "signed": (bool, type(None)),
    "symmetric": (bool, type(None)),
    "weights": (Scheme,),
    "activations": (Scheme,),
    "input_bits": (int,),
    "output_bits": (int,),
    "rounding_threshold_bits": (int, type(None)),
    "limit_bits": (int,),
}


def _member(kind: Any, document: object, *, path: str) -> Any:
    """Build the dataclass `kind` from a JSON object, naming the path of what is wrong."""
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: expected an object, found {document!r}.")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in document.items():
        if name not in fields:
            known = ", ".join(fields)
            raise ConfigurationError(f"{path}.{name} is unknown; known members: {known}.")
        expected = _KINDS[name]
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
            words = " or ".join("null" if k is type(None) else k.__name__ for k in expected)
            raise ConfigurationError(f"{path}.{name} is {value!r}; expected {words}.")
    for name, field in fields.items():
        if name not in document and field.default is dataclasses.MISSING:
            raise ConfigurationError(f"{path}.{name} is missing.")
    try:
        return kind(**document)
    except OptionsError as error:
        raise ConfigurationError(f"{path}: {error}") from None
