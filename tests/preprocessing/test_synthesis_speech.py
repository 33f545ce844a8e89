import numpy as np
import pytest

from artifacts.errors import InputError
from preprocessing.synthesis.noise import NoiseField
from preprocessing.synthesis.sentences import SENTENCES, choose_text
from preprocessing.synthesis.speech import Speech, Voice, speak
from preprocessing.synthesis.visemes import VISEMES, make_mouth_track, visemes_of
from preprocessing.synthesize import FEMININE_VOICES, MASCULINE_VOICES, fit_speech

ACTIONS = (
    *("jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "tongueOut"),
    *("mouthRollLower", "mouthRollUpper"),
    *(
        f"mouth{name}{side}"
        for name in ("Press", "LowerDown", "UpperUp", "Stretch", "Smile")
        for side in ("Left", "Right")
    ),
)


@pytest.fixture(scope="module")
def speech():
    return speak("My mother bought apples.", Voice("en-us"))


def spoken(*phonemes, length_s=0.1):
    """A speech of equally long phonemes."""
    rate_hz = 1000
    return Speech(
        np.zeros(round(len(phonemes) * length_s * rate_hz), np.int16),
        rate_hz,
        phonemes,
        np.arange(len(phonemes)) * length_s,
    )


def coefficient(track, action, time_s):
    return track.at(time_s)[ACTIONS.index(action)]


def test_phonemes_follow_each_other_through_the_whole_sound(speech):
    assert speech.rate_hz == 22050
    assert 0.8 < speech.duration_s < 4
    assert speech.start_s[0] == 0
    assert (np.diff(speech.start_s) > 0).all()
    assert speech.end_s[-1] == speech.duration_s
    heard = [phoneme for phoneme in speech.phoneme if phoneme]
    assert heard[0] == "m"
    assert heard[1].startswith("a")
    assert "b" in heard
    assert "p" in heard


def test_sound_is_where_the_phonemes_are(speech):
    size = np.abs(speech.sound.astype(float))

    def loudness(chosen):
        spans = zip(speech.phoneme, speech.start_s, speech.end_s, strict=True)
        parts = [
            size[int(start * speech.rate_hz) : int(end * speech.rate_hz)]
            for phoneme, start, end in spans
            if chosen(phoneme)
        ]
        return np.concatenate(parts).mean()

    vowels = loudness(lambda phoneme: phoneme[:1] in tuple("aɑæɔʌɐ"))
    assert vowels > 5 * loudness(lambda phoneme: not phoneme)


def test_equal_text_gives_equal_sound_whatever_was_said_before(speech):
    speak("Something quite different.", Voice("en-us+f1", 200))
    again = speak("My mother bought apples.", Voice("en-us"))
    np.testing.assert_array_equal(again.sound, speech.sound)
    np.testing.assert_array_equal(again.start_s, speech.start_s)


@pytest.mark.parametrize("text", ["", "   ", "...!"])
def test_nothing_to_say_is_one_sentence(text):
    with pytest.raises(InputError, match="empty"):
        speak(text, Voice())


@pytest.mark.parametrize("name", ["xx-yy", "en-us+nobody", "../../etc", ""])
def test_an_unknown_voice_is_named(name):
    with pytest.raises(InputError, match="no voice"):
        speak("Hello.", Voice(name))


def test_a_speed_out_of_range_is_named():
    with pytest.raises(InputError, match="9000 words per minute"):
        speak("Hello.", Voice(words_per_minute=9000))


def test_every_phoneme_of_the_sentences_has_a_mouth_shape():
    speech = speak(" ".join(SENTENCES), Voice("en-us"))
    shapes = {shape for phoneme in speech.phoneme for shape in visemes_of(phoneme)}
    assert shapes == VISEMES.keys()


@pytest.mark.parametrize(
    ("phoneme", "shapes"),
    [
        ("m", ["lips"]),
        ("aɪ", ["ah", "ih"]),
        ("tʃ", ["tongue", "hush"]),
        ("uː", ["oo"]),
        ("", ["rest"]),
        ("ʘ", ["throat"]),
    ],
)
def test_mouth_shapes_of_phonemes(phoneme, shapes):
    assert visemes_of(phoneme) == shapes


def test_lips_close_between_open_vowels():
    track = make_mouth_track(spoken("ɑː", "m", "ɑː"), ACTIONS)
    openings = [coefficient(track, "jawOpen", t) for t in (0.05, 0.15, 0.25)]
    closings = [coefficient(track, "mouthClose", t) for t in (0.05, 0.15, 0.25)]
    assert min(openings[0], openings[2]) > 0.28
    # The jaw's opening is undone by the lips' closing.
    assert openings[1] < 0.08
    assert openings[1] - closings[1] < 0.03


def test_a_consonant_takes_the_rounding_of_the_vowel_that_follows():
    rounded = make_mouth_track(spoken("t", "uː"), ACTIONS)
    spread = make_mouth_track(spoken("t", "iː"), ACTIONS)
    assert coefficient(rounded, "mouthPucker", 0.05) > 0.1
    assert coefficient(spread, "mouthPucker", 0.05) < 0.02


def test_the_mouth_rests_in_silence_and_never_jumps():
    track = make_mouth_track(spoken("", "p", "ɑː", "", length_s=0.4), ACTIONS)
    assert coefficient(track, "jawOpen", 1.55) < 0.01
    assert np.abs(track.at(60.0)).max() < 0.05
    moves = np.diff([track.at(t) for t in np.arange(0, 1.6, 0.001)], axis=0)
    assert np.abs(moves).max() < 0.02


def test_speech_is_cut_or_followed_by_silence():
    speech = spoken("m", "ɑː", "p")
    short = fit_speech(speech, 0.15)
    assert (short.phoneme, short.duration_s) == (("m", "ɑː"), 0.15)
    long = fit_speech(speech, 0.5)
    assert long.phoneme == ("m", "ɑː", "p", "")
    assert long.start_s[-1] == pytest.approx(0.3)
    assert long.duration_s == 0.5


def test_random_text_lasts_long_enough():
    for seed in range(3):
        text = choose_text(np.random.default_rng(seed), 12.0)
        assert speak(text, Voice("en-us", 175)).duration_s > 12


def test_noise_is_smooth_repeats_and_depends_on_the_seed():
    import torch

    places = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 20
    field = NoiseField(1)
    values = field.at(places)
    assert 0 <= float(values.min()) < 0.2
    assert 0.8 < float(values.max()) <= 1
    torch.testing.assert_close(field.at(places + NoiseField.PERIOD), values, atol=1e-3, rtol=0)
    torch.testing.assert_close(NoiseField(1).at(places), values)
    assert float((NoiseField(2).at(places) - values).abs().mean()) > 0.1
    assert float((field.at(places + 0.01) - values).abs().max()) < 0.05


def test_voices_with_breath_are_said_to_differ(caplog):
    speak("Hello.", Voice("en-us+f2"))
    assert "breath" in caplog.text


def test_random_voices_have_no_breath(caplog):
    for variant in (*FEMININE_VOICES, *MASCULINE_VOICES):
        speak("Hello.", Voice(f"en-us+{variant}"))
    assert not caplog.records
