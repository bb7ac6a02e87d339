"""Labelled faces: the CSV, its checks and its split, and batches of crops with their targets.

The CSV has one row a picture: ``file`` (relative to the CSV), ``source``, ``split`` (train or val), ``group`` (rows of
one group stay on one side of a split), ``framing``, and the columns of the schema's attributes: ``<name>`` for a class
or a number, ``<name>_lo`` and ``<name>_hi`` for a number of which only a closed range is known, ``<point>_x`` and
``<point>_y`` in pixels of the stored picture. Blank means unlabelled. ``x1,y1,x2,y2`` may give a face's box for
``facepipe data crop``. Other columns are kept as text, for reports by group.

``framing`` says what the picture is: ``crop``, made by ``facepipe data crop`` (``crop.json`` beside the CSV holds the
recipe); ``tight``, already such a crop; blank, a photo from which ``facepipe data crop`` has yet to cut the face.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from pydantic import Field, ValidationError

from ..weights.errors import DataError
from ..weights.manifest import Attribute, CropRecipe, NumericAttribute, PointsAttribute, Record

SIDECAR = "crop.json"
FRAMINGS = ("", "tight", "crop")
BOX = ("x1", "y1", "x2", "y2")
VAL_SHARE = 0.15
"""Share of the groups that become validation rows where the CSV has no split."""


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
    """The rows of a CSV of faces, by column.

    Attributes:
        path: the CSV.
        sha256: of its content.
        files: the pictures.
        lines: line of each row in the CSV.
        columns: every column as text, (n,) each.
        targets: for each attribute, float32 with NaN where unlabelled: (n,) class index; (n, 3) number, low, high;
            (n, points, 2) x and y in pixels of the stored picture.
        boxes: float32 (n, 4) given boxes, NaN where there is none.
        crops: how ``framing=crop`` rows were made; None where there is no ``crop.json``.
    """

    path: Path
    sha256: str
    attributes: tuple[Attribute, ...]
    files: tuple[Path, ...]
    lines: np.ndarray
    columns: dict[str, np.ndarray]
    targets: dict[str, np.ndarray]
    boxes: np.ndarray
    crops: CropSet | None

    def __len__(self) -> int:
        return len(self.files)

    def rows(self, chosen: np.ndarray) -> FaceTable:
        """The table of some rows, by index or by mask."""
        indices = np.arange(len(self))[chosen]
        return replace(
            self,
            files=tuple(self.files[i] for i in indices),
            lines=self.lines[indices],
            columns={name: values[indices] for name, values in self.columns.items()},
            targets={name: values[indices] for name, values in self.targets.items()},
            boxes=self.boxes[indices],
        )

    def split(self, name: str) -> FaceTable:
        """The rows of ``train`` or ``val``.

        Raises:
            DataError: there is none.
        """
        chosen = self.columns["split"] == name
        if not chosen.any():
            raise DataError(
                f"{self.path}: no rows in split {name!r}; there are: {dict(Counter(self.columns['split']))}"
            )
        return self.rows(chosen)

    def require_crops(self, recipe: CropRecipe | None = None) -> None:
        """Check that every row is a crop that can be trained on.

        Raises:
            DataError: some row is a photo, or a crop of another recipe than ``recipe``, or of an unknown one.
        """
        framing = self.columns["framing"]
        if (framing == "").any():
            line = self.lines[framing == ""][0]
            raise DataError(
                f"{self.path}, line {line}: framing is blank, so this is not known to be a crop of a face; run "
                f"'facepipe data crop {self.path} --out DIR' and use DIR/{self.path.name}, or set framing to 'tight'"
            )
        if (framing == "crop").any():
            if self.crops is None:
                raise DataError(f"{self.path}: rows with framing=crop need {SIDECAR} beside the CSV")
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


def read_faces(path: Path, attributes: tuple[Attribute, ...], seed: int = 0, must_exist: bool = True) -> FaceTable:
    """Read a CSV of labelled faces and check every cell that the schema uses.

    Args:
        path: the CSV.
        attributes: the schema.
        seed: of the split, where the column ``split`` is missing or blank throughout.
        must_exist: check that the pictures are there.

    Raises:
        DataError: a missing file, column, or a value that is not in the schema; the message names the line.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error})") from error
    reader = csv.DictReader(text.splitlines(), restkey="")
    names = [name for name in reader.fieldnames or () if name]
    if "file" not in names:
        raise DataError(f"{path}, line 1: no column 'file'; the columns are: {', '.join(names) or 'none'}")
    used = {name for attribute in attributes for name in _columns(attribute)} & set(names)
    if not used:
        raise DataError(
            f"{path}, line 1: no column of any attribute of the schema; the columns are: {', '.join(names)}"
        )

    lines: list[int] = []
    columns: dict[str, list[str]] = {name: [] for name in (*names, "source", "split", "group", "framing")}
    targets: dict[str, list[np.ndarray]] = {attribute.name: [] for attribute in attributes}
    boxes: list[np.ndarray] = []
    for row in reader:
        where = f"{path}, line {reader.line_num}"
        cells = {name: (row.get(name) or "").strip() for name in columns}
        if not cells["file"]:
            raise DataError(f"{where}: 'file' is blank")
        if cells["framing"] not in FRAMINGS:
            raise DataError(f"{where}: framing must be tight, crop or blank, got {cells['framing']!r}")
        if cells["split"] not in ("", "train", "val"):
            raise DataError(f"{where}: split must be train or val, got {cells['split']!r}")
        for name, cell in cells.items():
            columns[name].append(cell)
        for attribute in attributes:
            targets[attribute.name].append(_target(attribute, cells, where))
        box = np.array([_number(cells.get(name, ""), name, where) for name in BOX], np.float32)
        if np.isnan(box).any() != np.isnan(box).all():
            raise DataError(f"{where}: a box needs all of {', '.join(BOX)}, or none")
        boxes.append(box)
        lines.append(reader.line_num)
    if not lines:
        raise DataError(f"{path}: no rows")
    files = tuple(path.parent / name for name in columns["file"])
    for file, line in zip(files, lines, strict=True):
        if must_exist and not file.is_file():
            raise DataError(f"{path}, line {line}: no such picture: {file}")
    arrays = {name: np.array(values) for name, values in columns.items()}
    if (arrays["split"] == "").all():
        arrays["split"] = _split(arrays["group"], seed)
    elif (arrays["split"] == "").any():
        raise DataError(
            f"{path}, line {lines[int((arrays['split'] == '').argmax())]}: split is blank here, not elsewhere"
        )
    return FaceTable(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        attributes=attributes,
        files=files,
        lines=np.array(lines),
        columns=arrays,
        targets={name: np.stack(values) for name, values in targets.items()},
        boxes=np.stack(boxes),
        crops=read_crops(path.parent),
    )


