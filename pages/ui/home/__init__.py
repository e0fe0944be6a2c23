"""What Home offers: samples, and what will happen to a model."""
