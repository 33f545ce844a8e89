import tracemalloc

import numpy as np
import pytest
from clips import paste, person, person_frames
from image_artifacts import decode_clip, write_frames
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.data import astronaut

from artifacts.errors import InputError
from artifacts.kinds import LANDMARKS, MATTE
from artifacts.store import read_artifact, write_artifact
from assets.fetch import fetch_asset
from preprocessing.matte import Options, face_boxes, main
from preprocessing.matting.filter import (
    RADIUS,
    VARIANCE_FLOOR,
    damp_flicker,
    keep_person,
    refine_edges,
)
from preprocessing.matting.segmenter import Segmenter, shrink_image

SIZE = 64
FACE = np.array([20.0, 10.0, 30.0, 20.0])
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def segmenter_path():
    return fetch_asset("selfie_segmentation.tflite")


def _write_landmarks(path, size, boxes):
    """Landmarks whose points span ``boxes`` (x0, y0, x1, y1); None where there is no face."""
    points = np.zeros((len(boxes), 478, 3), np.float32)
    valid = np.array([box is not None for box in boxes])
    for i, box in enumerate(boxes):
        if box is not None:
            points[i, :, :2] = RNG.uniform(box[:2], box[2:], (478, 2))
            points[i, :2, :2] = box[:2], box[2:]
    arrays = {
        "points": points,
        "confidence": valid.astype(np.float32),
        "valid": valid,
        "image_size": np.array(size, np.int32),
    }
    write_artifact(path, LANDMARKS, arrays, {"step": "test"})
    return path


def _run(images, boxes, folder, segmenter_path, **options):
    frames = write_frames(folder / "frames.h5", images)
    landmarks = _write_landmarks(folder / "landmarks.h5", images.shape[2:0:-1], boxes)
    out = folder / "matte.h5"
    main(Options(frames, landmarks, segmenter_path, out, **options))
    return read_artifact(out, MATTE)["alpha"]


@pytest.mark.parametrize("name", ["carphone", "obama_20s", "wojtek_16s"])
def test_matte_lies_where_the_package_sees_the_person(
    name, shared_data, shared_fixtures, segmenter_path, tmp_path
):
    path = shared_data / f"clips/{name}.mp4"
    frames = decode_clip(fetch_asset("carphone_pristine.mp4") if name == "carphone" else path)
    with np.load(shared_fixtures / f"landmarks/{name}.npz") as numbers:
        wanted, index = numbers["mask"][:2] > 127, numbers["frame_index_mask"][1]
        face = numbers["points_video"][: index + 1, :, :2]
    for start in (0, index - 2):
        boxes = [(*p.min(0), *p.max(0)) for p in face[start : start + 3]]
        alpha = _run(frames[start : start + 3], boxes, tmp_path, segmenter_path)
        made, truth = alpha[min(start, 2)] > 127, wanted[min(start, 1)]
        assert (made & truth).sum() / (made | truth).sum() > 0.985


def test_raw_mask_equals_the_package(shared_data, shared_fixtures, segmenter_path):
    frames = decode_clip(shared_data / "clips/wojtek_16s.mp4")
    with np.load(shared_fixtures / "landmarks/wojtek_16s.npz") as numbers:
        wanted = shrink_image(np.repeat(numbers["mask"][1][..., None], 3, axis=2))[..., 0]
        mask = Segmenter(segmenter_path).segment(
            shrink_image(frames[numbers["frame_index_mask"][1]])
        )
    # Not equal to the bit: the package samples with a shift of half a pixel.
    assert np.abs(mask * 255 - wanted).mean() < 1.0


def _disc(x, y, radius):
    row, column = np.mgrid[:SIZE, :SIZE]
    distance = np.hypot(column - x, row - y)
    return np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)


def test_blobs_away_from_the_face_go():
    own, other = _disc(25, 16, 10), _disc(52, 20, 7)
    np.testing.assert_array_equal(keep_person(np.maximum(own, other), FACE), own)


def test_chest_below_the_face_stays_when_the_neck_is_cut():
    both = np.maximum(_disc(25, 12, 9), _disc(25, 50, 12))
    # Pixels of a hundredth at the rim may go.
    np.testing.assert_allclose(keep_person(both, FACE), both, atol=0.05)


