"""Where the error comes from: by source, by layer, and where along the graph a decision is lost."""
