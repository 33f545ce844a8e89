import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from fit_toy import N_FRAMES, add_photometry, change_fit, toy_options, toy_review, write_sync
from html_page import Page, embedded
from PIL import Image

from evaluation.fit_pictures import (
    FrameDrawer,
    draw_lit,
    excerpts,
    sample_texture,
    see_surface,
    shape_sheet,
)
from evaluation.fit_report import main
from media.probe import probe
from media.reader import decode_frames


def words_of(page):
    return " ".join(" ".join(page.words).split())


@pytest.fixture(scope="module")
def photometric(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photometric")
    options = toy_options(folder / "ann", sync=folder / "sync.h5", max_video_s=0.4)
    add_photometry(options.face_fit)
    write_sync(folder / "sync.h5", 3.0)
    main(options)
    return options


@pytest.fixture(scope="module")
def page(photometric):
    return Page(photometric.out.read_text(encoding="utf-8"))


def test_the_page_loads_nothing_from_outside_and_its_tags_balance(photometric, page):
    assert page.open == []
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert all(link[0] == "#" and link[1:] in page.ids for link in page.links)
    text = photometric.out.read_text(encoding="utf-8")
    assert text.count("<svg") == 5 + 2 + 1  # over time, coverage, sound
    assert text.startswith("<!DOCTYPE html>")


def test_film_and_pictures_decode(page, tmp_path):
    (film,) = embedded(page, "video/mp4")
    (tmp_path / "film.mp4").write_bytes(film)
    frames = list(decode_frames(probe(tmp_path / "film.mp4")))
    assert len(frames) == 8  # four stretches of two frames
    pictures = [Image.open(io.BytesIO(data)) for data in embedded(page, "image/jpeg")]
    assert len(pictures) == 3  # worst frames, shape, albedo
    assert all(np.asarray(picture).std() > 5 for picture in pictures)


def test_the_page_says_what_is_wrong_and_what_would_mend_it(page):
    words = words_of(page)
    assert "Verdict: film again" in words
    assert "Film 30 seconds to 3 minutes." in words  # the toy lasts one second
    assert "audio_shift_s: -0.120" in words
    assert "the sound is 3 frames late" in words
    assert "frames 3 to 4, 9" in words
    assert "landmarks only" not in words
    assert "face_fit.h5" in words


def test_the_page_is_the_same_when_made_again(photometric):
    first = photometric.out.read_bytes()
    main(photometric)
    assert photometric.out.read_bytes() == first


def test_a_fit_of_landmarks_alone_has_a_page_without_skin_light_and_outline(tmp_path):
    options = toy_options(tmp_path / "ann", max_video_s=0.2)
    main(options)
    page = Page(options.out.read_text(encoding="utf-8"))
    words = words_of(page)
    assert "The fit follows landmarks only" in words
    assert "was not compared with the matte" in words
    for absent in ("Colours explained", "Steady light", "Outline of the head", "Sound and lips"):
        assert absent not in words
    assert len(embedded(page, "image/jpeg")) == 2


def test_a_clip_without_any_face_has_a_page_that_says_so(tmp_path):
    options = toy_options(tmp_path / "ann", max_video_s=0.1)
    change_fit(options.face_fit, valid=np.zeros(N_FRAMES, bool))
    main(options)
    words = words_of(Page(options.out.read_text(encoding="utf-8")))
    assert "Film this clip again, because of: face found, length." in words
    assert "No face was found in any frame." in words
    assert "worst frames" not in words


def test_names_are_escaped(tmp_path):
    options = toy_options(tmp_path / "ann", max_video_s=0.1)
    main(replace(options, subject="<b>&ann"))
    assert "<b>&ann" in words_of(Page(options.out.read_text(encoding="utf-8")))


def test_the_skin_under_the_frames_light_has_the_colour_of_the_formula(photometric):
    review = toy_review(photometric)
    drawer = FrameDrawer(review)
    black = np.zeros((64, 64, 3), np.uint8)
    # Irradiance 1 from everywhere shows the albedo itself.
    lit = drawer.lit(black, 0)
    assert set(np.unique(lit)) <= {0, 185, 186, 187}
    assert (lit > 0).mean() > 0.1
    clip = review.clip
    surface = see_surface(clip, clip.vertices(0), clip.camera(0), clip.intrinsics)
    half = draw_lit(black, surface, clip.fit["albedo"], clip.fit["light"][0] / 2)
    np.testing.assert_allclose(half.max(), 186 * 0.5 ** (1 / 2.2), atol=1)


def test_a_light_from_the_pictures_right_lights_the_right_half(photometric):
    review = toy_review(photometric)
    light = np.zeros((9, 3), np.float32)
    light[3] = 1  # x of camera axes: towards the right
    clip = review.clip
    surface = see_surface(clip, clip.vertices(0), clip.camera(0), clip.intrinsics)
    lit = draw_lit(np.zeros((64, 64, 3), np.uint8), surface, clip.fit["albedo"], light)
    columns = np.flatnonzero(surface.covered.any(0).numpy())
    middle = (columns[0] + columns[-1]) // 2
    assert lit[:, middle + 4 :].mean() > 10 * lit[:, : middle - 4].mean()


def test_texture_coordinates_start_at_the_top_left_corner_of_the_texture():
    texture = torch.arange(12.0).view(3, 4, 1)
    centres = torch.tensor([[0.5 / 4, 0.5 / 3], [3.5 / 4, 0.5 / 3], [0.5 / 4, 2.5 / 3]])
    np.testing.assert_allclose(sample_texture(texture, centres)[:, 0], [0, 3, 8], atol=1e-5)


def test_excerpts_reach_from_the_first_to_the_last_frame():
    parts = excerpts(100, 20)
    assert [len(part) for part in parts] == [5] * 4
    assert parts[0][0] == 0
    assert parts[-1][-1] == 99
    assert np.concatenate(excerpts(7, 20)).tolist() == list(range(7))
    assert [len(part) for part in excerpts(100, 2)] == [1, 1]


def test_the_neutral_head_looks_to_the_right_in_the_view_from_its_side(photometric):
    sheet = shape_sheet(toy_review(photometric, side=128)).astype(int)
    row = sheet[30 + 4 : 30 + 4 + 128]
    side = (row[:, -128:] < 250).any(-1)
    columns = np.flatnonzero(side.any(0))
    # The tip of the nose is the outermost point, at the right.
    nose = np.flatnonzero(side[:, columns[-1] - 2])
    assert 40 < nose.mean() < 90
    assert np.ptp(nose) < 20
