"""WIDER FACE's text file (``wider_face_train_bbx_gt.txt``; http://shuoyang1213.me/WIDERFACE/).

Of each picture: its name below ``WIDER_train/images``, the number of faces, and a line a face: ``x1 y1 w h blur
expression illumination invalid occlusion pose``. A picture without faces has the number 0 and one line of zeros all the
same. A face with ``invalid`` becomes an ignore region.
"""

from __future__ import annotations

from pathlib import Path

from ....core.errors import DataError
from .pictures import Pictures, is_picture
from .records import Annotations, Box, Record
from .text import number, read_text, split_of_stem, whole

CLASS = "face"
INVALID = 7
"""Column of ``invalid``."""


def read_wider(path: Path, given: Path | None = None) -> Annotations:
    """Read one such file, or all of a folder.

    Raises:
        DataError: what is wrong, with file and line.
    """
    files = [path] if path.is_file() else wider_files(path)
    if not files:
        raise DataError(f"{path}: no wider_face_…_bbx_gt.txt below it")
    records: list[Record] = []
    for file in files:
        records += _records(file, Pictures(path if path.is_dir() else file.parent.parent, given))
    return Annotations("wider", path, (CLASS,), tuple(records))


def wider_files(folder: Path) -> list[Path]:
    """The text files below a folder that look like WIDER FACE's."""
    return [path for path in sorted(folder.rglob("*.txt")) if looks_like_wider(path)]


def looks_like_wider(path: Path) -> bool:
    """Whether a text file begins with a picture's name and a number."""
    try:
        with path.open(encoding="utf-8") as file:
            first, second = file.readline().strip(), file.readline().strip()
    except (OSError, UnicodeDecodeError):
        return False
    return is_picture(Path(first)) and second.isdigit()


def folders_of(path: Path, split: str | None) -> list[Path]:
    """Where the pictures are: the official archives unpack to ``wider_face_split`` and ``WIDER_train/images``."""
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
                f"{path}: line {at + 2}: {count} faces, but the file has only {len(lines) - first} lines more"
            )
        boxes = [_box(lines[line], f"{path}: line {line + 1}") for line in range(first, first + count)]
        at = first + count
        if count == 0 and at < len(lines) and not is_picture(Path(lines[at].strip())):
            if any(number(part, f"{path}: line {at + 1}", "a value") for part in lines[at].split()):
                raise DataError(f"{path}: line {at + 1}: a face of a picture that has 0 faces by line {first}")
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
