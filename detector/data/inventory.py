"""A data set as it lies on the disk: every picture and every label line, with whatever is wrong with them.

``description.read_description`` stops at the first fault, as training must. This walk reads the same files by the same
rules, but goes on to the end and gathers the faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.issues import Finding
from .dataset import (
    IMAGE_SUFFIXES,
    SPLITS,
    DataDescription,
    LabelledLine,
    Picture,
    class_names,
    label_lines,
    labelled_lines,
    read_yaml,
)

BESIDE = {"", ".cache", ".csv", ".db", ".ini", ".json", ".md", ".npy", ".txt", ".xml", ".yaml", ".yml"}
"""Suffixes of files that may lie among pictures without being any."""
CLASS_LIST = "classes.txt"
"""Labelling tools leave it among the label files."""


@dataclass(frozen=True)
class Entry:
    """One picture and its labels, as far as their lines are sound.

    Attributes:
        split: the split that it is in.
        rows: float64, shape (n, 5): class, centre x, centre y, width, height, normalised.
        lines: line of each row in the label file.
        ignored: float64, shape (k, 5), ignore regions.
    """

    picture: Picture
    split: str
    rows: np.ndarray
    lines: tuple[int, ...]
    ignored: np.ndarray


@dataclass
class Inventory:
    """What a walk has found.

    Attributes:
        description: the set as ``read_description`` would give it, without the hash of its labels.
        entries: every picture.
        findings: what is wrong with the set, its CSV, its files' names and its label lines.
        csv: the CSV of labelled classes, if the set names one.
    """

    description: DataDescription
    csv: Path | None
    entries: list[Entry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def take_inventory(path: Path) -> Inventory:
    """Walk through a data set.

    Raises:
        DataError: there is no DATA.yaml to start from: missing, not YAML, or without the keys train, val and names.
    """
    content = read_yaml(path)
    classes = class_names(content)
    root = (path.parent / str(content.get("path") or ".")).resolve()
    csv = root / str(content["labelled"]) if content.get("labelled") else None
    ignore = str(content["ignore"]) if content.get("ignore") else None
    found: list[Finding] = []
    if isinstance(content["names"], dict) and sorted(content["names"]) != list(range(len(classes))):
        numbers = ", ".join(str(key) for key in content["names"])
        found.append(Finding("classes", path.name, f"names has the numbers {numbers}, not 0 to {len(classes) - 1}"))
    labelled = None if csv is None else _read_csv(csv, root, classes, found)
    pictures = {
        split: tuple(_pictures(root, split, content[split], labelled, classes, found))
        for split in SPLITS
        if content.get(split) or split != "test"
    }
    terms = _terms(content)
    inventory = Inventory(DataDescription(path.resolve(), root, classes, ignore, terms, pictures, ""), csv)
    inventory.findings = found
    _read_labels(inventory)
    if labelled is not None:
        known = {picture.file for found in pictures.values() for picture in found}
        for file, (number, _) in labelled.items():
            if file not in known and not (root / file).is_file():
                found.append(Finding("csv-orphan", _relative(csv, root), f"there is no {file}", number))
    for folder in (content[split] for split in pictures):
        if isinstance(folder, str):
            _orphans(inventory, folder, "labels", "label-orphan")
            if ignore:
                _orphans(inventory, folder, ignore, "ignore-orphan")
    return inventory


def _terms(content: dict[str, Any]) -> dict[str, str]:
    terms = content.get("terms") or {}
    return {str(key): str(value) for key, value in (terms if isinstance(terms, dict) else {"*": terms}).items()}


def _relative(path: Path | None, root: Path) -> str:
    if path is None:
        return ""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _read_csv(
    path: Path, root: Path, classes: tuple[str, ...], found: list[Finding]
) -> dict[str, tuple[int, LabelledLine | None]] | None:
    """The CSV's lines by file; None in place of a bad one. No CSV at all where it cannot be read."""
    name = _relative(path, root)
    lines: dict[str, tuple[int, LabelledLine | None]] = {}
    try:
        for number, line in labelled_lines(path, classes):
            if isinstance(line, str):
                found.append(Finding("csv-line", name, line, number))
            elif not line.file:
                found.append(Finding("csv-line", name, "the column file is blank", number))
            elif line.file in lines:
                text = f"{line.file} is in line {lines[line.file][0]} already; the last line holds"
                found.append(Finding("csv-double", name, text, number, picture=line.file))
                lines[line.file] = (number, line)
            else:
                lines[line.file] = (number, line)
    except DataError as error:
        found.append(Finding("csv-line", name, str(error).removeprefix(f"{path}: ")))
        return None
    return lines


