"""Fit a source's boxes to their picture and count the corrections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from .class_map import ClassMap
from .exif import Corners, Seen
from .formats import Record

TOLERANCE = 0.5
"""Overhang in pixels that counts as rounding and is not reported."""
LEAST_SIDE = 1.0
"""Boxes whose shorter side in pixels is below this after clipping are dropped."""
CLIPPED, SWAPPED, DEGENERATE, UNSEEN, TWICE, UNLABELLED = (
    "boxes clipped to the picture",
    "boxes with swapped corners, corrected",
    "boxes without area or outside the picture, dropped",
    "pictures whose only boxes of a class were dropped, taken as not labelled for it",
    "duplicate boxes, dropped",
    "boxes of classes that are not labelled, dropped",
)


@dataclass(frozen=True)
class Row:
    """A box in the converted set: its class number and its corners in pixels, clipped to the upright picture."""

    label: int
    corners: Corners

    def line(self, width: int, height: int) -> str:
        """The box as a line of a YOLO label file."""
        x1, y1, x2, y2 = self.corners
        centre = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
        return " ".join([str(self.label), *(f"{v:.6f}" for v in (*centre, (x2 - x1) / width, (y2 - y1) / height))])


@dataclass(frozen=True)
class Fitted:
    """A picture as it goes into the converted set.

    Attributes:
        record: the picture as its labels describe it.
        seen: the picture as it was read.
        boxes: its boxes.
        ignored: its ignore regions.
        labelled: classes of the set that it is labelled for.
    """

    record: Record
    seen: Seen
    boxes: tuple[Row, ...]
    ignored: tuple[Row, ...]
    labelled: tuple[str, ...]


@dataclass
class Tally:
    """How often each correction was made, and where first."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, where: str) -> None:
        """Count one correction."""
        self.counts[what] += 1
        self.first.setdefault(what, where)


def fit_boxes(record: Record, seen: Seen, classes: ClassMap, tally: Tally) -> Fitted:
    """Convert a picture's boxes and ignore regions to the classes of the converted set.

    Swapped corners are put in order. If all boxes of a class are dropped, the picture counts as not labelled for that
    class: it may well contain such objects.

    Args:
        record: the picture as its labels describe it.
        seen: the picture as it was read.
        classes: the class map; boxes of unmapped classes are skipped.
        tally: counts the corrections.
    """
    rows: dict[Row, None] = {}
    ignored: dict[Row, None] = {}
    labelled = classes.labelled_in(record.labelled)
    dropped: set[str] = set()
    size = np.array([seen.width, seen.height] * 2, np.float64)
    for box in record.boxes:
        name = classes.names.get(box.name)
        if name is None:
            continue
        if name not in labelled:
            tally.add(UNLABELLED, box.where)
            continue
        given = np.array(box.corners)
        ordered = np.concatenate([np.minimum(given[:2], given[2:]), np.maximum(given[:2], given[2:])])
        if (ordered != given).any():
            tally.add(SWAPPED, box.where)
        x1, y1, x2, y2 = ordered.tolist()
        corners = ordered * size if record.fractions else np.array(seen.upright((x1, y1, x2, y2)))
        clipped = np.clip(corners, 0, size)
        if min(clipped[2:] - clipped[:2]) < LEAST_SIDE:
            tally.add(DEGENERATE, box.where)
            dropped.add(name)
            continue
        if np.abs(clipped - corners).max() > TOLERANCE:
            tally.add(CLIPPED, box.where)
        x1, y1, x2, y2 = clipped.tolist()
        row = Row(classes.classes.index(name), (x1, y1, x2, y2))
        into = ignored if box.ignore else rows
        if row in into:
            tally.add(TWICE, box.where)
        into[row] = None
    dropped -= {classes.classes[row.label] for row in (*rows, *ignored)}
    for _ in dropped:
        tally.add(UNSEEN, record.where)
    labelled = tuple(name for name in labelled if name not in dropped)
    return Fitted(record, seen, tuple(rows), tuple(ignored), labelled)
