"""The published sets of face points that detectors find: which of them are lips, lids, outline, and what opens.

An array of landmarks belongs to the set with as many points as it has: 478 are MediaPipe's, 68 the classic ones.
"""

from __future__ import annotations

from dataclasses import dataclass

from artifacts.errors import InputError


@dataclass(frozen=True)
class LandmarkSet:
    """Which point of a set says what; all numbers are indices of its points.

    Attributes:
        name: How people call it.
        count: Number of points.
        eye_corners: Outer corners of the subject's right and left eye; their distance is the unit of errors.
        outline: The edge of the face, which slides over the skin when the head turns, so that its points have
            no place on a mesh.
        chin: Lowest point of the outline.
        lips: Outer and inner contour.
        eyelids: Rims of both eyes.
        irises: Centres and rims; empty where the set has none.
        lip_pairs: Upper and lower point of the inner lips; the first pair is in the middle.
        eyelid_pairs: Upper and lower point, as many of the right eye and then of the left; the first of each is
            in the middle or next to it.
        five: Points whose means are the subject's right and left eye, the tip of the nose, the right and the left corner of
            the mouth: the five points by which face recognition aligns faces.
    """

    name: str
    count: int
    eye_corners: tuple[int, int]
    outline: tuple[int, ...]
    chin: int
    lips: tuple[int, ...]
    eyelids: tuple[int, ...]
    irises: tuple[int, ...]
    lip_pairs: tuple[tuple[int, int], ...]
    eyelid_pairs: tuple[tuple[int, int], ...]
    five: tuple[tuple[int, ...], ...]

    @property
    def face(self) -> list[int]:
        """All points but the irises."""
        return sorted(set(range(self.count)) - set(self.irises))

    @property
    def middle_lid_pairs(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The first pair of the right eye and of the left."""
        return self.eyelid_pairs[0], self.eyelid_pairs[len(self.eyelid_pairs) // 2]


MEDIAPIPE = LandmarkSet(
    name="MediaPipe",
    count=478,
    eye_corners=(33, 263),
    outline=(
        10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
        152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
    ),
    chin=152,
    lips=(
        61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409,
        78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 191, 80, 81, 82, 13, 312, 311, 310, 415,
    ),
    eyelids=(
        33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246,
        263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466,
    ),
    irises=tuple(range(468, 478)),
    lip_pairs=((13, 14), (82, 87), (312, 317), (81, 178), (311, 402)),
    eyelid_pairs=(
        (159, 145), (158, 153), (160, 144), (157, 154), (161, 163),
        (386, 374), (385, 380), (387, 373), (384, 381), (388, 390),
    ),
    five=(
        (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
        (1,), (61,), (291,),
    ),
)  # fmt: skip

# Source: the mark-up of Multi-PIE and the 300-W challenge (Sagonas et al. 2013), 0 at the subject's right ear.
SPARSE68 = LandmarkSet(
    name="classic 68",
    count=68,
    eye_corners=(36, 45),
    outline=tuple(range(17)),
    chin=8,
    lips=tuple(range(48, 68)),
    eyelids=tuple(range(36, 48)),
    irises=(),
    lip_pairs=((62, 66), (61, 67), (63, 65)),
    eyelid_pairs=((37, 41), (38, 40), (44, 46), (43, 47)),
    five=(tuple(range(36, 42)), tuple(range(42, 48)), (30,), (48,), (54,)),
)

LANDMARK_SETS = (MEDIAPIPE, SPARSE68)


def landmark_set_of(count: int, source: object) -> LandmarkSet:
    """The set that has ``count`` points.

    Args:
        count: Number of landmarks in a file.
        source: The file, for the error message.

    Raises:
        InputError: no known set has so many.
    """
    for landmarks in LANDMARK_SETS:
        if landmarks.count == count:
            return landmarks
    known = " or ".join(f"{landmarks.count} ({landmarks.name})" for landmarks in LANDMARK_SETS)
    raise InputError(
        f"{source}: has {count} landmarks, but only sets of {known} are known; run landmarks again"
    )
