"""Models on their way to a file: operator sets, leftovers, the checker."""

from __future__ import annotations

from collections import Counter

import onnx
from onnx import helper

from quantlib.errors import OptionsError


def raised(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Return a model in at least this operator set.

    Raises
    ------
    OptionsError
        The onnx package cannot convert one of its nodes.
    """
    current = next((e.version for e in model.opset_import if not e.domain), 0)
    if current >= opset:
        return model
    try:
        found = onnx.version_converter.convert_version(model, opset)
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise OptionsError(
            f"the model cannot be raised from operator set {current} to {opset} ({reason}); "
            f"export it in operator set {opset} from where it was made."
        ) from None
    return found


def finish(model: onnx.ModelProto) -> None:
    """Drop what nobody reads, set the file's version, and check all of it.

    Raises
    ------
    OptionsError
        The result breaks a rule of ONNX, types of tensors included.
    """
    used = {name for node in model.graph.node for name in node.input}
    used |= {value.name for value in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.extend(kept)
    model.ir_version = helper.find_min_ir_version_for(model.opset_import, True)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise OptionsError(
            f"the float graph does not stand in float32 ({reason}); export the model in float32."
        ) from None


def operator_counts(content: bytes) -> dict[str, int]:
    """Return how many nodes of each type a model's bytes hold, the most frequent first."""
    nodes = onnx.ModelProto.FromString(content).graph.node
    return dict(Counter(node.op_type for node in nodes).most_common())
