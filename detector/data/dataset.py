"""The description of a detection data set: DATA.yaml, and what each picture is labelled for.

DATA.yaml is ultralytics' own (``path``, ``train``, ``val``, optionally ``test``, ``names``) with these keys more:

``labelled``
    A CSV with the columns ``file`` (relative to ``path``) and ``labelled_classes`` (class names joined by ``;``). A
    class not named there is unlabelled in that picture, not absent. Without the key every class is labelled everywhere.
``ignore``
    A folder that mirrors ``images``: YOLO label files of regions that count neither as object nor as background.
``terms``
    The terms of the data: one text, or one a ``source`` (a further column of the CSV).
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.yaml import read_yaml as read_any_yaml
from ...weights.manifest import TrainingData

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}
SPLITS = ("train", "val", "test")
"""``test`` may be missing."""


@dataclass(frozen=True)
class Picture:
    """One picture of a data set and what is known of it."""

    path: Path
    file: str
    """Path relative to the data set's root, with forward slashes."""
    source: str
    labelled: tuple[bool, ...]
    """For each class, whether all its objects in this picture are labelled."""


@dataclass(frozen=True)
class DataDescription:
    """A checked DATA.yaml. ``pictures`` has the splits ``train`` and ``val``, and ``test`` where there is one."""

    yaml: Path
    root: Path
    classes: tuple[str, ...]
    ignore: str | None
    terms: dict[str, str]
    pictures: dict[str, tuple[Picture, ...]]
    labels_sha256: str

    def label_file(self, picture: Picture) -> Path:
        """Where the picture's boxes are."""
        return (self.root / picture.file.replace("images/", "labels/", 1)).with_suffix(".txt")

    def ignore_file(self, picture: Picture) -> Path | None:
        """Where the picture's ignore regions are, if the set has any."""
        if self.ignore is None:
            return None
        return (self.root / picture.file.replace("images/", f"{self.ignore}/", 1)).with_suffix(".txt")

    def training_data(self) -> tuple[TrainingData, ...]:
        """The manifest's record of the training split, by source."""
        counts: dict[str, int] = {}
        for picture in self.pictures["train"]:
            counts[picture.source] = counts.get(picture.source, 0) + 1
        return tuple(
            TrainingData(
                name=source,
                count=count,
                labels_sha256=self.labels_sha256,
                terms=self.terms.get(source) or self.terms.get("*") or "not stated by the data set",
            )
            for source, count in sorted(counts.items())
        )


def read_description(path: Path) -> DataDescription:
    """Read and check a DATA.yaml.

    Raises:
        DataError: the file, a key, a picture or a line of the CSV or of a label file is missing or wrong.
    """
    content = read_yaml(path)
    classes = class_names(content)
    root = (path.parent / content.get("path", ".")).resolve()
    labelled = _read_labelled(root / content["labelled"], classes) if content.get("labelled") else None
    splits = [split for split in SPLITS if content.get(split)]
    pictures = {split: _pictures(path, root, content[split], labelled, classes) for split in splits}
    terms = content.get("terms") or {}
    description = DataDescription(
        yaml=path.resolve(),
        root=root,
        classes=classes,
        ignore=content.get("ignore"),
        terms={str(key): str(value) for key, value in (terms if isinstance(terms, dict) else {"*": terms}).items()},
        pictures=pictures,
        labels_sha256="",
    )
    return DataDescription(**{**vars(description), "labels_sha256": _check_and_hash_labels(description)})


def read_yaml(path: Path) -> dict[str, Any]:
    """The content of a DATA.yaml.

    Raises:
        DataError: no such file, not YAML, or one of ``train``, ``val`` and ``names`` is missing.
        MissingExtraError: PyYAML is not installed.
    """
    content = read_any_yaml(path)
    if not isinstance(content, dict) or not {"train", "val", "names"} <= set(content):
        raise DataError(f"{path}: needs the keys train, val and names")
    return content


def class_names(content: dict[str, Any]) -> tuple[str, ...]:
    """The class names of a DATA.yaml's content, in order of their numbers."""
    names = content["names"]
    return tuple(str(names[key]) for key in sorted(names)) if isinstance(names, dict) else tuple(map(str, names))


@dataclass(frozen=True)
class LabelledLine:
    """One line of the CSV of labelled classes."""

    file: str
    source: str
    labelled: tuple[bool, ...]


