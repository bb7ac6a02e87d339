"""The contact sheet of a check: the worst findings first, then a sample of each source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from facepipe.core.contact_sheet import CAPTION, GAP, fit
from facepipe.detector.data.check import CheckReport
from facepipe.detector.data.check_sheet import COLOURS, FAULT, IGNORED, check_sheet
from facepipe.pipeline.datasets.check import open_stored

SIDE = 120


def square(sheet: np.ndarray, row: int, column: int, side: int = SIDE) -> np.ndarray:
    """The picture's square of one cell."""
    y, x = GAP + row * (side + CAPTION + GAP), GAP + column * (side + GAP)
    return sheet[y : y + side, x : x + side]


def coloured(part: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """First and last column and row in which a colour is: x1, y1, x2, y2."""
    rows, columns = np.nonzero((part == colour).all(axis=2))
    return None if not len(rows) else (columns.min(), rows.min(), columns.max(), rows.max())


def test_the_sheet_of_a_check(clean: Path, check: Callable[[Path], CheckReport]) -> None:
    """Findings first with their boxes in red, then a seeded sample of each source with classes and ignore regions."""
    root = clean.parent
    (root / "labels/train/heads1.txt").write_text("1 0.5 0.5 0.5 0.5\n1 0.9 0.5 0.4 0.2\n")
    (root / "images/train/heads4.png").write_bytes(b"")
    report = check(clean)
    assert [finding.kind for finding in report.findings] == ["picture-empty", "box-outside"]
    sheet = check_sheet(report, open_stored, seed=3, columns=4, side=SIDE)
    _, left, top, width, height = fit(240, 320, SIDE)
    broken, outside = square(sheet, 0, 0), square(sheet, 0, 1)
    assert (broken == FAULT).all(axis=2).any()
    # The second box: centre 0.9 of 120 px, width 0.4; it ends with the cell. The first: 0.25 to 0.75.
    assert coloured(outside, FAULT) == (84, top + 36, 119, top + 53)
    head = (outside == COLOURS[1]).all(axis=2)
    assert head[top + 23, 30:90].sum() >= 55
    assert (left, width, height) == (0, 120, 90)
    cells = 2 + 5 + 5 + 4  # faces, empty, and the heads that can be read
    assert sheet.shape[0] == GAP + (cells // 4) * (SIDE + CAPTION + GAP)
    first_face = square(sheet, 1, 3)
    assert coloured(first_face, COLOURS[0]) is not None
    assert coloured(first_face, FAULT) is None
    assert (check_sheet(report, open_stored, seed=3, columns=4, side=SIDE) == sheet).all()
    grey = [square(sheet, row, column) for row in range(4) for column in range(4)]
    assert any(coloured(part, IGNORED) is not None for part in grey)


def test_one_cell_for_all_faults_of_a_picture(clean: Path, check: Callable[[Path], CheckReport]) -> None:
    root = clean.parent
    text = "0 0.25 0.5 0.2 0.4\n" * 2 + "0 0.9 0.5 0.4 0.4\n0 0.6 0.5 0 0.4\n"
    for number in (0, 3, 6):
        (root / f"labels/train/faces{number}.txt").write_text(text)
    (root / "labels/val/faces0.txt").write_text(text)
    report = check(clean)
    assert {finding.kind for finding in report.findings} == {"box-degenerate", "box-outside", "box-double"}
    sheet = check_sheet(report, open_stored, columns=1, side=SIDE)
    cells = (sheet.shape[0] - GAP) // (SIDE + CAPTION + GAP)
    assert cells == 3 + 5 + 5 + 5  # three of the four pictures, then the sample
    assert coloured(square(sheet, 0, 0), FAULT) == (18, 42, 119, 77)  # from the double's left to the edge
    assert coloured(square(sheet, 3, 0), FAULT) is None


def test_pairs_stand_side_by_side(clean: Path, check: Callable[[Path], CheckReport]) -> None:
    root = clean.parent
    (root / "images/val/faces0.png").write_bytes((root / "images/train/faces0.png").read_bytes())
    report = check(clean)
    assert [finding.kind for finding in report.findings] == ["copy-across"]
    sheet = check_sheet(report, open_stored, columns=2, side=SIDE)
    one, other = square(sheet, 0, 0).astype(int), square(sheet, 0, 1).astype(int)
    assert (np.abs(one - other).sum(axis=2) > 0).mean() < 0.05  # they differ in the ignore region that one has
