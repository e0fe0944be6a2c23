"""ONNX whose inside is integers: the program of a module in standard operators."""

from __future__ import annotations

import time
from functools import singledispatchmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

from quantlib.arrays import FLOAT32_EXACT, FLOAT64_EXACT
from quantlib.core.rounding import Rounding
from quantlib.export.formats import ExportFormat, Refusal, raise_refusals, register
from quantlib.export.integers import compare_integers, island_refusals
from quantlib.export.onnx_nodes import Nodes
from quantlib.export.onnx_windows import window_index
from quantlib.graph.runtime import open_session, optimized_session
from quantlib.program import steps
from quantlib.program.archive import packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from quantlib.arrays import AnyArray, IntArray
    from quantlib.export.formats import Files, Proof, Subject
    from quantlib.program.program import IntegerProgram
    from quantlib.quantized_module import QuantizedModule

OPSET, IR_VERSION = 21, 10

SUFFIX = "_integers"
"""What the name of an output's integers ends in."""

GATHERED = 2**18
"""Tables of up to so many entries are looked up whole; larger ones by bisecting thresholds."""

_INT32 = 2**31
_ROUNDINGS = {Rounding.NEAREST: "Round", Rounding.NEAREST_FIRST: "Round", Rounding.CEIL: "Ceil",
              Rounding.FLOOR: "Floor"}  # fmt: skip


def refusals(module: QuantizedModule) -> tuple[Refusal, ...]:
    """Return what integers in standard operators cannot say of a module."""
    return _refusals(module.program())


def _refusals(program: IntegerProgram) -> tuple[Refusal, ...]:
    found = [
        Refusal(s.input_name, f"its grid rounds by the rule {s.rounding}, which ONNX lacks",
                "round to nearest")
        for s in program.inputs
        if s.rounding not in _ROUNDINGS
    ]  # fmt: skip
    return (*island_refusals(program), *found)


def integer_model(module: QuantizedModule) -> onnx.ModelProto:
    """Return the model in integers, checked.

    Raises
    ------
    OptionsError
        Something stays in float; the message names each layer.

    Notes
    -----
    Inputs and outputs are the float model's, real numbers under their names; for each output NAME
    there is a further one, ``NAME_integers``, int64. Products whose codes and weights fit 8 bits
    run on MatMulInteger and ConvInteger, both factors shifted to uint8: uint8 by int8 saturates on
    x86 processors with AVX2 and without VNNI. Others run on MatMul and Conv in float32 below 2^24
    and in float64 below 2^53, where every integer is exact, or in int64.
    """
    program = module.program()
    raise_refusals("ONNX in integers", _refusals(program))
    return _Writer(program).model(module)


