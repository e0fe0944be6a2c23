"""Many configurations of one model: a declared grid, run anywhere, kept line by line."""
