"""Share of labelled faces that stay visible after hiding: python benchmarks/hiding.py --data DATA.yaml [--every N].

Reads the ``val`` pictures of a YOLO data set. A labelled face counts as hidden if at least 0.7 of its box is covered by
what would be hidden, including the margin. The table in docs/publishing.md was made with it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from facepipe import FaceDetector
from facepipe.detector.data.dataset import DataDescription, Picture, read_description
from facepipe.detector.inference.detector import FaceDetector as Detector
from facepipe.pipeline.drawing.anonymize import MARGIN
from facepipe.pipeline.drawing.second_look import CONFIDENCE, SecondLook
from facepipe.pipeline.inputs.image_reader import read_frame
from facepipe.pipeline.results import Box
from facepipe.pipeline.two_stage import box_of

COVERED = 0.7
SIZES = ((0, 16), (16, 32), (32, 96), (96, float("inf")))
"""Bins of a face's shorter side, in pixels of the picture."""

Look = Callable[[np.ndarray], Iterable[Box]]


def looks(detector: Detector) -> dict[str, Look]:
    """For each mode, the function that returns the boxes to hide."""

    def at(confidence: float) -> Look:
        once = detector.with_confidence(confidence)
        return lambda frame: [box_of(row) for row in once.detect([frame])[0].of("face").boxes]

    second = SecondLook(detector, "faces")
    return {
        f"the detector's own confidence ({detector.confidence:g})": at(detector.confidence),
        f"confidence {CONFIDENCE:g}": at(CONFIDENCE),
        f"confidence {CONFIDENCE:g}, second scale and turns (--blur faces)": second.find,
        "the same with heads (--blur heads)": SecondLook(detector, "heads").find,
    }


def covered(frame: np.ndarray, boxes: Iterable[Box], faces: np.ndarray) -> np.ndarray:
    """The share of each labelled face, (n, 4) in pixels, that hiding covers."""
    mask = np.zeros(frame.shape[:2], bool)
    for box in boxes:
        margin = MARGIN * max(box.x2 - box.x1, box.y2 - box.y1)
        x1, y1 = max(0, int(box.x1 - margin)), max(0, int(box.y1 - margin))
        mask[y1 : int(np.ceil(box.y2 + margin)), x1 : int(np.ceil(box.x2 + margin))] = True
    shares = []
    for x1, y1, x2, y2 in faces.round().astype(int):
        part = mask[max(0, y1) : max(y2, y1 + 1), max(0, x1) : max(x2, x1 + 1)]
        shares.append(part.mean() if part.size else 1.0)
    return np.array(shares)


def labelled_faces(data: DataDescription, picture: Picture, frame: np.ndarray) -> np.ndarray:
    """The faces of a picture, x1, y1, x2, y2 in pixels, (n, 4)."""
    boxes = data.boxes(picture)
    boxes = boxes[boxes[:, 0] == data.classes.index("face")]
    size = np.array([frame.shape[1], frame.shape[0]])
    centre, sides = boxes[:, 1:3] * size, boxes[:, 3:5] * size
    return np.hstack([centre - sides / 2, centre + sides / 2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--detector")
    parser.add_argument("--every", type=int, default=1, help="take each Nth picture only")
    arguments = parser.parse_args()
    modes = looks(FaceDetector(arguments.detector))
    data = read_description(arguments.data)
    sides: list[float] = []
    shares: dict[str, list[float]] = {mode: [] for mode in modes}
    for picture in data.pictures["val"][:: arguments.every]:
        frame = read_frame(picture.path)
        faces = labelled_faces(data, picture, frame)
        if len(faces) == 0:
            continue
        sides += list(np.minimum(faces[:, 2] - faces[:, 0], faces[:, 3] - faces[:, 1]))
        for mode, look in modes.items():
            shares[mode] += list(covered(frame, look(frame), faces))
    small = np.array(sides)
    names = [f"{a:g} to {b:g} px" if np.isfinite(b) else f"from {a:g} px" for a, b in SIZES]
    print("| labelled faces left visible | " + " | ".join(names) + " | all |")
    print("|---" * (len(SIZES) + 2) + "|")
    for mode, values in shares.items():
        visible = np.array(values) < COVERED
        cells = [visible[(small >= a) & (small < b)] for a, b in SIZES] + [visible]
        print(f"| {mode} | " + " | ".join(f"{c.mean():.3f} of {len(c)}" if len(c) else "–" for c in cells) + " |")


if __name__ == "__main__":
    main()
