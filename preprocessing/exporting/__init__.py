"""Parts of the step ``export``: one module per format, and what they share."""
