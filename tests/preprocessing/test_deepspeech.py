import logging
from itertools import groupby

import numpy as np
import pytest
import python_speech_features
from deepspeech_network import SmallDeepSpeech

from artifacts.errors import InputError
from assets.fetch import fetch_asset
from preprocessing.detection.tflite import Network
from preprocessing.sound.ctc import ALPHABET, BLANK, edit_distance, greedy_text
from preprocessing.sound.deepspeech import AcousticNetwork, DeepSpeech
from preprocessing.sound.mfcc import normalise_contexts, speech_mfcc

RATE = 16000


def _speech(n_samples: int, seed: int = 0) -> np.ndarray:
    """Noise with the slopes of speech: loud and quiet, low and high."""
    rng = np.random.default_rng(seed)
    noise = np.cumsum(rng.normal(0, 1, n_samples + 400))
    noise = noise[400:] - noise[:-400]
    loudness = 40 * (1 + np.sin(2 * np.pi * 4 * np.arange(n_samples) / RATE))
    return np.round(noise * loudness).clip(-32768, 32767).astype(np.int16)


# ---------------------------------------------------------------------------------- MFCC


@pytest.mark.parametrize("n_samples", [1, 399, 400, 401, 560, 561, 5000, 16000 * 3 + 7])
def test_mfcc_equal_python_speech_features(n_samples):
    audio = _speech(n_samples)
    reference = python_speech_features.mfcc(audio, RATE, numcep=26)
    found = speech_mfcc(audio, RATE)
    assert found.shape == reference.shape
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-9)
    # A product of fewer rows may be summed in another order, depending on the processor.
    every_other = speech_mfcc(audio, RATE, every=2)
    np.testing.assert_allclose(every_other, found[::2], rtol=0, atol=1e-9)


def test_mfcc_of_silence_and_in_pieces():
    silence = np.zeros(2000, np.int16)
    np.testing.assert_allclose(
        speech_mfcc(silence, RATE), python_speech_features.mfcc(silence, RATE, numcep=26), atol=1e-9
    )
    audio = _speech(RATE * 45)
    whole = speech_mfcc(audio, RATE)
    # The first window of a part lacks the sample before it that the pre-emphasis wants.
    part = speech_mfcc(audio[160 * 4090 : 160 * 4115], RATE)
    np.testing.assert_allclose(whole[4091:4110], part[1:20], atol=1e-9)


@pytest.mark.parametrize("n_steps", [1, 5, 18, 19, 60])
def test_normalisation_is_that_of_the_stacked_windows(n_steps):
    """As AD-NeRF does it: windows first, then mean and deviation of all their numbers."""
    coefficients = np.random.default_rng(n_steps).normal(3, 5, (n_steps, 26))
    padded = np.pad(coefficients, ((9, 9), (0, 0)))
    stacked = np.stack([padded[i : i + 19] for i in range(n_steps)])
    expected = (stacked - stacked.mean()) / stacked.std()
    found = normalise_contexts(coefficients, 9)
    np.testing.assert_allclose(
        np.stack([found[i : i + 19] for i in range(n_steps)]), expected, atol=1e-12
    )


# ------------------------------------------------------------------------------- network


@pytest.mark.parametrize("n_steps", [1, 15, 16, 17, 50])
def test_logits_carry_the_memory_from_call_to_call(tmp_path, n_steps):
    small = SmallDeepSpeech()
    network = AcousticNetwork(small.write(tmp_path / "small.tflite"))
    padded = np.random.default_rng(1).normal(0, 1, (n_steps + 18, 26))
    found = network.logits(padded)
    np.testing.assert_allclose(found, small.logits(padded), atol=2e-5)
    if n_steps > 16:
        forgetful = network.logits(padded[16:])
        assert np.abs(found[16:] - forgetful).max() > 0.1


