"""The contact sheet of a check of labelled faces: the worst findings, then a sample of each source."""

from __future__ import annotations

import numpy as np

from ...core.contact_sheet import Cell, Mark, contact_sheet
from ...core.errors import ImageError
from ...core.issues import Finding, sample, worst
from ...weights.manifest import NumericAttribute, PointsAttribute
from .check import FaceReport, Opener

LEFT, RIGHT, MIDDLE = (96, 220, 64), (255, 168, 64), (64, 208, 255)
"""BGR colours of points: the left of a pair, the right, or neither."""
FAULT, MISSING = (48, 48, 255), (72, 72, 72)
WORST, PER_KIND, PER_SOURCE = 36, 6, 12
"""Maximum number of pictures with findings, of those with the same worst kind, and of samples per source."""


def check_sheet(report: FaceReport, opener: Opener, seed: int = 0, columns: int = 8, side: int = 180) -> np.ndarray:
    """Draw the contact sheet of a report: each picture with its points, and its labels below.

    Args:
        report: from ``check_faces``.
        opener: decodes stored pictures; failures become cells with a red frame.
        seed: of the sample.
        columns: cells per row.
        side: of a cell in pixels.

    Returns:
        BGR, uint8.
    """
    table = report.table
    rows: dict[str, int] = {}
    for index, name in enumerate(table.columns["file"].tolist()):
        rows.setdefault(name, index)
    cells = []
    lines = {(str(name), int(line)): index for index, (name, line) in enumerate(_places(report))}
    names = {str(name): index for index, (name, _) in enumerate(_places(report))}

    def row(finding: Finding) -> int:
        return lines.get((finding.picture, finding.line or 0), names.get(finding.picture, 0))

    for index, found in worst(report.findings, row, WORST, PER_KIND).items():
        cells.append(_cell(report, index, opener, found[0].kind))
        twin = next((finding.other for finding in found if finding.other), "")
        if twin in rows and rows[twin] != index:
            cells.append(_cell(report, rows[twin], opener, f"its twin, {table.columns['split'][rows[twin]]}"))
    sources = zip(table.columns["source"].tolist(), range(len(table)), strict=True)
    readable = ((source, index) for source, index in sources if report.seen[index].size is not None)
    for source, index in sample(readable, PER_SOURCE, seed):
        cells.append(_cell(report, index, opener, source))
    return contact_sheet(cells, columns, side)


def _places(report: FaceReport) -> list[tuple[str, int]]:
    return list(zip(report.table.columns["file"].tolist(), report.table.lines.tolist(), strict=True))


def _cell(report: FaceReport, index: int, opener: Opener, what: str) -> Cell:
    caption = " ".join([what, *_labels(report, index)])
    frame = None
    if report.seen[index].size is not None:
        try:
            frame = opener(report.table.files[index].read_bytes())
        except (ImageError, OSError):  # deleted or changed since the check
            frame = None
    if frame is None:
        return Cell(np.full((64, 64, 3), MISSING, np.uint8), caption, (Mark((0, 0, 64, 64), FAULT),))
    return Cell(frame, caption, _marks(report, index, frame.shape[0]))


def _labels(report: FaceReport, index: int) -> list[str]:
    """Summarise a row's labels: ``28y male smile:yes``."""
    words = []
    for attribute in report.table.attributes:
        value = report.table.targets[attribute.name][index]
        if isinstance(attribute, PointsAttribute):
            continue
        if isinstance(attribute, NumericAttribute):
            number, low, high = value
            if not np.isnan(number):
                words.append(f"{number:g}{attribute.unit[:1]}")
            elif not np.isnan(low):
                words.append(f"{low:g}–{high:g}{attribute.unit[:1]}")
        elif not np.isnan(value):
            label = attribute.classes[int(value)]
            words.append(f"{attribute.name}:{label}" if set(attribute.classes) == {"no", "yes"} else label)
    return words


def _marks(report: FaceReport, index: int, height: int) -> tuple[Mark, ...]:
    """Mark each labelled point with a small square."""
    half = height / 60
    found = []
    for attribute in report.table.attributes:
        if isinstance(attribute, PointsAttribute):
            lefts, rights = ({pair[side] for pair in attribute.mirror} for side in (0, 1))
            for name, (x, y) in zip(
                attribute.points, report.table.targets[attribute.name][index].tolist(), strict=True
            ):
                if not np.isnan(x):
                    colour = LEFT if name in lefts else RIGHT if name in rights else MIDDLE
                    found.append(Mark((x - half, y - half, x + half, y + half), colour))
    return tuple(found)
