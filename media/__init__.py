"""Video and sound through ffmpeg: probing, streaming decoding, encoding (numpy and one external program)."""
