"""The command for people: is the machine ready, run, look."""
