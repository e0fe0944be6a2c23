"""Uniform quantization of ONNX models, in the integers of Concrete ML."""

from quantlib.analysis.preflight import NodeReport, Preflight, inspect_model
from quantlib.core.array import QuantizedArray
from quantlib.core.config import QuantizationConfig
from quantlib.core.estimator import Estimator
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.scheme import LayerOverride, Scheme
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.errors import (
    ConfigurationError,
    DataLoadError,
    ModelLoadError,
    OptionsError,
    QuantlibError,
    SweepError,
    TensorError,
    UnreachableError,
    UnsupportedOpError,
)
from quantlib.graph.loader import load_model
from quantlib.graph.model import Graph
from quantlib.ops import ONNX_OPS_TO_QUANTIZED_IMPL
from quantlib.ptq import PostTrainingAffineQuantization, quantize
from quantlib.quantized_module import QuantizedModule

__version__ = "0.2.0"

__all__ = [
    "ONNX_OPS_TO_QUANTIZED_IMPL",
    "ConfigurationError",
    "DataLoadError",
    "Estimator",
    "Graph",
    "LayerOverride",
    "MinMaxQuantizationStats",
    "ModelLoadError",
    "NodeReport",
    "OptionsError",
    "PostTrainingAffineQuantization",
    "Preflight",
    "QuantizationConfig",
    "QuantizationOptions",
    "QuantizedArray",
    "QuantizedModule",
    "QuantlibError",
    "Scheme",
    "SweepError",
    "TensorError",
    "UniformQuantizationParameters",
    "UniformQuantizer",
    "UnreachableError",
    "UnsupportedOpError",
    "inspect_model",
    "load_model",
    "quantize",
]
