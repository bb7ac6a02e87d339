"""The table of labelled faces.

A label file (CSV or Parquet) has one row a picture: ``file`` (relative to the file), ``source``, ``split`` (train, val
or test), ``group`` (rows of one group stay on one side of a split), ``framing``, and the columns of the schema's
attributes: ``<name>`` for a class or a number, ``<name>_lo`` and ``<name>_hi`` for a number of which only a closed
range is known, ``<point>_x`` and ``<point>_y`` in pixels of the stored picture. Blank means unlabelled, and each row
may have any of the labels. ``x1,y1,x2,y2`` may give a face's box for ``facepipe data crop``. Other columns are kept as
text, for balancing and for reports by group.

``framing`` says what the picture is: ``crop``, made by ``facepipe data crop`` (``crop.json`` beside the file holds the
recipe); ``tight``, already such a crop; blank, a photo from which ``facepipe data crop`` has yet to cut the face.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field, ValidationError

from ...core.errors import DataError, os_errors_as
from ...weights.manifest import Attribute, CropRecipe
from ...weights.records import Record
from ..config.recipe import Split
from ..config.schema import given_box, label_columns, target
from .label_files import Rows, read_table_file
from .splits import SPLITS, assign_splits

SIDECAR = "crop.json"
FACE_SIDE = "face_side"
"""Column in which ``facepipe data crop`` writes the longer side of the box that it cut, in pixels of the photo."""
FRAMINGS = ("", "tight", "crop")
KNOWN = ("source", "split", "group", "framing")
"""Columns that every table has, blank where its source lacks them."""


class CropSet(Record):
    """How ``facepipe data crop`` made the crops beside it."""

    recipe: CropRecipe
    context: float = Field(ge=0, le=1)
    """Real picture kept around the recipe's crop on each side, as a fraction of its side; training jitters into it."""
    detector: str | None = None
    """Version whose boxes were cut; None where the CSV gave them."""

    @property
    def stored(self) -> CropRecipe:
        """The recipe of the stored picture: the crop and its context."""
        wide = 1 + 2 * self.context
        margin = ((1 + 2 * self.recipe.margin) * wide - 1) / 2
        return self.recipe.model_copy(update={"margin": margin, "size": round(self.recipe.size * wide)})


@dataclass(frozen=True)
class FaceTable:
    """Rows of labelled faces, by column.

    Attributes:
        path: the label file or folder; the first of several.
        sha256: of its content; of all where there are several.
        files: the pictures.
        lines: line of each row in its label file; its number where it has none.
        places: where each row stands, in words.
        columns: every column as text, (n,) each.
        targets: for each attribute, float32 with NaN where unlabelled: (n,) class index; (n, 3) number, low, high;
            (n, points, 2) x and y in pixels of the stored picture.
        boxes: float32 (n, 4) given boxes, NaN where there is none.
        crops: how ``framing=crop`` rows were made; None where there is no ``crop.json``.
        contexts: float64 (n,), real picture around each row's crop as in ``CropSet.context``; 0 for other framings, NaN
            for a crop without a ``crop.json``.
        weights: float32 (n,), how often a row is drawn, relative to the others.
    """

    path: Path
    sha256: str
    attributes: tuple[Attribute, ...]
    files: tuple[Path, ...]
    lines: np.ndarray
    places: np.ndarray
    columns: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    boxes: np.ndarray
    crops: CropSet | None
    contexts: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, chosen: np.ndarray) -> FaceTable:
        """The table of some rows, by index or by mask.

        Args:
            chosen: int (k,) or bool (n,).
        """
        indices = np.arange(len(self))[chosen]
        return replace(
            self,
            files=tuple(self.files[i] for i in indices),
            lines=self.lines[indices],
            places=self.places[indices],
            columns={name: values[indices] for name, values in self.columns.items()},
            targets={name: values[indices] for name, values in self.targets.items()},
            boxes=self.boxes[indices],
            contexts=self.contexts[indices],
            weights=self.weights[indices],
        )

    def split(self, name: str) -> FaceTable:
        """The rows of ``train``, ``val`` or ``test``.

        Raises:
            DataError: there is none.
        """
        chosen = self.columns["split"] == name
        if not chosen.any():
            counted = Counter(self.columns["split"].tolist())
            there = ", ".join(f"{split} ({rows})" for split, rows in counted.items())
            raise DataError(f"{self.path}: no rows in split {name!r}; there are: {there}")
        return self.rows(chosen)

    def require_crops(self, recipe: CropRecipe | None = None) -> None:
        """Check that every row is a crop that can be trained on.

        Raises:
            DataError: some row is a photo, or a crop of another recipe than ``recipe``, or of an unknown one.
        """
        framing = self.columns["framing"]
        if (framing == "").any():
            raise DataError(
                f"{self.places[framing == ''][0]}: framing is blank, so this is not known to be a crop of a face; run "
                f"'facepipe data crop {self.path} --out DIR' and use DIR/{self.path.name}, or set framing to 'tight'"
            )
        if np.isnan(self.contexts).any():
            raise DataError(f"{self.places[np.isnan(self.contexts)][0]}: framing=crop needs {SIDECAR} beside the file")
        if (framing == "crop").any() and self.crops is not None:
            ours = self.crops.recipe
            if recipe is not None and ours.model_copy(update={"size": recipe.size}) != recipe:
                raise DataError(f"{self.path}: the crops were cut as {ours!r}, not as {recipe!r}")


