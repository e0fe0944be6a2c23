"""A model on its data, with the float model beside it: what every question is asked of."""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from quantlib.analysis.float_model import FloatModel
from quantlib.arrays import digest_of
from quantlib.core.tensor import Tensor
from quantlib.execution.measured import float_ranges
from quantlib.execution.memo import Memo, key_of
from quantlib.ptq import quantize

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from quantlib.core.config import QuantizationConfig
    from quantlib.data import Dataset
    from quantlib.execution.measured import FloatRanges
    from quantlib.graph.model import Graph
    from quantlib.quantized_module import QuantizedModule

    _T = TypeVar("_T")

_HELD = 2
"""Workbenches that a worker process keeps."""


class Workbench:
    """A model, its data, and what was found out about them.

    Parameters
    ----------
    graph : Graph
        The model.
    data : Dataset
        Calibration, evaluation, labels.
    memo : Memo, optional
        What is remembered between configurations; one of its own by default. ``Memo(0)``
        remembers nothing.
    float_model : FloatModel, optional
        The float model on ``data.evaluation``, where another workbench has it already.
    output : str, optional
        The output that figures are of; it becomes the graph's first. When not given, an
        evaluation leads with the worst, and studies of one output measure the
        graph's `lead_output`.

    Attributes
    ----------
    float_model : FloatModel
        The float model's tensors on ``data.evaluation``, computed once for all configurations.

    Notes
    -----
    A workbench travels to other processes as model and data without what was found out, packed
    once; a process that gets it again takes the one it has, so that the float model runs once
    per process.

    Examples
    --------
    >>> import quantlib as ql
    >>> graph = ql.load_model("sample_models/iris_linear.onnx")
    >>> bench = ql.Workbench(graph, ql.load_data("sample_models/iris_linear.npz", graph))
    >>> found = ql.evaluate(bench, ql.QuantizationConfig.from_n_bits(6))
    >>> f"{found.score.name} {found.score.quantized_value:.3f}, {found.widest.width_bits} bits"
    'accuracy 1.000, 11 bits'
    """

    def __init__(
        self,
        graph: Graph,
        data: Dataset,
        *,
        memo: Memo | None = None,
        float_model: FloatModel | None = None,
        output: str | None = None,
    ) -> None:
        self.graph = graph if output is None else graph.led_by(output)
        self.output = output
        self.data = data
        self.memo = Memo() if memo is None else memo
        self.float_model = float_model or FloatModel(self.graph, data.evaluation)
        self._packed: bytes | None = None
        self._measured: dict[bool, FloatRanges] = {}
        self._measuring = threading.Lock()

    @cached_property
    def key(self) -> str:
        """Digest of model and data."""
        labels = () if self.data.labels is None else (self.data.labels,)
        parts = (self.data.calibration, self.data.evaluation, labels)
        return key_of(self.graph.identity, *(digest_of(*part) for part in parts))

    def module(self, config: QuantizationConfig) -> QuantizedModule:
        """Return the model quantized under a configuration.

        Raises
        ------
        QuantlibError
            The configuration cannot be applied to the model, or the data do not fit it.
        """
        return self.remembered(
            ("module", config),
            lambda: quantize(
                self.graph,
                self.data.calibration,
                config,
                memo=self.memo,
                measured=self._float_ranges(config),
            ),
            _size_of,
        )

    def _float_ranges(self, config: QuantizationConfig) -> FloatRanges | None:
        """Return what the float model's tensors hold on the calibration data, measured once.

        None where a configuration does not ask for it.
        """
        if config.calibrate_on != "float":
            return None
        estimates = config.uses_estimators
        with self._measuring:
            if estimates not in self._measured:
                self._measured[estimates] = float_ranges(
                    self.graph, self.data.calibration, estimates=estimates
                )
            return self._measured[estimates]

    def remembered(
        self, question: tuple[object, ...], compute: Callable[[], _T], size: Callable[[_T], int]
    ) -> _T:
        """Return the answer to a question about model and data, computed when it is not known.

        Parameters
        ----------
        question : tuple
            What is asked, with everything the answer depends on beside model and data; its
            representation tells it from others.
        compute : callable
            Gives the answer.
        size : callable
            The answer's size in bytes.
        """
        return self.memo.get(key_of(self.key, *question), compute, size)

    def without_memory(self) -> Workbench:
        """Return a workbench of the same model and data that remembers no configuration."""
        return Workbench(
            self.graph,
            self.data,
            memo=Memo(limit_bytes=0),
            float_model=self.float_model,
            output=self.output,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        if self._packed is None:
            bare = replace(self.graph)  # without its facts
            self._packed = pickle.dumps((bare, self.data, self.output), protocol=5)
        return _unpacked, (self.key, self._packed)


_here: OrderedDict[str, Workbench] = OrderedDict()
_lock = threading.Lock()


def _unpacked(key: str, packed: bytes) -> Workbench:
    """Return the workbench of this key in this process."""
    with _lock:
        if key not in _here:
            graph, data, output = pickle.loads(packed)
            _here[key] = Workbench(graph, data, output=output)
        _here.move_to_end(key)
        while len(_here) > _HELD:
            _here.popitem(last=False)
        return _here[key]


def _size_of(module: QuantizedModule) -> int:
    """Return about how many bytes a module keeps alive beside its model and data."""
    constants = (c for layer in module.layers for c in layer.constants.values())
    return 4096 * len(module.layers) + sum(
        3 * c.values.nbytes for c in constants if isinstance(c, Tensor)
    )
