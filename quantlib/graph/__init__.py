"""ONNX bytes to an immutable, checked, simplified graph."""
