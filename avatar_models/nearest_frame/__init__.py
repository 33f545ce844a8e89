"""The baseline: for each driving frame the training frame with the nearest expression and pose, aligned by landmarks."""
