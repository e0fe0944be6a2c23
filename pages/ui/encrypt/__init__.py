"""The parts of the Encrypt screen."""
