"""One thread for each caller: parallelism comes from workers, not from within a product.

Small products lose more to the hand-over between threads than they gain, and on a machine with
other work they lose it many times over; ONNX Runtime is opened with one thread anyway, see
`quantlib.graph.runtime`.
"""

from __future__ import annotations

from threadpoolctl import threadpool_limits


def one_thread_each() -> None:
    """Let linear algebra use one thread in this process from now on."""
    threadpool_limits(limits=1, user_api="blas")
