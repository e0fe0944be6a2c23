"""Calibration: what is measured about tensors, the ranges that follow, and whether it suffices."""
