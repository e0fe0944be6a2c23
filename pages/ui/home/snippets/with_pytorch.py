"""PyTorch: pip install torch onnx onnxscript."""

import numpy as np
import torch

model = torch.nn.Sequential(  # yours, trained
    torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
).eval()
x_train, x_test = torch.rand(300, 1, 8, 8), torch.rand(200, 1, 8, 8)
y_test = torch.randint(0, 10, (200,))

torch.onnx.export(
    model,
    (x_train[:2],),
    "model.onnx",
    dynamo=True,
    external_data=False,  # all weights inside the one file
    dynamic_shapes=({0: torch.export.Dim("batch")},),
)
np.savez("data.npz", calibration=x_train[:300], evaluation=x_test, labels=y_test)
