"""Inventory of a data set on disk: every picture and every label line, with all faults.

``dataset.read_description`` stops at the first fault, as training must. This module reads the same files by the same
rules but collects all faults.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.issues import Finding
from .dataset import DataDescription, Picture, describe, file_name
from .formats.data_yaml import DataYaml, kind_of, read_data_yaml
from .formats.labels import LABELS, has_mirror, label_file
from .formats.records import IMAGE_SUFFIXES, LabelledLine, labelled_lines
from .formats.yolo import orphaned_labels

BESIDE = {"", ".cache", ".csv", ".db", ".ini", ".json", ".md", ".npy", ".txt", ".xml", ".yaml", ".yml"}
"""Suffixes of other files that are expected among pictures."""
Lines = dict[str, tuple[int, LabelledLine | None]]
"""Lines of the CSV by picture, with their numbers; None for an invalid line."""


@dataclass(frozen=True)
class Entry:
    """One picture and its valid labels.

    Attributes:
        split: its split.
        rows: float64, shape (n, 5): class, centre x, centre y, width, height, normalised.
        lines: line number of each row in the label file.
        ignored: float64, shape (k, 5), ignore regions.
    """

    picture: Picture
    split: str
    rows: np.ndarray
    lines: tuple[int, ...]
    ignored: np.ndarray


@dataclass
class Inventory:
    """The inventory of a data set.

    Attributes:
        description: as from ``read_description``, without the hash of the labels.
        entries: every picture.
        findings: faults of the set, its CSV, its file names and its label lines.
        csv: the CSV of labelled classes, if any.
    """

    description: DataDescription
    csv: Path | None
    entries: list[Entry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def take_inventory(path: Path) -> Inventory:
    """Take the inventory of a data set.

    Raises:
        DataError: DATA.yaml is missing or not YAML, or a key is missing or invalid.
    """
    yaml = read_data_yaml(path)
    found: list[Finding] = []
    lines = None if yaml.labelled is None else _read_csv(yaml, found)
    pictures = {split: tuple(_pictures(yaml, split, lines, found)) for split in yaml.places}
    inventory = Inventory(describe(yaml, pictures), yaml.labelled, findings=found)
    _read_labels(inventory)
    if lines is not None and yaml.labelled is not None:
        known = {picture.file for mine in pictures.values() for picture in mine}
        for file, (number, _) in lines.items():
            if file not in known and not (yaml.root / file).is_file():
                found.append(Finding("csv-orphan", file_name(yaml.labelled, yaml.root), f"there is no {file}", number))
    _orphans(inventory, yaml)
    return inventory


def _read_csv(yaml: DataYaml, found: list[Finding]) -> Lines | None:
    """The lines of the CSV; None if it cannot be read."""
    path = yaml.labelled
    assert path is not None
    name = file_name(path, yaml.root)
    lines: Lines = {}
    try:
        for number, line in labelled_lines(path, yaml.classes):
            if isinstance(line, str):
                found.append(Finding("csv-line", name, line, number))
            elif not line.file:
                found.append(Finding("csv-line", name, "the column file is blank", number))
            else:
                if line.file in lines:
                    text = f"{line.file} is already in line {lines[line.file][0]}; the last line counts"
                    found.append(Finding("csv-double", name, text, number, picture=line.file))
                lines[line.file] = (number, line)
    except DataError as error:
        found.append(Finding("csv-line", name, str(error).removeprefix(f"{path}: ")))
        return None
    return lines


def _pictures(yaml: DataYaml, split: str, lines: Lines | None, found: list[Finding]) -> Iterator[Picture]:
    """The pictures of one split."""
    everything = (True,) * len(yaml.classes)
    some = False
    try:
        for path in yaml.pictures(split):
            some = True
            name = file_name(path, yaml.root)
            if lines is None:
                yield Picture(path, name, yaml.root.name, everything)
            elif (line := lines.get(name, (0, None))[1]) is not None:
                yield Picture(path, name, line.source, line.labelled)
            else:
                text = "has no valid line in the CSV of labelled classes"
                found.append(Finding("csv-missing", name, text, picture=name))
                yield Picture(path, name, "?", everything)
    except DataError as error:
        found.append(Finding("split", yaml.path.name, str(error).removeprefix(f"{yaml.path}: ")))
        return
    if not some:
        places = ", ".join(map(str, yaml.places[split]))
        found.append(
            Finding("split", file_name(yaml.places[split][0], yaml.root), f"{split}: no picture under {places}")
        )
    for place in yaml.places[split]:
        for file in sorted(place.rglob("*")) if kind_of(place) == "folder" else ():
            if file.is_file() and not file.name.startswith(".") and file.suffix.lower() not in IMAGE_SUFFIXES | BESIDE:
                text = f"{file.suffix} is not one of {', '.join(sorted(IMAGE_SUFFIXES))}"
                found.append(Finding("not-read", file_name(file, yaml.root), text))


def _read_labels(inventory: Inventory) -> None:
    description = inventory.description
    files = {picture.file: picture for found in description.pictures.values() for picture in found}
    shared = Counter(description.label_file(picture) for picture in files.values())
    for split, pictures in description.pictures.items():
        for picture in pictures:
            path = description.label_file(picture)
            name = file_name(path, description.root)
            rows, lines = _rows(inventory, path, picture.file, "label-line")
            other = description.ignore_file(picture)
            ignored = _rows(inventory, other, picture.file, "ignore-line")[0] if other else np.zeros((0, 5))
            if not path.is_file():
                text = f"{name} is missing; an empty file would mean that there is nothing to find"
                inventory.findings.append(Finding("label-missing", picture.file, text, picture=picture.file))
            if shared[path] > 1:
                text = f"{name} holds the labels of {shared[path]} pictures"
                inventory.findings.append(Finding("same-labels", picture.file, text, picture=picture.file))
            inventory.entries.append(Entry(picture, split, rows, lines, ignored))


def _rows(inventory: Inventory, path: Path, picture: str, kind: str) -> tuple[np.ndarray, tuple[int, ...]]:
    """The valid rows of a label file, and their line numbers."""
    rows, lines = [], []
    name = file_name(path, inventory.description.root)
    try:
        for number, row in inventory.description.reader.rows(path):
            if isinstance(row, str):
                inventory.findings.append(Finding(kind, name, row, number, picture))
            else:
                rows.append(row)
                lines.append(number)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        inventory.findings.append(Finding(kind, name, f"cannot be read ({error.strerror})", picture=picture))
    return np.array(rows, np.float64).reshape(-1, 5), tuple(lines)


def _orphans(inventory: Inventory, yaml: DataYaml) -> None:
    """Label and ignore files without a picture."""
    description = inventory.description
    pictures = [entry.picture.path for entry in inventory.entries]
    folders = [place for places in yaml.places.values() for place in places if kind_of(place) == "folder"]
    for kind, mirror in (("label-orphan", LABELS), ("ignore-orphan", yaml.ignore)):
        if mirror:
            used = {label_file(path, mirror) for path in pictures if mirror == LABELS or has_mirror(path)}
            mirrored = [label_file(place / "x.jpg", mirror).parent for place in folders if has_mirror(place / "x.jpg")]
            for file in orphaned_labels(used, mirrored):
                name = file_name(file, description.root)
                inventory.findings.append(Finding(kind, name, "there is no such picture"))
