"""Photos with labelled faces, for ``facepipe evaluate``: several rows may name one picture, each a face with its box.

The files are those of the classifier's data (``classifier/data.py``): ``file``, ``x1,y1,x2,y2`` in pixels of the
upright picture, and the attributes' columns. A row without a box and without labels says that its picture is shown to
the detector though it has no (further) face; ``ignore=yes`` makes a row's box a region that counts neither way. Or a
COCO file, see ``coco.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...classifier.config.labels import BOX
from ...classifier.data.readers import join_tables, parse_source, read_rows
from ...classifier.data.table import FaceTable, make_table
from ...core.errors import DataError
from ...weights.manifest import Attribute
from .coco import read_coco

EVERY_SPLIT = "all"


@dataclass(frozen=True)
class Photo:
    """One picture.

    Attributes:
        file: its path.
        name: as the data have it.
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
        faces: one row a face, every one with a box.
        photos: the pictures, in the order in which the data name them first.
        split: that was chosen.
        data: the ``--data`` texts, without folders of this machine.
        unsaid: data that say no split; all of their rows are measured.
    """

    faces: FaceTable
    photos: tuple[Photo, ...]
    split: str
    data: tuple[str, ...]
    unsaid: tuple[str, ...] = ()


def read_photos(texts: Sequence[str], attributes: tuple[Attribute, ...], split: str = "val") -> Photos:
    """Read labelled photos.

    Args:
        texts: CSV, Parquet or COCO files.
        attributes: what the classifiers read; the data may label any of them.
        split: train, val, test or all. Of data without a column ``split`` every row is taken.

    Raises:
        DataError: a file that cannot be read, a cell that is not in the schema, a labelled face without a box, a crop,
            or no face in that split; the message names file and line.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    tables, unsaid = [], []
    for text in texts:
        source = parse_source(text)
        coco = source.path.suffix.lower() == ".json"
        table = make_table(read_coco(source.path) if coco else read_rows(source, attributes), attributes)
        if split != EVERY_SPLIT and (table.columns["split"] == "").all():
            unsaid.append(source.path.name)
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
    return Photos(table.rows(chosen), photos, split, names, tuple(unsaid))


def _yes(table: FaceTable) -> np.ndarray:
    """Rows whose box is to be ignored, bool (n,)."""
    cells = np.char.lower(table.columns.get("ignore", np.full(len(table), "")).astype(str))
    for row in np.flatnonzero(~np.isin(cells, ["", "no", "yes", "0", "1"])):
        raise DataError(f"{table.places[row]}: ignore must be yes, no or blank, got {cells[row]!r}")
    return np.isin(cells, ["yes", "1"])


def _check(table: FaceTable, ignored: np.ndarray, boxed: np.ndarray) -> None:
    """Every row is a photo's; a box is one; labels have a box to belong to."""
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
