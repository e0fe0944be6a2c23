"""Questions asked of another process, that may die, hang or grow without harm to this one.

A warm parent that has never opened a model (`quantlib.workers.nursery`) forks one process per asker
(`quantlib.workers.child`). Bytes of a model and of data go there, questions of
`quantlib.questions` by name, and frozen values come back (`quantlib.workers.wire`), or one error of
`quantlib.errors`. `quantlib.workers.session.Session` is what an application holds per person.
"""

from quantlib.workers.limits import Limits
from quantlib.workers.session import Content, Session, Source

__all__ = ["Content", "Limits", "Session", "Source"]
