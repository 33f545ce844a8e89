import io
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from html_page import Page, embedded
from PIL import Image
from report_toy import MODELS, SUBJECTS, make_results
from scored_toy import BY_TEST

from artifacts.errors import InputError
from artifacts.kinds import RENDER
from artifacts.store import read_artifact, write_artifact
from evaluation.report import main
from evaluation.report_files import find_head_models
from evaluation.report_pictures import HEAT_LIMIT, heat_map, tile_side
from evaluation.report_subject import head_angles, telling_frames
from evaluation.report_tables import markdown_to_html
from media.probe import probe
from media.reader import decode_frames


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_results(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def options(made):
    main(made)
    return made


@pytest.fixture
def copied(made, tmp_path):
    """Results to spoil."""
    results = tmp_path / "results"
    shutil.copytree(made.results, results)
    return replace(
        made, results=results, out=results / "page/index.html", config=results / "config.yaml"
    )


@pytest.fixture(scope="module")
def page(options):
    return Page(options.out.read_text(encoding="utf-8"))


def test_the_page_loads_nothing_from_outside_and_its_tags_balance(options, page):
    assert page.open == []
    for address in page.addresses:
        assert address.startswith(("data:", "#")), address[:80]
    text = options.out.read_text(encoding="utf-8")
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", text)
    inside = [link for link in page.links if link != "../records.json"]
    assert len(inside) == len(page.links) - 1
    for link in inside:
        assert link.startswith("#")
        assert link[1:] in page.ids


def test_pictures_and_films_decode(options, page, tmp_path):
    pictures = [Image.open(io.BytesIO(data)) for data in embedded(page, "image/jpeg")]
    assert len(pictures) == 2 * len(SUBJECTS)  # contact sheet and overlay
    for picture in pictures:
        assert np.asarray(picture).std() > 10
    films = embedded(page, "video/mp4")
    assert len(films) == 3 * len(SUBJECTS)  # comparison, orbit, one driver
    for number, data in enumerate(films):
        path = tmp_path / f"{number}.mp4"
        path.write_bytes(data)
        frames = list(decode_frames(probe(path)))
        assert len(frames) == 6
    for name in SUBJECTS:
        contact = np.asarray(Image.open(options.out.parent / f"contact_{name}.png"))
        assert contact.shape[1] > contact.shape[0] / 2


def test_the_page_names_subjects_models_scores_and_what_is_missing(page):
    words = " ".join(" ".join(page.words).split())
    for name in (*SUBJECTS, *MODELS, "psnr_person", "ms_ssim_3scale_person", "tail-20"):
        assert name in words
    # Once beside each table (two subjects and their mean) and once in the list of what is missing.
    assert words.count("lpips: [alex]") == len(SUBJECTS) + 1
    assert "image_size: 64" in words
    assert "near/avatar.h5" in words
    # Text from files is escaped: the parser sees it as text, not as tags.
    assert "toy & co" in words
    assert "<none>" in words


def test_the_page_says_what_may_not_be_done_and_who_agreed(page):
    words = " ".join(" ".join(page.words).split())
    # At the top and among the terms.
    assert words.count("No commercial use, because of flame.pkl.") == 2
    assert words.count("No consent reference was given for bob, cid, wave.") == 2
    assert "carphone_pristine.mp4: the licence is that of the package" in words
    assert "form 17" in words
    assert words.count("none given") == 4  # facts of bob; bob, cid and wave in the tables
    assert "form 21" in words
    assert "none needed, made up" in words
    # Also in the configuration, which is shown whole.
    assert words.count("<i>glasses</i>") == 3
    assert words.count("insta-350") == 3


def test_records_are_needed_and_must_know_the_subjects(copied):
    with pytest.raises(InputError, match=r"records\.json: has no subject 'zoe'"):
        main(replace(copied, subjects=(*SUBJECTS, "zoe")))
    (copied.results / "records.json").write_text("{}")
    with pytest.raises(InputError, match=r"make it with the step evaluation\.records"):
        main(copied)


def test_plots_follow_the_colours_of_the_page(options):
    text = options.out.read_text(encoding="utf-8")
    assert text.count("<svg") == 4 * len(SUBJECTS)
    assert "currentColor" in text
    assert "#010203" not in text


def test_the_page_is_the_same_when_made_again(options):
    first = options.out.read_bytes()
    main(options)
    assert options.out.read_bytes() == first


def test_long_renders_are_cut_and_the_page_says_so(options, tmp_path):
    main(replace(options, out=tmp_path / "index.html", max_video_s=0.12))
    assert "The first 3 of 6 frames." in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_orbit_and_cross_may_be_absent_but_not_the_scores(copied):
    options = copied
    for name in SUBJECTS:
        for model in MODELS:
            folder = options.results / name / model
            for path in [*folder.glob("render_cross_*"), folder / "render_orbit.h5"]:
                path.unlink()
    (options.results / "licences.md").unlink()
    main(replace(options, subjects=("ann",), models=("near",), config=None))
    page = Page(options.out.read_text(encoding="utf-8"))
    assert len(embedded(page, "video/mp4")) == 1
    assert "has not been made yet" in " ".join(page.words)
    (options.results / "ann/far/scores.h5").unlink()
    with pytest.raises(InputError, match=r"ann/far/scores\.h5: no such file; run the step"):
        main(options)


def test_what_a_sound_drives_is_shown_with_the_sound(copied, tmp_path):
    name, *others = SUBJECTS
    folder = copied.results / name / MODELS[1]
    shutil.copy(folder / f"render_cross_{others[0]}.h5", folder / "render_audio_talk.h5")
    (copied.results / "drivers/talk").mkdir(parents=True)
    shutil.copy(copied.results / name / "frames.h5", copied.results / "drivers/talk/frames.h5")
    main(replace(copied, drivers=("talk",)))
    page = Page(copied.out.read_text(encoding="utf-8"))
    assert "Driven by the sound talk" in " ".join(page.words)
    films = embedded(page, "video/mp4")
    assert len(films) == 3 * len(SUBJECTS) + 1
    sounding = []
    for data in films:
        (tmp_path / "film.mp4").write_bytes(data)
        sounding.append(probe(tmp_path / "film.mp4").has_audio)
    # The held-out frames of both subjects, and what the sound drives.
    assert sum(sounding) == len(SUBJECTS) + 1


def test_the_page_on_the_fit_is_linked_where_there_is_one(copied):
    options = copied
    (options.out.parent).mkdir()
    (options.out.parent / "fit_ann.html").write_text("a page")
    main(options)
    page = Page(options.out.read_text(encoding="utf-8"))
    assert [link for link in page.links if not link.startswith("#")] == [
        "fit_ann.html",
        "../records.json",
    ]


def test_each_subject_may_have_a_page_of_its_own(copied):
    main(replace(copied, subject_pages=True))
    folder = copied.out.parent
    index = Page(copied.out.read_text(encoding="utf-8"))
    words = " ".join(" ".join(index.words).split())
    assert "Avatars of 2 people" in words
    assert embedded(index, "video/mp4") == []
    small = [Image.open(io.BytesIO(data)) for data in embedded(index, "image/jpeg")]
    assert [picture.width for picture in small] == [320] * len(SUBJECTS)
    for word in ("No commercial use, because of flame.pkl.", "form 17", "psnr_person", "24."):
        assert word in words
    # Provenance of a person is on the person's page; Cid has none.
    assert "near/avatar.h5" not in words
    assert "head_models/toy.h5" in words
    assert index.open == []
    for name, other in zip(SUBJECTS, reversed(SUBJECTS), strict=True):
        # From the contact sheet, from the terms and from each table of scores.
        assert index.links.count(f"subject_{name}.html") > 3
        text = (folder / f"subject_{name}.html").read_text(encoding="utf-8")
        assert "<script>\n// Films play" in text
        assert text.endswith("</body>\n</html>")
        page = Page(text)
        assert page.open == []
        assert len(embedded(page, "video/mp4")) == 3
        assert len(embedded(page, "image/jpeg")) == 2
        assert set(page.links) == {"index.html", "#provenance"}
        for address in page.addresses:
            assert address.startswith(("data:", "#")), address[:80]
        told = " ".join(" ".join(page.words).split())
        assert f"{name}/near/avatar.h5" in told
        assert f"{other}/near/avatar.h5" not in told
        assert "No commercial use, because of flame.pkl." in told
        assert (folder / f"contact_{name}.png").is_file()


def test_models_that_rendered_other_frames_are_refused(copied):
    options = copied
    path = options.results / "ann/far/render_self.h5"
    arrays = read_artifact(path, RENDER)
    arrays["driver_frame"] = arrays["driver_frame"] - 1
    write_artifact(path, RENDER, arrays, BY_TEST)
    with pytest.raises(InputError, match=r"far/render_self\.h5: other frames or another size"):
        main(options)


def test_a_table_of_another_shape_is_refused(copied):
    options = copied
    table = options.results / "tables/scores.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"scores\.csv: lacks the columns"):
        main(options)
    table.unlink()
    with pytest.raises(InputError, match=r"scores\.csv: no such file"):
        main(options)


def test_heat_map_grows_with_the_error_and_saturates_at_its_limit():
    black = np.zeros((1, 3, 3), np.uint8)
    grey = np.array([[[0] * 3, [38] * 3, [round(255 * HEAT_LIMIT) + 1] * 3]], np.uint8)
    brightness = heat_map(black, grey).astype(int).sum(-1)[0]
    assert brightness[0] < brightness[1] < brightness[2]
    white = np.full((1, 3, 3), 255, np.uint8)
    np.testing.assert_array_equal(heat_map(black, white)[0, 0], heat_map(black, grey)[0, 2])


def test_tiles_are_large_for_few_columns_and_fit_for_many():
    assert tile_side(128, 3) == 256
    assert tile_side(512, 3) == 384
    assert 12 * tile_side(512, 12) <= 1600


def test_head_angles_of_a_turned_and_lifted_head():
    frontal = np.diag([1.0, -1, -1, 1])
    angle = np.radians(20)
    cosine, sine = np.cos(angle), np.sin(angle)
    left = np.array([[cosine, 0, sine, 0], [0, 1, 0, 0], [-sine, 0, cosine, 0], [0, 0, 0, 1]])
    up = np.array([[1, 0, 0, 0], [0, cosine, sine, 0], [0, -sine, cosine, 0], [0, 0, 0, 1]])
    angles = head_angles(np.stack([frontal, frontal @ left, frontal @ up]))
    # The subject's left is the picture's right.
    np.testing.assert_allclose(angles["yaw"], [0, 20, 0], atol=1e-9)
    np.testing.assert_allclose(angles["pitch"], [0, 0, 20], atol=1e-9)


def test_telling_frames_holds_the_extremes():
    n_frames = 12
    points = np.zeros((n_frames, 478, 3))
    points[:, 263, 0] = 100
    points[:, 14, 1] = np.array([5, 5, 5, 40, 5, 5, 5, 5, 5, 5, 5, 1])
    fit = {
        "camera_from_world": np.tile(np.eye(4), (n_frames, 1, 1)),
        "world_from_head": np.tile(np.diag([1.0, -1, -1, 1]), (n_frames, 1, 1)),
        "valid": np.ones(n_frames, bool),
    }
    chosen = telling_frames(fit, points, np.arange(2, n_frames))
    assert chosen[3] == "widest mouth"
    assert chosen[11] == "closed mouth"
    assert list(chosen) == sorted(chosen)


def test_markdown_tables_and_headings_become_html_and_nothing_else_does():
    html = markdown_to_html("# A\n\n| x | y |\n|---|---|\n| `c` | <b> |\n\n- one\n- **two**\n\nend")
    assert "<h4>A</h4>" in html
    assert "<td><code>c</code></td><td>&lt;b&gt;</td>" in html
    assert "<li>one</li><li><strong>two</strong></li>" in html
    assert "<p>end</p>" in html


def test_gains_over_the_first_model_are_stated(page):
    words = " ".join(" ".join(page.words).split())
    assert "far against near , frame by frame:" in words
    # Level shifts of -16 and -8 differ by a factor of two: 6.02 dB; the landmarks by one pixel.
    gain = re.search(r"psnr_person \(dB\) \+(\d\.\d+) not judged", words)
    assert float(gain[1]) == pytest.approx(6.02, abs=0.15)
    # Of so few frames nothing says what may be chance.
    assert "lmd_px (px) +1.000 not judged" in words


def test_each_subject_has_a_head_model_or_all_have_one(tmp_path):
    folder = tmp_path / "head_models"
    folder.mkdir()
    one, other = folder / "anny.h5", folder / "ict.h5"
    one.touch()
    assert find_head_models(tmp_path, ("a", "b"), ()) == {"a": one, "b": one}
    other.touch()
    assert find_head_models(tmp_path, ("a", "b"), (one, other)) == {"a": one, "b": other}
    with pytest.raises(InputError, match="2 head models; name those of the fits"):
        find_head_models(tmp_path, ("a", "b"), ())
    with pytest.raises(InputError, match="2 head models are named for 3 subjects"):
        find_head_models(tmp_path, ("a", "b", "c"), (one, other))
    with pytest.raises(InputError, match=r"none\.h5: no such file"):
        find_head_models(tmp_path, ("a",), (folder / "none.h5",))
