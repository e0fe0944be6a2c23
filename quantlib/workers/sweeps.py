"""A sweep over all processors: one configuration at a time for each worker of a session."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

from quantlib.analysis.sweep.run import collected
from quantlib.errors import WorkerError
from quantlib.questions.sweep import measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from quantlib.analysis.sweep.result import SweepResult
    from quantlib.core.config import QuantizationConfig
    from quantlib.workers.client import Client
    from quantlib.workers.session import Session, Source


def sweep(
    session: Session,
    source: Source,
    configs: Sequence[QuantizationConfig],
    *,
    go_on: Callable[[], bool] = lambda: True,
    workers: int | None = None,
) -> Iterator[SweepResult]:
    """Yield results as they are ready; see `quantlib.analysis.sweep.run.sweep`.

    Parameters
    ----------
    session : Session
        Whose workers compute.
    source : Source
        Model and data.
    configs : sequence of QuantizationConfig
        What to compute.
    go_on : callable
        After False the sweep ends within a second.
    workers : int, optional
        How many; as many as questions are computed at once by default. Each configuration waits
        for its turn anew, so that sweeps of several people advance together.
    """
    count = max(1, min(workers or session.desk.slots.count, len(configs)))
    mine = threading.local()
    with ExitStack() as lent, ThreadPoolExecutor(count) as threads:
        lending = threading.Lock()

        def client() -> Client:
            found: Client | None = getattr(mine, "client", None)
            if found is None or found.gone:
                with lending:
                    found = mine.client = lent.enter_context(session.helper())
            return found

        def compute(config: QuantizationConfig) -> SweepResult:
            for result in session.told(client(), source, measured.name, (config,), go_on=go_on):
                found: SweepResult = result
                return found
            raise WorkerError("the sweep was cancelled.")

        yield from collected(configs, lambda config: threads.submit(compute, config), go_on=go_on)
