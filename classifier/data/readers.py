"""Where labelled faces come from: one table of one or several ``--data`` values."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.near_duplicates import join_groups
from ...weights.manifest import Attribute
from ..config.recipe import Split
from .class_folders import read_class_folders
from .label_files import TABLES, Rows, read_table_file
from .splits import balance_report, deal_out
from .table import CropSet, FaceTable, make_table

WEIGHT = re.compile(r"^(?P<path>.+)=(?P<weight>[0-9.eE+-]+)$")
NAMED = re.compile(r"^(?P<attribute>[a-z][a-z0-9_]+):(?P<path>.+)$")
"""A name of one letter is a drive of Windows."""


@dataclass(frozen=True)
class Source:
    """One ``--data``: ``PATH``, ``PATH=WEIGHT``, ``ATTRIBUTE:DIR`` or ``ATTRIBUTE:DIR=WEIGHT``.

    Attributes:
        path: a CSV or Parquet file, or a folder.
        attribute: that the folders' names are classes of, where it is said.
        weight: how often its rows are drawn, relative to the others'.
    """

    path: Path
    attribute: str | None = None
    weight: float = 1.0


def parse_source(text: str) -> Source:
    """Read one ``--data``. A path that is there is taken as it stands, whatever letters it has.

    Raises:
        DataError: a weight that is not above 0, or an attribute before a path that is no folder.
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
    """The label rows of one source, as text.

    Raises:
        DataError: neither a label file nor a folder that can be read.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
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
    """Read one or several sources of labelled faces into one table.

    A source that says no split is parted by ``split``; whole groups go to one side, and so does a picture that several
    sources label, which goes where one of them puts it.

    Args:
        texts: each as :func:`parse_source` reads it.
        attributes: the schema. Each source may label any of them.
        split: shares of the validation and test rows.
        seed: of the parting.
        must_exist: check that the pictures are there.
        report: takes lines on how the labels are spread over the splits.

    Raises:
        DataError: a source that cannot be read, a cell that is not in the schema (the message names file and line), or
            crops that were cut by different recipes.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
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
        table.columns["split"] = deal_out(keys, table.columns["split"], split or Split(), seed)
    if report is not None:
        for line in balance_report(table):
            report(line)
    return table


def join_tables(tables: Sequence[FaceTable]) -> FaceTable:
    """The rows of several tables of one schema, one after the other; a column that a table lacks is blank there.

    Raises:
        DataError: their crops were cut by recipes that differ in more than the size.
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
    """The largest crops' record among tables whose recipes agree."""
    known = [table for table in tables if table.crops is not None]
    chosen: CropSet | None = None
    for table in known:
        crops = table.crops
        if crops is None:
            continue
        if chosen is not None and crops.recipe.model_copy(update={"size": chosen.recipe.size}) != chosen.recipe:
            raise DataError(
                f"{table.path}: its crops were cut as {crops.recipe!r}, those of {known[0].path} as {chosen.recipe!r}; "
                "cut them alike with facepipe data crop"
            )
        if chosen is None or crops.recipe.size > chosen.recipe.size:
            chosen = crops
    return chosen


def _keys(table: FaceTable) -> np.ndarray:
    """Names of what stays together: rows of one group, and rows of one picture."""
    groups = [group or None for group in table.columns["group"].tolist()]
    files = [str(file.resolve()) for file in table.files]
    return np.array([str(each) for each in join_groups(groups, files)])
