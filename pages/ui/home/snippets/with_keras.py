"""Keras 3: pip install keras torch onnx onnxscript (or tensorflow and tf2onnx as backend)."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np

model = keras.Sequential(  # yours, trained
    [
        keras.Input((8, 8, 1)),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(10),
    ]
)
rng = np.random.default_rng(0)
x_train, x_test = (rng.random((n, 8, 8, 1), dtype=np.float32) for n in (300, 200))
y_test = rng.integers(0, 10, 200)

model(x_train[:2])
model.export("model.onnx", format="onnx")
np.savez("data.npz", calibration=x_train, evaluation=x_test, labels=y_test)