def _pictures(
    root: Path,
    split: str,
    folder: object,
    labelled: dict[str, tuple[int, LabelledLine | None]] | None,
    classes: tuple[str, ...],
    found: list[Finding],
) -> Iterator[Picture]:
    """The pictures of one split."""
    if not isinstance(folder, str):
        found.append(Finding("split", split, f"expected the name of a folder, got {folder!r}"))
        return
    place = root / folder
    if not place.is_dir():
        found.append(Finding("split", folder, f"{split}: {place} is not a folder"))
        return
    parts = Path(folder).parts
    if "images" not in parts or ".." in parts or not place.is_relative_to(root):
        text = f"{split}: pictures lie under a folder named images within {root}, their labels under labels"
        found.append(Finding("split", folder, text))
        return
    some = False
    for file in sorted(place.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            if not file.is_dir() and file.suffix.lower() not in BESIDE and not file.name.startswith("."):
                text = f"{file.suffix} is none of {', '.join(sorted(IMAGE_SUFFIXES))}"
                found.append(Finding("not-read", name, text))
            continue
        some = True
        everything = (True,) * len(classes)
        if labelled is None:
            yield Picture(file, name, root.name, everything)
        elif (line := labelled.get(name, (0, None))[1]) is not None:
            yield Picture(file, name, line.source, line.labelled)
        else:
            found.append(Finding("csv-missing", name, "has no sound line in the CSV of labelled classes", picture=name))
            yield Picture(file, name, "?", everything)
    if not some:
        found.append(Finding("split", folder, f"{split}: no picture under {place}"))


def _read_labels(inventory: Inventory) -> None:
    description = inventory.description
    files = {picture.file: picture for found in description.pictures.values() for picture in found}
    shared = Counter(description.label_file(picture) for picture in files.values())
    for split, pictures in description.pictures.items():
        for picture in pictures:
            path = description.label_file(picture)
            rows, lines = _rows(inventory, path, picture.file, "label-line")
            other = description.ignore_file(picture)
            ignored = _rows(inventory, other, picture.file, "ignore-line")[0] if other else np.zeros((0, 5))
            if not path.is_file():
                name = _relative(path, description.root)
                text = f"{name} is missing; an empty file would say that there is nothing to find"
                inventory.findings.append(Finding("label-missing", picture.file, text, picture=picture.file))
            if shared[path] > 1:
                text = f"{_relative(path, description.root)} holds the labels of {shared[path]} pictures"
                inventory.findings.append(Finding("same-labels", picture.file, text, picture=picture.file))
            inventory.entries.append(Entry(picture, split, rows, lines, ignored))


def _rows(inventory: Inventory, path: Path, picture: str, kind: str) -> tuple[np.ndarray, tuple[int, ...]]:
    """The sound rows of a label file, and their lines."""
    rows, lines = [], []
    name = _relative(path, inventory.description.root)
    try:
        for number, row in label_lines(path, len(inventory.description.classes)):
            if isinstance(row, str):
                inventory.findings.append(Finding(kind, name, row, number, picture))
            else:
                rows.append(row)
                lines.append(number)
    except FileNotFoundError:
        pass
    except OSError as error:
        inventory.findings.append(Finding(kind, name, f"cannot be read ({error.strerror})", picture=picture))
    return np.array(rows, np.float64).reshape(-1, 5), tuple(lines)


def _orphans(inventory: Inventory, folder: str, mirror: str, kind: str) -> None:
    """Files in the folder that mirrors a split's pictures, without a picture."""
    description = inventory.description
    place = description.root / f"{Path(folder).as_posix()}/".replace("images/", f"{mirror}/", 1)
    of = description.label_file if kind == "label-orphan" else description.ignore_file
    known = {of(entry.picture) for entry in inventory.entries}
    for file in sorted(place.rglob("*.txt")):
        if file not in known and file.name != CLASS_LIST:
            inventory.findings.append(Finding(kind, _relative(file, description.root), "there is no such picture"))
