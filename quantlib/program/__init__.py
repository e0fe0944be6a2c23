"""A quantized module written down as integers: products, tables, moves."""
