"""Pure functions, one definition per name; nothing here reads a file or knows a model."""
