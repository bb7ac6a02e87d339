"""Checks of a picture's boxes: no area, outside the picture, duplicate, tiny, or of an unlabelled class."""

from __future__ import annotations

import numpy as np

from ...core.issues import Finding
from ..inference.boxes import from_yolo, iou
from .inventory import Entry

REFERENCE = 640
"""Longer side, in pixels, of the scaled picture that box sizes refer to; same as ``evaluation.matching.REFERENCE``."""
OVERHANG = 1 / REFERENCE
"""How far a box may reach out of its picture, as a fraction of the side: rounding does that."""
DOUBLE = 0.95
"""Two boxes of one class with an IoU above this are duplicates."""
TINY = 3.0
"""Pixels at the reference size. A box whose longer side is below this is too small for every stride of the detector."""
Corners = tuple[float, float, float, float]


def box_faults(entry: Entry, classes: tuple[str, ...], name: str, size: tuple[int, int] | None) -> list[Finding]:
    """Check the boxes of a picture.

    Args:
        entry: the picture and its labels.
        classes: names of all classes.
        name: of the label file, relative to the data set's root.
        size: height and width of the picture in pixels; None if it cannot be read, which skips the size check.
    """
    if not len(entry.rows):
        return []
    labels = entry.rows[:, 0].astype(int)
    corners = from_yolo(entry.rows[:, 1:], 1.0, 1.0)
    kinds: dict[int, str] = {}
    found = []

    def report(kind: str, index: int, text: str, weight: float = 0.0) -> None:
        kinds[index] = kind
        box = (_corners(corners[index]),)
        found.append(Finding(kind, name, text, entry.lines[index], entry.picture.file, box, weight=weight))

    for index, (x1, y1, x2, y2) in enumerate(corners):
        beyond = float(max(-x1, -y1, x2 - 1, y2 - 1))
        what = classes[labels[index]]
        if x2 <= x1 or y2 <= y1:
            report("box-degenerate", index, f"a {what} of width {x2 - x1:.6g} and height {y2 - y1:.6g}")
        elif x2 <= 0 or y2 <= 0 or x1 >= 1 or y1 >= 1:
            report("box-off", index, f"a {what} from {x1:.4f}, {y1:.4f} to {x2:.4f}, {y2:.4f}")
        elif beyond > OVERHANG:
            report("box-outside", index, f"a {what} extends {beyond:.1%} of a side outside the picture", beyond)
    sound = [index for index in range(len(corners)) if kinds.get(index) not in ("box-degenerate", "box-off")]
    for index, other, overlap in _doubles(corners, labels, sound):
        text = f"a {classes[labels[index]]} already in line {entry.lines[other]} (IoU {overlap:.2f})"
        report("box-double", index, text, overlap)
    if unlabelled := [index for index, label in enumerate(labels) if not entry.picture.labelled[label]]:
        names = ", ".join(sorted({classes[labels[index]] for index in unlabelled}))
        found.append(
            _together("box-unlabelled", entry, name, corners, unlabelled, f"{len(unlabelled)} of class {names}")
        )
    if size is not None:
        sides = sides_at_reference(entry.rows, *size)
        if tiny := [index for index in sound if sides[index] < TINY]:
            text = f"{len(tiny)} under {TINY:g} px at {REFERENCE}, the smallest {sides[tiny].min():.1f} px"
            found.append(_together("box-tiny", entry, name, corners, tiny, text))
    return found


def sides_at_reference(rows: np.ndarray, height: int, width: int) -> np.ndarray:
    """Longer sides of normalised boxes (n, 5) in pixels, in the picture scaled to a longer side of 640; shape (n,).

    Args:
        rows: class, then normalised centre boxes, float (n, 5).
        height: of the picture, in pixels.
        width: of the picture, in pixels.
    """
    return np.maximum(rows[:, 3] * width, rows[:, 4] * height) * REFERENCE / max(height, width)


def _corners(row: np.ndarray) -> Corners:
    x1, y1, x2, y2 = (float(value) for value in row)
    return x1, y1, x2, y2


def _together(kind: str, entry: Entry, name: str, corners: np.ndarray, which: list[int], text: str) -> Finding:
    boxes = tuple(_corners(corners[index]) for index in which)
    return Finding(kind, name, text, entry.lines[which[0]], entry.picture.file, boxes, weight=len(which))


def _doubles(corners: np.ndarray, labels: np.ndarray, sound: list[int]) -> list[tuple[int, int, float]]:
    """Find duplicates: each box's index, the earlier box of its class that it overlaps, and their IoU."""
    found = []
    for label in np.unique(labels[sound]):
        mine = [index for index in sound if labels[index] == label]
        overlaps = np.triu(iou(corners[mine], corners[mine]), 1)
        for column in np.flatnonzero((overlaps > DOUBLE).any(axis=0)):
            row = int(overlaps[:, column].argmax())
            found.append((mine[int(column)], mine[row], float(overlaps[row, column])))
    return sorted(found)
