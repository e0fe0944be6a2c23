"""What the Sweep screen draws, tabulates and lets choose."""
