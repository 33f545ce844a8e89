"""From a clip to typed files: one module per step."""
