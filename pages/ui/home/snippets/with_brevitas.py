"""Brevitas: pip install brevitas onnx onnxoptimizer. Its grids come along in the model."""

import brevitas.nn as qnn
import numpy as np
import torch
from brevitas.export import export_qonnx

model = torch.nn.Sequential(  # yours, trained
    qnn.QuantIdentity(bit_width=4),
    torch.nn.Flatten(),
    qnn.QuantLinear(64, 32, bias=True, weight_bit_width=4),
    qnn.QuantReLU(bit_width=4),
    qnn.QuantLinear(32, 10, bias=True, weight_bit_width=4),
).eval()
x_train, x_test = torch.rand(300, 1, 8, 8), torch.rand(200, 1, 8, 8)
y_test = torch.randint(0, 10, (200,))

export_qonnx(
    model,
    args=x_train[:1],
    export_path="model.onnx",
    opset_version=14,
    dynamo=False,  # all weights inside the one file
    input_names=["x"],
    dynamic_axes={"x": {0: "batch"}},
)
np.savez("data.npz", calibration=x_train, evaluation=x_test, labels=y_test)
