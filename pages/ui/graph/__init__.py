"""What the Graph screen draws and tabulates."""
