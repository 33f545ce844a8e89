"""The acoustic network of DeepSpeech 0.9.3 (a TensorFlow Lite file): from sound to character logits."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int16

from artifacts.errors import InputError
from preprocessing.audio_feature_kinds import FULL_SCALE, FeatureTrack
from preprocessing.detection.tflite import Network, read_model_file
from preprocessing.detection.tflite_graph import NetworkParts
from preprocessing.sound.mfcc import COEFFICIENTS, normalise_contexts, speech_mfcc

LOGGER = logging.getLogger(__name__)

CHARACTERS = 29
CONTEXT = 9
RATE_HZ = 16000
STEPS_HZ = 50.0
STEP_SAMPLES = 320
# Length of deepspeech-0.9.3-models.tflite as published.
PUBLISHED_BYTES = 47_331_784
PAGE = "https://github.com/mozilla/DeepSpeech/releases/tag/v0.9.3"
FRONT_ENDS = ("auto", "network", "python_speech_features")


class AcousticNetwork:
    """The network, cut into its two parts: sound to MFCC (where the file has that part), MFCC to logits.

    The published file ends in a softmax that it calls "logits"; the logits proper are what goes into it.
    """

    def __init__(self, path: Path) -> None:
        """Read and cut the file.

        Raises:
            InputError: it is missing, damaged, or another network.
        """
        content = read_model_file(path)
        parts = NetworkParts(content, str(path))
        self._path = path
        _check_names(path, parts)
        self._logits_name = parts.before_softmax("logits")
        outputs = [self._logits_name, "new_state_c", "new_state_h"]
        self._network = Network(parts.leading_to(outputs), str(path))
        self._check_layout()
        self._mfcc: Network | None = None
        if "mfccs" in parts.output_names and "input_samples" in parts.input_names:
            self._mfcc = Network(parts.leading_to(["mfccs"]), str(path))
        if len(content) != PUBLISHED_BYTES:
            LOGGER.warning(
                "%s: has %d bytes, deepspeech-0.9.3-models.tflite as published has %d; it is used, since its layout fits",
                *(path, len(content), PUBLISHED_BYTES),
            )

    def _check_layout(self) -> None:
        shapes = {**self._network.input_shapes, **self._network.output_shapes}
        node, state = shapes["input_node"], shapes["previous_state_c"]
        n_steps = node[1] if len(node) == 4 else 0
        fits = (
            node == (1, n_steps, 2 * CONTEXT + 1, COEFFICIENTS)
            and int(np.prod(shapes[self._logits_name])) == n_steps * CHARACTERS > 0
            and all(shapes[name] == state for name in _STATES.values())
            and all(shapes[name] == state for name in _STATES)
        )
        if not fits:
            raise InputError(
                f"{self._path}: input_node is {node} and logits {shapes[self._logits_name]}, expected (1, steps, "
                f"{2 * CONTEXT + 1}, {COEFFICIENTS}) and (steps, {CHARACTERS}); give the English network of {PAGE}"
            )
        self._n_steps, self._state_shape = n_steps, state

    @property
    def has_mfcc(self) -> bool:
        """Whether the file brings the MFCC part that the network was trained with."""
        return self._mfcc is not None

    def mfcc(self, audio: Int16[np.ndarray, " sample"]) -> Float64[np.ndarray, "step 26"]:
        """The network's own coefficients, one step every 20 ms; the last window is filled up with silence.

        Raises:
            InputError: the file has no such part.
        """
        if self._mfcc is None:
            raise InputError(
                f"{self._path}: has no MFCC part of its own; choose python_speech_features"
            )
        shape = self._mfcc.input_shapes["input_samples"]
        length = int(np.prod(shape))
        n_steps = 1 + max(0, (len(audio) - length) // STEP_SAMPLES + 1)
        padded = np.zeros((n_steps - 1) * STEP_SAMPLES + length, np.float32)
        padded[: len(audio)] = audio[: len(padded)] / np.float32(FULL_SCALE)
        result = np.empty((n_steps, COEFFICIENTS))
        for step in range(n_steps):
            window = padded[step * STEP_SAMPLES :][:length].reshape(shape)
            result[step] = self._mfcc.run({"input_samples": window})["mfccs"].reshape(-1)
        return result

    def logits(self, padded: Float64[np.ndarray, "padded 26"]) -> Float32[np.ndarray, "step 29"]:
        """Logits of every step but the first and last nine of ``padded``, which are context only.

        The network takes 16 steps at a time and carries its memory on from call to call.
        """
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT + 1, axis=0)
        windows = np.moveaxis(windows, -1, 1)
        state = dict.fromkeys(_STATES.values(), np.zeros(self._state_shape, np.float32))
        result = np.empty((len(windows), CHARACTERS), np.float32)
        for first in range(0, len(windows), self._n_steps):
            part = windows[first : first + self._n_steps]
            batch = np.zeros((1, self._n_steps, *part.shape[1:]), np.float32)
            batch[0, : len(part)] = part
            found = self._network.run({"input_node": batch, **state})
            state = {given: found[made] for made, given in _STATES.items()}
            values = found[self._logits_name].reshape(self._n_steps, CHARACTERS)
            result[first : first + len(part)] = values[: len(part)]
        return result


# The state that a call makes, and the input of the next one that takes it.
_STATES = {"new_state_c": "previous_state_c", "new_state_h": "previous_state_h"}


def _check_names(path: Path, parts: NetworkParts) -> None:
    wanted = {"input_node", *_STATES.values()}, {"logits", *_STATES}
    if not (wanted[0] <= set(parts.input_names) and wanted[1] <= set(parts.output_names)):
        raise InputError(
            f"{path}: is no DeepSpeech network (its inputs are {', '.join(parts.input_names)}; "
            f"expected input_node, previous_state_c, previous_state_h); give deepspeech-0.9.3-models.tflite of {PAGE}"
        )


@dataclass(frozen=True)
class DeepSpeech:
    """Character logits of DeepSpeech, 50 a second; step i belongs to second i / 50, as the field counts.

    Attributes:
        path: The network's ``.tflite`` file.
        mfcc: Where its input comes from: ``network`` (the part of the file that it was trained with),
            ``python_speech_features`` (the front end and normalisation of AD-NeRF and VOCA, made for DeepSpeech 0.1.0) or
            ``auto`` (the first where the file has it).
    """

    path: Path
    mfcc: str = "auto"

    @property
    def channels(self) -> int:
        """Length of its vectors."""
        return CHARACTERS

    def extract(self, audio: Int16[np.ndarray, " sample"], rate_hz: int) -> FeatureTrack:
        """The features of mono sound of 16 kHz; full scale is 32768.

        Raises:
            InputError: the rate is another one, or the network cannot be used.
        """
        if rate_hz != RATE_HZ:
            raise InputError(f"DeepSpeech needs sound of {RATE_HZ} Hz, not {rate_hz} Hz")
        network = AcousticNetwork(self.path)
        own = network.has_mfcc if self.mfcc == "auto" else self.mfcc == "network"
        if self.mfcc == "auto" and not own:
            LOGGER.warning(
                "%s: has no MFCC part of its own; those of python_speech_features are used instead",
                self.path,
            )
        if own:
            padded = np.pad(network.mfcc(audio), ((CONTEXT, CONTEXT), (0, 0)))
        else:
            # Every second window: the network steps 20 ms.
            padded = normalise_contexts(speech_mfcc(audio, rate_hz, every=2), CONTEXT)
        return FeatureTrack(network.logits(padded), STEPS_HZ, 0.0)
