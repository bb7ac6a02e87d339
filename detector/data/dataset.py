"""The description of a detection data set: DATA.yaml, and what each picture is labelled for.

DATA.yaml has ultralytics' keys (``path``, ``train``, ``val``, optionally ``test``, ``names``) and these additional
ones:

``labelled``
    A CSV with the columns ``file`` (relative to ``path``) and ``labelled_classes`` (class names joined by ``;``). A
    class not listed for a picture is unlabelled in it, not absent. Without this key, every class is labelled in every
    picture.
``ignore``
    A folder that mirrors ``images`` and holds YOLO label files of ignore regions, which count neither as object nor as
    background.
``terms``
    The terms of use: one text, or one per ``source`` (an optional column of the CSV).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...weights.manifest import TrainingData
from .formats.data_yaml import ADVICE, DataYaml, read_data_yaml
from .formats.labels import LabelReader, has_mirror, label_file
from .formats.records import LabelledLine, labelled_lines


@dataclass(frozen=True)
class Picture:
    """One picture of a data set.

    Attributes:
        path: full path, with links not resolved.
        file: path relative to the data set's root, with forward slashes; the full path if it lies elsewhere.
        source: the data set that it comes from.
        labelled: for each class, whether all its objects in this picture are labelled.
    """

    path: Path
    file: str
    source: str
    labelled: tuple[bool, ...]


@dataclass(frozen=True)
class DataDescription:
    """A checked DATA.yaml.

    Attributes:
        yaml: the file.
        root: the folder that its paths are relative to.
        classes: names in order of their numbers.
        ignore: the folder of ignore regions, which mirrors ``images``.
        terms: by source; ``*`` for all of them.
        pictures: by split: ``train``, ``val`` and, if present, ``test``.
        labels_sha256: over the names, labelled classes, boxes and ignore regions of all pictures.
        points: keypoints per box, as ``LabelReader`` takes them.
    """

    yaml: Path
    root: Path
    classes: tuple[str, ...]
    ignore: str | None
    terms: dict[str, str]
    pictures: dict[str, tuple[Picture, ...]]
    labels_sha256: str
    points: tuple[int, int] | None = None

    @cached_property
    def reader(self) -> LabelReader:
        """The reader for the label files of this set."""
        files = (self.label_file(picture) for pictures in self.pictures.values() for picture in pictures)
        return LabelReader(self.classes, self.points, files)

    def label_file(self, picture: Picture) -> Path:
        """Path of the picture's label file."""
        return label_file(picture.path)

    def ignore_file(self, picture: Picture) -> Path | None:
        """Path of the picture's ignore file, or None if the set has none."""
        return label_file(picture.path, self.ignore) if self.ignore and has_mirror(picture.path) else None

    def boxes(self, picture: Picture) -> np.ndarray:
        """A picture's boxes: float32, shape (n, 5): class, centre x, centre y, width, height, normalised.

        Raises:
            DataError: a line of its label file is invalid.
        """
        return self.reader.boxes(self.label_file(picture))

    def ignored(self, picture: Picture) -> np.ndarray:
        """A picture's ignore regions, in the same form as ``boxes``.

        Raises:
            DataError: a line of its ignore file is invalid.
        """
        return self.reader.boxes(self.ignore_file(picture))

    def training_data(self) -> tuple[TrainingData, ...]:
        """The training split by source, for the manifest."""
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
    """Read and check a DATA.yaml, its CSV, and every label file.

    Raises:
        DataError: the file, a key, a picture, or a line of the CSV or of a label file is missing or invalid.
        MissingExtraError: PyYAML is not installed.
    """
    yaml = read_data_yaml(path)
    labelled = None if yaml.labelled is None else _read_labelled(yaml.labelled, yaml.classes)
    pictures = {split: tuple(_pictures(yaml, split, labelled)) for split in yaml.places}
    for split, found in pictures.items():
        if not found:
            places = ", ".join(map(str, yaml.places[split]))
            raise DataError(f"{path}: {split}: no picture under {places}; {ADVICE}")
    unhashed = describe(yaml, pictures)
    return replace(unhashed, labels_sha256=_check_and_hash_labels(unhashed))


def describe(yaml: DataYaml, pictures: dict[str, tuple[Picture, ...]]) -> DataDescription:
    """Build the description of a DATA.yaml and its pictures, without the hash of the labels."""
    return DataDescription(
        yaml=yaml.path.resolve(),
        root=yaml.root,
        classes=yaml.classes,
        ignore=yaml.ignore,
        terms=yaml.terms,
        pictures=pictures,
        labels_sha256="",
        points=yaml.points,
    )


def file_name(path: Path, root: Path) -> str:
    """A picture's ``Picture.file``."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _read_labelled(path: Path, classes: tuple[str, ...]) -> dict[str, LabelledLine]:
    found = {}
    for number, line in labelled_lines(path, classes):
        if isinstance(line, str):
            raise DataError(f"{path}: line {number}: {line}")
        found[line.file] = line
    return found


def _pictures(yaml: DataYaml, split: str, labelled: dict[str, LabelledLine] | None) -> Iterator[Picture]:
    for path in yaml.pictures(split):
        file = file_name(path, yaml.root)
        if labelled is None:
            yield Picture(path, file, yaml.root.name, (True,) * len(yaml.classes))
        elif (line := labelled.get(file)) is not None:
            yield Picture(path, file, line.source, line.labelled)
        else:
            raise DataError(f"{yaml.path}: {file} has no line in the CSV of labelled classes")


def _check_and_hash_labels(description: DataDescription) -> str:
    """SHA-256 over the names, labelled classes, boxes and ignore regions of all pictures, in order of name."""
    digest = hashlib.sha256()
    for split in sorted(description.pictures):
        for picture in description.pictures[split]:
            digest.update(f"{split} {picture.file} {picture.labelled}\n".encode())
            for file in (description.label_file(picture), description.ignore_file(picture)):
                if file is not None and file.is_file():
                    description.reader.boxes(file)  # report a bad line now, not after hours of training
                    digest.update(file.read_bytes())
    return digest.hexdigest()
