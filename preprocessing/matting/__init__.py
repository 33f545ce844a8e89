"""The parts of the matte."""
