"""Label files as text: the rows of a CSV or Parquet file, each with its location in the file.

``table.py`` interprets the cells.
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
"""CSV delimiters to try: the first that yields a header column ``file``. Excel writes semicolons in locales with a
decimal comma."""
TABLES = (".csv", ".parquet")
"""File extensions of label files."""


@dataclass(frozen=True)
class Rows:
    """The content of a label source, as text.

    Attributes:
        path: the file or folder.
        sha256: of the content.
        names: of the columns, in order.
        cells: each row's cells by column, stripped; a missing cell is blank.
        places: location of each row: ``FILE, line 3``, ``FILE, row 3``, or the path of the picture.
        lines: line or row number of each row.
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
        """Convert backslashes in Windows paths to slashes, unless a picture has the literal name."""
        for cells in self.cells:
            file = cells.get("file", "")
            if "\\" in file and not (self.root / file).exists():
                cells["file"] = file.replace("\\", "/")


def read_table_file(path: Path) -> Rows:
    """Read a label file by its extension: ``.parquet``, otherwise CSV.

    Raises:
        DataError: the file is missing or broken, has no column ``file``, or has a row with more cells than columns.
        MissingExtraError: the file is Parquet and pyarrow is not installed.
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
                    f"{reader.dialect.delimiter!r} in it must be quoted"
                )
            cells.append({names[place]: row[place].strip() if place < len(row) else "" for place in used})
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from error
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
        raise DataError(f"{path}: not a readable Parquet file: {error}") from error
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
        raise DataError(f"{where}: two columns are named {twice[0]!r}")


def _text(value: object, where: str) -> str:
    """Convert a Parquet cell to CSV text; booleans become ``yes`` or ``no``."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    raise DataError(f"{where}: must be text, a number or a boolean, got {type(value).__name__}")
