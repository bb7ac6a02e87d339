"""WIDER FACE's text and MATLAB label files (http://shuoyang1213.me/WIDERFACE/).

The text file (``wider_face_train_bbx_gt.txt``) has, for each picture, its name below ``WIDER_train/images``, the number
of faces, and one line per face: ``x1 y1 w h blur expression illumination invalid occlusion pose``. A picture without
faces has the number 0 and still one line of zeros.

The MATLAB file (``wider_face_train.mat``) of the official archive has ``event_list`` (events,) with the folders and
``file_list`` (events,) with the pictures' names without suffix. In the same places, ``face_bbx_list`` has the boxes
(faces, 4) as x, y, width, height, and the optional ``invalid_label_list`` the flags (faces, 1).

In both, an invalid face becomes an ignore region.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ....core.errors import DataError
from ....core.extras import require
from .records import Annotations, Box, Pictures, Record, is_picture, number, read_text, split_of_stem, whole

CLASS = "face"
INVALID = 7
"""Index of the column ``invalid``."""
NEEDED = ("event_list", "file_list", "face_bbx_list")


def read_wider(path: Path, given: Path | None = None) -> Annotations:
    """Read a text file, or all those in a folder.

    Raises:
        DataError: the labels are invalid; the message names file and line.
    """
    files = [path] if path.is_file() else wider_files(path)
    if not files:
        raise DataError(f"{path}: no wider_face_…_bbx_gt.txt in it")
    records: list[Record] = []
    for file in files:
        records += _records(file, Pictures(path, given))
    return Annotations("wider", path, (CLASS,), tuple(records))


def wider_files(folder: Path) -> list[Path]:
    """The text files below a folder that look like WIDER FACE's."""
    return [path for path in sorted(folder.rglob("*.txt")) if looks_like_wider(path)]


def looks_like_wider(path: Path) -> bool:
    """Whether a text file starts with a picture's name and a number."""
    try:
        with path.open(encoding="utf-8") as file:
            first, second = file.readline().strip(), file.readline().strip()
    except (OSError, UnicodeDecodeError):
        return False
    return is_picture(Path(first)) and second.isdigit()


def folders_of(path: Path, split: str | None) -> list[Path]:
    """Candidate folders for the pictures (official archives: ``wider_face_split`` and ``WIDER_train/images``)."""
    around = [path.parent.parent, path.parent]
    name = f"WIDER_{split or 'train'}"
    return [top / folder for folder in (f"{name}/images", f"{name}/{name}/images", "images", ".") for top in around]


def _records(path: Path, pictures: Pictures) -> list[Record]:
    split = split_of_stem(path.stem)
    folders = folders_of(path, split)
    lines = read_text(path).splitlines()
    while lines and not lines[-1].strip():
        lines.pop()
    records = []
    at = 0
    while at < len(lines):
        name, where = lines[at].strip(), f"{path}: line {at + 1}"
        if not is_picture(Path(name)):
            raise DataError(f"{where}: expected a picture's name, got {lines[at]!r}")
        if at + 1 == len(lines):
            raise DataError(f"{where}: the file ends where the number of faces should be")
        count = whole(lines[at + 1].strip(), f"{path}: line {at + 2}", "the number of faces")
        first = at + 2
        if first + count > len(lines):
            raise DataError(
                f"{path}: line {at + 2}: {count} faces, but the file has only {len(lines) - first} more lines"
            )
        boxes = [_box(lines[line], f"{path}: line {line + 1}") for line in range(first, first + count)]
        at = first + count
        if count == 0 and at < len(lines) and not is_picture(Path(lines[at].strip())):
            if any(number(part, f"{path}: line {at + 1}", "a value") for part in lines[at].split()):
                raise DataError(f"{path}: line {at + 1}: a face in a picture with 0 faces according to line {first}")
            at += 1
        records.append(Record(pictures.find(name, folders, where, split), tuple(boxes), where, split=split))
    return records


