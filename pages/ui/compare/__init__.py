"""What the Compare screen draws and tabulates."""
