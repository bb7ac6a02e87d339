"""Readers of labelled faces: one table from one or more ``--data`` values, label files or folders of pictures.

``DIR/<class>/*.jpg`` or ``DIR/{train,val,test}/<class>/*.jpg`` (also ``valid``, as written by Roboflow) label one
attribute: the one whose classes include every folder name. A numeric attribute must be named, as ``ATTRIBUTE:DIR``; its
folders are numbers or ranges: ``25`` or ``20-29``. Roboflow's multi-label export has a ``_classes.csv`` in each split's
folder: ``filename``, then one column per class with 1 or 0.

Pictures in folders count as crops of faces (``framing`` tight), or as made by ``facepipe data crop`` if DIR has a
``crop.json``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np

from ...core.errors import DataError, did_you_mean
from ...core.near_duplicates import copied_from, join_groups
from ...weights.manifest import Attribute, ClassesBase, NumericAttribute, PointsAttribute
from ..config.recipe import Split
from .label_files import TABLES, Rows, read_table_file
from .splits import assign_splits
from .statistics import balance_report
from .table import CropSet, FaceTable, make_table

WEIGHT = re.compile(r"^(?P<path>.+)=(?P<weight>[0-9.eE+-]+)$")
NAMED = re.compile(r"^(?P<attribute>[a-z][a-z0-9_]+):(?P<path>.+)$")
"""The attribute needs two letters or more: a single one is a Windows drive."""
SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MULTI_LABEL = "_classes.csv"
UNLABELLED = "Unlabeled"
"""Roboflow's column for pictures without a label."""
RANGE = re.compile(r"^(\d+(?:\.\d+)?)\s*(?:-|–|to)\s*(\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class Source:
    """One ``--data``: ``PATH``, ``PATH=WEIGHT``, ``ATTRIBUTE:DIR`` or ``ATTRIBUTE:DIR=WEIGHT``.

    Attributes:
        path: a CSV or Parquet file, or a folder.
        attribute: the attribute whose classes the folders are named after, if given.
        weight: how often its rows are drawn, relative to those of other sources.
    """

    path: Path
    attribute: str | None = None
    weight: float = 1.0


def parse_source(text: str) -> Source:
    """Parse one ``--data`` value. An existing path is taken literally, whatever characters it contains.

    Raises:
        DataError: the weight is not above 0, or an attribute precedes a file.
    """
    weight, attribute, rest = 1.0, None, text
    if not Path(rest).exists() and (found := WEIGHT.match(rest)):
        try:
            weight, rest = float(found["weight"]), found["path"]
        except ValueError:
            weight = 0.0
        if not 0 < weight < np.inf:
            raise DataError(f"--data {text}: the weight after '=' must be a number above 0")
    if not Path(rest).exists() and (found := NAMED.match(rest)):
        attribute, rest = found["attribute"], found["path"]
        if Path(rest).is_file():
            raise DataError(f"--data {text}: only a folder takes an attribute's name before it; a file has columns")
    return Source(Path(rest), attribute, weight)


def read_rows(source: Source, attributes: tuple[Attribute, ...]) -> Rows:
    """Read the label rows of one source as text.

    Raises:
        DataError: the source is neither a label file nor a folder, or cannot be read.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    if source.path.is_dir():
        return read_class_folders(source.path, attributes, source.attribute)
    if source.path.is_file() and source.path.suffix.lower() not in TABLES:
        raise DataError(f"{source.path}: expected a .csv or .parquet file, or a folder of pictures")
    return read_table_file(source.path)


def read_data(
    texts: Sequence[str],
    attributes: tuple[Attribute, ...],
    split: Split | None = None,
    seed: int = 0,
    must_exist: bool = True,
    report: Callable[[str], None] | None = None,
) -> FaceTable:
    """Read one or more sources of labelled faces into one table.

    The rows of a source without a split get one by ``split``. A group never spans two splits, and neither does a
    picture labelled by several sources: if one of them has a split, the picture gets it.

    Args:
        texts: ``--data`` values as for :func:`parse_source`.
        attributes: the schema. Each source may label any of them.
        split: shares of the validation and test rows.
        seed: of the splits.
        must_exist: check that the pictures exist.
        report: receives lines on the label distribution of the splits.

    Raises:
        DataError: a source cannot be read, a cell does not fit the schema (the message names file and line), or the
            crops were cut with different recipes.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
    """
    if not texts:
        raise DataError("no data: name at least one label file or folder")
    tables: list[FaceTable] = []
    for text in texts:
        source = parse_source(text)
        tables.append(make_table(read_rows(source, attributes), attributes, must_exist, source.weight))
    table = join_tables(tables)
    if (table.columns["split"] == "").any():
        keys = _keys(table) if len(tables) > 1 else table.columns["group"]
        table.columns["split"] = assign_splits(keys, table.columns["split"], split or Split(), seed)
    if report is not None:
        for line in balance_report(table):
            report(line)
    return table


def join_tables(tables: Sequence[FaceTable]) -> FaceTable:
    """Concatenate tables of one schema; columns that a table lacks are blank in its rows.

    Raises:
        DataError: their crops were cut with recipes that differ in more than the size.
    """
    first = tables[0]
    if len(tables) == 1:
        return first
    names = dict.fromkeys(name for table in tables for name in table.columns)
    return replace(
        first,
        sha256=hashlib.sha256(" ".join(table.sha256 for table in tables).encode()).hexdigest(),
        files=tuple(file for table in tables for file in table.files),
        lines=np.concatenate([table.lines for table in tables]),
        places=np.concatenate([table.places for table in tables]),
        columns={
            name: np.concatenate([table.columns.get(name, np.full(len(table), "")) for table in tables])
            for name in names
        },
        targets={
            attribute.name: np.concatenate([table.targets[attribute.name] for table in tables])
            for attribute in first.attributes
        },
        boxes=np.concatenate([table.boxes for table in tables]),
        crops=_common_crops(tables),
        contexts=np.concatenate([table.contexts for table in tables]),
        weights=np.concatenate([table.weights for table in tables]),
    )


def _common_crops(tables: Sequence[FaceTable]) -> CropSet | None:
    """Return the record of the largest crops among tables whose recipes agree."""
    known = [table for table in tables if table.crops is not None]
    chosen: CropSet | None = None
    for table in known:
        crops = table.crops
        if crops is None:
            continue
        if chosen is not None and crops.recipe.model_copy(update={"size": chosen.recipe.size}) != chosen.recipe:
            raise DataError(
                f"{table.path}: its crops were cut as {crops.recipe!r}, those of {known[0].path} as {chosen.recipe!r}; "
                "cut them the same way with facepipe data crop"
            )
        if chosen is None or crops.recipe.size > chosen.recipe.size:
            chosen = crops
    return chosen


def _keys(table: FaceTable) -> np.ndarray:
    """Compute keys for rows that must stay together: those of one group or one picture."""
    groups = [group or None for group in table.columns["group"].tolist()]
    files = [str(file.resolve()) for file in table.files]
    return np.array([str(each) for each in join_groups(groups, files)])


def read_class_folders(folder: Path, attributes: tuple[Attribute, ...], attribute: str | None = None) -> Rows:
    """Read a folder of pictures.

    Args:
        folder: DIR.
        attributes: the schema.
        attribute: the one whose classes the folders name; None finds the one that fits.

    Raises:
        DataError: the folder or its pictures are missing, its folders fit no attribute or several, or a
            ``_classes.csv`` is invalid.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    subfolders = _subfolders(folder)
    splits = {each: SPLIT_NAMES[each.name.lower()] for each in subfolders if each.name.lower() in SPLIT_NAMES}
    if splits and len(splits) < len(subfolders):
        other = next(each for each in subfolders if each not in splits)
        raise DataError(f"{other}: neither train, val nor test, unlike the folders beside it; move one or the other")
    parts = splits or {folder: ""}
    lists = [part / MULTI_LABEL for part in parts if (part / MULTI_LABEL).is_file()]
    if lists and len(lists) < len(parts):
        missing = next(part for part in parts if part / MULTI_LABEL not in lists)
        raise DataError(f"{missing}: no {MULTI_LABEL}, though there is one in {lists[0].parent}")
    sha = hashlib.sha256()
    cells: list[dict[str, str]] = []
    if lists:
        for part, split in parts.items():
            sha.update(f"{split}\n".encode() + (part / MULTI_LABEL).read_bytes())
            cells.extend(_multi_label(part / MULTI_LABEL, split, folder, attributes))
    else:
        named = {split: _subfolders(part) for part, split in parts.items()}
        names = sorted({each.name for found in named.values() for each in found})
        chosen = _attribute(folder, names, attributes, attribute)
        cells = [
            {"file": file.relative_to(folder).as_posix(), "split": split, **_label(chosen, each)}
            for split, found in named.items()
            for each in found
            for file in sorted(each.rglob("*"))
            if file.suffix.lower() in PICTURES and file.is_file()
        ]
    if not cells:
        raise DataError(f"{folder}: no pictures in it; their names end in {', '.join(PICTURES)}")
    framing = "crop" if (folder / "crop.json").is_file() else "tight"
    for cell in cells:
        group = copied_from(PurePath(cell["file"])) or ""
        cell |= {"framing": framing, "source": folder.resolve().name, "group": group}
        sha.update(f"{sorted(cell.items())}\n".encode())
    return Rows(
        folder,
        sha.hexdigest(),
        tuple(dict.fromkeys(name for cell in cells for name in cell)),
        tuple(cells),
        tuple(str(folder / cell["file"]) for cell in cells),
        tuple(range(1, len(cells) + 1)),
        folder,
    )


def _subfolders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith((".", "_")))


