"""What is being computed at this moment, left where another process finds it after a crash.

A library that ends the process, or never returns, says nothing; the last crumb does. Without a
listener leaving one costs a function call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_listeners: list[Callable[[str], None]] = []


def listen(listener: Callable[[str], None]) -> None:
    """Tell a listener from now on what is being computed."""
    _listeners.append(listener)


def leave(words: str) -> None:
    """Say what is computed next: ``"node 'conv1' (Conv)"``."""
    for listener in _listeners:
        listener(words)


def node(name: str, op_type: str) -> None:
    """Say which node runs next."""
    if _listeners:
        leave(f"node {name!r} ({op_type})")
