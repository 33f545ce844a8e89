"""How time and memory grow with frames, image side, subjects and workers; see docs/growth.md."""
