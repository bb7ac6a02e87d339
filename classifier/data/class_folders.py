"""Pictures in folders, as label rows: folders named by class, and Roboflow's exports of classification projects.

``DIR/<class>/*.jpg`` or ``DIR/{train,val,test}/<class>/*.jpg`` (also ``valid``, as Roboflow writes it) say one
attribute: the one whose classes hold every folder's name. Folders of a numeric attribute, which must be named, are
numbers or ranges: ``25`` or ``20-29``. Roboflow's export of a project with several labels a picture has a
``_classes.csv`` in each split's folder: ``filename``, then a column a class with 1 or 0.

Pictures in folders are taken for crops of faces (``framing`` tight), or for those that a ``crop.json`` in DIR tells of.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path, PurePath

from ...core.errors import DataError
from ...core.near_duplicates import copied_from
from ...weights.manifest import Attribute, ClassesBase, NumericAttribute, PointsAttribute
from .label_files import Rows

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MULTI_LABEL = "_classes.csv"
UNLABELLED = "Unlabeled"
"""Roboflow's column for pictures without a label."""
RANGE = re.compile(r"^(\d+(?:\.\d+)?)\s*(?:-|–|to)\s*(\d+(?:\.\d+)?)$")


def read_class_folders(folder: Path, attributes: tuple[Attribute, ...], attribute: str | None = None) -> Rows:
    """Read a folder of pictures.

    Args:
        folder: DIR.
        attributes: the schema.
        attribute: which one the folders name; None for the one that fits.

    Raises:
        DataError: no folder or no pictures in it, folders that fit no attribute or several, a bad ``_classes.csv``.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    subfolders = _subfolders(folder)
    splits = {each: SPLIT_NAMES[each.name.lower()] for each in subfolders if each.name.lower() in SPLIT_NAMES}
    if splits and len(splits) < len(subfolders):
        other = next(each for each in subfolders if each not in splits)
        raise DataError(f"{other}: neither train, val nor test, as the folders beside it; move one or the other")
    parts = splits or {folder: ""}
    lists = [part / MULTI_LABEL for part in parts if (part / MULTI_LABEL).is_file()]
    if lists and len(lists) < len(parts):
        missing = next(part for part in parts if part / MULTI_LABEL not in lists)
        raise DataError(f"{missing}: no {MULTI_LABEL}, though there is one in {lists[0].parent}")
    sha = hashlib.sha256()
    cells: list[dict[str, str]] = []
    if lists:
        for part, split in parts.items():
            sha.update(f"{split}\n".encode() + (part / MULTI_LABEL).read_bytes())
            cells.extend(_multi_label(part / MULTI_LABEL, split, folder, attributes))
    else:
        named = {split: _subfolders(part) for part, split in parts.items()}
        names = sorted({each.name for found in named.values() for each in found})
        chosen = _attribute(folder, names, attributes, attribute)
        cells = [
            {"file": file.relative_to(folder).as_posix(), "split": split, **_label(chosen, each)}
            for split, found in named.items()
            for each in found
            for file in sorted(each.rglob("*"))
            if file.suffix.lower() in PICTURES and file.is_file()
        ]
    if not cells:
        raise DataError(f"{folder}: no pictures in it; their names end in {', '.join(PICTURES)}")
    framing = "crop" if (folder / "crop.json").is_file() else "tight"
    for cell in cells:
        group = copied_from(PurePath(cell["file"])) or ""
        cell |= {"framing": framing, "source": folder.resolve().name, "group": group}
        sha.update(f"{sorted(cell.items())}\n".encode())
    return Rows(
        folder,
        sha.hexdigest(),
        tuple(dict.fromkeys(name for cell in cells for name in cell)),
        tuple(cells),
        tuple(str(folder / cell["file"]) for cell in cells),
        tuple(range(1, len(cells) + 1)),
        folder,
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "_")))


def _attribute(folder: Path, names: list[str], attributes: tuple[Attribute, ...], wanted: str | None) -> Attribute:
    """The attribute whose classes the folders are named by."""
    if not names:
        raise DataError(f"{folder}: no folders named by class in it")
    if wanted is not None:
        chosen = next((each for each in attributes if each.name == wanted), None)
        if chosen is None or isinstance(chosen, PointsAttribute):
            known = ", ".join(each.name for each in attributes if each.kind != "points")
            raise DataError(f"{wanted}:{folder}: no attribute {wanted!r} that a folder can name; there are: {known}")
        if isinstance(chosen, ClassesBase) and (unknown := [name for name in names if name not in chosen.classes]):
            raise DataError(f"{folder / unknown[0]}: no class of {wanted}; they are: {', '.join(chosen.classes)}")
        return chosen
    classes = {each.name: each.classes for each in attributes if isinstance(each, ClassesBase)}
    fitting = [each for each in attributes if set(names) <= set(classes.get(each.name, ()))]
    if len(fitting) > 1:
        options = " or ".join(f"{each.name}:{folder}" for each in fitting)
        raise DataError(f"{folder}: folders {', '.join(names)} are classes of several attributes; write {options}")
    if not fitting:
        known = "; ".join(f"{name}: {', '.join(each)}" for name, each in classes.items())
        raise DataError(f"{folder}: no attribute has all of the classes {', '.join(names)}; the schema has {known}")
    return fitting[0]


def _label(attribute: Attribute, folder: Path) -> dict[str, str]:
    """The cells that a folder's name stands for."""
    if not isinstance(attribute, NumericAttribute):
        return {attribute.name: folder.name}
    if span := RANGE.match(folder.name):
        return {f"{attribute.name}_lo": span[1], f"{attribute.name}_hi": span[2]}
    try:
        float(folder.name)
    except ValueError as error:
        raise DataError(f"{folder}: {attribute.name} must be a number or a range such as 20-29") from error
    return {attribute.name: folder.name}


