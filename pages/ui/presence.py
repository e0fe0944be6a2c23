"""Whether somebody still has a session's page open."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_S = 10.0
"""How long a connection may be lost before nobody is thought to be there, s."""


@dataclass(slots=True)
class Presence:
    """The person behind a session.

    Parameters
    ----------
    session_id : str
        Streamlit's name of the session; empty outside of a server, where somebody is there always.
    """

    session_id: str
    _seen_at: float = field(default_factory=time.monotonic)

    @classmethod
    def here(cls) -> Presence:
        """Return the person whose session's script runs now."""
        context = get_script_run_ctx(suppress_warning=True)
        served = context is not None and runtime.exists()
        return cls(context.session_id if context is not None and served else "")

    def is_there(self) -> bool:
        """Tell whether the page is open, or was some seconds ago."""
        if not self.session_id or not runtime.exists():
            return True
        if runtime.get_instance().is_active_session(self.session_id):
            self._seen_at = time.monotonic()
            return True
        return time.monotonic() - self._seen_at < GRACE_S

    def and_also(self, go_on: Callable[[], bool]) -> Callable[[], bool]:
        """Return whether somebody is there and `go_on` says so."""
        return lambda: go_on() and self.is_there()
