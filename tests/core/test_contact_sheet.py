"""Where pictures, boxes and captions are on a contact sheet, by pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facepipe.core.contact_sheet import CAPTION, CELL, CROWD, GAP, PAGE, Cell, Mark, contact_sheet, fit, write_sheet
from facepipe.core.errors import DataError
from facepipe.pipeline.inputs.image_reader import read_frame

RED, GREEN = (0, 0, 255), (0, 255, 0)
SIDE = 120


def plain(height: int, width: int, colour: int = 200) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def square(sheet: np.ndarray, row: int, column: int, side: int = SIDE) -> np.ndarray:
    """The picture's square of one cell."""
    y, x = GAP + row * (side + CAPTION + GAP), GAP + column * (side + GAP)
    return sheet[y : y + side, x : x + side]


def coloured(part: np.ndarray, colour: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """First and last column and row in which a colour is: x1, y1, x2, y2."""
    rows, columns = np.nonzero((part == colour).all(axis=2))
    return None if not len(rows) else (columns.min(), rows.min(), columns.max(), rows.max())


def test_cells_are_of_one_size_and_stand_in_rows() -> None:
    cells = [Cell(plain(60, 40 + 20 * number, 10 * number)) for number in range(1, 6)]
    sheet = contact_sheet(cells, columns=3, side=SIDE)
    assert sheet.shape == (GAP + 2 * (SIDE + CAPTION + GAP), GAP + 3 * (SIDE + GAP), 3)
    for number, cell in enumerate(cells):
        here = square(sheet, number // 3, number % 3)
        _, left, top, width, height = fit(60, cell.frame.shape[1], SIDE)
        assert (here[top : top + height, left : left + width] == 10 * (number + 1)).all()
        outside = np.ones((SIDE, SIDE), bool)
        outside[top : top + height, left : left + width] = False
        assert (here[outside] == CELL).all()
    assert (square(sheet, 1, 2) == PAGE).all()
    assert (sheet[:GAP] == PAGE).all()
    assert contact_sheet(cells[:2], columns=6, side=SIDE).shape[1] == GAP + 2 * (SIDE + GAP)
    assert (contact_sheet([], side=SIDE) == PAGE).all()


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (60, 120, (1.0, 0, 30, 120, 60)),
        (480, 240, (0.25, 30, 0, 60, 120)),
        (30, 30, (4.0, 0, 0, 120, 120)),
        (5, 10, (8.0, 20, 40, 80, 40)),
        (1, 5000, (0.024, 0, 59, 120, 1)),
    ],
)
def test_where_a_picture_fits(height: int, width: int, expected: tuple[float, int, int, int, int]) -> None:
    assert fit(height, width, SIDE) == pytest.approx(expected)


@pytest.mark.parametrize("zoom", [0.25, 1, 2, 4])
def test_boxes_are_on_the_pixels_that_they_mark(zoom: float) -> None:
    """A dark patch in the picture, and a box around it: the line's outer edge is the patch's edge at any scale."""
    height, width = round(60 / zoom), round(120 / zoom)
    x1, y1, x2, y2 = (round(value / zoom) for value in (24, 16, 84, 48))
    frame = plain(height, width)
    frame[y1:y2, x1:x2] = 90
    sheet = contact_sheet([Cell(frame), Cell(frame, boxes=[Mark((x1, y1, x2, y2), RED)])], side=SIDE)
    patch = coloured(square(sheet, 0, 0), (90, 90, 90))
    assert patch == pytest.approx((24, 46, 83, 77), abs=0 if zoom <= 1 else 2)  # a small one is enlarged smoothly
    marked = square(sheet, 0, 1)
    assert coloured(marked, RED) == (24, 46, 83, 77)
    inner = marked[46 + 2 : 77 - 1, 24 + 2 : 83 - 1]
    assert not (inner == RED).all(axis=2).any()
    for line in (marked[46:48, 24:84], marked[76:78, 24:84], marked[46:78, 24:26], marked[46:78, 82:84]):
        assert (line == RED).all()


