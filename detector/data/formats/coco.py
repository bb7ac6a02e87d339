"""COCO: one JSON file with images, annotations and categories (https://cocodataset.org/#format-data).

Boxes are ``[x, y, width, height]`` in pixels. An annotation with ``iscrowd`` or ``ignore`` becomes an ignore region, as
in COCO's own evaluation. A folder may hold one file per split, either beside its pictures (Roboflow's
``train/_annotations.coco.json``) or separately (``annotations/instances_train2017.json``).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ....core.errors import DataError
from .records import Annotations, Box, Pictures, Record, number, read_text, size, split_of_path, split_of_stem

KEYS = ("images", "annotations", "categories")
WHOLE = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(?:\.0*)?", re.ASCII)
"""Whole numbers as text; text with leading zeros is a name."""


def read_coco(path: Path, given: Path | None = None) -> Annotations:
    """Read a JSON file, or all those in a folder.

    Raises:
        DataError: the labels are invalid; the message names the file and the line or field.
    """
    files = [path] if path.is_file() else coco_files(path)
    if not files:
        raise DataError(f"{path}: no JSON file with {', '.join(KEYS)} in it")
    pictures = Pictures(path, given)
    classes: dict[str, None] = {}
    records: list[Record] = []
    for file in files:
        content = _content(file)
        names = _categories(file, content)
        classes.update(dict.fromkeys(names.values()))
        records += _records(file, content, names, pictures)
    return Annotations("coco", path, tuple(classes), tuple(records))


def coco_files(folder: Path) -> list[Path]:
    """The JSON files below a folder that contain COCO's keys."""
    return [
        path
        for path in sorted(folder.rglob("*.json"))
        if all(f'"{key}"'.encode() in (content := path.read_bytes()) for key in KEYS) and b'"bbox"' in content
    ]


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(f"{path}: line {error.lineno}: not valid JSON: {error.msg}") from error
    except (RecursionError, ValueError) as error:  # ValueError: a number with thousands of digits
        raise DataError(f"{path}: not COCO: nested too deeply, or not numbers: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: must be an object with {', '.join(KEYS)}")
    for key in KEYS:
        if not isinstance(content.get(key), list):
            raise DataError(f"{path}: {key}: must be a list")
        for place, entry in enumerate(content[key]):
            if not isinstance(entry, dict):
                raise DataError(f"{path}: {key}[{place}]: must be an object")
    return content


def _categories(path: Path, content: dict[str, Any]) -> dict[Any, str]:
    found: dict[Any, str] = {}
    for place, entry in enumerate(content["categories"]):
        where = f"{path}: categories[{place}]"
        name, key = entry.get("name"), _id(entry, "id", where)
        if not isinstance(name, str) or not name:
            raise DataError(f"{where}: name must be a string, got {name!r}")
        if key in found:
            raise DataError(f"{where}: id {key} appears twice")
        found[key] = name
    return found


def _records(path: Path, content: dict[str, Any], names: dict[Any, str], pictures: Pictures) -> list[Record]:
    split = split_of_stem(path.stem) or split_of_path(path, pictures.top)
    folders = _folders(path, split)
    images: dict[Any, Record] = {}
    for place, entry in enumerate(content["images"]):
        where = f"{path}: images[{place}]"
        key, name = _id(entry, "id", where), entry.get("file_name")
        if not isinstance(name, str) or not name:
            raise DataError(f"{where} (id {key}): file_name must be a string, got {name!r}")
        if key in images:
            raise DataError(f"{where}: id {key} appears twice")
        where += f" (id {key})"
        found = pictures.find(name, folders, where, split)
        own = split or split_of_path(found, pictures.top)
        images[key] = Record(found, (), where, size(entry.get("width"), entry.get("height"), where), split=own)
    boxes: dict[Any, list[Box]] = {key: [] for key in images}
    for place, entry in enumerate(content["annotations"]):
        where = f"{path}: annotations[{place}]" + (f" (id {entry['id']})" if "id" in entry else "")
        image = _id(entry, "image_id", where)
        if image not in boxes:
            raise DataError(f"{where}: image_id {image} is not the id of an image")
        boxes[image].append(_box(entry, names, where))
    return [
        Record(record.path, tuple(boxes[key]), record.where, record.size, split=record.split)
        for key, record in images.items()
    ]


def _box(entry: dict[str, Any], names: dict[Any, str], where: str) -> Box:
    category = _id(entry, "category_id", where)
    if category not in names:
        raise DataError(f"{where}: category_id {category} is not the id of a category")
    given = entry.get("bbox")
    if not isinstance(given, list) or len(given) != 4:
        raise DataError(f"{where}: bbox must be [x, y, width, height], got {given!r}")
    x, y, width, height = (number(value, f"{where}: bbox[{i}]", "it") for i, value in enumerate(given))
    ignore = any(_flag(entry.get(key), f"{where}: {key}") for key in ("iscrowd", "ignore"))
    return Box((x, y, x + width, y + height), names[category], ignore, where)


def _flag(value: object, where: str) -> bool:
    return value is not None and value is not False and (value is True or number(value, where, "it") != 0)


def _id(entry: dict[str, Any], key: str, where: str) -> int | float | str:
    """Read an id. 7, 7.0 and "7" are the same, because tools write any of them."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str) or value != value:
        raise DataError(f"{where}: {key} must be a number or a string, got {value!r}")
    if isinstance(value, str):
        text = value.strip()
        return int(text.partition(".")[0]) if re.fullmatch(WHOLE, text) else text
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _folders(path: Path, split: str | None) -> list[Path]:
    """Candidate folders for the pictures of a JSON: its own, ``images`` in it, and the parent of ``annotations``."""
    folder = path.parent
    year = path.stem.rpartition("_")[2]  # train2017 in instances_train2017
    tops = [folder, folder.parent] if folder.name == "annotations" else [folder]
    below = [*([year] if year else []), *([split] if split else [])]
    return [
        place
        for top in tops
        for place in (*(top / "images" / each for each in below), *(top / each for each in below), top / "images", top)
    ]
