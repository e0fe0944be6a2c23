"""Mixed precision: widths per layer, found by an integer program over measured costs."""