def _attribute(folder: Path, names: list[str], attributes: tuple[Attribute, ...], wanted: str | None) -> Attribute:
    """Find the attribute whose classes the folders are named after."""
    if not names:
        raise DataError(f"{folder}: no folders named after classes in it")
    if wanted is not None:
        chosen = next((each for each in attributes if each.name == wanted), None)
        if chosen is None or isinstance(chosen, PointsAttribute):
            known = ", ".join(each.name for each in attributes if each.kind != "points")
            hint = did_you_mean(wanted, known.split(", "))
            problem = f"no attribute {wanted!r} that a folder can name{hint}; there are: {known}"
            raise DataError(f"{wanted}:{folder}: {problem}")
        if isinstance(chosen, ClassesBase) and (unknown := [name for name in names if name not in chosen.classes]):
            raise DataError(f"{folder / unknown[0]}: no class of {wanted}; they are: {', '.join(chosen.classes)}")
        return chosen
    classes = {each.name: each.classes for each in attributes if isinstance(each, ClassesBase)}
    fitting = [each for each in attributes if set(names) <= set(classes.get(each.name, ()))]
    if len(fitting) > 1:
        options = " or ".join(f"{each.name}:{folder}" for each in fitting)
        raise DataError(f"{folder}: folders {', '.join(names)} are classes of several attributes; write {options}")
    if not fitting:
        known = "; ".join(f"{name}: {', '.join(each)}" for name, each in classes.items())
        raise DataError(f"{folder}: no attribute has all of the classes {', '.join(names)}; the schema has {known}")
    return fitting[0]


