"""Volume rendering as pure functions: sampling, compositing, encoding, ray bounds."""
