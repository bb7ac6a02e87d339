"""YOLO: a label file a picture, ``class cx cy w h`` a line in fractions of the picture.

The layouts are ultralytics' (``images/train`` beside ``labels/train``; data.yaml with ``path``, ``train``, ``val``,
``test``, ``names``), Roboflow's exports (``train/images``, ``valid/images``, ``test/images``), darknet's and
LabelImg's (label files beside the pictures, names in ``classes.txt`` or ``obj.names``), and this project's own
(``labelled``, ``ignore``). A line of more numbers is a polygon (``class x1 y1 x2 y2 x3 y3 …``) and becomes the box
around it. A picture without a label file has no object, as in ultralytics. Boxes are taken to be those of the upright
picture, as ultralytics takes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ....core.errors import DataError
from ....core.yaml import read_yaml
from ..dataset import labelled_lines
from .records import SPLITS, Annotations, Box, Record, is_picture, number, pictures_below, read_text, split_of_path

NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels")
FARTHEST = 2.0
"""Fractions beyond it in size are pixels or damage, not a box that reaches out of the picture a little."""


def read_yolo(path: Path, given: Path | None = None) -> Annotations:
    """Read a data.yaml, or a folder with or without one.

    Without class names the classes are called by their numbers.

    Raises:
        DataError: what is wrong, with file and line.
    """
    yaml = path if path.is_file() else data_yaml(path)
    if yaml is None:
        classes, labelled, ignore, terms = _names_beside(path), {}, None, None
        top = path
        found = [(each, split_of_path(each, path)) for each in pictures_below(given or path)]
    else:
        content = read_content(yaml)
        classes = _names(content, yaml)
        top = _root(content, yaml)
        found = [(each, split) for split, place in _places(content, yaml, top) for each in _pictures(place)]
        ignore, terms = content.get("ignore"), content.get("terms")
        labelled = _labelled(top / str(content["labelled"]), classes) if content.get("labelled") else {}
    if not found:
        raise DataError(f"{yaml or path}: no pictures found")
    records, used, bare = [], set(), 0
    for picture, split in found:
        labels = label_file(picture)
        used.add(labels)
        bare += not labels.is_file()
        boxes = list(_boxes(labels, classes, False))
        if ignore:
            boxes += _boxes(_mirrored(picture, str(ignore)), classes, True)
        source, named = labelled.get(_below(picture, top), (None, None))
        records.append(Record(picture, tuple(boxes), str(labels), None, True, split, source, named))
    if bare == len(records):
        raise DataError(f"{yaml or path}: none of {bare} pictures has a label file; for the first it would be {labels}")
    notes = [f"{bare} pictures without a label file: taken as having no object"] if bare else []
    if orphans := _orphans(used):
        notes.append(f"{len(orphans)} label files without a picture, left out: {orphans[0]}")
    seen = dict.fromkeys([*classes, *(box.name for record in records for box in record.boxes)])
    terms = terms if isinstance(terms, dict) else {"*": terms} if terms else {}
    terms = {str(source): str(text) for source, text in terms.items()}
    return Annotations("yolo", path, tuple(seen), tuple(records), tuple(notes), terms)


def data_yaml(folder: Path) -> Path | None:
    """The YAML of a data set in a folder: data.yaml, or the only one there that has ``names`` and a split."""
    if (folder / "data.yaml").is_file():
        return folder / "data.yaml"
    found = []
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        text = read_text(path)
        if "names:" in text and any(f"{key}:" in text for key in SPLITS):
            found.append(path)
    if len(found) > 1:
        raise DataError(f"{folder}: has {found[0].name} and {found[1].name}; name the one to read")
    return found[0] if found else None


def read_content(path: Path) -> dict[str, Any]:
    """A data.yaml's content.

    Raises:
        DataError: not YAML, or without names.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("names"), list | dict):
        raise DataError(f"{path}: needs the key names, a list of the classes")
    return content


def label_file(picture: Path) -> Path:
    """Where ultralytics looks for a picture's labels: under ``labels`` in place of the last ``images``, or beside it;
    and beside it too if it is not there, as LabelImg leaves them."""
    mirrored, beside = _mirrored(picture, "labels"), picture.with_suffix(".txt")
    return beside if beside.is_file() and not mirrored.is_file() else mirrored


