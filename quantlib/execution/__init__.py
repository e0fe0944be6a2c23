"""Running graphs: every tensor in float, and the same in integers."""
