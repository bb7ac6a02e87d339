"""Label formats of detection data sets, all read into the same ``records.Record``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ....core.errors import DataError
from .coco import coco_files, read_coco
from .csv import csv_files, read_csv
from .data_yaml import find_data_yaml
from .records import Annotations, Box, Pictures, Record, pictures_below
from .voc import read_voc
from .wider import looks_like_wider, read_wider, read_wider_mat, wider_files
from .yolo import read_yolo

__all__ = ["FORMATS", "Annotations", "Box", "Record", "detect_format", "read"]

FORMATS: dict[str, Callable[[Path, Path | None], Annotations]] = {
    "yolo": read_yolo,
    "coco": read_coco,
    "voc": read_voc,
    "wider": read_wider,
    "wider-mat": read_wider_mat,
    "csv": read_csv,
}
BY_SUFFIX = {".yaml": "yolo", ".yml": "yolo", ".json": "coco", ".xml": "voc", ".mat": "wider-mat", ".csv": "csv"}


def read(path: Path, name: str | None = None, images: Path | None = None) -> Annotations:
    """Read a data set's labels.

    Args:
        path: a label file, or the folder of a data set.
        name: of the format, one of ``FORMATS``; None detects it.
        images: folder of the pictures, if they are not where the format expects them.

    Returns:
        At least one record; no two records share a picture.

    Raises:
        DataError: a label is invalid (the message names file and line), or the format cannot be detected.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if name is not None and name not in FORMATS:
        raise DataError(f"no format {name!r}; there are {', '.join(FORMATS)}")
    found = FORMATS[name or detect_format(path)](path, images)
    if not found.records:
        raise DataError(f"{path}: no pictures in it")
    within = Pictures(path, images)
    known: dict[Path, Record] = {}
    for record in found.records:
        within.require_within(record.path, record.where)
        key = record.path.resolve()
        if key in known:
            raise DataError(f"{record.where}: {record.path} appears twice; first: {known[key].where}")
        known[key] = record
    return found


def detect_format(path: Path) -> str:
    """Detect the format of a label file or a data set folder.

    Raises:
        DataError: no format matches, or more than one.
    """
    if path.is_file():
        name = BY_SUFFIX.get(path.suffix.lower()) or ("wider" if looks_like_wider(path) else None)
        if name is None:
            raise DataError(f"{path}: unknown format; set it with --format")
        return name
    if find_data_yaml(path) is not None:
        return "yolo"
    found = [
        name
        for name, is_there in (
            ("coco", lambda: coco_files(path)),
            ("voc", lambda: any(path.rglob("*.xml"))),
            ("wider", lambda: wider_files(path)),
            ("wider-mat", lambda: any(path.rglob("*.mat"))),
            ("csv", lambda: csv_files(path)),
        )
        if is_there()
    ]
    if set(found) == {"wider", "wider-mat"}:  # the official archive has the same labels in both formats
        return "wider"
    if len(found) > 1:
        raise DataError(f"{path}: could be {' or '.join(found)}; set it with --format, or name the label file")
    if found:
        return found[0]
    if pictures_below(path) and any(path.rglob("*.txt")):
        return "yolo"
    raise DataError(f"{path}: no labels found in any supported format: {', '.join(FORMATS)}")
