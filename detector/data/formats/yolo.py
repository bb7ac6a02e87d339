"""YOLO: one label file per picture (``labels``), with a data.yaml (``data_yaml``) or without one.

Four layouts are read: ultralytics' (``images/train`` beside ``labels/train``), Roboflow's exports (``train/images``,
``valid/images``, ``test/images``), darknet's and LabelImg's (label files beside the pictures, names in ``classes.txt``
or ``obj.names``), and this project's own. As in ultralytics, a picture without a label file has no objects, and boxes
refer to the upright picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ....core.errors import DataError, os_errors_as
from .data_yaml import DataYaml, find_data_yaml, kind_of, read_data_yaml
from .labels import FAR, LabelReader, Row, has_mirror, label_file
from .records import Annotations, Box, Pictures, Record, labelled_lines, pictures_below, read_text, split_of_path

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels")


@dataclass(frozen=True)
class _Source:
    """A data set's pictures with their splits, and its description."""

    found: tuple[tuple[Path, str | None], ...]
    classes: tuple[str, ...]
    yaml: DataYaml | None

    def label_file(self, picture: Path) -> Path:
        """The label file by ultralytics' rule; without a data.yaml also beside the picture, as LabelImg writes it."""
        mirrored, beside = label_file(picture), picture.with_suffix(".txt")
        return beside if self.yaml is None and beside.is_file() and not mirrored.is_file() else mirrored

    def ignore_file(self, picture: Path) -> Path | None:
        if self.yaml is None or self.yaml.ignore is None or not has_mirror(picture):
            return None
        return label_file(picture, self.yaml.ignore)

    def file(self, picture: Path) -> str:
        """The picture's name in the CSV of labelled classes."""
        root = self.yaml.root if self.yaml is not None else picture.parent
        return picture.relative_to(root).as_posix() if picture.is_relative_to(root) else picture.as_posix()


def read_yolo(path: Path, given: Path | None = None) -> Annotations:
    """Read a data.yaml, or a folder with or without one.

    Without class names, the classes are named by their numbers.

    Raises:
        DataError: the labels are invalid; the message names file and line.
    """
    yaml = path if path.is_file() else find_data_yaml(path)
    source = _described(yaml, Pictures(path, given)) if yaml is not None else _bare(path, given)
    if not source.found:
        raise DataError(f"{yaml or path}: no pictures found")
    files = {picture: source.label_file(picture) for picture, _ in source.found}
    bare = sum(not labels.is_file() for labels in files.values())
    if bare == len(files):
        first = next(reversed(files.values()))
        raise DataError(f"{yaml or path}: none of {bare} pictures has a label file; the last one's would be {first}")
    reader = LabelReader(source.classes, None if source.yaml is None else source.yaml.points, files.values(), FAR)
    labelled = _labelled(source.yaml.labelled, source.classes) if source.yaml and source.yaml.labelled else {}
    records = []
    for picture, split in source.found:
        boxes = _boxes(files[picture], reader, False)
        if (ignored := source.ignore_file(picture)) is not None:
            boxes += _boxes(ignored, reader, True)
        name, classes = labelled.get(source.file(picture), (None, None))
        records.append(Record(picture, tuple(boxes), str(files[picture]), None, True, split, name, classes))
    notes = [f"{bare} pictures without a label file: taken as having no objects"] if bare else []
    if orphans := orphaned_labels(set(files.values())):
        notes.append(f"{len(orphans)} label files without a picture, left out: {orphans[0]}")
    seen = dict.fromkeys([*source.classes, *(box.name for record in records for box in record.boxes)])
    terms = source.yaml.terms if source.yaml is not None else {}
    return Annotations("yolo", path, tuple(seen), tuple(records), tuple(notes), terms)


def _described(path: Path, pictures: Pictures) -> _Source:
    yaml = read_data_yaml(path, needed=())
    if not yaml.places:
        raise DataError(f"{path}: needs at least one of the keys train, val and test")
    found = []
    for split, places in yaml.places.items():
        if split == "test" and not any(kind_of(place) for place in places):
            continue  # exports may name a test folder that does not exist
        for place in places:
            pictures.require_within(place, f"{path}: {split}")
        for picture in yaml.pictures(split):
            pictures.require_within(picture, f"{path}: {split}")
            found.append((picture, split))
    return _Source(tuple(found), yaml.classes, yaml)


def _bare(folder: Path, given: Path | None) -> _Source:
    found = [(picture, split_of_path(picture, folder)) for picture in pictures_below(given or folder)]
    return _Source(tuple(found), _names_beside(folder), None)


def _names_beside(folder: Path) -> tuple[str, ...]:
    for name in NAME_FILES:
        for path in sorted(folder.rglob(name)):
            return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    return ()


def _labelled(path: Path, classes: tuple[str, ...]) -> dict[str, tuple[str | None, tuple[str, ...] | None]]:
    found: dict[str, tuple[str | None, tuple[str, ...] | None]] = {}
    for line, row in labelled_lines(path, classes):
        if isinstance(row, str):
            raise DataError(f"{path}: line {line}: {row}")
        named = tuple(name for name, known in zip(classes, row.labelled, strict=True) if known)
        found[row.file] = (row.source, named)
    return found


def _boxes(path: Path, reader: LabelReader, ignore: bool) -> list[Box]:
    if not path.is_file():
        return []
    boxes = []
    with os_errors_as(DataError, f"{path}: cannot be read"):
        for number, row in reader.rows(path):
            where = f"{path}: line {number}"
            if isinstance(row, str):
                raise DataError(f"{where}: {row}")
            boxes.append(Box(_corners(row), reader.classes[row[0]] if reader.classes else str(row[0]), ignore, where))
    return boxes


def _corners(row: Row) -> tuple[float, float, float, float]:
    _, x, y, width, height = row
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def orphaned_labels(used: set[Path], folders: Iterable[Path] = ()) -> list[Path]:
    """Label files that belong to no picture.

    Args:
        used: label files of pictures; their folders are searched.
        folders: searched recursively.
    """
    beside = {path.parent for path in used if path.parent.is_dir()}
    found = {path for folder in beside for path in folder.glob("*.txt")}
    found |= {path for folder in folders for path in folder.rglob("*.txt")}
    return sorted(path for path in found if path not in used and path.name not in NAME_FILES and _is_label_file(path))


def _is_label_file(path: Path) -> bool:
    """Whether a text file is empty or starts with numbers, unlike a README or a list of pictures."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            parts = file.readline(10_000).split()
        empty = not path.stat().st_size
    except OSError:
        return False
    return empty or (len(parts) >= 5 and all(part.lstrip("-").replace(".", "", 1).isdigit() for part in parts))