def test_someone_joined_only_by_a_faint_bridge_goes():
    own, other = _disc(25, 16, 10), _disc(50, 18, 7)
    bridge = np.zeros_like(own)
    bridge[15:18, 25:50] = 0.3
    kept = keep_person(np.maximum(np.maximum(own, other), bridge), FACE)
    assert kept[other > 0.5].max() == 0
    np.testing.assert_array_equal(kept[own > 0.5], own[own > 0.5])


def test_mask_stays_when_nothing_is_seen_at_the_face():
    faint = _disc(25, 16, 10) * np.float32(0.4)
    np.testing.assert_array_equal(keep_person(faint, FACE), faint)


def _textured(x):
    """A bright textured disc at ``x`` before a dark textured wall."""
    row, column = np.mgrid[:SIZE, :SIZE]
    wall = 60 + 20 * np.sin(column / 3.0) * np.cos(row / 4.0)
    figure = 180 + 30 * np.sin((column - x) / 2.0)
    disc = _disc(x, 32, 15)
    image = wall * (1 - disc) + figure * disc
    return np.repeat(image[..., None], 3, axis=2).round().astype(np.uint8), disc


def test_flicker_of_a_still_scene_is_damped():
    image, disc = _textured(30)
    noisy = [
        np.clip(disc + RNG.normal(0, 0.1, disc.shape), 0, 1).astype(np.float32) for _ in range(7)
    ]
    images = [
        np.clip(image + RNG.normal(0, 1, image.shape), 0, 255).astype(np.uint8) for _ in range(7)
    ]
    before, after = noisy[3] - disc, damp_flicker(noisy, images, 3) - disc
    assert after.std() < 0.6 * before.std()


def test_what_moves_keeps_its_own_mask():
    scene = [_textured(20 + 3 * i) for i in range(7)]
    images, masks = [s[0] for s in scene], [s[1] for s in scene]
    damped = damp_flicker(masks, images, 3)
    assert np.abs(damped - masks[3]).mean() < 0.004
    # A plain mean over the window, to see that the bound means something.
    assert np.abs(np.mean(masks, axis=0) - masks[3]).mean() > 0.05


def test_damping_knows_no_direction_of_time():
    scene = [_textured(20 + i) for i in range(7)]
    images = [s[0] for s in scene]
    masks = [np.clip(s[1] + RNG.normal(0, 0.1, s[1].shape), 0, 1).astype(np.float32) for s in scene]
    forward = damp_flicker(masks, images, 3)
    np.testing.assert_allclose(forward, damp_flicker(masks[::-1], images[::-1], 3), atol=1e-6)


def test_refined_matte_equals_the_plain_guided_filter():
    image, disc = _textured(30)
    image = image + RNG.integers(0, 20, image.shape, dtype=np.uint8)
    mask = gaussian_filter(disc, 1.5)
    matte = refine_edges(mask, image, image) / 255
    box = 2 * RADIUS + 1
    guide, soft = image / 255.0, mask.astype(np.float64)

    def mean(x):
        return uniform_filter(x, (box, box) + (1,) * (x.ndim - 2), mode="nearest")

    center = mean(guide)
    outer = mean(guide[..., :, None] * guide[..., None, :]) - center[..., :, None] * center[..., None, :]  # fmt: skip
    product = mean(guide * soft[..., None]) - center * mean(soft)[..., None]
    slope = np.linalg.solve(outer + VARIANCE_FLOOR * np.eye(3), product[..., None])[..., 0]
    offset = mean(soft) - (slope * center).sum(-1)
    wanted = np.clip((mean(slope) * guide).sum(-1) + mean(offset), 0, 1)
    # Where the mask hardly varies the fast version does not look for edges at all.
    assert np.abs(matte - wanted).max() < 0.03
    assert np.abs(matte - wanted).mean() < 0.002