def test_small_boxes_and_crowds_have_thin_lines_and_no_text() -> None:
    few = [Mark((10, 40, 30, 60), RED, "face")]
    crowd = [Mark((10, 40, 110, 100), RED, "face")] + [Mark((2 * i, 0, 2 * i + 2, 3), GREEN) for i in range(CROWD)]
    sheet = contact_sheet([Cell(plain(SIDE, SIDE), boxes=few), Cell(plain(SIDE, SIDE), boxes=crowd)], side=SIDE)
    here, there = square(sheet, 0, 0), square(sheet, 0, 1)
    assert (here[40, 10:30] == RED).all()
    assert not (here[41, 11:29] == RED).all(axis=1).any()
    assert (here[30:38, 10:14] == RED).any()  # its text stands above
    assert coloured(there, RED) == (10, 40, 109, 99)
    assert not (there[41, 11:108] == RED).all(axis=1).any()
    assert (here[39, 9:31] == 24).all()  # a darker line around it shows it on any picture
    assert (there[39, 10:100] == 200).all()


def test_bold_boxes_stand_out_of_a_crowd() -> None:
    crowd = [Mark((10 * i, 20, 10 * i + 8, 28), GREEN) for i in range(CROWD)]
    boxes = [*crowd, Mark((30, 60, 40, 70), RED, bold=True)]
    here = square(contact_sheet([Cell(plain(SIDE, SIDE), boxes=boxes)], side=SIDE), 0, 0)
    assert coloured(here, RED) == (30, 60, 39, 69)
    assert (here[60:62, 30:40] == RED).all()
    assert (here[59, 29:41] == 24).all()


def test_text_covers_no_other_box() -> None:
    marks = [Mark((10, 40, 60, 100), RED, "face"), Mark((10, 20, 60, 38), GREEN)]
    here = square(contact_sheet([Cell(plain(SIDE, SIDE), boxes=marks)], side=SIDE), 0, 0)
    assert coloured(here, RED) == (10, 40, 59, 99)
    assert coloured(here, GREEN) == (10, 20, 59, 37)


@pytest.mark.parametrize(
    "box", [(-50.0, -50.0, 500.0, 500.0), (90.0, 90.0, 90.0, 90.0), (300.0, 300.0, 400.0, 400.0), (100.0, 100, 10, 10)]
)
def test_a_box_out_of_its_picture_stays_in_its_cell_and_shows(box: tuple[float, float, float, float]) -> None:
    cells = [Cell(plain(SIDE, SIDE), boxes=[Mark(box, RED, "face")]), *[Cell(plain(SIDE, SIDE))] * 3]
    sheet = contact_sheet(cells, columns=2, side=SIDE)
    assert coloured(square(sheet, 0, 0), RED) is not None
    square(sheet, 0, 0)[:] = 0
    assert coloured(sheet, RED) is None


def test_captions_stand_below_and_are_cut_in_the_middle() -> None:
    texts = ["", "größe 名.png", "x" * 300, "y\n" * 40]
    sheet = contact_sheet([Cell(plain(SIDE, SIDE), text) for text in texts], columns=2, side=SIDE)
    below = [square(sheet, n // 2, n % 2) for n in range(4)]
    strips = [
        sheet[GAP + (n // 2) * (SIDE + CAPTION + GAP) + SIDE :][:CAPTION, GAP + (n % 2) * (SIDE + GAP) :][:, :SIDE]
        for n in range(4)
    ]
    assert (strips[0] == PAGE).all()
    for strip in strips[1:]:
        assert (strip != PAGE).any()
    assert (strips[2][:, -20:] != PAGE).any()
    for part in below:
        assert (part == 200).all()
    gaps = np.concatenate([sheet[:, :GAP].ravel(), sheet[:, GAP + SIDE : 2 * GAP + SIDE].ravel(), sheet[:GAP].ravel()])
    assert set(gaps) == {PAGE[0]}


def test_writing(tmp_path: Path) -> None:
    sheet = contact_sheet([Cell(plain(30, 30), "a")], side=SIDE)
    write_sheet(tmp_path / "new" / "sheet.png", sheet)
    assert (read_frame(tmp_path / "new" / "sheet.png") == sheet).all()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["sheet.png"]
    for path, message in ((tmp_path / "sheet.xyz", "end its name in"), (tmp_path / "new/sheet.png/x.png", "cannot be")):
        with pytest.raises(DataError, match=message):
            write_sheet(path, sheet)
