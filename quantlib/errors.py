"""Every error that quantlib raises for a caller's mistake.

::

    QuantlibError
    ├── OptionsError          (ValueError)           an option is out of range or contradicts
    │   └── UnreachableError                         no configuration meets what is asked for
    ├── TensorError           (ValueError)           an array does not fit: shape, dtype, NaN, empty
    ├── ModelLoadError        (ValueError)           the bytes are no model that can be loaded
    ├── DataLoadError         (ValueError)           the bytes are no data that can be loaded
    ├── ConfigurationError    (ValueError)           a configuration document is wrong
    ├── SweepError            (RuntimeError)         a sweep ended before its last configuration
    ├── LimitError            (RuntimeError)         a run would take more than a limit allows
    ├── WorkerError           (RuntimeError)         the process asked died or was stopped
    └── UnsupportedOpError    (NotImplementedError)  a node that nobody can execute

A message says what was given, what is wanted and what to do. Anything else that escapes the
library is a bug.
"""

from __future__ import annotations


class QuantlibError(Exception):
    """Base of all errors a caller can cause and mend."""


class OptionsError(QuantlibError, ValueError):
    """A quantization option is out of range or contradicts another."""


class UnreachableError(OptionsError):
    """No configuration of those offered meets the limit and the floor asked for."""


class TensorError(QuantlibError, ValueError):
    """An array does not fit its purpose: shape, dtype, NaN or no elements."""


class ModelLoadError(QuantlibError, ValueError):
    """The given bytes are not an ONNX model that can be loaded."""


class DataLoadError(QuantlibError, ValueError):
    """The given bytes are not calibration data that can be loaded."""


class ConfigurationError(QuantlibError, ValueError):
    """A configuration document is malformed; the message carries the JSON path at fault."""


class SweepError(QuantlibError, RuntimeError):
    """Workers are lost or configurations cannot be applied; finished results stay valid."""


class LimitError(QuantlibError, RuntimeError):
    """A run would take more than one of `quantlib.limits` allows."""


class WorkerError(QuantlibError, RuntimeError):
    """The process that was asked died, passed a limit or was cancelled; the next question works."""


class UnsupportedOpError(QuantlibError, NotImplementedError):
    """A node's operator cannot be executed.

    Parameters
    ----------
    message : str
        What is wrong and what to do.
    op_type, node_name : str
        The operator and the node at fault.
    """

    def __init__(self, message: str, *, op_type: str = "", node_name: str = "") -> None:
        super().__init__(message)
        self.op_type = op_type
        self.node_name = node_name


def name_file(error: Exception, file: str) -> None:
    """Put the name of the file at fault in front of an error's message, unless it is there."""
    if not str(error).startswith(file):
        error.args = (f"{file}: {error}", *error.args[1:])
