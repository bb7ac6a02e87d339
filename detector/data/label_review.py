"""Review labelled pictures with a detector: labelled faces that it misses, and detections without a label.

The findings hint at wrong labels and hopeless pictures but prove nothing, since the detector errs too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...core.errors import DataError
from ...core.issues import Finding
from ..inference.boxes import from_yolo, iou, share_inside
from .box_checks import sides_at_reference
from .inventory import Entry

if TYPE_CHECKING:
    from ..inference.detector import FaceDetector

EASY = 16.0
"""Least longer side, in pixels at 640, of the boxes that a detector should find."""
SURE = 0.6
"""Least confidence of an unlabelled detection to report."""
APART = 0.2
"""A detection whose IoU with every label is below this matches none."""
Look = Callable[[Sequence[tuple[Entry, np.ndarray]]], list[Finding]]


def second_look(detector: FaceDetector, classes: tuple[str, ...]) -> Look:
    """Return a function that reviews pictures, given their entries and frames.

    Args:
        detector: used with its own confidence threshold.
        classes: of the data set.

    Raises:
        DataError: the detector and the data set have no class in common.
    """
    shared = {name: classes.index(name) for name in detector.classes if name in classes}
    if not shared:
        raise DataError(
            f"detector {detector.release.label} finds {', '.join(detector.classes)}; "
            f"the data set has {', '.join(classes)}: nothing to compare"
        )

    def look(pictures: Sequence[tuple[Entry, np.ndarray]]) -> list[Finding]:
        found = []
        for (entry, frame), seen in zip(pictures, detector.detect([frame for _, frame in pictures]), strict=True):
            file, (height, width) = entry.picture.file, frame.shape[:2]
            known = np.isin(entry.rows[:, 0], list(shared.values()))
            easy = int((known & (sides_at_reference(entry.rows, height, width) >= EASY)).sum())
            if easy and not len(seen):
                text = f"{easy} labelled, none found at a confidence of {detector.confidence:g}"
                found.append(Finding("nothing-found", file, text, picture=file, weight=easy))
            extra: list[tuple[np.ndarray, float]] = []
            words: list[str] = []
            for name, label in shared.items():
                if not entry.picture.labelled[label]:
                    continue
                mine = seen.of(name)
                sure = mine.confidence >= SURE
                boxes = mine.boxes[sure]
                free = _free(boxes, entry, label, height, width)
                if free.any():
                    extra.extend(zip(boxes[free], mine.confidence[sure][free], strict=True))
                    words.append(f"{int(free.sum())} of class {name}")
            if extra:
                best = float(max(confidence for _, confidence in extra))
                corners = [box / (width, height, width, height) for box, _ in extra]
                marked = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in corners)
                text = f"{', '.join(words)} found with a confidence of up to {best:.2f}, not labelled"
                found.append(Finding("not-labelled", file, text, picture=file, boxes=marked, weight=best))
        return found

    return look


def _free(boxes: np.ndarray, entry: Entry, label: int, height: int, width: int) -> np.ndarray:
    """Which detections overlap no label of their class and no ignore region; bool, shape (n,)."""
    free = np.ones(len(boxes), bool)
    labelled = from_yolo(entry.rows[entry.rows[:, 0] == label, 1:], width, height)
    ignored = from_yolo(entry.ignored[:, 1:], width, height)
    if len(boxes) and len(labelled):
        free &= iou(boxes, labelled).max(axis=1) < APART
    if len(boxes) and len(ignored):
        free &= share_inside(boxes, ignored).max(axis=1) <= 0.5
    return free