def labelled_lines(path: Path, classes: tuple[str, ...]) -> Iterator[tuple[int, LabelledLine | str]]:
    """Number of each line of the CSV of labelled classes, and what it says, or in words what is wrong with it.

    Raises:
        DataError: the file cannot be read as a CSV, or a column is missing.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from error
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey="")
    if missing := {"file", "labelled_classes"} - set(rows.fieldnames or ()):
        raise DataError(f"{path}: line 1: no column {', '.join(sorted(missing))}")
    for row in rows:
        named = {name for name in (row["labelled_classes"] or "").split(";") if name}
        if unknown := named - set(classes):
            known = f"unknown class {', '.join(sorted(unknown))}; DATA.yaml has {', '.join(classes)}"
            yield rows.line_num, known
        else:
            labelled = tuple(name in named for name in classes)
            yield rows.line_num, LabelledLine(row["file"] or "", row.get("source") or path.stem, labelled)


def _read_labelled(path: Path, classes: tuple[str, ...]) -> dict[str, tuple[str, tuple[bool, ...]]]:
    found = {}
    for number, line in labelled_lines(path, classes):
        if isinstance(line, str):
            raise DataError(f"{path}: line {number}: {line}")
        found[line.file] = (line.source, line.labelled)
    return found


def _pictures(
    yaml_path: Path,
    root: Path,
    folder: str,
    labelled: dict[str, tuple[str, tuple[bool, ...]]] | None,
    classes: tuple[str, ...],
) -> tuple[Picture, ...]:
    place = root / folder
    if not place.is_dir():
        raise DataError(f"{yaml_path}: {place} is not a folder")
    if "images" not in Path(folder).parts:
        raise DataError(f"{yaml_path}: {folder}: pictures lie under a folder named images, their labels under labels")
    found = []
    for file in sorted(place.rglob("*")):
        if file.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        name = file.relative_to(root).as_posix()
        if labelled is None:
            source, classes_labelled = root.name, (True,) * len(classes)
        elif name in labelled:
            source, classes_labelled = labelled[name]
        else:
            raise DataError(f"{yaml_path}: {name} has no line in the CSV of labelled classes")
        found.append(Picture(file, name, source, classes_labelled))
    if not found:
        raise DataError(f"{yaml_path}: no picture under {place}")
    return tuple(found)


def read_boxes(path: Path | None, classes: int) -> np.ndarray:
    """Read a YOLO label file.

    Returns:
        float32, shape (n, 5): class, centre x, centre y, width, height, normalised. A missing file has no boxes.

    Raises:
        DataError: a line is not five numbers of a known class within the picture; it names file and line.
    """
    if path is None or not path.is_file():
        return np.zeros((0, 5), np.float32)
    rows = []
    for number, row in label_lines(path, classes):
        if isinstance(row, str):
            raise DataError(f"{path}: line {number}: {row}")
        rows.append(row)
    return np.array(rows, np.float32).reshape(-1, 5)


def label_lines(path: Path, classes: int) -> Iterator[tuple[int, list[float] | str]]:
    """Number of each line of a YOLO label file that is not blank, and its five numbers, or in words what is wrong."""
    for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = [float(part) for part in line.split()]
        except ValueError as error:
            yield number, str(error)
            continue
        if len(row) != 5 or not 0 <= row[0] < classes or row[0] != int(row[0]):
            yield number, f"expected class (0 to {classes - 1}) cx cy w h, got {line!r}"
        elif not all(-0.01 <= value <= 1.01 for value in row[1:]):
            yield number, f"coordinates must be normalised to 0..1, got {line!r}"
        else:
            yield number, row


def _check_and_hash_labels(description: DataDescription) -> str:
    """SHA-256 over names, labelled classes, boxes and ignore regions of every picture, in order of name."""
    digest = hashlib.sha256()
    for split in sorted(description.pictures):
        for picture in description.pictures[split]:
            digest.update(f"{split} {picture.file} {picture.labelled}\n".encode())
            for file in (description.label_file(picture), description.ignore_file(picture)):
                if file is not None and file.is_file():
                    read_boxes(file, len(description.classes))  # a bad line is told before hours of training
                    digest.update(file.read_bytes())
    return digest.hexdigest()
