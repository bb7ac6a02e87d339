"""Rows as Parquet, with types: text, int32 and float64; null where a cell is None. Needs the extra ``parquet``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from ...core.errors import MissingExtraError
from ...core.files import replacing
from ..results import Result
from .columns import Cell
from .rows import RowForm

if TYPE_CHECKING:
    import pyarrow as pa

COMPRESSION = "zstd"
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


def schema_of(form: RowForm) -> pa.Schema:
    """The columns' names and types.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = require_pyarrow()
    kinds = {"text": pa.string(), "whole": pa.int32(), "real": pa.float64()}
    return pa.schema([(column.name, kinds[column.kind]) for column in form.columns])


def table_of(schema: pa.Schema, rows: Sequence[Sequence[Cell]]) -> pa.Table:
    """Rows, at least one, as a table."""
    pa = require_pyarrow()
    columns = [pa.array(cells, field.type) for cells, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def write_parquet(path: Path, form: RowForm, results: Iterable[Result]) -> int:
    """Write results as rows, a row group at a time; the file is there whole or as it was before.

    Returns:
        The number of rows.

    Raises:
        OSError: it cannot be written.
        MissingExtraError: pyarrow is not installed.
    """
    schema = schema_of(form)
    from pyarrow import parquet

    held: list[list[Cell]] = []
    count = 0
    with replacing(path) as part, parquet.ParquetWriter(part, schema, compression=COMPRESSION) as writer:

        def put() -> None:
            writer.write_table(table_of(schema, held))
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