def _columns(attribute: Attribute) -> tuple[str, ...]:
    if isinstance(attribute, PointsAttribute):
        return tuple(f"{point}_{axis}" for point in attribute.points for axis in "xy")
    if isinstance(attribute, NumericAttribute):
        return (attribute.name, f"{attribute.name}_lo", f"{attribute.name}_hi")
    return (attribute.name,)


def _number(cell: str, name: str, where: str) -> float:
    if not cell:
        return math.nan
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: {name} must be a number, got {cell!r}")
    return number


def _target(attribute: Attribute, cells: dict[str, str], where: str) -> np.ndarray:
    """One row's label as numbers; NaN where unlabelled."""
    names = _columns(attribute)
    if isinstance(attribute, PointsAttribute):
        places = np.array([_number(cells.get(name, ""), name, where) for name in names], np.float32).reshape(-1, 2)
        if (np.isnan(places).sum(axis=1) == 1).any():
            raise DataError(f"{where}: a point of {attribute.name} has only one of x and y")
        return places
    if isinstance(attribute, NumericAttribute):
        value, low, high = (_number(cells.get(name, ""), name, where) for name in names)
        if math.isnan(low) != math.isnan(high):
            raise DataError(f"{where}: a range of {attribute.name} needs both {names[1]} and {names[2]}")
        if low > high:
            raise DataError(f"{where}: {names[1]} is above {names[2]}")
        return np.array([value, low, high], np.float32)
    cell = cells.get(attribute.name, "")
    if cell and cell not in attribute.classes:
        raise DataError(f"{where}: {attribute.name} must be one of {', '.join(attribute.classes)}, got {cell!r}")
    return np.array(attribute.classes.index(cell) if cell else math.nan, np.float32)


def _split(groups: np.ndarray, seed: int) -> np.ndarray:
    """Share out whole groups; a row with a blank group is a group of its own."""
    keys = np.array([group or f"\0{index}" for index, group in enumerate(groups)])
    names = np.unique(keys)
    val = np.random.default_rng(seed).permutation(names)[: max(1, round(VAL_SHARE * len(names)))]
    return np.where(np.isin(keys, val), "val", "train")


def read_picture(path: Path) -> np.ndarray:
    """Decode a stored picture: BGR, uint8, upright.

    Raises:
        DataError: it cannot be decoded.
    """
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if image is None:
        raise DataError(f"{path}: not a picture that can be decoded")
    return image
