"""Contact sheet of a data set check: the worst findings first, then a sample of each source."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...core.contact_sheet import Cell, Mark, contact_sheet
from ...core.errors import ImageError
from ...core.issues import Finding, sample, worst
from ..inference.boxes import from_yolo
from .check import Checked, CheckReport, Opener

COLOURS = ((96, 220, 64), (255, 168, 64), (64, 208, 255), (255, 96, 224), (208, 208, 64), (160, 128, 255))
"""BGR, by class number; the first two match ``facepipe detect --save``."""
FAULT, IGNORED = (48, 48, 255), (176, 176, 176)
WORST, PER_KIND, PER_SOURCE = 24, 3, 6
"""Pictures with findings, the most per kind of finding, and sampled pictures per source."""
MISSING = (72, 72, 72)
LETTERS, SHORTEST = 34, 8
"""Characters per caption, and how many are reserved for the end of the picture's name."""


def check_sheet(report: CheckReport, opener: Opener, seed: int = 0, columns: int = 6, side: int = 240) -> np.ndarray:
    """Draw the contact sheet of a report.

    Boxes have the colour of their class and ignore regions are grey. The boxes of a finding are drawn on top in red.

    Args:
        report: from ``check_data``.
        opener: decodes stored pictures; one that cannot be decoded becomes a crossed cell.
        seed: of the sample.

    Returns:
        BGR, uint8.
    """
    places = {checked.entry.picture.file: checked for checked in report.pictures}
    cells = []
    shown = worst(report.findings, lambda f: f.picture if f.picture in places else None, WORST, PER_KIND)
    for file, found in shown.items():
        more = len({finding.kind for finding in found}) - 1
        what = f"{found[0].kind} +{more}" if more else found[0].kind
        cells.append(_cell(report, places[file], opener, f"{found[0].severity}: {what}", found))
        twin = next((finding.other for finding in found if finding.other not in ("", file)), "")
        if twin in places:
            cells.append(_cell(report, places[twin], opener, f"its twin in {places[twin].entry.split}"))
    readable = ((each.entry.picture.source, each) for each in report.pictures if each.size is not None)
    for source, checked in sample(readable, PER_SOURCE, seed):
        cells.append(_cell(report, checked, opener, source))
    return contact_sheet(cells, columns, side)


def _cell(report: CheckReport, checked: Checked, opener: Opener, what: str, findings: Sequence[Finding] = ()) -> Cell:
    entry = checked.entry
    name = entry.picture.file.removeprefix("images/")
    room = max(SHORTEST, LETTERS - len(what))
    caption = f"{what}  {name if len(name) <= room else '…' + name[-room:]}"
    frame = _frame(checked, opener)
    if frame is None:
        corner = (0.0, 0.0, 64.0, 64.0)
        return Cell(_crossed(), caption, (Mark(corner, FAULT),))
    height, width = frame.shape[:2]
    marks = [Mark(_tuple(box), IGNORED) for box in from_yolo(entry.ignored[:, 1:], width, height)]
    classes = report.description.classes
    for row, box in zip(entry.rows, from_yolo(entry.rows[:, 1:], width, height), strict=True):
        label = int(row[0])
        marks.append(Mark(_tuple(box), COLOURS[label % len(COLOURS)], classes[label]))
    for x1, y1, x2, y2 in (box for finding in findings for box in finding.boxes):
        marks.append(Mark((x1 * width, y1 * height, x2 * width, y2 * height), FAULT, bold=True))
    return Cell(frame, caption, tuple(marks))


def _frame(checked: Checked, opener: Opener) -> np.ndarray | None:
    if checked.size is None:
        return None
    try:
        return opener(checked.entry.picture.path.read_bytes()).frame
    except (ImageError, OSError):  # removed or changed since the check
        return None


def _crossed() -> np.ndarray:
    """Frame of a cell whose picture cannot be shown."""
    frame = np.full((64, 64, 3), MISSING, np.uint8)
    for index in range(16, 48):
        frame[index, index] = frame[index, 63 - index] = FAULT
    return frame


def _tuple(box: np.ndarray) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(value) for value in box)
    return x1, y1, x2, y2
