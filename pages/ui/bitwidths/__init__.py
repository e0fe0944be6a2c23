"""What the Bit widths screen draws and tabulates."""
