"""Two small models for tests: one driven by pictures, one by sound."""
