"""Third-party files: where each comes from, its licence and digest, and how to fetch it."""
