"""How many of a model's integers on given data are decided by the last bit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.arrays import read_only
from quantlib.core.tensor import Tensor
from quantlib.core.ties import ULPS, decided_by_the_last_bit, zero_point_hangs_on_the_last_bit
from quantlib.execution.inputs import check_inputs
from quantlib.ops.base import FloatOp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy.typing as npt

    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.execution.layer import QuantizedLayer, Value
    from quantlib.quantized_module import QuantizedModule

BATCH = 256
"""Samples per run; bounds the memory that intermediate tensors take."""

DOUBLE: np.dtype[Any] = np.dtype(np.float64)


@dataclass(frozen=True, slots=True)
class LayerTies:
    """The integers that one layer makes by rounding.

    Parameters
    ----------
    layer : str
        The node's name; the tensor's, where a model input or output is rounded.
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
    def decided_inside(self) -> int:
        """How many of those are computed: another processor may round them the other way."""
        return sum(layer.decided for layer in self.layers if not layer.is_input)

    @property
    def zero_point_decided(self) -> bool:
        """Whether any zero point is."""
        return any(layer.zero_point_decided for layer in self.layers)


def count_ties(module: QuantizedModule, *inputs: AnyArray, ulps: float = ULPS) -> Ties:
    """Count the integers of a run that hang on the last bit of what they are rounded from.

    Parameters
    ----------
    module : QuantizedModule
        What runs.
    *inputs : arrays
        Real model inputs, samples along axis 0; the calibration data when none are given.
    ulps : float
        How far two right computations of a position may be apart; see `decided_by_the_last_bit`.

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
    count = len(data[0])
    entering = {info.name for info in module.graph.inputs}
    tallies: dict[str, LayerTies] = {}
    samples = np.zeros(count, dtype=np.bool_)
    for start in range(0, count, BATCH):
        rows = samples[start : start + BATCH]

        def see(
            name: str,
            values: AnyArray,
            grid: UniformQuantizer,
            precision: np.dtype[Any],
            rows: npt.NDArray[np.bool_] = rows,
        ) -> None:
            mask = decided_by_the_last_bit(values, grid, precision=precision, ulps=ulps)
            known = tallies.get(name) or LayerTies(name, 0, 0, is_input=name in entering)
            tallies[name] = _added(known, mask, grid, ulps)
            if tallies[name].is_input:
                return
            per_sample = mask.shape[:1] == rows.shape  # else the operator mixed the samples
            rows |= mask.reshape(len(rows), -1).any(axis=1) if per_sample else mask.any()

        _run(module, [array[start : start + BATCH] for array in data], see)
    return Ties(tuple(tallies.values()), read_only(samples))


def _added(
    known: LayerTies,
    mask: npt.NDArray[np.bool_],
    grid: UniformQuantizer,
    ulps: float,
) -> LayerTies:
    """Return a layer's counts with one more rounding."""
    stats, options = grid.quant_stats, grid.quant_options
    moved = stats is not None and zero_point_hangs_on_the_last_bit(options, stats, ulps=ulps)
    return replace(
        known,
        integers=known.integers + mask.size,
        decided=known.decided + int(np.count_nonzero(mask)),
        zero_point_decided=known.zero_point_decided or moved,
    )


def _run(
    module: QuantizedModule,
    data: list[AnyArray],
    see: Callable[[str, AnyArray, UniformQuantizer, np.dtype[Any]], None],
) -> None:
    """Run a batch; show each rounding's name, reals, grid and precision."""
    precision = _precisions(module)
    for info, array, grid in zip(module.graph.inputs, data, module.inputs, strict=True):
        if grid is not None:
            see(info.name, array, grid, precision[info.name])

    def execute(layer: QuantizedLayer, values: Mapping[str, Value]) -> tuple[Value | None, ...]:
        run = layer.run(values)
        coarsest = _coarsest(precision.get(name) for name in layer.node.inputs)
        if not isinstance(layer.op, FloatOp):
            for i, (given, read) in enumerate(
                zip(layer.arguments(values), run.operands, strict=True)
            ):
                if i not in layer.constants and isinstance(given, Tensor):
                    assert isinstance(read, Tensor)
                    see(layer.name, given.values, read.quantizer, coarsest)
        output = layer.output_grid() if layer.outputs else None
        for reals, grid in layer.op.roundings(*run.operands, output=output):
            see(layer.name, reals, grid, coarsest)
        return run.results

    outputs = module.run(*data, execute=execute)
    for name, value in zip(module.graph.output_names, outputs, strict=True):
        # an accumulator that leaves as it is has a zero point per channel, and is not rounded
        if isinstance(value, Tensor) and not isinstance(value.quantizer.zero_point, np.ndarray):
            see(name, value.values, value.quantizer, precision.get(name, DOUBLE))


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