def _mirrored(picture: Path, name: str) -> Path:
    parts = list(picture.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = name
            break
    return Path(*parts).with_suffix(".txt")


def _names(content: dict[str, Any], path: Path) -> tuple[str, ...]:
    names = content["names"]
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(f"{path}: names must be numbered 0 to {len(names) - 1}, got {', '.join(map(str, names))}")
        names = [names[key] for key in sorted(names)]
    count = content.get("nc", len(names))
    if count != len(names):
        raise DataError(f"{path}: nc is {count}, but names has {len(names)}")
    return tuple(map(str, names))


def _names_beside(folder: Path) -> tuple[str, ...]:
    for name in NAME_FILES:
        for path in sorted(folder.rglob(name)):
            return tuple(line.strip() for line in read_text(path).splitlines() if line.strip())
    return ()


def _root(content: dict[str, Any], yaml: Path) -> Path:
    root = yaml.parent / str(content.get("path") or ".")
    return root if root.is_dir() else yaml.parent  # a path of the machine where it was written


def _places(content: dict[str, Any], yaml: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Each folder or list of pictures that a data.yaml names, with its split."""
    named = [(SPLITS[key], value) for key, value in content.items() if key in SPLITS and value]
    if not named:
        raise DataError(f"{yaml}: needs at least one of the keys train, val and test")
    for split, value in named:
        for each in value if isinstance(value, list) else [value]:
            place = root / str(each)
            if not place.exists() and str(each).startswith("../"):  # Roboflow's; ultralytics reads it so too
                place = root / str(each)[3:]
            if place.exists():
                yield split, place
            elif split != "test":  # exports name a test folder that they do not have
                raise DataError(f"{yaml}: {split}: {place} does not exist")


def _pictures(place: Path) -> Iterator[Path]:
    """The pictures below a folder, or those that a text file lists."""
    if place.is_dir():
        yield from pictures_below(place)
        return
    for line, text in enumerate(read_text(place).splitlines(), 1):
        if text.strip():
            path = place.parent / text.strip()
            if not is_picture(path):
                raise DataError(f"{place}: line {line}: not a picture's name: {text.strip()!r}")
            yield path


def _labelled(path: Path, classes: tuple[str, ...]) -> dict[str, tuple[str | None, tuple[str, ...] | None]]:
    found: dict[str, tuple[str | None, tuple[str, ...] | None]] = {}
    for line, row in labelled_lines(path, classes):
        if isinstance(row, str):
            raise DataError(f"{path}: line {line}: {row}")
        named = tuple(name for name, known in zip(classes, row.labelled, strict=True) if known)
        found[row.file] = (row.source, named)
    return found


def _below(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else path.as_posix()


def _boxes(path: Path, classes: tuple[str, ...], ignore: bool) -> Iterator[Box]:
    if not path.is_file():
        return
    for line, text in enumerate(read_text(path).splitlines(), 1):
        parts = text.split()
        if not parts:
            continue
        where = f"{path}: line {line}"
        values = [number(part, where, "a coordinate") for part in parts[1:]]
        index = number(parts[0], where, "the class")
        if index < 0 or index != int(index) or (classes and index >= len(classes)):
            known = f"0 to {len(classes) - 1} ({', '.join(classes)})" if classes else "a whole number"
            raise DataError(f"{where}: class {parts[0]} is not one of {known}")
        if len(values) == 4:
            x, y, w, h = values
            corners = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        elif len(values) >= 6 and len(values) % 2 == 0:
            xs, ys = values[::2], values[1::2]
            corners = (min(xs), min(ys), max(xs), max(ys))
        else:
            raise DataError(f"{where}: expected class cx cy w h, or class and a polygon's points, got {text!r}")
        if max(map(abs, values)) > FARTHEST:
            raise DataError(f"{where}: coordinates are fractions of the picture, 0 to 1, got {text!r}")
        yield Box(corners, classes[int(index)] if classes else str(int(index)), ignore, where)


def _orphans(used: set[Path]) -> list[Path]:
    """Label files that belong to no picture, in the folders of those that do."""
    names = set(NAME_FILES)
    folders = {path.parent for path in used if path.parent.is_dir()}
    return sorted(
        path
        for folder in folders
        for path in folder.glob("*.txt")
        if path not in used and path.name not in names and _is_label_file(path)
    )


def _is_label_file(path: Path) -> bool:
    """Whether a text file's first line is made of numbers: a README or a list of pictures may lie there too."""
    parts = read_text(path).split("\n", 1)[0].split()
    return len(parts) >= 5 and all(part.lstrip("-").replace(".", "", 1).isdigit() for part in parts)
