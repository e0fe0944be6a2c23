"""Python scripts that reproduce a configuration outside the explorer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantlib.errors import OptionsError

if TYPE_CHECKING:
    from quantlib.core.config import QuantizationConfig

_QUANTLIB = '''\
"""Quantize {model} with the chosen configuration and measure it."""

import numpy as np

import quantlib as ql

CONFIG = """
{config}
"""

model = ql.load_model({model!r})
data = np.load({data!r})
module = ql.quantize(model, data["calibration"], ql.QuantizationConfig.from_json(CONFIG))

codes = module.quantize_input(data["evaluation"])
outputs = module.dequantize_output(module.quantized_forward(codes))
print("outputs:", outputs.shape, outputs.dtype)
for name, entry in module.bitwidth_and_range_report().items():
    print(f"{{name}}: {{entry['bitwidth']}} bits, range {{entry['range']}}")
'''

_CONCRETE_ML = '''\
"""Quantize {model} with Concrete ML 1.9 in the same configuration; compile it if it fits."""

import numpy as np
import onnx
import onnx.version_converter
from concrete.ml.quantization import PostTrainingAffineQuantization
from concrete.ml.torch.numpy_module import NumpyModule

N_BITS = {n_bits}
ROUNDING_THRESHOLD_BITS = {rounding}
COMPILE = False  # minutes; True prints the circuit's own report

data = np.load({data!r})
calibration = data["calibration"].astype(np.float32)
model = onnx.load({model!r})
if model.opset_import[0].version != 14:  # Concrete ML takes no other operator set
    model = onnx.version_converter.convert_version(model, 14)
quantizer = PostTrainingAffineQuantization(
    N_BITS, NumpyModule(model), rounding_threshold_bits=ROUNDING_THRESHOLD_BITS
)
module = quantizer.quantize_module(calibration)

outputs = module.forward(data["evaluation"].astype(np.float32))
print("outputs:", outputs.shape, outputs.dtype)
if COMPILE:
    module.compile(calibration[:60])
    print("widest integer:", module.fhe_circuit.graph.maximum_integer_bit_width(), "bits")
    print(module.bitwidth_and_range_report())
'''


def quantlib_script(config: QuantizationConfig, *, model: str, data: str) -> str:
    """Return a script that quantizes the file `model` with arrays of the .npz file `data`."""
    return _QUANTLIB.format(model=model, data=data, config=config.to_json())


def concrete_ml_script(config: QuantizationConfig, *, model: str, data: str) -> str:
    """Return a script that does the same with Concrete ML.

    Raises
    ------
    OptionsError
        Concrete ML cannot express the configuration: it decides signs and symmetry itself.
    """
    if not config.is_reference:
        raise OptionsError(
            "Concrete ML decides signed and symmetric itself; set all four to auto to export a "
            "script for it."
        )
    return _CONCRETE_ML.format(
        model=model, data=data, n_bits=config.n_bits, rounding=config.rounding_threshold_bits
    )