def _label(attribute: Attribute, folder: Path) -> dict[str, str]:
    """Turn a folder's name into label cells."""
    if not isinstance(attribute, NumericAttribute):
        return {attribute.name: folder.name}
    if span := RANGE.match(folder.name):
        return {f"{attribute.name}_lo": span[1], f"{attribute.name}_hi": span[2]}
    try:
        float(folder.name)
    except ValueError as error:
        raise DataError(f"{folder}: {attribute.name} must be a number or a range such as 20-29") from error
    return {attribute.name: folder.name}


def _multi_label(path: Path, split: str, root: Path, attributes: tuple[Attribute, ...]) -> Iterator[dict[str, str]]:
    """Yield the rows of a ``_classes.csv``: ``filename, class, class, …`` with 1 if the picture has the class."""
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        table = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    header = table[0][1] if table else []
    if not header or header[0] != "filename":
        raise DataError(f"{path}, line 1: the first column must be 'filename'")
    meanings = [_meaning(name, attributes, f"{path}, line 1") for name in header[1:]]
    if not any(meanings):
        raise DataError(f"{path}, line 1: no column names a class of the schema: {', '.join(header[1:])}")
    for line, row in table[1:]:
        if not any(row):
            continue
        where = f"{path}, line {line}"
        if len(row) != len(header) or not set(row[1:]) <= {"0", "1"}:
            raise DataError(f"{where}: must have {len(header)} cells, the first a file's name and the others 0 or 1")
        cells = {"file": (path.parent / row[0]).relative_to(root).as_posix(), "split": split}
        bare = any(mark == "1" and name == UNLABELLED for name, mark in zip(header[1:], row[1:], strict=True))
        for meaning, mark in zip(meanings, row[1:], strict=True):
            if meaning is None or bare:
                continue
            name, positive, negative = meaning
            value = positive if mark == "1" else negative
            if value and cells.setdefault(name, value) != value:
                raise DataError(f"{where}: {name} is both {cells[name]} and {value}")
        yield cells


def _meaning(name: str, attributes: tuple[Attribute, ...], where: str) -> tuple[str, str, str] | None:
    """Interpret a column of a ``_classes.csv`` as an attribute, its class at 1, and its class at 0 or "".

    The name is that of an attribute with the classes ``no`` and ``yes``, or ``attribute-class`` (also with ``_`` or
    ``:``), or a class of only one attribute. None if it is not part of the schema.
    """
    found: list[tuple[str, str, str]] = []
    for attribute in attributes:
        if not isinstance(attribute, ClassesBase):
            continue
        if name == attribute.name and set(attribute.classes) == {"no", "yes"}:
            return name, "yes", "no"
        for each in attribute.classes:
            if name in (f"{attribute.name}{mark}{each}" for mark in "-_:"):
                return attribute.name, each, ""
            if name == each:
                found.append((attribute.name, each, ""))
    if len(found) > 1:
        options = " or ".join(f"{attribute}-{name}" for attribute, _, _ in found)
        raise DataError(f"{where}: {name!r} is a class of several attributes; rename the column to {options}")
    return found[0] if found else None
