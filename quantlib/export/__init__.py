"""A configuration as something another program reads."""
