"""Configurations as JSON: what is wrong with a document is named by its path."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from quantlib.core.estimator import Estimator
from quantlib.core.scheme import LayerOverride, Scheme
from quantlib.errors import ConfigurationError, OptionsError

SCHEMA_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
"""Version 1 had neither estimators nor overrides, version 2 neither conventions nor a choice for
models with grids; what they lack takes its default."""


def write(config: Any) -> str:
    """Return a configuration (a dataclass with `overrides`) as JSON text."""
    document = dataclasses.asdict(config)
    document["overrides"] = {
        layer: dataclasses.asdict(override) for layer, override in config.overrides
    }
    return json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2)


def write_overrides(overrides: tuple[tuple[str, LayerOverride], ...]) -> str:
    """Return overrides as compact JSON text: only what differs from a scheme's defaults."""
    document: dict[str, Any] = {}
    for layer, override in overrides:
        parts = {"weights": override.weights, "activations": override.activations}
        document[layer] = {name: _short(part) for name, part in parts.items() if part is not None}
    return json.dumps(document, separators=(",", ":")) if document else ""


def _short(scheme: Scheme) -> dict[str, Any]:
    plain = dataclasses.asdict(Scheme(scheme.n_bits))
    chosen = dataclasses.asdict(scheme)
    return {k: v for k, v in chosen.items() if k == "n_bits" or v != plain[k]}


def read_overrides(text: str) -> tuple[tuple[str, LayerOverride], ...]:
    """Read what `write_overrides` wrote; empty text means none.

    Raises
    ------
    ConfigurationError
        Not a JSON object of overrides; the message names the path at fault.
    """
    try:
        document = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"the overrides are not JSON ({error}).") from None
    return _overrides(document)


def read(kind: type, text: str | bytes) -> Any:
    """Build the configuration class `kind` from what `write` wrote.

    Raises
    ------
    ConfigurationError
        Not JSON, another schema version, an unknown, missing or wrong member.
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
    if version not in READABLE_VERSIONS:
        readable = ", ".join(map(str, READABLE_VERSIONS))
        raise ConfigurationError(f"$.schema_version is {version!r}; this release reads {readable}.")
    for part in ("weights", "activations"):
        document[part] = _scheme(document.get(part), path=f"$.{part}")
    document["overrides"] = _overrides(document.get("overrides", {}))
    return _member(kind, document, path="$")


def _overrides(document: object) -> tuple[tuple[str, LayerOverride], ...]:
    if not isinstance(document, dict):
        raise ConfigurationError(f"$.overrides: expected an object, found {document!r}.")
    return tuple(
        (layer, _override(part, path=f"$.overrides[{json.dumps(layer)}]"))
        for layer, part in document.items()
    )


_KINDS: dict[str, tuple[type, ...]] = {
    "n_bits": (int,),
    "signed": (bool, type(None)),
    "symmetric": (bool, type(None)),
    "narrow": (bool,),
    "power_of_two": (bool,),
    "per_channel": (bool,),
    "estimator": (Estimator,),
    "name": (str,),
    "parameter": (float, int, type(None)),
    "weights": (Scheme, type(None)),
    "activations": (Scheme, type(None)),
    "input_bits": (int,),
    "output_bits": (int,),
    "rounding_threshold_bits": (int, type(None)),
    "limit_bits": (int,),
    "calibrate_on": (str,),
    "overrides": (tuple,),
    "quantize_rest": (bool, type(None)),
    "conventions": (str,),
}


def _scheme(document: object, *, path: str) -> Scheme:
    """Read a scheme with its estimator."""
    if isinstance(document, dict) and "estimator" in document:
        estimator = _member(Estimator, document["estimator"], path=f"{path}.estimator")
        document = {**document, "estimator": estimator}
    scheme: Scheme = _member(Scheme, document, path=path)
    return scheme


def _override(document: object, *, path: str) -> LayerOverride:
    """Read one layer's override."""
    if isinstance(document, dict):
        document = {
            name: _scheme(part, path=f"{path}.{name}") if isinstance(part, dict) else part
            for name, part in document.items()
        }
    override: LayerOverride = _member(LayerOverride, document, path=path)
    return override


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
