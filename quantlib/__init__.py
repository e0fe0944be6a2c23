"""Uniform quantization of ONNX models, in the integers of Concrete ML."""

from quantlib.analysis.evaluation import evaluate
from quantlib.analysis.preflight import NodeReport, Preflight, inspect_model
from quantlib.analysis.reports import Evaluation
from quantlib.analysis.search.objective import Objective
from quantlib.analysis.search.search import SearchResult, search
from quantlib.analysis.sweep.grid import SweepGrid
from quantlib.analysis.sweep.result import SweepResult
from quantlib.analysis.sweep.run import sweep
from quantlib.analysis.widths.budget import Budget, bit_width_budget
from quantlib.analysis.workbench import Workbench
from quantlib.core.array import QuantizedArray
from quantlib.core.config import QuantizationConfig
from quantlib.core.estimator import Estimator
from quantlib.core.options import QuantizationOptions
from quantlib.core.params import UniformQuantizationParameters
from quantlib.core.quantizer import UniformQuantizer
from quantlib.core.scheme import LayerOverride, Scheme
from quantlib.core.stats import MinMaxQuantizationStats
from quantlib.data import Dataset, load_data, synthetic_data
from quantlib.errors import (
    ConfigurationError,
    DataLoadError,
    LimitError,
    ModelLoadError,
    OptionsError,
    QuantlibError,
    SweepError,
    TensorError,
    UnreachableError,
    UnsupportedOpError,
)
from quantlib.execution.memo import Memo
from quantlib.graph.loader import load_model
from quantlib.graph.model import Graph
from quantlib.ops import ONNX_OPS_TO_QUANTIZED_IMPL
from quantlib.ptq import PostTrainingAffineQuantization, quantize
from quantlib.quantized_module import QuantizedModule

__version__ = "0.4.0"

__all__ = [
    "ONNX_OPS_TO_QUANTIZED_IMPL",
    "Budget",
    "ConfigurationError",
    "DataLoadError",
    "Dataset",
    "Estimator",
    "Evaluation",
    "Graph",
    "LayerOverride",
    "LimitError",
    "Memo",
    "MinMaxQuantizationStats",
    "ModelLoadError",
    "NodeReport",
    "Objective",
    "OptionsError",
    "PostTrainingAffineQuantization",
    "Preflight",
    "QuantizationConfig",
    "QuantizationOptions",
    "QuantizedArray",
    "QuantizedModule",
    "QuantlibError",
    "Scheme",
    "SearchResult",
    "SweepError",
    "SweepGrid",
    "SweepResult",
    "TensorError",
    "UniformQuantizationParameters",
    "UniformQuantizer",
    "UnreachableError",
    "UnsupportedOpError",
    "Workbench",
    "bit_width_budget",
    "evaluate",
    "inspect_model",
    "load_data",
    "load_model",
    "quantize",
    "search",
    "sweep",
    "synthetic_data",
]
