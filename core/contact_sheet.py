"""A contact sheet: many pictures with their boxes on one page, in cells of one size.

Needs only OpenCV. Text uses the sans font built into OpenCV 5, so captions may contain any letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from .errors import DataError, os_errors_as
from .files import write_whole

PAGE, CELL, SHADE, INK = (128, 128, 128), (104, 104, 104), (24, 24, 24), (245, 245, 245)
GAP, CAPTION, LETTER = 8, 20, 11
"""In pixels: gap between cells, height of the caption strip, font size."""
LARGEST_ZOOM = 8.0
"""Maximum factor by which a picture smaller than its cell is enlarged."""
CROWD = 12
"""With more boxes than this in a cell, their texts are omitted."""
THICK = 60
"""Boxes with at least this longer side, in sheet pixels, are drawn 2 pixels thick; smaller or crowded ones 1 pixel."""


@dataclass(frozen=True)
class Mark:
    """One box of a cell.

    Attributes:
        box: x1, y1, x2, y2 in pixels of the cell's frame.
        colour: BGR.
        text: short label at its upper edge; omitted in a crowd, or where it would cover another box.
        bold: draw it 2 pixels thick and outlined, whatever its size and the number of boxes.
    """

    box: tuple[float, float, float, float]
    colour: tuple[int, int, int]
    text: str = ""
    bold: bool = False


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet.

    Attributes:
        frame: BGR, uint8, shape (height, width, 3).
        caption: one line below the picture; shortened in the middle if too long.
        boxes: drawn in this order, the last on top.
    """

    frame: np.ndarray
    caption: str = ""
    boxes: Sequence[Mark] = ()


