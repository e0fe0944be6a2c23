"""A model on its data, with the float model beside it: what every configuration needs."""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from quantlib.analysis.float_model import FloatReference

if TYPE_CHECKING:
    from quantlib.data import Dataset
    from quantlib.graph.model import Graph

_HELD = 2
"""Workbenches that a worker process keeps."""


@dataclass(frozen=True, slots=True, eq=False)
class Workbench:
    """A model, its data, and the float model's tensors on them.

    Parameters
    ----------
    graph : Graph
        The model.
    data : Dataset
        Calibration, evaluation, labels.
    reference : FloatReference, optional
        The float model on ``data.evaluation``, shared by all configurations.

    Notes
    -----
    A workbench travels to other processes as model and data without the float model's tensors,
    packed once; a process that gets it again takes the one it has, so that the float model runs
    once per process.
    """

    graph: Graph
    data: Dataset
    reference: FloatReference = None  # type: ignore[assignment]
    _packed: list[bytes] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.reference is None:
            reference = FloatReference(self.graph, self.data.evaluation)
            object.__setattr__(self, "reference", reference)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self._packed:
            bare = replace(self.graph, facts={})
            self._packed.append(pickle.dumps((bare, self.data), protocol=5))
        return _unpacked, (self.graph.digest, self.data.digest, self._packed[0])


_here: OrderedDict[tuple[str, str], Workbench] = OrderedDict()
_lock = threading.Lock()


def _unpacked(model: str, data: str, packed: bytes) -> Workbench:
    """Return the workbench of these digests in this process."""
    with _lock:
        if (model, data) not in _here:
            _here[model, data] = Workbench(*pickle.loads(packed))
        _here.move_to_end((model, data))
        while len(_here) > _HELD:
            _here.popitem(last=False)
        return _here[model, data]
