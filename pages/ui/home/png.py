"""Small pictures as PNG, without an imaging library."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray

_COLOUR_TYPE = {1: 0, 3: 2}
"""PNG's number for grey and for red, green, blue (ISO/IEC 15948, table 11.1)."""


def encode(picture: AnyArray) -> bytes:
    """Return a picture as a PNG file.

    Parameters
    ----------
    picture : uint8 array, (height, width, channels)
        Channels: 1 for grey, 3 for red, green and blue.
    """
    height, width, channels = picture.shape
    rows = picture.astype(np.uint8).reshape(height, width * channels)
    unfiltered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(unfiltered.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def data_address(picture: AnyArray) -> str:
    """Return a picture as an address that holds it: ``data:image/png;base64,...``."""
    return "data:image/png;base64," + base64.b64encode(encode(picture)).decode("ascii")


def side_by_side(pictures: AnyArray) -> AnyArray:
    """Return pictures (N, height, width, channels) in one row, (height, N width, channels)."""
    count, height, width, channels = pictures.shape
    return pictures.transpose(1, 0, 2, 3).reshape(height, count * width, channels)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)
