"""Transcript of the package deepspeech-tflite; run by ``benchmarks/deepspeech_logits.py`` in an interpreter that has it.

    python benchmarks/deepspeech_package.py network.tflite audio.npy

``audio.npy`` holds 16-bit sound of 16 kHz. Prints the text, decoded without a language model. It imports nothing of
this project, which does not depend on the package; it needs Python 3.9 or older, as the package does.

Source: own.
"""

import sys

import deepspeech  # pyright: ignore[reportMissingImports]
import numpy as np

if __name__ == "__main__":
    print(deepspeech.Model(sys.argv[1]).stt(np.load(sys.argv[2])))