def contact_sheet(cells: Sequence[Cell], columns: int = 6, side: int = 240) -> np.ndarray:
    """Lay out pictures in rows.

    Args:
        cells: what to show, row by row.
        columns: cells per row; fewer if there are fewer cells.
        side: side of each cell's square in pixels; the picture is fitted into it, with the caption below.

    Returns:
        BGR, uint8: cells of ``side`` x ``side + CAPTION`` pixels with ``GAP`` pixels of grey around each; a grey page
        of one cell if there are no cells.
    """
    columns = max(1, min(columns, len(cells)))
    rows = max(1, -(-len(cells) // columns))
    height, width = rows * (side + CAPTION + GAP) + GAP, columns * (side + GAP) + GAP
    sheet = np.full((height, width, 3), PAGE, np.uint8)
    for index, cell in enumerate(cells):
        row, column = divmod(index, columns)
        y, x = GAP + row * (side + CAPTION + GAP), GAP + column * (side + GAP)
        _place(sheet[y : y + side, x : x + side], cell)
        _caption(sheet[y + side : y + side + CAPTION, x : x + side], cell.caption)
    return sheet


def fit(height: int, width: int, side: int) -> tuple[float, int, int, int, int]:
    """Where a picture is placed in its cell.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        side: of the cell, in pixels.

    Returns:
        Its scale, then its left, top, width and height in pixels of the cell.
    """
    scale = min(side / width, side / height, LARGEST_ZOOM)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    return scale, (side - new_width) // 2, (side - new_height) // 2, new_width, new_height


def write_sheet(path: Path, sheet: np.ndarray) -> None:
    """Write a sheet atomically, in the image format of the path's suffix.

    Args:
        path: output file; its suffix selects the format.
        sheet: BGR, uint8, (height, width, 3).

    Raises:
        DataError: the file cannot be written, or OpenCV does not write this format.
    """
    try:
        encoded = cv2.imencode(path.suffix, sheet)[1].tobytes()
    except cv2.error as error:
        raise DataError(f"{path}: cannot be written as a picture; end its name in .png or .jpg") from error
    with os_errors_as(DataError, f"{path}: cannot be written"):
        write_whole(path, encoded)


def _place(square: np.ndarray, cell: Cell) -> None:
    """Fit the picture into its square and draw the boxes; no line leaves the square."""
    side = square.shape[0]
    scale, left, top, width, height = fit(cell.frame.shape[0], cell.frame.shape[1], side)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    square[:] = CELL
    square[top : top + height, left : left + width] = cv2.resize(cell.frame, (width, height), interpolation=way)
    canvas = np.ascontiguousarray(square)
    crowd = len(cell.boxes) > CROWD
    places = [_pixels(mark.box, cell.frame.shape, (left, top, width, height), side) for mark in cell.boxes]
    for mark, (x1, y1, x2, y2) in zip(cell.boxes, places, strict=True):
        stroke = 2 if mark.bold or (not crowd and max(x2 - x1, y2 - y1) + 1 >= THICK) else 1
        if mark.bold or not crowd:
            cv2.rectangle(canvas, (x1 - 1, y1 - 1), (x2 + 1, y2 + 1), SHADE, 1)
        for inset in range(stroke):
            if x2 - x1 >= 2 * inset and y2 - y1 >= 2 * inset:
                cv2.rectangle(canvas, (x1 + inset, y1 + inset), (x2 - inset, y2 - inset), mark.colour, 1)
    if not crowd:
        taken = list(places)
        for index, mark in enumerate(cell.boxes):
            if mark.text and (patch := _patch(mark.text, places[index], side)) is not None:
                others = taken[:index] + taken[index + 1 :]
                if not any(_touch(patch, other) for other in others):
                    _tag(canvas, mark, patch)
                    taken.append(patch)
    square[:] = canvas


def _pixels(
    box: tuple[float, float, float, float], shape: tuple[int, ...], placed: tuple[int, int, int, int], side: int
) -> tuple[int, int, int, int]:
    """A box's first and last pixels in its cell, clipped at the cell's edge so that it still shows."""
    left, top, width, height = placed
    x, y = width / shape[1], height / shape[0]

    def pixel(value: float) -> int:
        return int(min(max(value, 0), side - 1))

    x1, y1 = pixel(np.floor(left + box[0] * x + 0.5)), pixel(np.floor(top + box[1] * y + 0.5))
    x2, y2 = pixel(np.floor(left + box[2] * x - 0.5)), pixel(np.floor(top + box[3] * y - 0.5))
    return x1, y1, max(x1, x2), max(y1, y2)


def _patch(text: str, place: tuple[int, int, int, int], side: int) -> tuple[int, int, int, int] | None:
    """First and last pixels of a box's text: above the box, or inside it if there is no room above.

    None if it does not fit into the cell.
    """
    wide, high = cv2.getTextSize((0, 0), text, (0, 0), cv2.FontFace("sans"), LETTER - 1, 500)[2] + 4, LETTER + 2
    left = min(place[0], side - wide)
    top = place[1] - high - 1 if place[1] > high else place[1]
    return None if left < 0 or top + high > side else (left, top, left + wide - 1, top + high - 1)


def _touch(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _tag(canvas: np.ndarray, mark: Mark, patch: tuple[int, int, int, int]) -> None:
    """Draw a box's text on a patch of its colour."""
    canvas[patch[1] : patch[3] + 1, patch[0] : patch[2] + 1] = mark.colour
    ink = SHADE if sum(mark.colour) > 330 else INK
    cv2.putText(canvas, mark.text, (patch[0] + 2, patch[3] - 3), ink, cv2.FontFace("sans"), LETTER - 1, 500)


def _caption(strip: np.ndarray, text: str) -> None:
    """Draw one line, cut in the middle if too long: the ends of a file name say the most."""
    if not text:
        return
    font = cv2.FontFace("sans")
    text = " ".join(text.split())

    def width(line: str) -> int:
        return int(cv2.getTextSize((0, 0), line, (0, 0), font, LETTER, 400)[2])

    shown, kept = text, len(text)
    while width(shown) > strip.shape[1] - 2 and kept > 1:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    canvas = np.ascontiguousarray(strip)
    cv2.putText(canvas, shown, (1, CAPTION - 6), INK, font, LETTER, 400)
    strip[:] = canvas
