"""Read photos with labelled faces for ``facepipe evaluate`` from tables and COCO files.

A table has the columns of the classifier's data: ``file``, ``x1,y1,x2,y2`` in pixels of the upright picture, and the
attributes; several rows may name one picture. A row without a box or labels shows the detector a picture that has no
(further) face; ``ignore=yes`` makes a row's box a region that counts neither way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...classifier.config.schema import BOX
from ...classifier.data.label_files import Rows
from ...classifier.data.readers import join_tables, parse_source, read_rows
from ...classifier.data.table import FaceTable, make_table
from ...core.errors import DataError
from ...weights.manifest import Attribute

EVERY_SPLIT = "all"
FACE = "face"
FOLDERS = ("", "images", "../images")
"""Where to look for pictures, relative to the file's own folder."""


@dataclass(frozen=True)
class Photo:
    """One picture.

    Attributes:
        file: its path.
        name: as in the data.
        rows: of its labelled faces in ``Photos.faces``, int (k,).
        ignored: regions that count neither way, (m, 4), in pixels.
    """

    file: Path
    name: str
    rows: np.ndarray
    ignored: np.ndarray


@dataclass(frozen=True)
class Photos:
    """Pictures and their labelled faces.

    Attributes:
        faces: one row per face, each with a box.
        photos: the pictures, in the order in which the data first name them.
        split: the chosen split.
        data: the ``--data`` texts, without folders of this machine.
        without_split: files without a column ``split``; all their rows are measured.
    """

    faces: FaceTable
    photos: tuple[Photo, ...]
    split: str
    data: tuple[str, ...]
    without_split: tuple[str, ...] = ()


def read_photos(texts: Sequence[str], attributes: tuple[Attribute, ...], split: str = "val") -> Photos:
    """Read labelled photos.

    Args:
        texts: CSV, Parquet or COCO files.
        attributes: what the classifiers read; the data may label any of them.
        split: train, val, test or all. Data without a column ``split`` is taken whole.

    Raises:
        DataError: a file that cannot be read, a cell that is not in the schema, a labelled face without a box, a crop,
            or no face in that split; the message names file and line.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    tables, without_split = [], []
    for text in texts:
        source = parse_source(text)
        is_coco = source.path.suffix.lower() == ".json"
        table = make_table(read_coco(source.path) if is_coco else read_rows(source, attributes), attributes)
        if split != EVERY_SPLIT and (table.columns["split"] == "").all():
            without_split.append(source.path.name)
            table.columns["split"] = np.full(len(table), split)
        tables.append(table)
    table = join_tables(tables)
    table = table if split == EVERY_SPLIT else table.split(split)
    ignored = _yes(table)
    boxed = np.isfinite(table.boxes).all(axis=1)
    _check(table, ignored, boxed)
    chosen = np.flatnonzero(boxed & ~ignored)
    if not len(chosen):
        raise DataError(f"{table.path}: no labelled face with a box in split {split}")
    places: dict[str, list[int]] = {}
    for row, file in enumerate(table.files):
        places.setdefault(str(file), []).append(row)
    number = np.full(len(table), -1)
    number[chosen] = np.arange(len(chosen))
    photos = tuple(
        Photo(
            file=table.files[rows[0]],
            name=str(table.columns["file"][rows[0]]),
            rows=number[rows][number[rows] >= 0],
            ignored=table.boxes[[row for row in rows if ignored[row]]].reshape(-1, 4),
        )
        for rows in places.values()
    )
    names = tuple(parse_source(text).path.name for text in texts)
    return Photos(table.rows(chosen), photos, split, names, tuple(without_split))


def _yes(table: FaceTable) -> np.ndarray:
    """Rows whose box is to be ignored, bool (n,)."""
    cells = np.char.lower(table.columns.get("ignore", np.full(len(table), "")).astype(str))
    for row in np.flatnonzero(~np.isin(cells, ["", "no", "yes", "0", "1"])):
        raise DataError(f"{table.places[row]}: ignore must be yes, no or blank, got {cells[row]!r}")
    return np.isin(cells, ["yes", "1"])


def _check(table: FaceTable, ignored: np.ndarray, boxed: np.ndarray) -> None:
    """Check that every row is from a photo, boxes are valid, and labels have a box to belong to."""
    for row in range(len(table)):
        where = table.places[row]
        if table.columns["framing"][row]:
            raise DataError(
                f"{where}: framing={table.columns['framing'][row]} is a crop of a face; end to end needs the photos "
                "that the crops were cut from, with boxes"
            )
        labels = any(np.isfinite(values[row]).any() for values in table.targets.values())
        if not boxed[row] and (labels or ignored[row]):
            raise DataError(
                f"{where}: no box; a labelled face needs {', '.join(BOX)} in pixels of its picture (a row with neither "
                "box nor labels stands for a picture without a face)"
            )
        x1, y1, x2, y2 = table.boxes[row]
        if boxed[row] and not (x1 < x2 and y1 < y2):
            raise DataError(f"{where}: the box is empty: x1 must be below x2 and y1 below y2")


def read_coco(path: Path) -> Rows:
    """Read the faces of a COCO instances file, as written by CVAT and facepipe.

    Every picture gives one row per annotation of the category ``face`` (of any category, if there is only one), or one
    row without a box. ``iscrowd`` marks a region to ignore. A boolean attribute becomes ``yes`` or ``no``; lists,
    objects and empty attributes are left out.

    Raises:
        DataError: the file is not a COCO file; the message names the entry.
    """
    try:
        content = path.read_bytes()
        coco = json.loads(content)
        images = {image["id"]: str(image["file_name"]) for image in coco["images"]}
        categories = {each["id"]: each for each in coco["categories"]}
        annotations = list(coco["annotations"])
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
    """The folder that holds the first picture; if none does, the file's own folder, so that the error names its row."""
    for folder in FOLDERS:
        root = path.parent / folder
        if images and (root / next(iter(images.values()))).is_file():
            return root
    return path.parent