def read_crops(folder: Path) -> CropSet | None:
    """Read the ``crop.json`` in a folder; None where there is none.

    Raises:
        DataError: it breaks the record.
    """
    path = folder / SIDECAR
    if not path.is_file():
        return None
    try:
        return CropSet.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: {'.'.join(map(str, first['loc'])) or 'file'}: {first['msg']}") from error


def read_faces(
    path: Path,
    attributes: tuple[Attribute, ...],
    seed: int = 0,
    must_exist: bool = True,
    split: Split | None = None,
) -> FaceTable:
    """Read a CSV or Parquet file of labelled faces and check every cell that the schema uses.

    Args:
        path: the file.
        attributes: the schema.
        seed: of the split, where the column ``split`` is missing or blank throughout.
        must_exist: check that the pictures are there.
        split: shares of the validation and test rows there.

    Raises:
        DataError: a missing file, column, or a value that is not in the schema; the message names the line.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    table = make_table(read_table_file(path), attributes, must_exist)
    if (table.columns["split"] == "").any():
        table.columns["split"] = assign_splits(table.columns["group"], table.columns["split"], split or Split(), seed)
    return table


def _stop(index: int, error: DataError) -> None:
    raise error


def make_table(
    rows: Rows,
    attributes: tuple[Attribute, ...],
    must_exist: bool = True,
    weight: float = 1.0,
    on_fault: Callable[[int, DataError], None] = _stop,
) -> FaceTable:
    """The table of what a source says; its column ``split`` is blank throughout where the source has none.

    Args:
        rows: of one source.
        attributes: the schema.
        must_exist: check that the pictures are there.
        weight: of each row.
        on_fault: takes each fault of a row and the row's index, and what is wrong counts as unlabelled. By
            default the first is raised.

    Raises:
        DataError: as :func:`read_faces`.
    """
    used = {name for attribute in attributes for name in label_columns(attribute)} & set(rows.names)
    if not used:
        raise DataError(
            f"{rows.path}: no column of any attribute of the schema; the columns are: {', '.join(rows.names)}"
        )
    if not rows.cells:
        raise DataError(f"{rows.path}: no rows")
    without_split = [not cells.get("split") for cells in rows.cells]
    for index, (cells, where) in enumerate(zip(rows.cells, rows.places, strict=True)):
        for text in _faults(cells, rows.root if must_exist else None):
            on_fault(index, DataError(f"{where}: {text}"))
        if without_split[index] and not all(without_split):
            on_fault(index, DataError(f"{where}: split is blank here, not elsewhere"))
    targets = {attribute.name: _each(rows, partial(target, attribute), on_fault) for attribute in attributes}
    files = tuple(rows.root / cells["file"] for cells in rows.cells)
    names = dict.fromkeys((*rows.names, *KNOWN))
    columns = {name: np.array([cells.get(name, "") for cells in rows.cells]) for name in names}
    crops = read_crops(rows.root)
    context = np.nan if crops is None else crops.context
    return FaceTable(
        path=rows.path,
        sha256=rows.sha256,
        attributes=attributes,
        files=files,
        lines=np.array(rows.lines),
        places=np.array(rows.places),
        columns=columns,
        targets=targets,
        boxes=_each(rows, given_box, on_fault),
        crops=crops,
        contexts=np.where(columns["framing"] == "crop", context, 0.0),
        weights=np.full(len(files), weight, np.float32),
    )


def _each(
    rows: Rows,
    read: Callable[[Mapping[str, str], str], np.ndarray],
    on_fault: Callable[[int, DataError], None],
) -> np.ndarray:
    """What ``read`` makes of each row's cells and place, stacked; of a row at fault what it makes of blank cells."""
    found = []
    for index, (cells, where) in enumerate(zip(rows.cells, rows.places, strict=True)):
        try:
            found.append(read(cells, where))
        except DataError as error:
            on_fault(index, error)
            found.append(read({}, where))
    return np.stack(found)


def _faults(cells: dict[str, str], root: Path | None) -> Iterator[str]:
    """What is wrong with a row's cells of every table; the picture is looked for below ``root``."""
    if not cells["file"]:
        yield "'file' is blank"
    elif root is not None and not (root / cells["file"]).is_file():
        yield f"no such picture: {root / cells['file']}"
    if cells.get("framing", "") not in FRAMINGS:
        yield f"framing must be tight, crop or blank, got {cells['framing']!r}"
    if cells.get("split", "") not in ("", *SPLITS):
        yield f"split must be train, val or test, got {cells['split']!r}"


def read_picture(path: Path) -> np.ndarray:
    """Decode a stored picture: BGR, uint8, upright.

    Raises:
        DataError: it is missing or cannot be decoded.
    """
    with os_errors_as(DataError, f"{path}: cannot be read"):
        content = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    except cv2.error as error:  # more pixels than OpenCV takes
        raise DataError(f"{path}: cannot be decoded: {error.err or error}") from error
    if image is None:
        raise DataError(f"{path}: not a picture that can be decoded")
    return image


def middle(values: np.ndarray) -> np.ndarray:
    """(n,) numbers of a numeric attribute's targets, (n, 3): the number, else the middle of the range, else NaN."""
    return np.where(np.isnan(values[:, 0]), (values[:, 1] + values[:, 2]) / 2, values[:, 0])
