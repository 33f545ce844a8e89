"""Whether the character logits say what the package deepspeech-tflite hears, and how fast they are made.

    python -m benchmarks.deepspeech_logits frames.h5 --network deepspeech-0.9.3-models.tflite [--package-python PYTHON]

Prints the greedy decoding of the logits, with the network's own MFCC and with those of python_speech_features. With an
interpreter that has the package (envs/deepspeech.yaml; Python 3.9 or older) also its transcript of the same sound and
the share of characters that differ. The package decodes by beam search over the same probabilities, so single
characters may differ where two are nearly as likely; ends with exit status 1 where more than a tenth do.

Source: own.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from artifacts.errors import InputError
from artifacts.kinds import FRAMES
from artifacts.step import run_step
from artifacts.store import open_artifact
from preprocessing.sound.ctc import edit_distance, greedy_text
from preprocessing.sound.deepspeech import RATE_HZ, AcousticNetwork, DeepSpeech

MAX_DIFFERENCE = 0.1


@dataclass(frozen=True)
class Options:
    """Compare with the package deepspeech-tflite."""

    frames: tyro.conf.Positional[Path]
    """Clip with English speech: an artifact of kind frames."""
    network: Path
    """deepspeech-0.9.3-models.tflite."""
    package_python: Path | None = None
    """Python of an environment with the package (envs/deepspeech.yaml)."""


def package_text(python: Path, network: Path, audio: np.ndarray) -> str:
    """Transcript of the package.

    Raises:
        InputError: that interpreter cannot run it.
    """
    script = Path(__file__).with_name("deepspeech_package.py")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audio.npy"
        np.save(path, audio)
        command = [str(python), str(script), str(network), str(path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise InputError(f"{python}: cannot be run ({error.strerror})") from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise InputError(
            f"{python}: cannot transcribe with deepspeech-tflite ({reason}); make the environment of "
            "envs/deepspeech.yaml (Python 3.9) and give its interpreter"
        )
    return done.stdout.strip()


def main(options: Options) -> None:
    """Print the texts and how they differ."""
    with open_artifact(options.frames, FRAMES) as reader:
        audio, has_audio = reader.read("audio"), bool(reader.read("has_audio"))
    if not has_audio:
        raise InputError(f"{options.frames}: has no sound; give a clip with English speech")
    own_mfcc = AcousticNetwork(options.network).has_mfcc
    texts = {}
    for mfcc in ("network", "python_speech_features") if own_mfcc else ("python_speech_features",):
        start = time.perf_counter()
        track = DeepSpeech(options.network, mfcc).extract(audio, RATE_HZ)
        seconds = time.perf_counter() - start
        texts[mfcc] = greedy_text(track.values).strip()
        print(f"{mfcc}, {len(audio) / RATE_HZ / seconds:.1f} times real time: {texts[mfcc]!r}")
    if options.package_python is None:
        print("no --package-python was given: nothing to compare with")
        return
    wanted = package_text(options.package_python, options.network, audio)
    print(f"deepspeech-tflite: {wanted!r}")
    differing = {name: edit_distance(text, wanted) for name, text in texts.items()}
    for name, count in differing.items():
        print(f"{name}: {count} of {len(wanted)} characters differ")
    if min(differing.values()) > MAX_DIFFERENCE * max(len(wanted), 1):
        sys.exit("the logits do not say what the package hears")


if __name__ == "__main__":
    run_step(Options, main)
