"""Rows as Parquet, with types: text, int32 and float64; null where a cell is None. Needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from ..weights.errors import MissingExtraError
from ..weights.whole_file import replacing
from .results import Result
from .rows import Cell, RowForm

GROUP = 20_000
"""Rows that are held at a time and make one row group."""


def require_pyarrow() -> ModuleType:
    """The module ``pyarrow``.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingExtraError("pyarrow", "parquet") from error
    return pa


def write_parquet(path: Path, form: RowForm, results: Iterable[Result]) -> int:
    """Write results as rows, a row group at a time; the file is there whole or as it was before.

    Returns:
        The number of rows.

    Raises:
        OSError: it cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    pa = require_pyarrow()
    from pyarrow import parquet

    kinds = {"text": pa.string(), "whole": pa.int32(), "real": pa.float64()}
    schema = pa.schema([(column.name, kinds[column.kind]) for column in form.columns])
    held: list[list[Cell]] = []
    count = 0
    with replacing(path) as part, parquet.ParquetWriter(part, schema, compression="zstd") as writer:

        def put() -> None:
            columns = [
                pa.array(cells, field.type) for cells, field in zip(zip(*held, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            held.clear()

        for result in results:
            held += form.rows(result)
            if len(held) >= GROUP:
                count += len(held)
                put()
        if held:
            count += len(held)
            put()
    return count
