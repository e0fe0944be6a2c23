"""How many of a model's integers on given data are decided by the last bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.arrays import read_only
from quantlib.core.tensor import Tensor
from quantlib.core.ties import ULPS, decided_by_the_last_bit, zero_point_hangs_on_the_last_bit
from quantlib.execution.calls import calls, n_samples
from quantlib.execution.inputs import check_inputs
from quantlib.ops.base import FloatOp
from quantlib.ops.linear import Gemm

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.core.tensor import Value
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.quantized_module import QuantizedModule

DOUBLE: np.dtype[Any] = np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class LayerTies:
    """The integers that one layer makes by rounding.

    Parameters
    ----------
    layer : str
        The node's name; the model input's, where one is rounded.
    integers : int
        How many values were rounded.
    decided : int
        How many of them hang on the last bit; see `decided_by_the_last_bit`.
    zero_point_decided : bool
        Whether the zero point of one of its grids does: then all of them may move by one.
    is_input : bool
        Whether a model input is rounded. Its values are given, not computed, so that its ties
        fall the same way on every processor; yet another last bit of the data would move them.
    """

    layer: str
    integers: int
    decided: int
    zero_point_decided: bool = False
    is_input: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Ties:
    """What rounding in a model hangs on, on some data.

    Parameters
    ----------
    layers : tuple of LayerTies
        In the order they run; layers that round nothing are left out.
    samples : bool array, one per sample
        Which samples hold such an integer inside the model or at its outputs.
    """

    layers: tuple[LayerTies, ...]
    samples: npt.NDArray[np.bool_]

    @property
    def integers(self) -> int:
        """How many integers rounding made."""
        return sum(layer.integers for layer in self.layers)

    @property
    def decided(self) -> int:
        """How many of them are decided by the last bit."""
        return sum(layer.decided for layer in self.layers)

    @property
    def integers_inside(self) -> int:
        """How many integers rounding made behind the model inputs."""
        return sum(layer.integers for layer in self.layers if not layer.is_input)

    @property
    def decided_inside(self) -> int:
        """How many of those are computed: another processor may round them the other way."""
        return sum(layer.decided for layer in self.layers if not layer.is_input)

    @property
    def zero_point_decided(self) -> bool:
        """Whether any zero point is."""
        return any(layer.zero_point_decided for layer in self.layers)


def count_ties(
    module: QuantizedModule, *inputs: AnyArray, ulps: float = ULPS, calibrating: bool = False
) -> Ties:
    """Count the integers of a run that hang on the last bit of what they are rounded from.

    Parameters
    ----------
    module : QuantizedModule
        What runs.
    *inputs : arrays
        Real model inputs, samples along axis 0; the calibration data when none are given.
    ulps : float
        How far two right computations of a position may be apart; see `decided_by_the_last_bit`.
    calibrating : bool
        Run as calibration ran, which also puts each layer's output on its grid before the next
        layer reads it. Integers decided there move the ranges of all layers behind. A graph of
        Gemm and MatMul alone is calibrated on float results, which nothing rounds.

    Returns
    -------
    Ties

    Notes
    -----
    Counted is every rounding of reals to codes: of model inputs, of what integer operators read,
    of what operators round inside, and of outputs. A range that was measured on float32 data,
    such as a product of float32 matrices, has only the last bit of float32, and so has every
    position after it. Weights are left out: their codes follow from the model file alone.
    """
    data = check_inputs(module.graph, inputs or module.calibration, what="input")
    graph = module.graph
    counter = _Counter(module, n_samples(graph, data), ulps)
    if calibrating and all(isinstance(layer.op, Gemm) for layer in module.layers):
        return Ties((), read_only(counter.samples))
    start = 0
    for call in calls(graph, data):
        end = start + n_samples(graph, call)
        counter.run(call, slice(start, end), calibrating=calibrating)
        start = end
    return Ties(tuple(counter.tallies.values()), read_only(counter.samples))


class _Counter:
    """Counts batch after batch.

    Parameters
    ----------
    module : QuantizedModule
        What runs.
    count : int
        Samples in all.
    ulps : float
        How far off a position may be.
    """

    def __init__(self, module: QuantizedModule, count: int, ulps: float) -> None:
        self.tallies: dict[tuple[bool, str], LayerTies] = {}
        self.samples = np.zeros(count, dtype=np.bool_)
        self._module = module
        self._ulps = ulps
        self._precision = _precisions(module)
        self._maker = {name: layer.name for layer in module.layers for name in layer.node.outputs}

    def run(self, data: Sequence[AnyArray], rows: slice, *, calibrating: bool) -> None:
        """Run a batch, the samples `rows` of all."""
        module = self._module
        for info, array, grid in zip(module.graph.inputs, data, module.inputs, strict=True):
            if grid is not None:
                self._see(info.name, array, grid, DOUBLE, rows, is_input=True)

        def execute(layer: QuantizedLayer, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
            results = self._layer(layer, values, rows)
            return tuple(self._left(layer, r, rows) for r in results) if calibrating else results

        outputs = module.run_with(execute, *data)
        for name, value in zip(module.graph.output_names, outputs, strict=True):
            if not calibrating and isinstance(value, Tensor) and name in self._maker:
                self._rounded(self._maker[name], value, self._precision[name], rows)

    def _layer(
        self, layer: QuantizedLayer, values: Mapping[str, Value], rows: slice
    ) -> tuple[Value | None, ...]:
        """Run a layer; count what it reads on a grid and what it rounds inside."""
        run = layer.run(values)
        coarsest = _coarsest(self._precision.get(name) for name in layer.node.inputs)
        if not isinstance(layer.op, FloatOp):
            arguments = layer.arguments(values)
            for i, (given, read) in enumerate(zip(arguments, run.operands, strict=True)):
                if i not in layer.constants and isinstance(given, Tensor):
                    assert isinstance(read, Tensor)
                    self._see(layer.name, given.values, read.quantizer, coarsest, rows)
        for reals, grid in layer.op.roundings(*run.operands, output=layer.output_grid()):
            self._see(layer.name, reals, grid, coarsest, rows)
        return run.results

    def _left(self, layer: QuantizedLayer, result: Value | None, rows: slice) -> Value | None:
        """Return a layer's output as calibration hands it on; count its rounding."""
        if not isinstance(result, Tensor):
            return result
        self._rounded(layer.name, result, self._precision[layer.node.outputs[0]], rows)
        return Tensor(result.quantizer, values=result.rounded().values)

    def _rounded(self, layer: str, tensor: Tensor, precision: np.dtype[Any], rows: slice) -> None:
        """Count a tensor that is rounded to its own grid; accumulators lie on theirs."""
        if not isinstance(tensor.quantizer.zero_point, np.ndarray):
            self._see(layer, tensor.values, tensor.quantizer, precision, rows)

    def _see(
        self,
        name: str,
        values: AnyArray,
        grid: UniformQuantizer,
        precision: np.dtype[Any],
        rows: slice,
        *,
        is_input: bool = False,
    ) -> None:
        """Add one rounding to the counts."""
        mask = decided_by_the_last_bit(values, grid, precision=precision, ulps=self._ulps)
        stats, options = grid.quant_stats, grid.quant_options
        moved = stats is not None and zero_point_hangs_on_the_last_bit(
            options, stats, ulps=self._ulps
        )
        known = self.tallies.get((is_input, name)) or LayerTies(name, 0, 0, is_input=is_input)
        self.tallies[is_input, name] = replace(
            known,
            integers=known.integers + mask.size,
            decided=known.decided + int(np.count_nonzero(mask)),
            zero_point_decided=known.zero_point_decided or moved,
        )
        if is_input:
            return
        samples = self.samples[rows]
        if mask.shape[:1] == samples.shape:
            samples |= mask.reshape(len(samples), -1).any(axis=1)
        else:  # the operator mixed the samples
            samples |= mask.any()


def _precisions(module: QuantizedModule) -> dict[str, np.dtype[Any]]:
    """Return the coarsest precision that each tensor's values and range were computed in.

    The extremes of a model input are exact, those of a float32 result are not; what follows from
    them is no better.
    """
    found: dict[str, np.dtype[Any]] = {info.name: DOUBLE for info in module.graph.inputs}
    for layer in module.layers:
        before = _coarsest(found.get(name) for name in layer.node.inputs)
        for name, grid in zip(layer.node.outputs, layer.outputs, strict=True):
            stats = None if grid is None else grid.quant_stats
            own = np.result_type(stats.rmin, stats.rmax) if stats else DOUBLE
            found[name] = _coarsest((before, own))
    return found


def _coarsest(precisions: Iterable[np.dtype[Any] | None]) -> np.dtype[Any]:
    """Return the dtype with the fewest digits; float64 where there is none."""
    known = [p for p in precisions if p is not None]
    return max((DOUBLE, *known), key=lambda p: float(np.finfo(p).eps))