def _multi_label(path: Path, split: str, root: Path, attributes: tuple[Attribute, ...]) -> Iterator[dict[str, str]]:
    """The rows of a ``_classes.csv``: ``filename, class, class, …`` with 1 where the picture has the class."""
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        table = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    header = table[0][1] if table else []
    if not header or header[0] != "filename":
        raise DataError(f"{path}, line 1: the first column must be 'filename'")
    meanings = [_meaning(name, attributes, f"{path}, line 1") for name in header[1:]]
    if not any(meanings):
        raise DataError(f"{path}, line 1: no column names a class of the schema: {', '.join(header[1:])}")
    for line, row in table[1:]:
        if not any(row):
            continue
        where = f"{path}, line {line}"
        if len(row) != len(header) or not set(row[1:]) <= {"0", "1"}:
            raise DataError(f"{where}: must have {len(header)} cells, the first a file's name and the others 0 or 1")
        cells = {"file": (path.parent / row[0]).relative_to(root).as_posix(), "split": split}
        bare = any(mark == "1" and name == UNLABELLED for name, mark in zip(header[1:], row[1:], strict=True))
        for meaning, mark in zip(meanings, row[1:], strict=True):
            if meaning is None or bare:
                continue
            name, positive, negative = meaning
            value = positive if mark == "1" else negative
            if value and cells.setdefault(name, value) != value:
                raise DataError(f"{where}: {name} is both {cells[name]} and {value}")
        yield cells


def _meaning(name: str, attributes: tuple[Attribute, ...], where: str) -> tuple[str, str, str] | None:
    """What a column of a ``_classes.csv`` says: an attribute, its class at 1, its class at 0 or "".

    The name is that of an attribute with the classes ``no`` and ``yes``, or ``attribute-class`` (also with ``_`` or
    ``:``), or a class that only one attribute has. None where it is no part of the schema.
    """
    found: list[tuple[str, str, str]] = []
    for attribute in attributes:
        if not isinstance(attribute, ClassesBase):
            continue
        if name == attribute.name and set(attribute.classes) == {"no", "yes"}:
            return name, "yes", "no"
        for each in attribute.classes:
            if name in (f"{attribute.name}{mark}{each}" for mark in "-_:"):
                return attribute.name, each, ""
            if name == each:
                found.append((attribute.name, each, ""))
    if len(found) > 1:
        options = " or ".join(f"{attribute}-{name}" for attribute, _, _ in found)
        raise DataError(f"{where}: {name!r} is a class of several attributes; rename the column to {options}")
    return found[0] if found else None
