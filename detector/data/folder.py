"""A data set folder in the project's layout: open it for adding, and write it atomically."""

from __future__ import annotations

import csv
import io
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...core.errors import DataError
from ...core.yaml import dump_yaml
from .dataset import DataDescription, read_description
from .formats.data_yaml import DataYaml, read_data_yaml
from .formats.labels import has_mirror, label_file
from .formats.records import SPLITS

YAML = "data.yaml"
COLUMNS = ("file", "source", "split", "labelled_classes", "width", "height", "boxes", "original", "hash")
"""Columns of the CSV: picture, source, split, labelled classes, upright width and height, number of boxes, path in the
source, perceptual hash."""


@dataclass
class DataSet:
    """The metadata of a data set folder, ready to be written.

    Attributes:
        content: of the data.yaml.
        rows: of the CSV.
        description: of the existing folder; None for a new one.
    """

    content: dict[str, Any] = field(default_factory=lambda: {"labelled": "pictures.csv", "ignore": "ignore"})
    rows: list[dict[str, str]] = field(default_factory=list)
    description: DataDescription | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of the existing folder; empty for a new one."""
        return self.description.classes if self.description else ()

    def place(self, split: str, kind: str = "images") -> str:
        """The folder of a split's pictures, labels or ignore regions, relative to the set's folder."""
        images = str(self.content.setdefault(split, f"images/{split}")).rstrip("/")
        if kind == "images":
            return images
        mirror = str(self.content["ignore"]) if kind == "ignore" else kind
        return label_file(Path(images) / "x.jpg", mirror).parent.as_posix()

    def write(self, folder: Path) -> None:
        """Write the data.yaml and the CSV into a folder, each atomically."""
        columns = [
            *COLUMNS,
            *(name for name in dict.fromkeys(k for row in self.rows for k in row) if name not in COLUMNS),
        ]
        table = io.StringIO(newline="")
        writer = csv.DictWriter(table, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        put(folder / self.content["labelled"], table.getvalue().encode())
        order = [*SPLITS, "names", "labelled", "ignore", "terms"]
        content = {key: self.content[key] for key in [*order, *self.content] if key in self.content}
        put(folder / YAML, dump_yaml(content).encode())


def open_set(folder: Path) -> DataSet:
    """Open an existing data set to add to it.

    Raises:
        DataError: it is not in the project's layout, or its data.yaml points to another folder.
    """
    description = read_description(folder / YAML)
    yaml = read_data_yaml(folder / YAML)
    if description.root != folder.resolve():
        raise DataError(f"{folder / YAML}: its path is {description.root}; only a set in one folder can be added to")
    content = {key: value for key, value in yaml.content.items() if key not in ("nc", "path")}
    content |= {split: _own_folder(yaml, split) for split in yaml.places}
    content["terms"] = dict(description.terms)
    content["ignore"] = description.ignore or "ignore"
    known: dict[str, dict[str, str]] = {}
    if content.get("labelled"):
        with (folder / content["labelled"]).open(newline="", encoding="utf-8-sig") as file:
            known = {row["file"]: {k: v or "" for k, v in row.items() if k} for row in csv.DictReader(file)}
    content.setdefault("labelled", "pictures.csv")
    rows = []
    for split, pictures in description.pictures.items():
        for picture in pictures:
            named = (
                name for name, is_labelled in zip(description.classes, picture.labelled, strict=True) if is_labelled
            )
            row = {"file": picture.file, "source": picture.source, "split": split, "labelled_classes": ";".join(named)}
            rows.append({**known.get(picture.file, {}), **row})
    return DataSet(content, rows, description)


def _own_folder(yaml: DataYaml, split: str) -> str:
    """The single folder of a split's pictures, relative to the set's folder.

    Raises:
        DataError: there are several, or none of its parents within the set is named ``images``.
    """
    places = yaml.places[split]
    if len(places) == 1 and places[0].is_dir() and places[0].is_relative_to(yaml.root):
        relative = places[0].relative_to(yaml.root)
        if has_mirror(relative / "x.jpg"):
            return relative.as_posix()
    raise DataError(
        f"{yaml.path}: {split} is not one folder below images; such a set cannot be added to: convert it into a new one"
    )


def check_free(out: Path, add: bool) -> None:
    """Check that a data set can be created in a folder or, with ``add``, that the folder holds one to add to.

    Raises:
        DataError: neither is possible.
    """
    if add:
        open_set(out)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: already exists; name another folder, or --add to join this source to it")


@contextmanager
def building(out: Path, add: bool) -> Iterator[Path]:
    """Yield a temporary folder beside ``out`` that replaces ``out`` on success and is removed on failure.

    Args:
        out: the data set's folder.
        add: ``out`` exists. The temporary folder starts with all its files, hard-linked if possible, so they must be
            replaced and never written in place.

    Raises:
        DataError: ``out`` is not empty and ``add`` is not set, or a folder cannot be written.
    """
    if not add:
        check_free(out, add)
    token = secrets.token_hex(4)
    part, old = (out.parent / f".{out.name}.{token}.{what}" for what in ("part", "old"))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if add:
            shutil.copytree(out, part, copy_function=link_or_copy, ignore=shutil.ignore_patterns("*.cache"))
        else:
            part.mkdir()
        yield part
        if out.exists():
            out.rename(old)
        try:
            part.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise DataError(f"{error.filename or out}: cannot be written ({error.strerror})") from error
    finally:
        for folder in (part, old):
            if (folder.exists() and out.exists()) or folder == part:
                shutil.rmtree(folder, ignore_errors=True)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Hard-link a file; fall back to a copy if the file system cannot link."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def put(path: Path, content: bytes) -> None:
    """Write a file atomically, never into an existing hard link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


def free_name(wanted: str, taken: set[str]) -> str:
    """Return a file name whose stem is not taken (ignoring case) and add it to ``taken``."""
    path = Path(wanted)
    number = 1
    while True:
        stem = path.stem + (f"-{number}" if number > 1 else "")
        if stem.lower() not in taken:
            taken.add(stem.lower())
            return stem + path.suffix
        number += 1


def merge_terms(content: dict[str, Any], sources: Sequence[str], terms: str | None, known: Mapping[str, str]) -> None:
    """Add the terms of new sources to the content of a data.yaml: the given terms, or else the known ones.

    Args:
        content: of the data.yaml; changed in place.
        sources: names of the new sources.
        terms: for all new sources; None uses ``known``.
        known: terms that came with each source, by its name (``*`` for all).
    """
    noted = content.setdefault("terms", {})
    for source in sources:
        if text := terms or known.get(source) or known.get("*"):
            noted[source] = text
