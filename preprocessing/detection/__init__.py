"""Face detector and face mesh, and how their networks are run."""