class _Writer(Nodes):
    """The program's steps, written one after another."""

    def __init__(self, program: IntegerProgram) -> None:
        super().__init__()
        self.program = program

    def model(self, module: QuantizedModule) -> onnx.ModelProto:
        """Write all steps and outputs."""
        for step in self.program.steps:
            self.write(step)
        graph = module.graph
        free = [None if isinstance(s := i.shape[0], int) else s for i in graph.inputs]
        inputs = [
            _info(i.name, i.dtype, (samples, *i.shape[1:]))
            for i, samples in zip(graph.inputs, free, strict=True)
        ]
        real, integers = [], []
        for output, info in zip(self.program.outputs, graph.outputs, strict=True):
            shape = (free[0], *self.program.step(output.source).shape)
            codes = self.cast(self.tensor(output.source), TensorProto.INT64)
            self.node("Identity", [codes], TensorProto.INT64, name=output.name + SUFFIX)
            shifted = self.op(
                "Sub", self.cast(codes, TensorProto.DOUBLE),
                self.constant(np.asarray(output.zero_point, dtype=np.float64)),
            )  # fmt: skip
            values = self.op("Mul", shifted, self.constant(np.asarray(output.scale, np.float64)))
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(info.dtype))
            self.node("Cast", [values], kind, name=output.name, to=kind)
            real.append(_info(output.name, info.dtype, shape))
            integers.append(_info(output.name + SUFFIX, "int64", shape))
        made = helper.make_graph(
            self.nodes, f"{self.program.name}_integers", inputs, [*real, *integers], self.constants
        )
        model = helper.make_model(
            made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
            producer_name="quantlib",
        )  # fmt: skip
        onnx.checker.check_model(model, full_check=True)
        return model

    # -- tensors of the program -----------------------------------------------------------------

    def tensor(self, name: str) -> str:
        """Return what a step of the program has made."""
        return self.known["tensor", name]

    def integers(self, name: str, bound: int) -> str:
        """Return a step's tensor as int32, or as int64 where a bound asks for it."""
        kind = TensorProto.INT32 if bound < _INT32 else TensorProto.INT64
        return self.cast(self.tensor(name), kind)

    def exact(self, name: str, bound: int) -> str:
        """Return a step's tensor in the cheapest type in which sums to a bound are exact."""
        return self.cast(self.tensor(name), _exact_type(bound))

    # -- steps ----------------------------------------------------------------------------------

    def write(self, step: steps.Step) -> None:
        """Add a step's nodes."""
        self.known["tensor", step.name] = self.made(step)

    @singledispatchmethod
    def made(self, step: steps.Step) -> str:
        """Add a step's nodes; return its tensor."""
        raise NotImplementedError(type(step).__name__)

    @made.register(steps.Input)
    def _(self, step: steps.Input) -> str:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(step.float_dtype))
        self.types[step.input_name] = kind
        x = step.input_name
        if kind not in (TensorProto.FLOAT, TensorProto.DOUBLE):  # float16 widens, as in the module
            x = self.cast(x, TensorProto.FLOAT)
        rounding = Rounding(step.rounding)
        codes = self.op("Div", x, self.number(step.scale, x))
        first = rounding is Rounding.NEAREST_FIRST
        if first:
            codes = self.op("Round", codes)
        codes = self.op("Add", codes, self.number(step.zero_point, codes))
        if not first:
            codes = self.op(_ROUNDINGS[rounding], codes)
        clipped = self.op(
            "Clip", codes, self.number(step.low, codes), self.number(step.high, codes)
        )
        return self.cast(clipped, TensorProto.INT32)

    @made.register(steps.MatMul)
    def _(self, step: steps.MatMul) -> str:
        source = self.program.step(step.source)
        small = _eight_bits(step, source, axis=-1)
        if small is not None and step.weights.ndim == 2:
            return self._offset(step, self._integer_product("MatMulInteger", step, source, small))
        x = self.exact(step.source, step.partial)
        kind = helper.tensor_dtype_to_np_dtype(self.types[x])
        product = self.op("MatMul", x, self.constant(step.centred.astype(kind)))
        return self._offset(step, self._back(product, step.partial))

    @made.register(steps.Conv)
    def _(self, step: steps.Conv) -> str:
        source = self.program.step(step.source)
        attributes = {"strides": step.strides, "dilations": step.dilations, "group": step.group}
        small = _eight_bits(step, source, axis=None)
        if small is not None:
            product = self._integer_product("ConvInteger", step, source, small, **attributes)
            return self._offset(step, product)
        if step.partial < FLOAT32_EXACT:
            x = self.cast(self.tensor(step.source), TensorProto.FLOAT)
            weights = self.constant(step.centred.astype(np.float32))
            product = self.op("Conv", x, weights, **attributes)
            return self._offset(step, self._back(product, step.partial))
        return self._offset(step, self._as_matrices(step, source))

    def _integer_product(
        self, op_type: str, step: steps.Weighted, source: steps.Step,
        small: tuple[IntArray, IntArray], **attributes: Any,
    ) -> str:  # fmt: skip
        """Multiply uint8 by uint8; `small` are weights and their zero point in that type."""
        shift = 128 if source.low < 0 else 0
        x = self._unsigned(step.source, shift)
        weights, zero = (self.constant(part.astype(np.uint8)) for part in small)
        given = [x, weights, self.constant(np.asarray(shift, dtype=np.uint8)), zero]
        return self.node(op_type, given, TensorProto.INT32, **attributes)

    def _unsigned(self, name: str, shift: int) -> str:
        """Return codes as uint8, shifted where some are negative."""
        x = self.tensor(name)
        if not shift:
            return self.cast(x, TensorProto.UINT8)
        key = ("unsigned", name)
        if key not in self.known:
            wide = self.cast(x, TensorProto.INT32)
            moved = self.op("Add", wide, self.number(shift, wide))
            self.known[key] = self.cast(moved, TensorProto.UINT8)
        return self.known[key]

    def _back(self, product: str, bound: int) -> str:
        """Return an integer-valued product as integers."""
        return self.cast(product, TensorProto.INT32 if bound < _INT32 else TensorProto.INT64)

    def _offset(self, step: steps.Weighted, product: str) -> str:
        """Add a constant per output channel."""
        if not np.any(step.offset):
            return product
        if step.magnitude >= _INT32:
            product = self.cast(product, TensorProto.INT64)
        kind = helper.tensor_dtype_to_np_dtype(self.types[product])
        shape = (1, -1, *(1,) * (len(step.shape) - 1)) if isinstance(step, steps.Conv) else (-1,)
        return self.op("Add", product, self.constant(step.offset.astype(kind).reshape(shape)))

    def _as_matrices(self, step: steps.Conv, source: steps.Step) -> str:
        """Convolve by one matrix product per group: ONNX Runtime has no Conv in float64."""
        index, out = window_index(
            source.shape, step.weights.shape[2:], step.strides, step.dilations
        )  # fmt: skip
        places = int(np.prod(out))
        depth = int(np.prod(step.weights.shape[1:]))
        x = self.exact(step.source, step.partial)
        flat = self.shaped(x, source.size)
        columns = index.transpose(0, 2, 1).reshape(step.group, depth, places)
        seen = self.op("Gather", flat, self.constant(columns), axis=1)
        kind = helper.tensor_dtype_to_np_dtype(self.types[x])
        rows = step.centred.reshape(step.group, -1, depth).astype(kind)
        product = self.op("MatMul", self.constant(rows), seen)
        return self._back(self.shaped(product, *step.shape), step.partial)

    @made.register(steps.PairMatMul)
    def _(self, step: steps.PairMatMul) -> str:
        right = self.program.step(step.right)
        if step.square_lsbs is not None:
            return self._from_squares(step, step.square_lsbs)
        left = (
            self.program.step(step.left).magnitude
            if step.weights is None
            else int(np.abs(step.weights).max())
        )
        bound = right.shape[-2] * left * (right.magnitude + abs(step.right_zero))
        b = self.exact(step.right, bound)
        if step.right_zero:
            b = self.op("Sub", b, self.number(step.right_zero, b))
        kind = helper.tensor_dtype_to_np_dtype(self.types[b])
        a = (
            self.exact(step.left, bound)
            if step.weights is None
            else self.constant(step.weights.astype(kind))
        )
        return self._back(self.op("MatMul", a, b), bound)

    def _from_squares(self, step: steps.PairMatMul, lsbs: tuple[int, int]) -> str:
        a, b = (self.cast(self.tensor(n), TensorProto.INT64) for n in (step.left, step.right))
        left = self.op("Unsqueeze", a, self.constant(np.array([-1])))  # (..., M, K, 1)
        right = self.op("Unsqueeze", b, self.constant(np.array([-3])))  # (..., 1, K, N)
        quarters = []
        for op_type, bits in zip(("Add", "Sub"), lsbs, strict=True):
            whole = self.op(op_type, left, right)
            if bits:
                steps_of = self._shifted(whole, bits)
                whole = self.op("Mul", steps_of, self.number(2**bits, steps_of))
            square = self.op("Mul", whole, whole)
            quarters.append(self.op("Div", square, self.number(4, square)))
        axis = self.constant(np.array([-2]))
        product = self.op("ReduceSum", self.op("Sub", *quarters), axis, keepdims=0)
        if step.right_zero:
            sums = self.op("ReduceSum", a, self.constant(np.array([-1])), keepdims=1)
            product = self.op("Sub", product, self.op("Mul", sums, self.number(step.right_zero, a)))
        return product

    def _shifted(self, tensor: str, bits: int) -> str:
        """Return ``floor((x + 2**(bits - 1)) / 2**bits)``, exact in float64."""
        kind = self.types[tensor]
        half = self.op("Add", tensor, self.number(2 ** (bits - 1), tensor))
        real = self.cast(half, TensorProto.DOUBLE)
        floored = self.op("Floor", self.op("Mul", real, self.number(0.5**bits, real)))
        return self.cast(floored, kind)

    @made.register(steps.Centre)
    def _(self, step: steps.Centre) -> str:
        right = self.program.step(step.right)
        bound = step.magnitude + abs(step.left_zero) * right.shape[-2] * (
            right.magnitude + abs(step.right_zero)
        )
        b = self.integers(step.right, bound)
        if step.right_zero:
            b = self.op("Sub", b, self.number(step.right_zero, b))
        sums = self.op("ReduceSum", b, self.constant(np.array([-2])), keepdims=1)
        share = self.op("Mul", sums, self.number(step.left_zero, sums))
        return self.op("Sub", self.integers(step.source, bound), share)

    @made.register(steps.Sum)
    def _(self, step: steps.Sum) -> str:
        x = self.integers(step.source, step.magnitude)
        return self.op("ReduceSum", x, self.constant(np.array([-1])), keepdims=0)

    @made.register(steps.Pool)
    def _(self, step: steps.Pool) -> str:
        source = self.program.step(step.source)
        count = int(np.prod(step.kernel))
        bound = source.magnitude * (1 if step.largest else count)
        attributes = {"strides": step.strides, "dilations": step.dilations}
        if bound < FLOAT32_EXACT and len(step.kernel) <= 3:
            x = self.cast(self.tensor(step.source), TensorProto.FLOAT)
            if step.largest:
                made = self.op("MaxPool", x, kernel_shape=step.kernel, **attributes)
            else:
                channels = source.shape[0]
                ones = self.constant(np.ones((channels, 1, *step.kernel), dtype=np.float32))
                made = self.op("Conv", x, ones, group=channels, **attributes)
            return self.cast(made, TensorProto.INT32)
        index, _ = window_index(source.shape, step.kernel, step.strides, step.dilations)
        flat = self.shaped(self.integers(step.source, bound), source.size)
        seen = self.op("Gather", flat, self.constant(index), axis=1)
        reduce = "ReduceMax" if step.largest else "ReduceSum"
        made = self.op(reduce, seen, self.constant(np.array([-1])), keepdims=0)
        return self.shaped(made, *step.shape)

    @made.register(steps.Add)
    def _(self, step: steps.Add) -> str:
        return self.op("Add", *(self.integers(n, step.magnitude) for n in step.sources))

    @made.register(steps.Multiply)
    def _(self, step: steps.Multiply) -> str:
        left, right = (self.program.step(n).magnitude for n in step.sources)
        bound = (left + abs(step.left_zero)) * (right + abs(step.right_zero)) + abs(step.offset)
        a, b = (self.integers(n, 2 * bound) for n in step.sources)
        made = self.op("Mul", a, b)
        for zero, factor in ((step.left_zero, b), (step.right_zero, a)):
            if zero:
                made = self.op("Sub", made, self.op("Mul", factor, self.number(zero, factor)))
        return self.op("Add", made, self.number(step.offset, made)) if step.offset else made

    @made.register(steps.Round)
    def _(self, step: steps.Round) -> str:
        source = self.program.step(step.source)
        bound = source.magnitude + abs(step.offset) + 2**step.lsbs
        x = self.integers(step.source, bound)
        if step.offset:
            x = self.op("Add", x, self.number(step.offset, x))
        return self._shifted(x, step.lsbs)

    @made.register(steps.Table)
    def _(self, step: steps.Table) -> str:
        whole = step.width * len(step.staircases) <= GATHERED
        return self._gathered(step) if whole else self._bisected(step)

    def _rows(self, step: steps.Table, size: int, kind: int) -> str | None:
        """Return where the table of each element begins, for tables of a size."""
        if not step.axes:
            return None
        placed = [step.shape[i] if i in step.axes else 1 for i in range(len(step.shape))]
        starts = np.reshape(step.rows * size, (1, *placed))
        return self.constant(starts.astype(helper.tensor_dtype_to_np_dtype(kind)))

    def _gathered(self, step: steps.Table) -> str:
        """Look the code up in the whole table."""
        x = self.integers(step.source, max(step.magnitude, step.width * len(step.staircases)) +
                          abs(step.source_low))  # fmt: skip
        index = self.op("Sub", x, self.number(step.source_low, x)) if step.source_low else x
        rows = self._rows(step, step.width, self.types[x])
        if rows is not None:
            index = self.op("Add", index, rows)
        entries = self.constant(_stored(step.entries().ravel()))
        return self.node("Gather", [entries, index], self.types[entries], axis=0)

    def _bisected(self, step: steps.Table) -> str:
        """Count the thresholds that are not above the integer, halving the rest each time."""
        longest = max(len(s.thresholds) for s in step.staircases)
        depth = max(1, longest.bit_length())
        size = 2**depth
        thresholds = np.full((len(step.staircases), size), step.source_high + 1, dtype=np.int64)
        values = np.empty_like(thresholds)
        for i, staircase in enumerate(step.staircases):
            thresholds[i, : len(staircase.thresholds)] = staircase.thresholds
            values[i] = staircase.values[-1]
            values[i, : len(staircase.values)] = staircase.values
        x = self.integers(step.source, max(abs(step.source_low), step.source_high + 1,
                                           thresholds.size))  # fmt: skip
        kind = self.types[x]
        edges = self.constant(thresholds.ravel().astype(helper.tensor_dtype_to_np_dtype(kind)))
        place = self._rows(step, size, kind) or self.number(0, x)
        for level in reversed(range(depth)):
            half = 2**level
            probe = self.op("Add", place, self.number(half - 1, x))
            above = self.node("GreaterOrEqual", [x, self.taken(edges, probe)], TensorProto.BOOL)
            moved = self.op("Mul", self.cast(above, kind), self.number(half, x))
            place = self.op("Add", place, moved)
        entries = self.constant(_stored(values.ravel()))
        return self.node("Gather", [entries, place], self.types[entries], axis=0)

    @made.register(steps.Move)
    def _(self, step: steps.Move) -> str:
        sources = [self.program.step(part) for part in step.parts]
        kinds = {self.types[self.tensor(s.name)] for s in sources}
        constants = np.broadcast_to(step.fill, step.index.shape)[step.index < 0]
        ends = [int(c) for c in (constants.min(), constants.max())] if constants.size else [0]
        fits = len(kinds) == 1 and all(_holds(next(iter(kinds)), end) for end in ends)
        kind = kinds.pop() if fits else _wide_type(step.magnitude)
        parts = [self.cast(self.tensor(s.name), kind) for s in sources]
        numbers = np.arange(sum(s.size for s in sources))
        if len(parts) == 1 and np.array_equal(step.index.ravel(), numbers):
            return self.shaped(parts[0], *step.shape)
        if not constants.size and len(parts) > 1:
            axis = _joined_axis(step, sources)
            if axis is not None:
                return self.node("Concat", parts, kind, axis=axis + 1)
        pads = _pads(step, sources) if len(parts) == 1 else None
        if pads is not None:
            amounts = self.constant(np.array(pads, dtype=np.int64))
            return self.op("Pad", parts[0], amounts, self.number(int(step.fill), parts[0]))
        flat = [self.shaped(p, s.size) for p, s in zip(parts, sources, strict=True)]
        every = self.node("Concat", flat, kind, axis=1) if len(flat) > 1 else flat[0]
        taken = np.maximum(step.index, 0)
        made = self.op("Gather", every, self.constant(taken), axis=1)
        if not constants.size:
            return made
        element = helper.tensor_dtype_to_np_dtype(kind)
        fill = self.constant(np.broadcast_to(step.fill, step.shape).astype(element)[None])
        return self.node("Where", [self.constant(step.index[None] < 0), fill, made], kind)


