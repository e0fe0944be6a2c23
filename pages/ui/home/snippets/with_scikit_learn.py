"""scikit-learn: pip install scikit-learn skl2onnx."""

from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

x, y = load_iris(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(x.astype(np.float32), y, random_state=0)
model = MLPClassifier((16,), max_iter=2000, random_state=0).fit(x_train, y_train)  # yours

onnx_model = to_onnx(model, x_train[:1], options={"zipmap": False}, target_opset=17)
Path("model.onnx").write_bytes(onnx_model.SerializeToString())
np.savez("data.npz", calibration=x_train, evaluation=x_test, labels=y_test)
