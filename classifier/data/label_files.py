"""Label files as text: the rows of a CSV or of a Parquet file, each with its place in the file.

What the cells mean is none of this module's business: see ``data.py``.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import DataError, os_errors_as
from ...core.extras import require

DELIMITERS = ",;\t"
"""Of a CSV: the first by which its header has a column ``file``. Excel writes semicolons where the comma is decimal."""
TABLES = (".csv", ".parquet")
"""Suffixes of label files."""


@dataclass(frozen=True)
class Rows:
    """What a source of labels says, as text.

    Attributes:
        path: the file or the folder.
        sha256: of what it says.
        names: of the columns, in order; each row has them all.
        cells: each row's cells by column, stripped; blank where there is none.
        places: where each row stands: ``FILE, line 3``, ``FILE, row 3``, or the picture's own path.
        lines: the line or row number of each.
        root: folder that the column ``file`` is relative to.
    """

    path: Path
    sha256: str
    names: tuple[str, ...]
    cells: tuple[dict[str, str], ...]
    places: tuple[str, ...]
    lines: tuple[int, ...]
    root: Path

    def __post_init__(self) -> None:
        """Paths that were written on Windows get slashes, where no picture has the name as it stands."""
        for cells in self.cells:
            file = cells.get("file", "")
            if "\\" in file and not (self.root / file).exists():
                cells["file"] = file.replace("\\", "/")


def read_table_file(path: Path) -> Rows:
    """Read a label file by its suffix: ``.parquet``, else CSV.

    Raises:
        DataError: it is missing, broken, without a column ``file``, or a row has more cells than there are columns.
        MissingExtraError: a Parquet file, and pyarrow is not installed.
    """
    with os_errors_as(DataError, f"{path}: cannot be read"):
        content = path.read_bytes()
    return _parquet(path, content) if path.suffix.lower() == ".parquet" else _csv(path, content)


def _csv(path: Path, content: bytes) -> Rows:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); Excel saves it as 'CSV UTF-8'"
        ) from error
    header = text.split("\n", 1)[0]
    named = [letter for letter in DELIMITERS if "file" in (name.strip(' "\r') for name in header.split(letter))]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=named[0] if named else ",")
    try:
        names = [name.strip() for name in next(reader, [])]
        _check_names(f"{path}, line 1", names)
        used = [place for place, name in enumerate(names) if name]
        cells, lines = [], []
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            if any(cell.strip() for cell in row[len(names) :]):
                raise DataError(
                    f"{path}, line {reader.line_num}: {len(row)} cells, but {len(names)} columns; a cell with "
                    f"{reader.dialect.delimiter!r} in it must stand in quotation marks"
                )
            cells.append({names[place]: row[place].strip() if place < len(row) else "" for place in used})
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not CSV: {error}") from error
    return Rows(
        path,
        hashlib.sha256(content).hexdigest(),
        tuple(name for name in names if name),
        tuple(cells),
        tuple(f"{path}, line {line}" for line in lines),
        tuple(lines),
        path.parent,
    )


def _parquet(path: Path, content: bytes) -> Rows:
    pa, parquet = require("pyarrow"), require("pyarrow.parquet")
    try:
        table = parquet.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file that can be read: {error}") from error
    names = [name.strip() for name in table.column_names]
    _check_names(f"{path}, header", names)
    columns = {
        name: [_text(value, f"{path}, row {row}: {name}") for row, value in enumerate(column.to_pylist(), 1)]
        for name, column in zip(names, table.columns, strict=True)
        if name
    }
    count = table.num_rows
    return Rows(
        path,
        hashlib.sha256(content).hexdigest(),
        tuple(columns),
        tuple({name: values[row] for name, values in columns.items()} for row in range(count)),
        tuple(f"{path}, row {row}" for row in range(1, count + 1)),
        tuple(range(1, count + 1)),
        path.parent,
    )


def _check_names(where: str, names: Sequence[str]) -> None:
    if "file" not in names:
        shown = ", ".join(name for name in names if name) or "none"
        raise DataError(f"{where}: no column 'file'; the columns are: {shown}")
    if twice := [name for name, times in Counter(names).items() if name and times > 1]:
        raise DataError(f"{where}: two columns of the name {twice[0]!r}")


def _text(value: object, where: str) -> str:
    """A Parquet cell as a CSV would have it; a truth value is ``yes`` or ``no``."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    raise DataError(f"{where}: must be text, a number or a truth value, got {type(value).__name__}")