def _info(name: str, dtype: str, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return helper.make_tensor_value_info(name, kind, list(shape))


def _exact_type(bound: int) -> int:
    if bound < FLOAT32_EXACT:
        return int(TensorProto.FLOAT)
    return int(TensorProto.DOUBLE if bound < FLOAT64_EXACT else TensorProto.INT64)


def _wide_type(bound: int) -> int:
    return int(TensorProto.INT32 if bound < _INT32 else TensorProto.INT64)


def _holds(kind: int, value: int) -> bool:
    ends = np.iinfo(helper.tensor_dtype_to_np_dtype(kind))
    return bool(ends.min <= value <= ends.max)


def _stored(values: IntArray) -> AnyArray:
    """Return table entries in the smallest of ONNX Runtime's cheap types."""
    small = packed(values)
    return small if small.dtype.kind + str(small.itemsize) in ("u1", "i1", "i4", "i8") else (
        values.astype(np.int32) if small.itemsize < 4 else values
    )  # fmt: skip


def _eight_bits(
    step: steps.Weighted, source: steps.Step, *, axis: int | None
) -> tuple[IntArray, IntArray] | None:
    """Return weights and zero point in uint8, None where codes, weights or sums do not fit.

    Where zero points differ by output channel, `axis` is that of the channels if the operator
    takes several.
    """
    unsigned = source.low >= 0 and source.high <= 255
    signed = source.low >= -128 and source.high <= 127
    if not (unsigned or signed) or step.partial >= _INT32:
        return None
    centred = step.centred
    if centred.min() >= -128 and centred.max() <= 127:
        return centred + 128, np.asarray(128)
    low = int(step.weights.min())
    zero = step.weight_zero - low
    if zero.ndim and axis is None:
        return None
    if step.weights.max() - low > 255 or zero.min() < 0 or zero.max() > 255:
        return None
    return step.weights - low, zero.ravel() if zero.ndim else zero


def _joined_axis(step: steps.Move, sources: Sequence[steps.Step]) -> int | None:
    """Return the axis along which a move joins its parts, None if it does something else."""
    starts = np.cumsum([0, *(s.size for s in sources)])
    numbered = [
        start + np.arange(s.size).reshape(s.shape)
        for start, s in zip(starts, sources, strict=False)
    ]
    for axis in range(len(step.shape)):
        others = {(len(n.shape), n.shape[:axis] + n.shape[axis + 1 :]) for n in numbered}
        wanted = (len(step.shape), step.shape[:axis] + step.shape[axis + 1 :])
        if others == {wanted} and np.array_equal(np.concatenate(numbered, axis), step.index):
            return axis
    return None


def _pads(step: steps.Move, sources: Sequence[steps.Step]) -> list[int] | None:
    """Return the pads of a move that only pads with one constant, batch axis included."""
    (source,) = sources
    inside = np.argwhere(step.index >= 0)
    if step.fill.ndim or len(step.shape) != len(source.shape) or not len(inside):
        return None
    begins, last = inside.min(axis=0), inside.max(axis=0) + 1
    if tuple(last - begins) != source.shape:
        return None
    window = step.index[tuple(slice(b, e) for b, e in zip(begins, last, strict=True))]
    if not np.array_equal(window.ravel(), np.arange(source.size)):
        return None
    ends = np.array(step.shape) - last
    return [0, *map(int, begins), 0, *map(int, ends)]


def _export(subject: Subject) -> Files:
    model = integer_model(subject.module)
    return {f"{subject.stem}-integers.onnx": model.SerializeToString(deterministic=True)}


def _prove(
    files: Mapping[str, bytes], module: QuantizedModule, data: Sequence[AnyArray]
) -> Proof:  # fmt: skip
    """Run the file on ONNX Runtime, with and without its graph optimizations."""
    started = time.perf_counter()
    content = next(iter(files.values()))
    onnx.checker.check_model(content, full_check=True)
    names = [name + SUFFIX for name in module.graph.output_names]
    feeds = {i.name: array for i, array in zip(module.graph.inputs, data, strict=True)}
    runs = {
        "optimizations off": open_session(content).run(names, feeds),
        "optimizations on": optimized_session(content).run(names, feeds),
    }
    return compare_integers(module, data, runs, f"ONNX Runtime {ort.__version__}", started)


ONNX_INTEGERS = register(
    ExportFormat(
        name="onnx-integers",
        title="ONNX in integers",
        reader="ONNX Runtime and everything else that runs standard ONNX",
        carries="the very integers of every layer; real inputs and outputs under their names",
        loses="nothing; operators that stay in float are refused",
        suffix=".onnx",
        export=_export,
        refusals=refusals,
        prove=_prove,
    )
)
