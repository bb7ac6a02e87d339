"""Fitting a source's boxes to their picture, and counting what had to be done to them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from .class_map import ClassMap
from .exif import Corners, Seen
from .formats import Record

TOLERANCE = 0.5
"""Pixels beyond the edge that are rounding, not worth counting."""
LEAST_SIDE = 1.0
"""A box with a shorter side in pixels, once it is clipped, is no box."""
CLIPPED, SWAPPED, DEGENERATE, UNSEEN, TWICE, UNLABELLED = (
    "boxes clipped to the picture",
    "boxes whose corners had changed places, put right",
    "boxes without area or outside the picture, dropped",
    "pictures that had no other box of a class than dropped ones, taken as not labelled for it",
    "boxes that are there twice, dropped",
    "boxes of classes that are not labelled, dropped",
)


@dataclass(frozen=True)
class Row:
    """A box in the converted set: its class's number, and corners in pixels of the upright picture, within it."""

    label: int
    corners: Corners

    def line(self, width: int, height: int) -> str:
        """The line of a YOLO label file."""
        x1, y1, x2, y2 = self.corners
        centre = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
        return " ".join([str(self.label), *(f"{v:.6f}" for v in (*centre, (x2 - x1) / width, (y2 - y1) / height))])


@dataclass(frozen=True)
class Fitted:
    """A picture as the converted set has it.

    Attributes:
        record: the picture as its labels have it.
        seen: the picture as it is.
        boxes: its boxes.
        ignored: its ignore regions.
        labelled: the set's classes that it is labelled for.
    """

    record: Record
    seen: Seen
    boxes: tuple[Row, ...]
    ignored: tuple[Row, ...]
    labelled: tuple[str, ...]


@dataclass
class Tally:
    """How often something was done to a box, and where first."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, where: str) -> None:
        """Count one."""
        self.counts[what] += 1
        self.first.setdefault(what, where)


def fit_boxes(record: Record, seen: Seen, classes: ClassMap, tally: Tally) -> Fitted:
    """The boxes and the ignore regions of a picture in the converted set's classes.

    Corners that have changed places are put right. A picture whose only boxes of a class are none is not one without
    an object of that class: nobody knows what is in it.

    Args:
        record: the picture as its labels have it.
        seen: the picture as it is.
        classes: what its classes become; boxes of a class that becomes none are passed over.
        tally: what had to be done is counted there.
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
