"""Write H.264 videos that every browser plays."""

from __future__ import annotations

import os
import subprocess
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import ffmpeg
import numpy as np
from jaxtyping import Int16, UInt8

from media.ffmpeg import FfmpegProcess, file_url, raise_write_error, run_ffmpeg

# Tags and matrix say the same, so that players show the colours that were written.
_RGB_TO_YUV = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_inp,format=yuv420p,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)


def frame_rate_text(frame_rate_hz: float) -> str:
    """A frame rate as ffmpeg takes it exactly: 29.97002997 becomes ``30000/1001``."""
    rate = Fraction(frame_rate_hz).limit_denominator(1001)
    return f"{rate.numerator}/{rate.denominator}"


class VideoWriter:
    """Encode frames one by one; ``path`` exists only once the ``with`` block has ended without an error.

    H.264, yuv420p, BT.709; an odd width or height is made even by repeating the last column or row.
    Equal frames and sound give equal bytes on one machine.

    Args:
        path: The ``.mp4`` to write; its folder is created.
        frame_rate_hz: Frames per second.
        size: Width, height of the frames in pixels.
        audio: Sound (sample,) and its rate in hertz, cut or padded with silence to the video's length.
        crf: x264's constant rate factor; 17 looks like the original.

    Raises:
        InputError: ffmpeg refuses.
        OSError: the disk is full or the folder is not writable.

    Example:
        >>> with VideoWriter(Path("a.mp4"), 25.0, (128, 128)) as writer:
        ...     writer.write(frame)
    """

    def __init__(
        self,
        path: Path,
        frame_rate_hz: float,
        size: tuple[int, int],
        audio: tuple[Int16[np.ndarray, " sample"], int] | None = None,
        crf: int = 17,
    ) -> None:
        self._path = Path(path)
        self._silent = self._path.with_name(self._path.name + ".silent.partial.mp4")
        self._partial = self._path.with_name(self._path.name + ".partial.mp4")
        self._size, self._audio, self._frame_rate_hz = size, audio, frame_rate_hz
        self._n_frames = 0
        width, height = (side + side % 2 for side in size)
        stream = ffmpeg.input(
            "pipe:",
            format="rawvideo",
            pix_fmt="rgb24",
            s=f"{width}x{height}",
            framerate=frame_rate_text(frame_rate_hz),
        )
        stream = ffmpeg.output(
            stream,
            file_url(self._silent),
            vf=_RGB_TO_YUV,
            vcodec="libx264",
            preset="medium",
            crf=crf,
            movflags="+faststart",
            **{"flags:v": "+bitexact", "fflags": "+bitexact"},
        )
        self._arguments = ffmpeg.get_args(stream, overwrite_output=True)

    def __enter__(self) -> VideoWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._process = FfmpegProcess(self._arguments, stdin=subprocess.PIPE)
        return self

    def write(self, frame: UInt8[np.ndarray, "height width 3"]) -> None:
        """Append one sRGB frame.

        Raises:
            ValueError: the frame has another size than announced.
            InputError: ffmpeg ended early.
            OSError: the disk is full.
        """
        if frame.shape[:2] != (self._size[1], self._size[0]):
            raise ValueError(
                f"{self._path}: a frame is {frame.shape[1]}x{frame.shape[0]} pixels, "
                f"expected {self._size[0]}x{self._size[1]}"
            )
        rows, columns = frame.shape[0] % 2, frame.shape[1] % 2
        if rows or columns:
            frame = np.pad(frame, ((0, rows), (0, columns), (0, 0)), mode="edge")
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data)
        except BrokenPipeError:
            self._process.wait()
            raise_write_error(self._path, self._process.log())
        self._n_frames += 1

    def _add_sound(self, audio: tuple[Int16[np.ndarray, " sample"], int]) -> None:
        """Put the sound beside the encoded frames, as long as they are."""
        sound, rate_hz = audio
        n_samples = round(self._n_frames / self._frame_rate_hz * rate_hz)
        sound = np.pad(sound[:n_samples], (0, max(0, n_samples - len(sound))))
        sound_stream = ffmpeg.input("pipe:", format="s16le", ar=rate_hz, ac=1)
        stream = ffmpeg.output(
            ffmpeg.input(file_url(self._silent)).video,
            sound_stream.audio,
            file_url(self._partial),
            vcodec="copy",
            acodec="aac",
            movflags="+faststart",
            **{"b:a": "128k", "flags:a": "+bitexact", "fflags": "+bitexact"},
        )
        arguments = ffmpeg.get_args(stream, overwrite_output=True)
        status, _, log = run_ffmpeg(arguments, given=sound.astype("<i2").tobytes())
        if status != 0:
            raise_write_error(self._path, log)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is not None:
                return
            if self._process.wait() != 0 or self._n_frames == 0:
                raise_write_error(self._path, self._process.log())
            if self._audio is not None and len(self._audio[0]):
                self._add_sound(self._audio)
            else:
                os.replace(self._silent, self._partial)
            with self._partial.open("rb") as written:
                os.fsync(written.fileno())
            os.replace(self._partial, self._path)
        finally:
            self._process.stop()
            self._silent.unlink(missing_ok=True)
            self._partial.unlink(missing_ok=True)