def test_the_softmax_that_is_called_logits_is_left_out(tmp_path):
    """The file's own output "logits" is the softmax of what we take, as in the published file."""
    path = SmallDeepSpeech().write(tmp_path / "small.tflite")
    padded = np.random.default_rng(2).normal(0, 1, (16 + 18, 26))
    logits = AcousticNetwork(path).logits(padded)
    whole = Network(path.read_bytes(), "small")
    windows = np.stack([padded[i : i + 19] for i in range(16)])
    zeros = {name: np.zeros((1, 12)) for name in ("previous_state_c", "previous_state_h")}
    given = {"input_node": windows[None], "input_samples": np.zeros(512), **zeros}
    probability = whole.run(given)["logits"]
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(
        exponentials / exponentials.sum(axis=1, keepdims=True), probability, atol=1e-6
    )
    assert logits.min() < -1  # no probabilities


def test_a_network_without_softmax_gives_the_same_logits(tmp_path):
    padded = np.random.default_rng(3).normal(0, 1, (40, 26))
    found = [
        AcousticNetwork(
            SmallDeepSpeech(with_softmax=flag).write(tmp_path / f"{flag}.tflite")
        ).logits(padded)
        for flag in (True, False)
    ]
    np.testing.assert_array_equal(*found)


def _tensorflow_mfcc(window: np.ndarray) -> np.ndarray:
    """TensorFlow's AudioSpectrogram and Mfcc, written out: Hann window, magnitudes in 40 mel bands, logarithm, cosines."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    magnitude = np.abs(np.fft.rfft(window * hann))

    def mel(hertz):
        return 1127 * np.log1p(np.asarray(hertz) / 700)

    corners = np.linspace(mel(20.0), mel(8000.0), 42)
    bins = np.arange(257)
    used = bins >= 2  # bin 1 is skipped: int(1.5 + 20 Hz / 31.25 Hz) is 2
    place = mel(bins * 16000 / 512)
    bands = np.array(
        [
            np.sum(magnitude * used * np.interp(place, corners[i : i + 3], [0, 1, 0]))
            for i in range(40)
        ]
    )
    cosines = np.cos(np.pi / 40 * np.arange(26)[:, None] * (np.arange(40) + 0.5))
    return np.sqrt(2 / 40) * cosines @ np.log(np.maximum(bands, 1e-12))


def test_the_networks_own_mfcc_step_20_ms(tmp_path):
    network = AcousticNetwork(SmallDeepSpeech().write(tmp_path / "small.tflite"))
    audio = _speech(3000)
    found = network.mfcc(audio)
    # Windows of 512 samples that are full, then what is left, filled up with silence.
    assert len(found) == (3000 - 512) // 320 + 1 + 1
    padded = np.pad(audio, (0, 2000)) / 32768
    for step in (0, 3, len(found) - 1):
        expected = _tensorflow_mfcc(padded[320 * step : 320 * step + 512])
        np.testing.assert_allclose(found[step], expected, atol=2e-4)
    assert network.mfcc(np.zeros(0, np.int16)).shape == (1, 26)


@pytest.mark.parametrize("mfcc", ["network", "python_speech_features"])
def test_extract_is_front_end_then_network(tmp_path, mfcc):
    small = SmallDeepSpeech()
    path = small.write(tmp_path / "small.tflite")
    audio = _speech(RATE)
    track = DeepSpeech(path, mfcc).extract(audio, RATE)
    if mfcc == "network":
        padded = np.pad(AcousticNetwork(path).mfcc(audio), ((9, 9), (0, 0)))
    else:
        coefficients = python_speech_features.mfcc(audio, RATE, numcep=26)[::2]
        padded = np.pad(coefficients, ((9, 9), (0, 0)))
        stacked = np.stack([padded[i : i + 19] for i in range(len(coefficients))])
        padded = (padded - stacked.mean()) / stacked.std()
    np.testing.assert_allclose(track.values, small.logits(padded), atol=1e-4)
    assert (track.rate_hz, track.start_s) == (50.0, 0.0)
    assert abs(len(track.values) - 50) <= 1


def test_auto_takes_the_networks_own_mfcc_where_there_is_one(tmp_path, caplog):
    audio = _speech(4000)
    for with_mfcc, named in ((True, "network"), (False, "python_speech_features")):
        path = SmallDeepSpeech(with_mfcc=with_mfcc).write(tmp_path / f"{with_mfcc}.tflite")
        np.testing.assert_array_equal(
            DeepSpeech(path).extract(audio, RATE).values,
            DeepSpeech(path, named).extract(audio, RATE).values,
        )
    assert caplog.text.count("those of python_speech_features are used instead") == 1


def test_silence_and_hardly_any_sound_give_finite_logits(tmp_path):
    path = SmallDeepSpeech().write(tmp_path / "small.tflite")
    for mfcc in ("network", "python_speech_features"):
        for n_samples in (0, 1, 300, 16000):
            track = DeepSpeech(path, mfcc).extract(np.zeros(n_samples, np.int16), RATE)
            assert np.isfinite(track.values).all()


def test_another_file_than_the_published_one_is_said(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        AcousticNetwork(SmallDeepSpeech().write(tmp_path / "small.tflite"))
    assert "as published has 47331784" in caplog.text


def test_networks_that_are_something_else(tmp_path):
    with pytest.raises(InputError, match="no such network file"):
        AcousticNetwork(tmp_path / "none.tflite")
    with pytest.raises(InputError, match=r"is no DeepSpeech network \(its inputs are input"):
        AcousticNetwork(fetch_asset("face_detection_short_range.tflite"))
    path = SmallDeepSpeech(characters=33).write(tmp_path / "german.tflite")
    with pytest.raises(InputError, match=r"logits \(16, 33\), expected .* 29"):
        AcousticNetwork(path)
    whole = SmallDeepSpeech().write(tmp_path / "cut.tflite").read_bytes()
    for length in (8, 100, len(whole) // 2):
        (tmp_path / "cut.tflite").write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"damaged|cannot be loaded"):
            AcousticNetwork(tmp_path / "cut.tflite")
    (tmp_path / "pb.tflite").write_bytes(b"\x0a\x10 a frozen graph of TensorFlow")
    with pytest.raises(InputError, match="not a TensorFlow Lite model"):
        AcousticNetwork(tmp_path / "pb.tflite")
    small = SmallDeepSpeech(with_mfcc=False).write(tmp_path / "small.tflite")
    with pytest.raises(InputError, match="no MFCC part"):
        DeepSpeech(small, "network").extract(_speech(1000), RATE)
    with pytest.raises(InputError, match="16000 Hz, not 8000 Hz"):
        DeepSpeech(small).extract(_speech(1000), 8000)


# ----------------------------------------------------------------------------------- text


def _logits_of(symbols: str) -> np.ndarray:
    indices = [BLANK if symbol == "_" else ALPHABET.index(symbol) for symbol in symbols]
    return np.eye(29, dtype=np.float32)[indices] * 5 - 1


@pytest.mark.parametrize(
    ("symbols", "text"),
    [
        ("___", ""),
        ("hheel_lloo", "hello"),
        ("hel lo", "hel lo"),
        ("aa_aa", "aa"),
        ("it''ss  _ me", "it's  me"),
    ],
)
def test_greedy_decoding_joins_repetitions_and_drops_blanks(symbols, text):
    assert greedy_text(_logits_of(symbols)) == text


def test_greedy_decoding_by_the_definition():
    logits = np.random.default_rng(0).normal(0, 1, (200, 29)).astype(np.float32)
    best = logits.argmax(axis=1)
    kept = [k for i, k in enumerate(best) if k != BLANK and (i == 0 or best[i - 1] != k)]
    assert greedy_text(logits) == "".join(ALPHABET[k] for k in kept)
    assert len(list(groupby(best))) >= len(kept)


def test_edit_distance():
    assert edit_distance("", "abc") == 3
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("same", "same") == 0