def _box(line: str, where: str) -> Box:
    parts = line.split()
    if len(parts) not in (4, 10):
        raise DataError(f"{where}: expected x1 y1 w h and six flags, got {line!r}")
    values = [number(part, where, "a value") for part in parts]
    x, y, width, height = values[:4]
    return Box((x, y, x + width, y + height), CLASS, len(values) > INVALID and values[INVALID] != 0, where)


def read_wider_mat(path: Path, given: Path | None = None) -> Annotations:
    """Read a MATLAB file, or all those in a folder.

    Raises:
        DataError: the file is not of MATLAB version 5 or has another layout; the message names file, event and picture.
        MissingExtraError: scipy is not installed.
    """
    files = [path] if path.is_file() else sorted(path.rglob("*.mat"))
    if not files:
        raise DataError(f"{path}: no .mat file in it")
    records: list[Record] = []
    for file in files:
        records += _mat_records(file, Pictures(path, given))
    return Annotations("wider-mat", path, (CLASS,), tuple(records))


def _mat_records(path: Path, pictures: Pictures) -> list[Record]:
    content = _content(path)
    split = split_of_stem(path.stem)
    folders = folders_of(path, split)
    events = [_text(cell, f"{path}: event_list[{i}]") for i, cell in enumerate(_cells(content, "event_list", path))]
    files, boxes = _cells(content, "file_list", path), _cells(content, "face_bbx_list", path)
    invalid = _cells(content, "invalid_label_list", path) if "invalid_label_list" in content else None
    for name, cells in (("file_list", files), ("face_bbx_list", boxes), ("invalid_label_list", invalid)):
        if cells is not None and len(cells) != len(events):
            raise DataError(f"{path}: {name} has {len(cells)} events, event_list has {len(events)}")
    records = []
    for index, event in enumerate(events):
        names, rows = np.ravel(files[index]), np.ravel(boxes[index])
        flags = None if invalid is None else np.ravel(invalid[index])
        if len(names) != len(rows) or (flags is not None and len(flags) != len(names)):
            raise DataError(f"{path}: event {event}: {len(names)} pictures, but boxes for {len(rows)}")
        for place, cell in enumerate(names):
            where = f"{path}: event {event}: picture {place + 1}"
            name = _text(cell, where)
            found = pictures.find(f"{event}/{name}.jpg", folders, where, split)
            records.append(Record(found, _boxes(rows[place], flags, place, where), where, split=split))
    return records


def _content(path: Path) -> dict[str, Any]:
    loadmat = require("scipy.io").loadmat
    try:
        content = loadmat(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # scipy raises all kinds of errors for a damaged file
        raise DataError(f"{path}: not a MATLAB file of version 5: {type(error).__name__}: {error}") from error
    if missing := [name for name in NEEDED if name not in content]:
        raise DataError(f"{path}: has no {', '.join(missing)}, which WIDER FACE has")
    return content


def _cells(content: dict[str, Any], name: str, path: Path) -> np.ndarray:
    cells = np.ravel(content[name])
    if cells.dtype != object:
        raise DataError(f"{path}: {name} must be a cell array")
    return cells


def _text(cell: Any, where: str) -> str:
    values = np.ravel(cell)
    if len(values) != 1 or not str(values[0]):
        raise DataError(f"{where}: expected a name, got {cell!r}")
    return str(values[0])


def _boxes(cell: Any, flags: np.ndarray | None, place: int, where: str) -> tuple[Box, ...]:
    try:
        rows = np.asarray(cell, np.float64).reshape(-1, 4) if np.size(cell) else np.zeros((0, 4))
        invalid = np.zeros(len(rows)) if flags is None else np.asarray(flags[place], np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: boxes must be numbers, four per face: {error}") from error
    if len(invalid) != len(rows):
        raise DataError(f"{where}: {len(rows)} boxes, but {len(invalid)} validity flags")
    if not np.isfinite(rows).all():
        raise DataError(f"{where}: a box has a value that is not finite")
    if not rows.any():  # a picture without faces has a row of zeros
        return ()
    return tuple(
        Box((x, y, x + width, y + height), CLASS, bool(flag), f"{where}: face {i + 1}")
        for i, ((x, y, width, height), flag) in enumerate(zip(rows.tolist(), invalid, strict=True))
    )
