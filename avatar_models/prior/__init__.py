"""The project's own generative prior: a tri-plane generator trained on synthetic heads."""
