"""Parts of the step ``driver``: one reader per format, and what they share."""