def test_refined_outline_follows_the_image():
    large, truth = _textured(30)
    blocks = (SIZE // 2, 2, SIZE // 2, 2)
    small = large.reshape(*blocks, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    blurred = gaussian_filter(truth.reshape(blocks).mean(axis=(1, 3)), 1.2)
    plain = refine_edges(blurred, np.full_like(small, 128), np.full_like(large, 128)) / 255
    refined = refine_edges(blurred, small, large) / 255
    assert np.abs(refined - truth).mean() < 0.8 * np.abs(plain - truth).mean()


@pytest.mark.parametrize("value", [0, 1])
def test_constant_masks_stay_constant(value):
    image, disc = _textured(30)
    matte = refine_edges(
        np.full_like(disc, value), image, np.kron(image, np.ones((2, 2, 1), np.uint8))
    )
    assert matte.shape == (2 * SIZE, 2 * SIZE)
    assert (matte == 255 * value).all()


def test_boxes_of_frames_without_a_face_come_from_the_nearest():
    points = np.zeros((5, 478, 3), np.float32)
    points[1, :, :2], points[4, :, :2] = 100, 200
    valid = np.array([False, True, False, False, True])
    boxes = face_boxes(points, valid, (512, 512))
    np.testing.assert_allclose(boxes[:, 0], [49.75, 49.75, 49.75, 99.75, 99.75])


def test_boxes_of_a_long_clip_take_little_memory():
    frames = 20_000
    points = np.zeros((frames, 1, 3), np.float32)
    points[:, 0, 0] = np.arange(frames)
    valid = np.arange(frames) % 100 < 49
    tracemalloc.start()
    boxes = face_boxes(points, valid, (256, 256))
    peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    # A table of frames against frames would be 1600 MB.
    assert peak_mb < 20
    # Of two frames equally near, the earlier one.
    np.testing.assert_allclose(boxes[[48, 60, 74, 75, 99], 0], [48, 48, 48, 100, 100])


def test_someone_else_in_the_picture_is_dropped(segmenter_path, tmp_path):
    frame = np.full((300, 520, 3), 90, np.uint8)
    frame[:, :320] = astronaut()[:300, 60:380]
    paste(frame, person(170), (350, 130))
    alpha = _run(np.stack([frame] * 3), [(120, 60, 210, 150)] * 3, tmp_path, segmenter_path)
    assert alpha.shape == (3, 300, 520)
    assert (alpha[:, 70:140, 130:200] > 250).all()
    assert (alpha[:, 160:210, 410:460] == 0).all()
    both = Segmenter(segmenter_path).segment(shrink_image(frame))
    assert both[137:179, 202:226].min() > 0.9


def test_blocks_and_reach_do_not_shift_frames(segmenter_path, tmp_path):
    # More frames than one block, each at its own place: a slip by one frame would show.
    corners = [(4 * i, 60) for i in range(36)]
    frames = person_frames(corners, size=(360, 260), side=200)
    boxes = [(x + 70, 120, x + 140, 200) for x, _ in corners]
    damped = _run(frames, boxes, tmp_path, segmenter_path)
    alone = _run(frames, boxes, tmp_path, segmenter_path, reach_frames=0)
    assert np.abs(damped.astype(int) - alone).mean() < 2
    for i in range(0, 36, 5):
        x = corners[i][0]
        assert (alone[i, 140:180, x + 90 : x + 120] > 240).all()


def test_landmarks_of_other_images_are_refused(segmenter_path, tmp_path):
    frames = write_frames(tmp_path / "frames.h5", person_frames([(0, 0)] * 3))
    for name, size, count in (("size", (401, 300), 3), ("count", (400, 300), 4)):
        other = _write_landmarks(tmp_path / f"{name}.h5", size, [(50, 50, 99, 99)] * count)
        with pytest.raises(InputError, match=rf"{name}\.h5: these landmarks were found in other"):
            main(Options(frames, other, segmenter_path, tmp_path / "out.h5"))
    nobody = _write_landmarks(tmp_path / "nobody.h5", (400, 300), [None] * 3)
    with pytest.raises(InputError, match=r"nobody\.h5: shows no face"):
        main(Options(frames, nobody, segmenter_path, tmp_path / "out.h5"))
    assert not (tmp_path / "out.h5").exists()
