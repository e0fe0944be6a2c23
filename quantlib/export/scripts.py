"""Python scripts that reproduce a configuration outside the explorer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.errors import OptionsError
from quantlib.export.formats import Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quantlib.analysis.preflight import Preflight
    from quantlib.core.config import QuantizationConfig

_QUANTLIB = '''\
"""Quantize {model} with the chosen configuration and measure it."""

import numpy as np

import quantlib as ql

CONFIG = r"""
{config}
"""

model = ql.load_model({model!r})
data = np.load({data!r})
module = ql.quantize(model, ({calibration},), ql.QuantizationConfig.from_json(CONFIG))

outputs = module.forward({evaluation})
print("outputs:", np.shape(outputs))
for name, entry in module.bitwidth_and_range_report().items():
    print(f"{{name}}: {{entry['bitwidth']}} bits, range {{entry['range']}}")
'''

_CONCRETE_ML = '''\
"""Quantize {model} with Concrete ML 1.9 in the same configuration; compile it if it fits."""

import numpy as np
import onnx
import onnx.version_converter
from {module} import {importer}
from concrete.ml.torch.numpy_module import NumpyModule

N_BITS = {n_bits}
ROUNDING_THRESHOLD_BITS = {rounding}
COMPILE = False  # minutes; True prints the circuit's own report

{warning}data = np.load({data!r})
calibration = ({calibration},)
model = onnx.load({model!r})
opset = next(entry.version for entry in model.opset_import if not entry.domain)
if opset != 14:  # Concrete ML takes no other operator set
    model = onnx.version_converter.convert_version(model, 14)
quantizer = {importer}(
    N_BITS, NumpyModule(model), rounding_threshold_bits=ROUNDING_THRESHOLD_BITS
)
module = quantizer.quantize_module(*calibration)

outputs = module.forward({evaluation})
print("outputs:", np.shape(outputs))
if COMPILE:
    module.compile(tuple(part[:60] for part in calibration))
    print("widest integer:", module.fhe_circuit.graph.maximum_integer_bit_width(), "bits")
    print(module.bitwidth_and_range_report())
'''


_WARNING = """\
for layer, reason in {refused!r}:
    print(f"Concrete ML may refuse {{layer}}: {{reason}}")

"""


def quantlib_script(
    config: QuantizationConfig, *, model: str, data: str, inputs: Sequence[str]
) -> str:
    """Return a script that quantizes the file `model` with arrays of the .npz file `data`.

    The archive holds ``calibration`` and ``evaluation``; for several inputs, ``calibration.NAME``
    and ``evaluation.NAME`` of each.
    """
    return _QUANTLIB.format(model=model, data=data, config=config.to_json(), **_arrays(inputs))


def concrete_ml_script(
    config: QuantizationConfig,
    *,
    model: str,
    data: str,
    inputs: Sequence[str],
    carries_grids: bool = False,
    refused: Sequence[Refusal] = (),
) -> str:
    """Return a script that does the same with Concrete ML.

    Parameters
    ----------
    config : QuantizationConfig
        What was chosen.
    model, data : str
        Files that the script reads.
    inputs : sequence of str
        Names of the model's inputs.
    carries_grids : bool
        Whether the model brings grids of its own (Brevitas), which another importer reads.
    refused : sequence of Refusal
        What Concrete ML would refuse of the model; the script says it before it runs.

    Raises
    ------
    OptionsError
        Concrete ML cannot express the configuration: it has one min-max grid per tensor, decides
        signs and symmetry itself, and rounds to 2 to 8 bits.
    """
    beyond = config.departures
    if beyond:
        raise OptionsError(
            f"Concrete ML cannot express {', '.join(beyond)}: it decides signed and symmetric "
            "itself and has one min-max grid per tensor. Set these back to export a script for it."
        )
    rounding = config.rounding_threshold_bits
    if rounding is not None and not 2 <= rounding <= 8:
        raise OptionsError(
            f"Concrete ML rounds accumulators to 2 to 8 bits, not to {rounding}; choose another "
            "rounding threshold to export a script for it."
        )
    module, importer = (
        ("concrete.ml.quantization.post_training", "PostTrainingQATImporter")
        if carries_grids
        else ("concrete.ml.quantization", "PostTrainingAffineQuantization")
    )
    return _CONCRETE_ML.format(
        model=model,
        data=data,
        n_bits=config.n_bits,
        rounding=rounding,
        module=module,
        importer=importer,
        warning=_WARNING.format(refused=[(r.layer, r.reason) for r in refused]) if refused else "",
        **_arrays(inputs),
    )


def concrete_ml_refusals(found: Preflight) -> tuple[Refusal, ...]:
    """Return what Concrete ML 1.9 would refuse of a model, node by node.

    Its operator set is not among them: the script converts.
    """
    remedy = "the integers here have no counterpart there"
    return tuple(Refusal(node.name, node.refusal, remedy) for node in found.refused)


def _arrays(inputs: Sequence[str]) -> dict[str, str]:
    """Return the expressions that read each role's arrays from ``data``."""
    return {
        role: ", ".join(
            f"data[{role if len(inputs) == 1 else f'{role}.{name}'!r}]" for name in inputs
        )
        for role in ("calibration", "evaluation")
    }
