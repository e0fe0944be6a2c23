"""The float graph of a module, with a mark wherever the module lays a tensor on a grid.

QDQ and QONNX files differ only in how a mark is spelled. The marks say what the integer operators
do: each reads its variable inputs on its own grid, a sum rounds both summands to one scale, a
quotient rounds the inverse, a rounding threshold rounds accumulators, and what leaves the graph
lies on the output's grid. Float operators between two marks see unrounded values, as in the module.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from quantlib.analysis.widths.bounds import bounds
from quantlib.analysis.widths.facts import layer_facts
from quantlib.core.tensor import Tensor
from quantlib.export.marked_graph import MarkedGraph
from quantlib.export.marks import (
    Placement,
    Role,
    accumulator_of,
    affine_of,
    free_grid,
    inverse_of,
    operand_of,
    own_width,
    squeezed,
    values_of,
)
from quantlib.ops.arithmetic import Add, Div, Mul
from quantlib.ops.base import IslandOp, MixingOp, MovingOp, WeightedOp
from quantlib.ops.carried import CarriedQuantizer, DynamicQuantizer
from quantlib.ops.linear import Gemm
from quantlib.ops.movers import Concat, Pad
from quantlib.ops.pooling import MaxPool
from quantlib.ops.unfold import Unfold

if TYPE_CHECKING:
    from quantlib.arrays import AnyArray
    from quantlib.core.quantizer import UniformQuantizer
    from quantlib.execution.layer import QuantizedLayer
    from quantlib.quantized_module import QuantizedModule

_ROUNDING = "switch the rounding threshold off, or export the integer program"


def place(module: QuantizedModule, *, after_moves: bool = False) -> Placement:
    """Return the float graph of a module with a mark at each of its grids.

    The graph is that of `QuantizedModule.graph`: constants folded, MatMul and Add fused. Which
    marks there are is read off a run of one calibration sample: grids are fixed by calibration.

    Parameters
    ----------
    module : QuantizedModule
        What is written.
    after_moves : bool
        Also mark what moving operators and MaxPool make of a tensor on its grid.
    """
    writer = _Layers(module, after_moves=after_moves)
    for layer in module.layers:
        writer.layer(layer)
    return writer.finished()


class _Layers(MarkedGraph):
    """Writes the layers one by one."""

    def __init__(self, module: QuantizedModule, *, after_moves: bool) -> None:
        super().__init__(module)
        self.after_moves = after_moves
        rounds = any(layer.lsbs_to_remove for layer in module.layers)
        found = layer_facts(module) if rounds else ()
        self.bounds = {facts.layer.name: bounds(facts) for facts in found}

    def layer(self, layer: QuantizedLayer) -> None:
        op, node = layer.op, layer.node
        if isinstance(op, MixingOp):
            operands = [self.operand(layer, i) for i in range(len(node.inputs))]
            self._mixing(layer, operands)
        elif isinstance(op, MovingOp):
            operands = [self.operand(layer, i) for i in range(len(node.inputs))]
            self._moving(layer, operands)
        elif isinstance(op, DynamicQuantizer):
            self.refuse(layer.name, "rounds to another grid in every call",
                        "export the model with a constant scale")  # fmt: skip
            self.note_result(node, self.real_name(node.inputs[0]))
        elif isinstance(op, CarriedQuantizer) and self._carried(layer):
            pass
        else:
            names = [self.real_name(name) for name in node.inputs]
            self.write_node(node, names, in_own_precision=isinstance(op, IslandOp))

    def operand(self, layer: QuantizedLayer, i: int) -> str:
        """Return the exported name of a node's input as its integer operator reads it."""
        name = layer.node.inputs[i]
        operand = self.seen.runs[layer.name].operands[i]
        if not name or not isinstance(operand, Tensor):
            return self.real_name(name)
        if i in layer.constants:
            if i == 2 and isinstance(layer.op, WeightedOp):
                return self.real_name(name)  # a bias stays real
            return self.fixed(layer, name, operand.quantizer, operand.codes)
        source = self.seen.tensors[name]
        assert isinstance(source, Tensor)
        kept = operand.quantizer is source.quantizer
        if kept and name in self.as_codes:
            return self.real_name(name)
        if i == 2 and isinstance(layer.op, WeightedOp) and not kept:
            return self.real_name(name)  # added as it is, not on its grid
        return self.mark(
            self.real_name(name), operand.quantizer, layer.name, Role.OPERAND, len(operand.shape),
            values_of(name), tensor=name,
        )  # fmt: skip

    def span(self, layer: QuantizedLayer, i: int) -> tuple[int, int]:
        """Return the lowest and highest code an operand can hold.

        A moved tensor wears the width it had before: its codes may lie beyond that.
        """
        name = layer.node.inputs[i]
        operand, source = self.seen.runs[layer.name].operands[i], self.seen.tensors.get(name)
        assert isinstance(operand, Tensor)
        if i in layer.constants:
            return int(operand.codes.min(initial=0)), int(operand.codes.max(initial=0))
        kept = isinstance(source, Tensor) and operand.quantizer is source.quantizer
        grid = (operand.quantizer.qmin, operand.quantizer.qmax)
        return self.spans.get(name, grid) if kept else grid

    def fixed(
        self, layer: QuantizedLayer, name: str, quantizer: UniformQuantizer, codes: AnyArray
    ) -> str:
        """Write a constant on its grid."""
        source = self.constant(name, quantizer.dequant(codes))
        return self.mark(
            source, quantizer, layer.name, Role.OPERAND, np.ndim(codes), None,
            np.asarray(codes).astype(np.int64), tensor=name,
        )  # fmt: skip

    def _mixing(self, layer: QuantizedLayer, operands: list[str]) -> None:
        op, node = layer.op, layer.node
        assert isinstance(op, MixingOp)
        run = self.seen.runs[layer.name]
        if isinstance(op, Add):
            operands = self._summands(layer, operands)
        elif isinstance(op, Mul) and any(op.factor_lsbs):
            self.refuse(layer.name, "rounds both factors before it multiplies them", _ROUNDING)
        elif isinstance(op, Gemm) and any(op.factor_lsbs or ()):
            self.refuse(layer.name, "multiplies two encrypted matrices by squares", _ROUNDING)
        elif isinstance(op, Div):
            self._quotient(layer, operands)
            return
        elif isinstance(op, MaxPool) and self._pads_with_zero(layer, op):
            self._padded_pool(layer, op, operands[0])
            return
        first = run.operands[0]
        if node.op_type == "Gemm" and isinstance(first, Tensor) and len(first.shape) != 2:
            self._product_and_sum(layer, operands)
        else:
            self.write_node(node, operands)
        if isinstance(op, MaxPool | Unfold):
            self._settled(layer, self.span(layer, 0))
        if layer.lsbs_to_remove:
            self._rounded(layer, op)
        result = run.results[0]
        carried = op.keeps_operand_grid and isinstance(result, Tensor)
        if carried and isinstance(result, Tensor) and result.quantizer.is_carried:
            self.as_codes.add(node.outputs[0])
            self.spans[node.outputs[0]] = self.span(layer, 0)
        if layer.leaving_params(run.operands) is not None:
            self.as_codes.add(node.outputs[0])

    def _product_and_sum(self, layer: QuantizedLayer, operands: list[str]) -> None:
        """Write a fused MatMul and Add as the two: Gemm takes two axes, MatMul any number."""
        node, base = layer.node, layer.node.outputs[0]
        made = self.add("MatMul", operands[:2], f"{base}_product", like=base)
        if len(operands) > 2:
            made = self.add("Add", [made, operands[2]], f"{base}_sum", like=base)
        self.note_result(node, made)

    def _summands(self, layer: QuantizedLayer, operands: list[str]) -> list[str]:
        """Round both summands to the scale on which they are added, without clipping."""
        run = self.seen.runs[layer.name]
        params = layer.leaving_params(run.operands) or layer.output_grid()
        if params is None and isinstance(layer.op, MixingOp):  # on grids of the model's own
            params = layer.op.output_params(*run.operands)
        assert params is not None
        scale = np.float64(params.scale)
        found = []
        for i, (name, operand) in enumerate(zip(operands, run.operands, strict=True)):
            assert isinstance(operand, Tensor)
            ends = operand.quantizer.dequant(np.array(self.span(layer, i))) / scale
            quantizer = free_grid(
                scale, int(np.floor(ends.min())) - 1, int(np.ceil(ends.max())) + 1
            )
            if i in layer.constants:
                codes = quantizer.quant(operand.quantizer.dequant(operand.codes))
                found.append(self.fixed(layer, layer.node.inputs[i], quantizer, codes))
            else:
                reals = operand_of(layer.name, i)
                rank = len(operand.shape)
                found.append(self.mark(name, quantizer, layer.name, Role.SUMMAND, rank, reals))
        return found

    def _quotient(self, layer: QuantizedLayer, operands: list[str]) -> None:
        """Write ``a * Q(1 / b)`` for a quotient: the inverse has a grid of its own."""
        op, node = layer.op, layer.node
        assert isinstance(op, Div) and op.inverse is not None
        divisor = self.seen.runs[layer.name].operands[1]
        assert isinstance(divisor, Tensor)
        base = node.outputs[0]
        if 1 in layer.constants:
            values = divisor.quantizer.dequant(divisor.codes)
            codes = op.inverse.quant(1.0 / np.where(values == 0.0, op.smallest, values))
            inverse = self.fixed(layer, f"{base}_inverse", op.inverse, codes)
        else:
            zero = self.new_constant(f"{base}_zero", 0.0)
            smallest = self.new_constant(f"{base}_smallest", op.smallest)
            like = node.inputs[1]
            is_zero = self.add("Equal", [operands[1], zero], f"{base}_is_zero")
            chosen = [is_zero, smallest, operands[1]]
            safe = self.add("Where", chosen, f"{base}_divisor", like=like)
            real = self.add("Reciprocal", [safe], f"{base}_reciprocal", like=like)
            inverse = self.mark(
                real, op.inverse, layer.name, Role.INVERSE, len(divisor.shape),
                inverse_of(layer.name, op.smallest),
            )  # fmt: skip
        self.note_result(node, self.add("Mul", [operands[0], inverse], f"{base}_value", like=base))
        if layer.lsbs_to_remove:
            self._rounded(layer, op)
        if layer.leaving_params(self.seen.runs[layer.name].operands) is not None:
            self.as_codes.add(base)

    def _pads_with_zero(self, layer: QuantizedLayer, op: MaxPool) -> bool:
        """Tell whether padding with 0.0, the module's way, differs from ONNX's minus infinity."""
        x = self.seen.runs[layer.name].operands[0]
        assert isinstance(x, Tensor)
        below_zero = x.quantizer.qmin < int(np.min(x.quantizer.zero_point))
        return op.pads_zero and below_zero and any(op.window.pads_for(x.shape[2:]))

    def _padded_pool(self, layer: QuantizedLayer, op: MaxPool, source: str) -> None:
        """Pad with 0.0 before the maximum is taken."""
        x = self.seen.runs[layer.name].operands[0]
        assert isinstance(x, Tensor)
        window, spatial, base = op.window, x.shape[2:], layer.node.outputs[0]
        known = self.graph.shapes.get(layer.node.inputs[0], ())[2:]
        if window.auto_pad != "NOTSET" and not all(isinstance(size, int) for size in known):
            self.refuse(layer.name, "pads by a size that depends on the data",
                         "give the model an input of fixed height and width")  # fmt: skip
        if any(window.overhang_for(spatial)):
            self.refuse(layer.name, "pads with 0.0 and reaches beyond the padding (ceil_mode)",
                         "set ceil_mode to 0 in the model")  # fmt: skip
        half = len(window.kernel)
        pads = window.pads_for(spatial)
        amounts = np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], dtype=np.int64)
        if self.graph.opsets.get("", 0) < 11:  # pads were an attribute
            padded = self.add("Pad", [source], f"{base}_padded", pads=amounts.tolist(), value=0.0)
        else:
            given = self.new_constant(f"{base}_pads", amounts)
            padded = self.add("Pad", [source, given], f"{base}_padded")
        attributes: dict[str, Any] = {"kernel_shape": window.kernel, "strides": window.strides}
        if any(d > 1 for d in window.dilations):
            attributes["dilations"] = window.dilations
        made = self.add("MaxPool", [padded], f"{base}_value", like=base, **attributes)
        self.note_result(layer.node, made)
        self._settled(layer, self.span(layer, 0))
        if x.quantizer.is_carried:
            self.as_codes.add(base)
            self.spans[base] = self.span(layer, 0)

    def _rounded(self, layer: QuantizedLayer, op: MixingOp) -> None:
        """Round an accumulator to multiples of ``2**lsbs``, ties upward.

        The layer's real result is ``scale * accumulator + constant`` per channel. Half a step of
        the accumulator is added before it is rounded: multiples of the step stay what they are,
        and a tie, which ONNX would round to even, no longer is one.
        """
        run, name = self.seen.runs[layer.name], layer.node.outputs[0]
        accumulator = run.accumulator
        assert accumulator is not None
        origin, scale = affine_of(op, layer, run)
        offset = np.asarray(op.rounding_offset(*run.operands), dtype=np.float64)
        # both are the same for all data, also where origin and offset are not
        shift = squeezed(np.round((scale * (offset + 0.5) - origin) / scale, 9)) * scale
        back = squeezed(np.round((origin - scale * offset) / scale, 9)) * scale
        if any(sum(size > 1 for size in a.shape) > 1 for a in (scale, shift, back)):
            self.refuse(layer.name, "rounds by a step that differs between positions", _ROUNDING)
            return
        step = 2**layer.lsbs_to_remove
        reach = self._reach(layer, offset)
        least, most = (end // step + extra for end, extra in zip(reach, (-1, 2), strict=True))
        quantizer = free_grid(scale * step, least, most)
        base = self.real[name]
        before = self.new_constant(f"{base}_shift", shift)
        after = self.new_constant(f"{base}_unshift", back)
        shifted = self.add("Add", [base, before], f"{base}_shifted", like=name)
        marked = self.mark(
            shifted, quantizer, layer.name, Role.ROUNDED, accumulator.ndim,
            accumulator_of(layer.name, op, scale),
        )  # fmt: skip
        made = self.add("Add", [marked, after], f"{base}_rounded", like=name)
        self.note_result(layer.node, made)

    def _reach(self, layer: QuantizedLayer, offset: AnyArray) -> tuple[int, int]:
        """Return bounds of an accumulator with its rounding offset.

        The offset of a product of two variable matrices depends on data, and completes the
        product of codes less their zero points.
        """
        if isinstance(layer.op, Gemm) and layer.op.factor_lsbs is not None:
            run = self.seen.runs[layer.name]
            reaches = []
            for i, operand in enumerate(run.operands[:2]):
                assert isinstance(operand, Tensor)
                point = int(np.ravel(operand.quantizer.zero_point)[0])
                reaches.append(max(abs(end - point) for end in self.span(layer, i)))
            first = run.operands[0]
            assert isinstance(first, Tensor)
            most = first.shape[-2 if layer.op.transA else -1] * reaches[0] * reaches[1]
            return -most, most
        found = self.bounds[layer.name]
        assert found is not None
        low, high = found.weights.range
        return low + int(offset.min()), high + int(offset.max())

    def _moving(self, layer: QuantizedLayer, operands: list[str]) -> None:
        op, node = layer.op, layer.node
        run = self.seen.runs[layer.name]
        (result,) = run.results
        assert isinstance(result, Tensor)
        if isinstance(op, Concat):
            operands = [
                self._joined(layer, i, name, result.quantizer) for i, name in enumerate(operands)
            ]
        point = int(np.ravel(result.quantizer.zero_point)[0])
        fillers = [point] if isinstance(op, Pad) else []
        if isinstance(op, Pad) and len(operands) > 2 and 2 in layer.constants:
            filler = np.asarray(layer.constants[2])
            scale = result.quantizer.scale
            steps = np.rint(filler / scale)
            operands[2] = self.new_constant(f"{node.inputs[2]}_rounded", steps * scale)
            fillers += [int(steps.item() + np.asarray(result.quantizer.zero_point).item())]
        self.write_node(node, operands)
        if isinstance(op, Pad) and "value" in node.attributes:  # before operator set 11
            steps = np.rint(node.attributes["value"] / result.quantizer.scale)
            fillers += [int(steps.item() + point)]
            for attribute in self.nodes[-1].attribute:
                if attribute.name == "value":
                    attribute.f = float(steps * result.quantizer.scale)
        self.as_codes.add(node.outputs[0])
        grid = own_width(result.quantizer, run.operands)
        self.moved[node.outputs[0]] = (grid, layer.name)
        tensors = [i for i, item in enumerate(run.operands) if isinstance(item, Tensor)]
        spans = [self.span(layer, i) for i in tensors]
        if isinstance(op, Concat) and any(
            item.quantizer.quant_params != result.quantizer.quant_params
            for item in run.operands if isinstance(item, Tensor)
        ):  # fmt: skip
            spans = [(grid.qmin, grid.qmax)]
        span = (
            min([*fillers, *(low for low, _ in spans)]),
            max([*fillers, *(high for _, high in spans)]),
        )
        self.spans[node.outputs[0]] = span
        self._settled(layer, span)

    def _settled(self, layer: QuantizedLayer, span: tuple[int, int]) -> None:
        """Mark what a layer made of codes by moving them; nothing is clipped."""
        if not self.after_moves:
            return
        name = layer.node.outputs[0]
        run = self.seen.runs[layer.name]
        result, source = run.results[0], run.operands[0]
        assert isinstance(result, Tensor) and isinstance(source, Tensor)
        moved = result if isinstance(layer.op, MovingOp) else source
        point = int(np.ravel(moved.quantizer.zero_point)[0])  # padding holds it
        span = (min(span[0], point), max(span[1], point))
        grid = dataclasses.replace(moved.quantizer, code_range=span)
        self.real[name] = self.mark(
            self.real[name], grid, layer.name, Role.MOVED, len(result.shape), values_of(name)
        )

    def _joined(self, layer: QuantizedLayer, i: int, name: str, common: UniformQuantizer) -> str:
        """Lay one of several joined tensors on their common grid.

        A tensor that was put on another grid for this reader is joined from its real values.
        """
        operand = self.seen.runs[layer.name].operands[i]
        assert isinstance(operand, Tensor)
        if operand.quantizer.quant_params == common.quant_params:
            return name
        grid = own_width(common, self.seen.runs[layer.name].operands)
        tensor = layer.node.inputs[i]
        if i in layer.constants:
            return self.fixed(layer, tensor, grid, grid.quant(np.asarray(operand.values)))
        source = self.seen.tensors[tensor]
        if isinstance(source, Tensor) and operand.quantizer is not source.quantizer:
            name = self.real_name(tensor)
        rank, reals = len(operand.shape), operand_of(layer.name, i, rounded=False)
        return self.mark(name, grid, layer.name, Role.JOINED, rank, reals)

    def _carried(self, layer: QuantizedLayer) -> bool:
        """Write a grid that came with the model; False where the node has no integer grid."""
        op, node = layer.op, layer.node
        assert isinstance(op, CarriedQuantizer)
        x = self.seen.tensors.get(node.inputs[0])
        grid = op.quantizer([layer.constants.get(i) for i in range(1, len(node.inputs))])
        if grid is None or x is None or not (isinstance(x, Tensor) or x.dtype.kind == "f"):
            return False
        if grid.no_clipping or node.op_type == "Trunc":
            self.refuse(layer.name, f"{node.op_type} divides codes by a power of two",
                         "export the model without it")  # fmt: skip
        source, rank = self.real_name(node.inputs[0]), len(x.shape)
        reals = values_of(node.inputs[0])
        self.note_result(node, self.mark(
            source, grid, layer.name, Role.CARRIED, rank, reals, tensor=node.inputs[0]
        ))  # fmt: skip
        return True
