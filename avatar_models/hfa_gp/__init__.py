"""HFA-GP: a personal subspace of a generative prior, driven by expression, pictures or sound."""
