"""How the open head model is built."""
