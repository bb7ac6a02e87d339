"""CSV: one box per line.

The header is ``file,x1,y1,x2,y2,class``, or TensorFlow's and Roboflow's ``filename,width,height,class,xmin,ymin,
xmax,ymax``, in any order. The columns ``split``, ``ignore`` (0 or 1) and ``source`` are optional. A line with only a
file is a picture without objects. Without a header, the columns are ``file,x1,y1,x2,y2,class``.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ....core.errors import DataError
from .records import SPLIT_NAMES, Annotations, Box, Pictures, Record, is_picture, number, read_text, size, split_of_path

PLAIN = ("file", "x1", "y1", "x2", "y2", "class")
OTHER_NAMES = {
    "filename": "file",
    "image": "file",
    "path": "file",
    "xmin": "x1",
    "ymin": "y1",
    "xmax": "x2",
    "ymax": "y2",
    "label": "class",
    "name": "class",
}


def read_csv(path: Path, given: Path | None = None) -> Annotations:
    """Read a CSV file, or all those in a folder.

    Raises:
        DataError: the labels are invalid; the message names file and line.
    """
    files = [path] if path.is_file() else csv_files(path)
    if not files:
        raise DataError(f"{path}: no CSV file of boxes in it; the columns must be {', '.join(PLAIN)}")
    pictures = Pictures(path, given)
    records: list[Record] = []
    for file in files:
        records += _records(file, pictures)
    classes = dict.fromkeys(box.name for record in records for box in record.boxes)
    return Annotations("csv", path, tuple(classes), tuple(records))


def csv_files(folder: Path) -> list[Path]:
    """The CSV files below a folder whose first line is a header of boxes or a box."""
    return [path for path in sorted(folder.rglob("*.csv")) if _columns(read_text(path).split("\n", 1)[0])]


def _columns(line: str) -> list[str] | None:
    """The columns named in a first line; ``PLAIN`` if it is already a box; None if it is neither."""
    try:
        words = next(csv.reader([line.rstrip("\r")]), [])
    except csv.Error:
        return None
    names = [OTHER_NAMES.get(word.strip().lower(), word.strip().lower()) for word in words]
    if set(PLAIN) <= set(names):
        return names
    return list(PLAIN) if len(words) == len(PLAIN) and is_picture(Path(words[0].strip())) else None


def _records(path: Path, pictures: Pictures) -> list[Record]:
    text = read_text(path)
    columns = _columns(text.split("\n", 1)[0])
    if columns is None:
        raise DataError(f"{path}: line 1: the columns must be {', '.join(PLAIN)} (or filename, xmin, …)")
    if len(set(columns)) != len(columns):
        raise DataError(f"{path}: line 1: a column appears twice")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: dict[str, Record] = {}
    boxes: dict[str, list[Box]] = {}
    try:
        for cells in reader:
            where = f"{path}: line {reader.line_num}"
            if not any(cell.strip() for cell in cells) or (reader.line_num == 1 and not is_picture(Path(cells[0]))):
                continue
            if len(cells) != len(columns):
                raise DataError(f"{where}: {len(cells)} cells, but {len(columns)} columns")
            row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
            record = _record(row, path, pictures, where)
            known = found.setdefault(row["file"], record)
            if (known.size, known.split) != (record.size, record.split):
                raise DataError(f"{where}: size or split of {row['file']} differs from {known.where}")
            boxes.setdefault(row["file"], []).extend(_boxes(row, where))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: not valid CSV: {error}") from error
    return [
        Record(each.path, tuple(boxes[name]), each.where, each.size, split=each.split, source=each.source)
        for name, each in found.items()
    ]


def _record(row: dict[str, str], path: Path, pictures: Pictures, where: str) -> Record:
    named = row.get("split", "")
    if named and named.lower() not in SPLIT_NAMES:
        raise DataError(f"{where}: split must be train, val or test, got {named!r}")
    split = SPLIT_NAMES[named.lower()] if named else split_of_path(path, pictures.top)
    picture = pictures.find(row["file"], (path.parent, path.parent / "images"), where, split)
    stated = size(row.get("width"), row.get("height"), where)
    own = split or split_of_path(picture, pictures.top)
    return Record(picture, (), where, stated, split=own, source=row.get("source") or None)


def _boxes(row: dict[str, str], where: str) -> list[Box]:
    cells = [row[name] for name in PLAIN[1:]]
    if not any(cells):
        return []
    if not row["class"]:
        raise DataError(f"{where}: a box without a class")
    x1, y1, x2, y2 = (number(row[name], where, name) for name in PLAIN[1:5])
    flag = row.get("ignore", "").lower()
    if flag not in ("", "0", "1", "true", "false"):
        raise DataError(f"{where}: ignore must be 0 or 1, got {flag!r}")
    return [Box((x1, y1, x2, y2), row["class"], flag in ("1", "true"), where)]
