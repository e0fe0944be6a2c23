"""The parts of the Export screen."""
