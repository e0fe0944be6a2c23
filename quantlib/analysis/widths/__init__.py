"""The bit-width budget: why each accumulator is as wide as it is, what it costs, what fits."""
