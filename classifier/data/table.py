"""The table of labelled faces.

A label file (CSV or Parquet) has one row per picture: ``file`` (relative to the label file), ``source``, ``split``
(train, val or test), ``group`` (rows of a group stay in one split), ``framing``, and the columns of the schema's
attributes: ``<name>`` for a class or a number, ``<name>_lo`` and ``<name>_hi`` for a number known only as a closed
range, ``<point>_x`` and ``<point>_y`` in pixels of the stored picture. Blank means unlabelled; each row may have any
subset of the labels. ``x1,y1,x2,y2`` optionally give the face box for ``facepipe data crop``. Other columns are kept as
text, for balancing and for reports by group.

``framing`` describes the picture: ``crop`` was made by ``facepipe data crop`` (``crop.json`` next to the label file
holds the recipe), ``tight`` is already such a crop, and blank is a photo from which ``facepipe data crop`` must still
cut the face.
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
"""Column written by ``facepipe data crop``: the longer side of the cropped box in pixels of the photo."""
FRAMINGS = ("", "tight", "crop")
KNOWN = ("source", "split", "group", "framing")
"""Columns of every table, blank if its source lacks them."""


class CropSet(Record):
    """The content of ``crop.json``: how ``facepipe data crop`` made the crops next to it."""

    recipe: CropRecipe
    context: float = Field(ge=0, le=1)
    """Picture kept around the recipe's crop on each side, as a fraction of its side; used by augmentation."""
    detector: str | None = None
    """Version of the detector that found the boxes; None if the CSV gave them."""

    @property
    def stored(self) -> CropRecipe:
        """The recipe of the stored picture: the crop with its context."""
        wide = 1 + 2 * self.context
        margin = ((1 + 2 * self.recipe.margin) * wide - 1) / 2
        return self.recipe.model_copy(update={"margin": margin, "size": round(self.recipe.size * wide)})


@dataclass(frozen=True)
class FaceTable:
    """Rows of labelled faces, by column.

    Attributes:
        path: the label file or folder; the first if there are several.
        sha256: of the content; of all if there are several.
        attributes: the schema.
        files: the pictures.
        lines: line number of each row in its label file; the row number if it has no lines.
        places: location of each row as text, for messages.
        columns: every column as text, (n,) each.
        targets: by attribute, float32 with NaN where unlabelled: (n,) class index; (n, 3) number, low, high;
            (n, points, 2) x and y in pixels of the stored picture.
        boxes: float32 (n, 4) given boxes, NaN if there is none.
        crops: how ``framing=crop`` rows were made; None without ``crop.json``.
        contexts: float64 (n,), picture around each row's crop as in ``CropSet.context``; 0 for other framings, NaN for
            a crop without ``crop.json``.
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
        """Select rows by index or mask.

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
        """Return the rows of ``train``, ``val`` or ``test``.

        Raises:
            DataError: the split is empty.
        """
        chosen = self.columns["split"] == name
        if not chosen.any():
            counted = Counter(self.columns["split"].tolist())
            there = ", ".join(f"{split} ({rows})" for split, rows in counted.items())
            raise DataError(f"{self.path}: no rows in split {name!r}; there are: {there}")
        return self.rows(chosen)

    def require_crops(self, recipe: CropRecipe | None = None) -> None:
        """Check that every row is a crop suitable for training.

        Raises:
            DataError: a row is a photo, or a crop cut with an unknown recipe or one other than ``recipe``.
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
    """Read the ``crop.json`` of a folder; None if there is none.

    Raises:
        DataError: the file is invalid.
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
        seed: of the split, used if the column ``split`` is missing or entirely blank.
        must_exist: check that the pictures exist.
        split: shares of the validation and test rows in that case.

    Raises:
        DataError: a file or column is missing, or a value does not fit the schema; the message names the line.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
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
    """Build the table of a source; the column ``split`` is entirely blank if the source has no splits.

    Args:
        rows: of one source.
        attributes: the schema.
        must_exist: check that the pictures exist.
        weight: of each row.
        on_fault: called with the row index and the error of each fault; invalid values then count as unlabelled. By
            default the first error is raised.

    Raises:
        DataError: as :func:`read_faces`.
    """
    used = {name for attribute in attributes for name in label_columns(attribute)} & set(rows.names)
    if not used:
        raise DataError(
            f"{rows.path}: no column for any attribute of the schema; the columns are: {', '.join(rows.names)}"
        )
    if not rows.cells:
        raise DataError(f"{rows.path}: no rows")
    without_split = [not cells.get("split") for cells in rows.cells]
    for index, (cells, where) in enumerate(zip(rows.cells, rows.places, strict=True)):
        for text in _faults(cells, rows.root if must_exist else None):
            on_fault(index, DataError(f"{where}: {text}"))
        if without_split[index] and not all(without_split):
            on_fault(index, DataError(f"{where}: split is blank here, but not elsewhere"))
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
    """Apply ``read`` to each row's cells and place and stack the results; faulty rows are read as blank."""
    found = []
    for index, (cells, where) in enumerate(zip(rows.cells, rows.places, strict=True)):
        try:
            found.append(read(cells, where))
        except DataError as error:
            on_fault(index, error)
            found.append(read({}, where))
    return np.stack(found)


def _faults(cells: dict[str, str], root: Path | None) -> Iterator[str]:
    """Yield faults in a row's common columns; a ``root`` checks that the picture exists below it."""
    if not cells["file"]:
        yield "'file' is blank"
    elif root is not None and not (root / cells["file"]).is_file():
        yield f"no such picture: {root / cells['file']}"
    if cells.get("framing", "") not in FRAMINGS:
        yield f"framing must be tight, crop or blank, got {cells['framing']!r}"
    if cells.get("split", "") not in ("", *SPLITS):
        yield f"split must be train, val or test, got {cells['split']!r}"


def read_picture(path: Path) -> np.ndarray:
    """Decode a stored picture to upright BGR, uint8.

    Raises:
        DataError: the picture is missing or cannot be decoded.
    """
    with os_errors_as(DataError, f"{path}: cannot be read"):
        content = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    except cv2.error as error:  # more pixels than OpenCV supports
        raise DataError(f"{path}: cannot be decoded: {error.err or error}") from error
    if image is None:
        raise DataError(f"{path}: cannot be decoded as a picture")
    return image


def middle(values: np.ndarray) -> np.ndarray:
    """Reduce a numeric attribute's targets, (n, 3), to (n,): the number, else the middle of the range, else NaN."""
    return np.where(np.isnan(values[:, 0]), (values[:, 1] + values[:, 2]) / 2, values[:, 0])
