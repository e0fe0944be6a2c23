"""A configuration as a short code for links."""

from __future__ import annotations

import base64
import binascii
import json
import zlib

from quantlib.core.config import QuantizationConfig
from quantlib.errors import ConfigurationError

MAX_CODE, MAX_TEXT = 16_384, 1_048_576
"""Longest code and longest JSON text behind it, characters and bytes; links come from anybody."""


def config_code(config: QuantizationConfig) -> str:
    """Return a configuration as letters, digits, ``-`` and ``_``.

    Notes
    -----
    Its JSON text without spaces, by zlib (RFC 1950), in base64url (RFC 4648) without padding.

    Examples
    --------
    >>> from quantlib.core.config import QuantizationConfig
    >>> config = QuantizationConfig.from_n_bits(3)
    >>> read_config_code(config_code(config)) == config
    True
    """
    text = json.dumps(json.loads(config.to_json()), separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def read_config_code(code: str) -> QuantizationConfig:
    """Read what `config_code` wrote.

    Raises
    ------
    ConfigurationError
        No such code, longer than any, or of a configuration that is not one.
    """
    if len(code) > MAX_CODE:
        raise ConfigurationError(f"a code of {len(code)} characters; at most {MAX_CODE}.")
    try:
        packed = base64.b64decode(code + "=" * (-len(code) % 4), altchars=b"-_", validate=True)
        reader = zlib.decompressobj()
        text = reader.decompress(packed, MAX_TEXT)
        if not reader.eof:
            raise ConfigurationError("the code holds too much, or is cut off; copy all of it.")
        return QuantizationConfig.from_json(text.decode())
    except (binascii.Error, zlib.error, ValueError, RecursionError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"no code of a configuration ({error}); copy all of it.") from None
