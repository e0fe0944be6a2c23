"""Reports about a quantized model: bounded, frozen, ready to show."""
