"""Statistics of a checked data set: pictures and sizes by split and source, boxes by class and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .check import Checked, CheckReport

BANDS: tuple[tuple[str, float, float], ...] = (
    ("0-8", 0.0, 8.0),
    ("8-16", 8.0, 16.0),
    ("16-32", 16.0, 32.0),
    ("32-96", 32.0, 96.0),
    (">96", 96.0, float("inf")),
)
"""Name and range (low included, high excluded) of the longer side in pixels, in the picture scaled to 640."""


@dataclass(frozen=True)
class SourceRow:
    """The pictures of one source in one split.

    Attributes:
        labelled: names of the classes that at least one of its pictures is labelled for.
        unreadable: pictures that could not be read; ``sizes`` excludes them.
        empty: pictures without boxes.
        boxes: by class name.
        sizes: least, median and greatest longer side in pixels; None if no picture is readable.
    """

    split: str
    source: str
    pictures: int
    unreadable: int
    labelled: tuple[str, ...]
    empty: int
    boxes: dict[str, int]
    sizes: tuple[int, int, int] | None


@dataclass(frozen=True)
class ClassRow:
    """One class in one split.

    Attributes:
        labelled: pictures that are labelled for it.
        with_boxes: of these, the pictures with a box of it.
        boxes: all its boxes; ``bands`` has them by size, for readable pictures only.
    """

    split: str
    name: str
    labelled: int
    with_boxes: int
    boxes: int
    bands: dict[str, int]


def by_source(report: CheckReport) -> list[SourceRow]:
    """One row per split and source."""
    classes = report.description.classes
    rows = []
    for split, source in sorted({_key(checked) for checked in report.pictures}, key=lambda key: _place(report, key)):
        mine = [checked for checked in report.pictures if _key(checked) == (split, source)]
        sides = sorted(max(checked.size) for checked in mine if checked.size is not None)
        counts = _counts(mine, len(classes))
        rows.append(
            SourceRow(
                split,
                source,
                len(mine),
                len(mine) - len(sides),
                tuple(name for i, name in enumerate(classes) if any(c.entry.picture.labelled[i] for c in mine)),
                sum(not len(checked.entry.rows) for checked in mine),
                {name: int(count) for name, count in zip(classes, counts, strict=True)},
                (sides[0], sides[len(sides) // 2], sides[-1]) if sides else None,
            )
        )
    return rows


def by_class(report: CheckReport) -> list[ClassRow]:
    """One row per split and class."""
    rows = []
    for split in report.description.pictures:
        mine = [checked for checked in report.pictures if checked.entry.split == split]
        for index, name in enumerate(report.description.classes):
            labelled = [checked for checked in mine if checked.entry.picture.labelled[index]]
            sides = [checked.sides()[checked.entry.rows[:, 0] == index] for checked in mine if checked.size is not None]
            every = np.concatenate(sides) if sides else np.zeros(0)
            rows.append(
                ClassRow(
                    split,
                    name,
                    len(labelled),
                    sum(bool((checked.entry.rows[:, 0] == index).any()) for checked in labelled),
                    int(_counts(mine, len(report.description.classes))[index]),
                    {band: int(((every >= low) & (every < high)).sum()) for band, low, high in BANDS},
                )
            )
    return rows


def as_json(report: CheckReport) -> dict[str, Any]:
    """The whole report as plain data for ``json.dumps``."""
    return {
        "data": str(report.description.yaml),
        "classes": list(report.description.classes),
        "pictures": len(report.pictures),
        "detector": report.detector,
        "sources": [{**vars(row), "labelled": list(row.labelled)} for row in by_source(report)],
        "by_class": [vars(row) for row in by_class(report)],
        "findings": [finding.to_dict() for finding in report.findings],
    }


def _key(checked: Checked) -> tuple[str, str]:
    return checked.entry.split, checked.entry.picture.source


def _place(report: CheckReport, key: tuple[str, str]) -> tuple[int, str]:
    return list(report.description.pictures).index(key[0]), key[1]


def _counts(pictures: Sequence[Checked], classes: int) -> np.ndarray:
    labels = [checked.entry.rows[:, 0].astype(int) for checked in pictures]
    return np.bincount(np.concatenate(labels) if labels else np.zeros(0, int), minlength=classes)
