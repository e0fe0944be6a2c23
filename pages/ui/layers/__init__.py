"""What the Layers screen draws, tabulates and lets edit."""
