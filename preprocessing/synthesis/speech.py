"""Spoken text with the time of every phoneme: espeak-ng, which lies with its voices inside the package ``espeakng-loader``.

Equal text and voice give equal sound, whatever was said before; only voices with breath do not.
"""

from __future__ import annotations

import ctypes
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int16

from artifacts.errors import InputError

log = logging.getLogger(__name__)
# Values of espeak-ng's C interface (speak_lib.h, version 1.52).
_OUTPUT_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA, _DONT_EXIT = 0x0001, 0x0002, 0x8000
_CHARS_UTF8, _END_PAUSE = 1, 0x1000
_POSITION_CHARACTER = 1
_EVENT_END, _EVENT_PHONEME = 0, 7
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4
_OK = 0
SLOWEST_WORDS_PER_MINUTE, FASTEST_WORDS_PER_MINUTE = 80, 450


@dataclass(frozen=True)
class Voice:
    """How the text is spoken.

    Attributes:
        name: espeak-ng's name of the language, and a variant after a plus sign, e.g. ``en-us+f2``.
        words_per_minute: Speed, 80 to 450.
        pitch: Base pitch, 0 to 100.
        pitch_range: Liveliness, 0 (monotone) to 100.
    """

    name: str = "en-us"
    words_per_minute: int = 160
    pitch: int = 50
    pitch_range: int = 50


@dataclass(frozen=True)
class Speech:
    """Sound and the phonemes in it, one after the other without gaps.

    Attributes:
        sound: Mono, full scale 32768.
        rate_hz: Sample rate.
        phoneme: IPA text of each phoneme; empty where there is silence.
        start_s: Start of each phoneme; it ends where the next one starts, the last one with the sound.
    """

    sound: Int16[np.ndarray, " sample"]
    rate_hz: int
    phoneme: tuple[str, ...]
    start_s: Float64[np.ndarray, " phoneme"]

    @property
    def duration_s(self) -> float:
        """Length of the sound."""
        return len(self.sound) / self.rate_hz

    @property
    def end_s(self) -> Float64[np.ndarray, " phoneme"]:
        """End of each phoneme."""
        return np.append(self.start_s[1:], self.duration_s)


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class _Recorder:
    """Collects sound and phoneme events while espeak-ng speaks."""

    def __init__(self) -> None:
        self.pieces: list[np.ndarray] = []
        self.events: list[tuple[int, str]] = []
        self.callback = _Callback(self._receive)

    def _receive(self, wave: Any, count: int, events: Any) -> int:  # noqa: ANN401 - C pointers
        if wave and count > 0:
            self.pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != _EVENT_END:
            if events[index].type == _EVENT_PHONEME:
                # Eight bytes, ended by a zero only where there is room for one.
                text = bytes(events[index].id.string).decode("utf-8", "ignore")
                self.events.append((events[index].audio_position_ms, text))
            index += 1
        return 0

    def speech(self, rate_hz: int) -> Speech:
        """What was heard; silence before the first event is a phoneme of its own."""
        sound = np.concatenate([np.zeros(0, np.int16), *self.pieces]).astype(np.int16)
        names, starts = [""], [0.0]
        for position_ms, text in self.events:
            name = text.strip(" _:|,.ˈˌ'")
            if position_ms / 1e3 >= len(sound) / rate_hz:
                break
            if position_ms / 1e3 <= starts[-1]:
                names[-1] = name
            elif name != names[-1] or name:
                names.append(name)
                starts.append(position_ms / 1e3)
        return Speech(sound, rate_hz, tuple(names), np.array(starts))


def speak(text: str, voice: Voice) -> Speech:
    """Sound and phonemes of ``text``.

    Args:
        text: What to say, UTF-8.
        voice: Who says it.

    Raises:
        InputError: there is nothing to say, the voice does not exist, or espeak-ng cannot be started.

    Source: espeak-ng's C interface (speak_lib.h).
    """
    if not any(letter.isalnum() for letter in text):
        raise InputError("the text to speak is empty: give some words with --text")
    if not SLOWEST_WORDS_PER_MINUTE <= voice.words_per_minute <= FASTEST_WORDS_PER_MINUTE:
        raise InputError(
            f"{voice.words_per_minute} words per minute cannot be spoken: choose "
            f"{SLOWEST_WORDS_PER_MINUTE} to {FASTEST_WORDS_PER_MINUTE}"
        )
    library, folder = _load()
    rate_hz = library.espeak_Initialize(
        _OUTPUT_SYNCHRONOUS,
        0,
        str(folder.parent).encode(),
        _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT,
    )
    if rate_hz <= 0:
        raise InputError(
            f"espeak-ng cannot read its voices in {folder}: install espeakng-loader again"
        )
    try:
        return _record(library, folder, text, voice, rate_hz)
    finally:
        library.espeak_Terminate()


def _record(library: ctypes.CDLL, folder: Path, text: str, voice: Voice, rate_hz: int) -> Speech:
    _, _, variant = voice.name.partition("+")
    # espeak-ng takes an unknown variant for the plain voice, without a word.
    unknown_variant = bool(variant) and not (folder / "voices/!v" / variant).is_file()
    if unknown_variant or library.espeak_SetVoiceByName(voice.name.encode()) != _OK:
        raise InputError(
            f"espeak-ng has no voice {voice.name!r}: choose a language such as en-us, de or fr, "
            f"and a variant of {folder / 'voices/!v'} after a plus sign, such as en-us+f2"
        )
    if variant and _breathes(folder / "voices/!v" / variant):
        # Unlike all else it comes from memory that espeak-ng never set.
        log.warning("voice %s: its breath sounds a little different every time", voice.name)
    parameters = {
        _RATE: voice.words_per_minute,
        _VOLUME: 100,
        _PITCH: voice.pitch,
        _RANGE: voice.pitch_range,
    }
    for parameter, value in parameters.items():
        library.espeak_SetParameter(parameter, value, 0)
    recorder = _Recorder()
    library.espeak_SetSynthCallback(recorder.callback)
    encoded = text.encode() + b"\0"
    status = library.espeak_Synth(
        encoded,
        ctypes.c_size_t(len(encoded)),
        ctypes.c_uint(0),
        _POSITION_CHARACTER,
        ctypes.c_uint(0),
        ctypes.c_uint(_CHARS_UTF8 | _END_PAUSE),
        None,
        None,
    )
    speech = recorder.speech(rate_hz)
    if status != _OK or not len(speech.sound):
        raise InputError(f"espeak-ng cannot speak {text[:40]!r} with the voice {voice.name!r}")
    return speech


def _breathes(variant: Path) -> bool:
    lines = variant.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.startswith("breath ") for line in lines)


def _load() -> tuple[ctypes.CDLL, Path]:
    """A fresh library, and the folder of its voices.

    Raises:
        InputError: the package is not installed or not whole.
    """
    try:
        import espeakng_loader

        folder = Path(espeakng_loader.get_data_path())
        # What was said before lives on in the library's static memory and moves the next sound by a few samples:
        # a copy of the file is loaded as a library of its own, with fresh memory.
        with tempfile.TemporaryDirectory() as temporary:
            library = ctypes.CDLL(shutil.copy(espeakng_loader.get_library_path(), temporary))
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(
            f"espeak-ng cannot be loaded ({error}); run pip install espeakng-loader"
        ) from error
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    return library, folder
