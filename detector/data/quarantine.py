"""Set pictures aside: move them out of a data set with their labels, ignore files and CSV lines, and back again.

The target folder mirrors the data set and holds ``set-aside.json``, the list of what was moved. The list is written
before the first file moves, so that even an interrupted run can be undone.
"""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import DataError
from ...core.files import write_whole
from .dataset import DataDescription, Picture
from .formats.data_yaml import read_data_yaml

LIST = "set-aside.json"


@dataclass(frozen=True)
class Moved:
    """Number of pictures, files and CSV lines moved in either direction."""

    pictures: int
    files: int
    lines: int


def set_aside(description: DataDescription, table: Path | None, files: Collection[str], folder: Path) -> Moved:
    """Move pictures out of a data set. If anything fails, none are moved.

    Args:
        description: the data set.
        table: its CSV of labelled classes, if any.
        files: the pictures, by ``Picture.file``.
        folder: the target; it may already hold pictures set aside from the same data set.

    Raises:
        DataError: a split would be left without pictures, the folder holds another data set's pictures or already has
            one of the files, or a file cannot be moved.
    """
    root, folder = description.root, folder.resolve()
    chosen: dict[str, Picture] = {}
    for split, pictures in description.pictures.items():
        mine = {picture.file: picture for picture in pictures if picture.file in files}
        if mine and len(mine) == len(pictures):
            raise DataError(f"{description.yaml}: setting {len(mine)} pictures aside would leave none in {split}")
        chosen |= mine
    if not chosen:
        return Moved(0, 0, 0)
    if outside := [picture.path for picture in chosen.values() if not picture.path.is_relative_to(root)]:
        raise DataError(f"{outside[0]}: lies outside {root}, and pictures are set aside by their paths below it")
    inside = {root / Path(file).parts[0] for file in chosen}
    if folder == root or any(folder.is_relative_to(place) for place in inside):
        raise DataError(f"{folder}: is among the pictures of {description.yaml}; choose another folder")
    batches = _read_list(folder, description.yaml)
    names = _names(description, chosen)
    for name in names:
        if (folder / name).exists():
            raise DataError(f"{folder / name}: already exists; choose another folder for {root / name}")
    content, lines = _lines(table, set(chosen))
    batch: dict[str, Any] = {
        "pictures": sorted(chosen),
        "files": names,
        "csv": os.path.relpath(table, root) if table is not None and lines else None,
        "lines": [[index, raw.decode("utf-8", "surrogateescape")] for index, raw in lines],
    }
    try:
        _write_list(folder, description.yaml, [*batches, batch])
        for name in names:
            _move(root / name, folder / name)
        if table is not None and lines:
            gone = {index for index, _ in lines}
            write_whole(table, b"".join(raw for index, raw in enumerate(content) if index not in gone))
    except BaseException as error:
        with suppress(OSError):  # what cannot be moved back now stays in the list, for ``restore``
            for name in reversed(names):
                if (folder / name).exists():
                    _move(folder / name, root / name)
            _write_list(folder, description.yaml, batches)
        if isinstance(error, OSError):
            where = error.filename or folder
            raise DataError(f"{where}: cannot be set aside ({error.strerror or error}); nothing was moved") from error
        raise
    return Moved(len(chosen), len(names), len(lines))


