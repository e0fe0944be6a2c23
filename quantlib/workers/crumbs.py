"""The file in a worker's folder that says what it is computing; see `quantlib.breadcrumbs`."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CRUMB_FILE = "crumb"
CRUMB_BYTES = 512


TRACE = "workers.trace"
"""Asked instead of a question: runs a model node by node, see `quantlib.workers.tracing`."""

BEGUN = "the question"
"""The first crumb of every question; a worker that ended without one was idle."""

READING_DATA = "reading the data"

NODE = "node "
"""How a crumb begins that names a node."""


class CrumbFile:
    """Memory that lies in a file, so that what is written to it outlives the process.

    Parameters
    ----------
    folder : Path
        The worker's own.
    """

    def __init__(self, folder: Path) -> None:
        with (folder / CRUMB_FILE).open("w+b") as file:
            file.truncate(CRUMB_BYTES)
            self._memory = mmap.mmap(file.fileno(), CRUMB_BYTES)
        self._held = False

    def leave(self, words: str) -> None:
        """Write what is computed, unless something is held."""
        if not self._held:
            self._write(words)

    def hold(self, words: str) -> None:
        """Write what is computed, and leave no other crumbs until it is nothing."""
        self._held = bool(words)
        self._write(words)

    def _write(self, words: str) -> None:
        content = words.encode(errors="replace")[: CRUMB_BYTES - 1]
        self._memory[:] = content.ljust(CRUMB_BYTES, b"\0")


def last_crumb(folder: Path) -> str:
    """Return what a worker computed last; empty where nobody knows."""
    try:
        with (folder / CRUMB_FILE).open("rb") as file:
            content = file.read(CRUMB_BYTES)
    except OSError:
        return ""
    return content.split(b"\0", 1)[0].decode(errors="replace")
