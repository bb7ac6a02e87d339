"""Find faces and heads in many pictures, several per sheet of the detector's input, and pick the labelled face."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...detector.inference.boxes import Detections
from ...detector.inference.detector import FaceDetector


@dataclass(frozen=True)
class Found:
    """What the detector found in one picture.

    Attributes:
        faces: boxes, (n, 4), in pixels of the picture, most confident first; they may extend beyond it.
        confidence: of the faces, (n,).
        heads: boxes, (m, 4), likewise.
    """

    faces: np.ndarray
    confidence: np.ndarray
    heads: np.ndarray


def find_faces(detector: FaceDetector, frames: list[np.ndarray], pad: float, across: int) -> list[Found]:
    """Detect faces and heads in pictures laid out on sheets of the detector's input size.

    Args:
        frames: BGR, uint8, (height, width, 3) each; each is scaled to fill its cell.
        pad: border around each, as a fraction of its longer side.
        across: cells per row and column of a sheet; 1 gives each picture its own sheet.
    """
    side = detector.input.size
    border = detector.input.padding or (114, 114, 114)
    cell = side / across
    found: list[Found] = []
    sheets, places = [], []
    for start in range(0, len(frames), across * across):
        sheet = np.full((side, side, 3), border, np.uint8)
        placed = []
        for index, frame in enumerate(frames[start : start + across * across]):
            height, width = frame.shape[:2]
            scale = cell / (max(height, width) * (1 + 2 * pad))
            size = max(int(width * scale), 1), max(int(height * scale), 1)
            small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
            corner = np.array([index % across, index // across]) * cell
            x, y = (corner + (cell - np.array(size)) / 2).astype(int)
            sheet[y : y + size[1], x : x + size[0]] = small
            placed.append((corner, np.array([x, y]), np.array(size) / (width, height)))
        sheets.append(sheet)
        places.append(placed)
    for detections, placed in zip(detector.detect(sheets), places, strict=True):
        faces, heads = detections.of("face"), detections.of("head")
        for corner, origin, scales in placed:
            (face_boxes, confidence), (head_boxes, _) = (
                _in_cell(each, corner, cell, origin, scales) for each in (faces, heads)
            )
            found.append(Found(face_boxes, confidence, head_boxes))
    return found


def _in_cell(
    found: Detections, corner: np.ndarray, cell: float, origin: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes centred in one cell of the sheet, in pixels of the picture there, and their confidence."""
    centres = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    here = ((centres >= corner) & (centres < corner + cell)).all(axis=1)
    return ((found.boxes[here].reshape(-1, 2, 2) - origin) / scales).reshape(-1, 4), found.confidence[here]


def find_boxes(
    detector: FaceDetector, frames: list[np.ndarray], pad: float, across: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Like :func:`find_faces`, but faces only: for each picture their boxes, (n, 4), and their confidence, (n,).

    Args:
        detector: to run.
        frames: BGR, uint8, (height, width, 3) each.
        pad: border around each, as a fraction of its longer side.
        across: cells per row and column of a sheet.
    """
    return [(found.faces, found.confidence) for found in find_faces(detector, frames, pad, across)]


def pick_face(boxes: np.ndarray, shape: tuple[int, ...], points: np.ndarray) -> int | None:
    """Pick the face that a picture's labels belong to.

    Args:
        boxes: (n, 4) in pixels of the picture.
        shape: of the picture.
        points: labelled points, (m, 2); m may be 0.

    Returns:
        With points, the box that holds most of them, if it holds more than half. Without, the largest and most central
        one (greatest square root of its area minus its distance from the picture's centre). None if there is none.
    """
    if not len(boxes):
        return None
    sides = np.sqrt(np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None))
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    centre = points.mean(axis=0) if len(points) else np.array([shape[1], shape[0]]) / 2
    worth = sides - np.linalg.norm(middle - centre, axis=1)
    if not len(points):
        return int(worth.argmax())
    inside = ((points[None] >= boxes[:, None, :2]) & (points[None] <= boxes[:, None, 2:])).all(axis=2).mean(axis=1)
    best = int(np.lexsort((worth, inside))[-1])
    return best if inside[best] > 0.5 else None
