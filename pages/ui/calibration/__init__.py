"""What the Calibration screen draws and tabulates."""
