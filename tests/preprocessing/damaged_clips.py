"""What goes wrong before a camera, done to frames: a hand before the face, glasses."""

import numpy as np
from skimage.draw import polygon2mask

# MediaPipe points around the subject's right eye, from the brow over the nose to the cheek; and around the left one.
_RIMS = (
    (46, 53, 52, 65, 55, 193, 245, 128, 121, 120, 119, 118, 117, 111, 143),
    (276, 283, 282, 295, 285, 417, 465, 357, 350, 349, 348, 347, 346, 340, 372),
)
_BARS = ((193, 417), (143, 234), (372, 454))  # over the nose, to the ears
# Parts of a hand in palm widths from the middle of the palm, x to the right, y down: from, to, radius.
_HAND = (
    ((0.0, 0.0), (0.0, 0.3), 0.62),
    ((0.0, 0.3), (0.0, 2.5), 0.42),
    ((-0.42, -0.4), (-0.62, -1.35), 0.13),
    ((-0.15, -0.5), (-0.2, -1.62), 0.14),
    ((0.14, -0.5), (0.18, -1.55), 0.14),
    ((0.4, -0.4), (0.52, -1.25), 0.12),
    ((0.42, 0.25), (1.02, -0.35), 0.15),
)


def paint_hand(
    image: np.ndarray, centre: tuple[float, float], palm_px: float, tone=(196, 148, 122)
) -> np.ndarray:
    """A hand and its wrist with the palm at ``centre``: rounded, darker and out of focus at its edges."""
    place = (_places(image) - centre) / palm_px
    parts = [radius - _distance(place, start, end) for start, end, radius in _HAND]
    inside = np.max(parts, axis=0)[..., None]
    shown = (0.5 + inside * palm_px / 3).clip(0, 1)
    hand = (np.array(tone) * (0.6 + 1.4 * inside.clip(0, 0.3))).clip(0, 255)
    return np.round(shown * hand + (1 - shown) * image).astype(np.uint8)


def paint_glasses(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A dark frame and faintly tinted lenses with a streak of glare on a face with these 478 points."""
    place, drawn = _places(image), image.astype(float)
    points = points[:, :2].astype(float)
    thickness = 0.05 * np.linalg.norm(points[33] - points[263])
    bars = [(points[first], points[second]) for first, second in _BARS]
    for rim in (points[list(index)] for index in _RIMS):
        lens = polygon2mask(image.shape[:2], rim[:, ::-1])[..., None]
        streak = _distance(place, rim[1], rim[9]) / np.ptp(rim[:, 0])
        drawn = np.where(
            lens, 0.85 * drawn + 70 * np.exp(-((streak[..., None] / 0.06) ** 2)), drawn
        )
        bars += zip(rim, np.roll(rim, 1, 0), strict=True)
    distance = np.min([_distance(place, start, end) for start, end in bars], axis=0)
    frame = (0.5 + thickness - distance).clip(0, 1)[..., None]
    return np.round(frame * [24, 20, 22] + (1 - frame) * drawn.clip(0, 255)).astype(np.uint8)


def _places(image: np.ndarray) -> np.ndarray:
    return np.stack(np.mgrid[: image.shape[0], : image.shape[1]][::-1], -1).astype(float)


def _distance(place: np.ndarray, start, end) -> np.ndarray:
    """Distance of each place to a segment."""
    along = np.subtract(end, start)
    share = ((place - start) @ along / max(along @ along, 1e-9)).clip(0, 1)
    return np.linalg.norm(place - start - share[..., None] * along, axis=-1)
