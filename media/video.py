"""Video and sound in and out: the one import for steps that read or write clips."""

from media.writer import VideoWriter

__all__ = ["VideoWriter"]
