"""Ways to look at a result: a few lines of text, HTML, a picture, a window."""

from __future__ import annotations

import base64
import sys
from html import escape
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..core.errors import FacepipeError, ImageError, os_errors_as
from ..core.files import write_whole
from .drawing.draw import draw
from .drawing.labels import in_words
from .drawing.window import show_until_key
from .inputs.image_reader import Frame, read_frame
from .inputs.sources import is_url
from .result_data import Face, ResultData

LINES = 3
"""Maximum number of lines in a result's ``repr``."""
WIDEST = 800
"""Maximum length in pixels of the longer side of a picture in a notebook."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


def frame_of(result: ResultData, frame: np.ndarray | None, held: Any) -> Frame:
    """The upright picture that a result was made from.

    Args:
        result: of the picture.
        frame: the picture, if the caller has it.
        held: its ``results.Held``, or None.

    Returns:
        BGR, uint8, (height, width, 3).

    Raises:
        ImageError: the picture is unknown, can no longer be read, or has another size.
    """
    if result.error is not None:
        raise ImageError(f"there is no picture to draw on: {result.error}")
    if frame is None and held is not None:
        frame = read_frame(held.source)
    elif frame is None:
        if result.source is None or result.frame is not None or is_url(result.source):
            raise ImageError("this result does not hold its picture; pass it in: result.plot(frame)")
        frame = read_frame(result.source)
    if frame.shape[:2] != (result.height, result.width):
        height, width = frame.shape[:2]
        raise ImageError(f"the picture has {width} x {height} pixels, the result {result.width} x {result.height}")
    return read_frame(frame)


def in_lines(result: ResultData) -> str:
    """One to three lines: size and counts, then a line for each of the first faces."""
    name = result.source or "picture"
    if result.error is not None:
        return f"<Result {_short(name)}: {_short(result.error, 200)}>"
    at = "" if result.frame is None else f" frame {result.frame}"
    faces, heads = len(result.faces), len(result.heads)
    lines = [f"<Result {_short(name)}{at}, {result.width} x {result.height}: {faces} faces, {heads} heads"]
    lines[0] = lines[0].replace(" 1 faces", " 1 face").replace(" 1 heads", " 1 head")
    shown = LINES - 1 if faces <= LINES - 1 else LINES - 2
    lines += [f"  {number}: {_short(_words(face), 110)}" for number, face in enumerate(result.faces[:shown])]
    if faces > shown:
        lines.append(f"  and {faces - shown} more")
    return "\n".join(lines) + ">"


def as_html(result: ResultData, held: Any) -> str:
    """The picture, if available, above a table of the faces."""
    head = f"<p>{escape(in_lines(result).splitlines()[0].strip('<>'))}</p>"
    names = [*dict.fromkeys(name for face in result.faces for name in face.attributes or {})]
    names = [name for name in names if any(_cell(face, name) for face in result.faces)]
    cells = [["", "confidence", *names]]
    for number, face in enumerate(result.faces):
        cells.append([str(number), f"{face.confidence:.2f}", *(_cell(face, name) for name in names)])
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in cells)
    table = "<table>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</table>" if result.faces else ""
    try:
        picture = draw(frame_of(result, None, held), result)
    except FacepipeError:
        return head + table  # for example a result read from JSON whose picture is elsewhere
    scale = min(1.0, WIDEST / max(picture.shape[:2]))
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else picture
    content = base64.b64encode(cv2.imencode(".jpg", small)[1].tobytes()).decode()
    return f'{head}<img src="data:image/jpeg;base64,{content}" style="max-width: 100%">{table}'


def cut_faces(result: ResultData, frame: Frame, margin: float) -> list[Frame]:
    """Cut out each face's box with a margin: BGR, uint8, (height, width, 3) each.

    Args:
        result: of the picture.
        frame: the picture, BGR, uint8, (height, width, 3).
        margin: around each face, as a fraction of its longer side.
    """
    cut = []
    for face in result.faces:
        box = face.box
        more = margin * max(box.x2 - box.x1, box.y2 - box.y1)
        left, top = max(0, int(box.x1 - more)), max(0, int(box.y1 - more))
        right, bottom = max(left + 1, int(np.ceil(box.x2 + more))), max(top + 1, int(np.ceil(box.y2 + more)))
        cut.append(frame[top:bottom, left:right].copy())
    return cut


def write(picture: Frame, path: Path) -> Path:
    """Write a picture, BGR, uint8, (height, width, 3), in the format given by the path's suffix.

    Raises:
        FacepipeError: the suffix is unknown, or the file cannot be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise FacepipeError(f"{path}: end the name with one of {', '.join(SUFFIXES)}")
    done, content = cv2.imencode(path.suffix.lower(), picture)
    if not done:
        raise FacepipeError(f"{path}: OpenCV cannot write {path.suffix}")
    with os_errors_as(FacepipeError, f"{path}: cannot be written"):
        write_whole(path, content.tobytes())
    return path


def show(picture: Frame, title: str) -> None:
    """Show a picture, BGR, uint8, (height, width, 3), in a notebook, or in a window until a key is pressed.

    Raises:
        FacepipeError: no window can be opened.
    """
    if "ipykernel" in sys.modules:
        display = import_module("IPython.display")  # always present in a kernel
        display.display(display.Image(cv2.imencode(".png", picture)[1].tobytes()))
        return
    show_until_key(picture, title)


def _short(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _words(face: Face) -> str:
    """A face on one line: ``0.87 age 31 years (21-47), gender female 0.71``."""
    words = [f"{name} {text}" for name, value in (face.attributes or {}).items() if (text := in_words(value))]
    return f"{face.confidence:.2f} {', '.join(words) or face.reason or ''}".rstrip()


def _cell(face: Face, name: str) -> str:
    value = (face.attributes or {}).get(name)
    return "" if value is None else in_words(value)
