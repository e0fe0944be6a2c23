"""Integer programs under encryption: as gates, what they cost, and as a circuit of Concrete."""
