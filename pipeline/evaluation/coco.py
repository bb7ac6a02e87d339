"""Faces of a COCO file as rows of labels: ``bbox`` is the face, ``attributes`` (as CVAT and facepipe write it) are the
labels, ``keypoints`` are points where the category names them.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ...classifier.config.labels import BOX
from ...classifier.data.label_files import Rows
from ...core.errors import DataError

FACE = "face"
FOLDERS = ("", "images", "../images")
"""Below the file's own folder, where pictures are looked for."""


def read_coco(path: Path) -> Rows:
    """Read the faces of a COCO instances file.

    Every picture gives a row for each annotation of the category ``face`` (of every category, where there is only one),
    or one row without a box. ``iscrowd`` is a region to ignore. An attribute that is a truth value is ``yes`` or
    ``no``; a list or a table is left out, and so is an empty one.

    Raises:
        DataError: the file is no such file; the message names the entry.
    """
    try:
        content = path.read_bytes()
        told = json.loads(content)
        images = {image["id"]: str(image["file_name"]) for image in told["images"]}
        categories = {each["id"]: each for each in told["categories"]}
        annotations = list(told["annotations"])
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a COCO file with images, categories and annotations ({error!r})") from error
    faces = {key for key, each in categories.items() if str(each.get("name", "")).lower() == FACE}
    if not faces and len(categories) == 1:
        faces = set(categories)
    if not faces:
        raise DataError(f"{path}: no category is called 'face'")
    cells: list[dict[str, str]] = []
    places: list[str] = []
    seen = set()
    for number, each in enumerate(annotations):
        where = f"{path}, annotation {each.get('id', number) if isinstance(each, dict) else number}"
        try:
            if each["category_id"] not in faces:
                continue
            x, y, width, height = (float(value) for value in each["bbox"])
            file = images[each["image_id"]]
            labels = _labels(each, categories[each["category_id"]])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where}: needs image_id, category_id and bbox of four numbers ({error!r})") from error
        seen.add(each["image_id"])
        box = dict(zip(BOX, (f"{value:.6g}" for value in (x, y, x + width, y + height)), strict=True))
        ignored = {"ignore": "yes"} if each.get("iscrowd") or each.get("ignore") else {}
        cells.append({**({} if ignored else labels), **box, **ignored, "file": file})
        places.append(where)
    for key, file in images.items():
        if key not in seen:
            cells.append({"file": file})
            places.append(f"{path}, image {key}")
    names = tuple(dict.fromkeys(name for row in cells for name in row)) or ("file",)
    rows = tuple({name: row.get(name, "") for name in names} for row in cells)
    digest = hashlib.sha256(content).hexdigest()
    return Rows(path, digest, names, rows, tuple(places), tuple(range(1, len(rows) + 1)), _root(path, images))


def _labels(annotation: dict[str, Any], category: dict[str, Any]) -> dict[str, str]:
    """Cells of one annotation's attributes and keypoints."""
    found = {}
    for name, value in (annotation.get("attributes") or {}).items():
        if isinstance(value, bool):
            found[str(name)] = "yes" if value else "no"
        elif isinstance(value, str | int | float):
            found[str(name)] = str(value)
    points = annotation.get("keypoints") or ()
    for index, name in enumerate(category.get("keypoints") or ()):
        x, y, visible = points[3 * index : 3 * index + 3] or (0, 0, 0)
        if visible:
            found |= {f"{name}_x": str(x), f"{name}_y": str(y)}
    return found


def _root(path: Path, images: dict[Any, str]) -> Path:
    """The folder that holds the first picture; the file's own where none does, so that its row is told."""
    for folder in FOLDERS:
        root = path.parent / folder
        if images and (root / next(iter(images.values()))).is_file():
            return root
    return path.parent
