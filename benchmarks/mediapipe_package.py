"""Speed of the MediaPipe package's own face mesh; run by ``benchmarks/landmarks.py`` in an interpreter that has it.

    python benchmarks/mediapipe_package.py images.npy

Prints frames per second of tracking with refined points over the images (frame, height, width, 3), sRGB, best of
three runs. It imports nothing of this project, which does not depend on the package.

Source: own.
"""

import sys
import time

import mediapipe  # pyright: ignore[reportMissingImports]
import numpy as np

if __name__ == "__main__":
    images = np.load(sys.argv[1])
    rates = []
    for _ in range(3):
        with mediapipe.solutions.face_mesh.FaceMesh(refine_landmarks=True) as mesh:
            begun = time.perf_counter()
            found = sum(mesh.process(image).multi_face_landmarks is not None for image in images)
            rates.append(len(images) / (time.perf_counter() - begun))
    if found < len(images):
        sys.exit(
            f"the package finds a face in {found} of {len(images)} frames; choose another clip"
        )
    print(max(rates))
