"""Results that several configurations share, remembered by what they were computed from."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


def key_of(*parts: object) -> str:
    """Return a digest of values whose representations tell them apart."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


class Memo:
    """A bounded store of results; safe to share between threads.

    Parameters
    ----------
    limit_bytes : int
        What is kept together; the results used longest ago go first.

    Notes
    -----
    A key holds everything a result depends on: the digests of model and data, an operator's
    settings, and the keys of what it reads. After a change of one layer, all before it and beside
    it is found here; one memo may serve any number of models and data.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> data = ql.load_data("sample_models/iris_linear.npz", graph)
    >>> memo = ql.Memo()
    >>> config = ql.QuantizationConfig.from_n_bits(4)
    >>> for _ in range(2):
    ...     module = ql.quantize(graph, data.calibration, config, memo=memo)
    >>> memo.hits == memo.misses == len(graph.nodes)
    True
    """

    def __init__(self, limit_bytes: int = 192 * 2**20) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def get(
        self,
        key: str,
        compute: Callable[[], _T],
        size: Callable[[_T], int],
        *,
        part: bool = False,
    ) -> _T:
        """Return what is known under `key`, or compute and keep it; `size` is in bytes.

        `part` says that the result is a part of another one, which counts as a hit or a miss.
        """
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
                self.hits += not part
                return cast("_T", found[0])
            self.misses += not part
        result = compute()
        weight = size(result)
        with self._lock:
            if key not in self._held and weight <= self._limit:
                self._held[key] = (result, weight)
                self._size += weight
                while self._size > self._limit:
                    _, (_, dropped) = self._held.popitem(last=False)
                    self._size -= dropped
        return result