def restore(yaml: Path, folder: Path) -> Moved:
    """Move everything that was set aside in a folder back.

    Files return to their paths and CSV lines to their places. Whatever is already back is skipped.

    Raises:
        DataError: the folder has no list or another data set's, or a listed file is missing or blocked by a different
            file.
    """
    if not (folder / LIST).is_file():
        raise DataError(f"{folder / LIST}: no such file; nothing was set aside there")
    batches = _read_list(folder, yaml.resolve())
    root = read_data_yaml(yaml).root
    for name in (name for batch in batches for name in batch["files"]):
        here, there = (folder / name).exists(), (root / name).exists()
        if not here and not there:
            raise DataError(f"{folder / name}: is missing; put it back, or remove it from {folder / LIST}")
        if here and there and (folder / name).read_bytes() != (root / name).read_bytes():
            raise DataError(f"{root / name}: not the file that was set aside; remove the one you do not want")
    pictures = files = lines = 0
    try:
        for batch in reversed(batches):
            pictures += len(batch["pictures"])
            for name in batch["files"]:
                if (folder / name).exists():
                    _move(folder / name, root / name)
                    files += 1
            if batch["csv"]:
                lines += _put_back(root / batch["csv"], batch["lines"])
        (folder / LIST).unlink()
    except OSError as error:
        where = error.filename or folder
        raise DataError(f"{where}: cannot be moved back ({error.strerror or error}); run this again") from error
    with suppress(OSError):  # remove only empty folders
        for place in sorted((place for place in folder.rglob("*") if place.is_dir()), reverse=True):
            if not any(place.iterdir()):
                place.rmdir()
        folder.rmdir()
    return Moved(pictures, files, lines)


def _names(description: DataDescription, chosen: dict[str, Picture]) -> list[str]:
    """All files that move with the pictures, relative to the root. Labels shared with other pictures stay."""
    stay = {
        path
        for pictures in description.pictures.values()
        for picture in pictures
        if picture.file not in chosen
        for path in (description.label_file(picture), description.ignore_file(picture))
    }
    paths: dict[Path, None] = {}
    for picture in chosen.values():
        paths[picture.path] = None
        for path in (description.label_file(picture), description.ignore_file(picture)):
            if path is not None and path.is_file() and path not in stay:
                paths[path] = None
    return [path.relative_to(description.root).as_posix() for path in paths]


def _lines(table: Path | None, files: set[str]) -> tuple[list[bytes], list[tuple[int, bytes]]]:
    """All physical lines of a CSV, and those of the given pictures with their indices."""
    if table is None or not table.is_file():
        return [], []
    content = table.read_bytes().splitlines(keepends=True)
    rows = csv.reader(line.decode("utf-8-sig", "replace") for line in content)
    header = next(rows, [])
    if "file" not in header:
        return content, []
    column, taken, before = header.index("file"), [], rows.line_num
    for row in rows:
        if len(row) > column and row[column] in files:
            taken += [(index, content[index]) for index in range(before, rows.line_num)]
        before = rows.line_num
    return content, taken


def _put_back(table: Path, lines: list[tuple[int, str]]) -> int:
    """Insert lines at their original places, skip those already present, and return the number inserted."""
    content = table.read_bytes().splitlines(keepends=True)
    raw = [(index, text.encode("utf-8", "surrogateescape")) for index, text in lines]
    missing = [(index, line) for index, line in raw if line not in content]
    for index, line in missing:
        if index >= len(content) and content and not content[-1].endswith((b"\n", b"\r")):
            content[-1] += b"\n"
        if index < len(content) and not line.endswith((b"\n", b"\r")):
            line += b"\n"
        content.insert(index, line)
    if missing:
        write_whole(table, b"".join(content))
    return len(missing)


def _read_list(folder: Path, yaml: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads((folder / LIST).read_bytes().decode("utf-8", "surrogateescape"))
        owner, batches = content["data"], list(content["batches"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / LIST}: not a list of what was set aside ({error})") from error
    if owner != str(yaml):
        raise DataError(f"{folder / LIST}: lists pictures of {owner}, not of {yaml}; choose another folder")
    return batches


def _write_list(folder: Path, yaml: Path, batches: list[dict[str, Any]]) -> None:
    if not batches:
        (folder / LIST).unlink(missing_ok=True)
        return
    text = json.dumps({"data": str(yaml), "batches": batches}, indent=2, ensure_ascii=False)
    write_whole(folder / LIST, (text + "\n").encode("utf-8", "surrogateescape"))


def _move(source: Path, target: Path) -> None:
    """Move a file; across file systems, complete the copy before removing the original."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f".{target.name}.part")
        shutil.copy2(source, part, follow_symlinks=False)
        os.replace(part, target)
        source.unlink()
