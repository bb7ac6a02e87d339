"""Writes results as CSV, Parquet or JSON lines, either complete files from the journal or live to a stream.

CSV is UTF-8 according to RFC 4180 (commas, doubled quotation marks, CR LF line ends); a cell that is None is empty.
Spreadsheets treat a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return as a formula, and a
picture's name can begin like that. Such a cell of ``source``, ``error`` or ``saved`` gets ``./`` in front, which is
still the path of that file. Parquet is typed (text, int32, float64; a cell that is None is null) and needs the extra
``parquet``.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ...core.errors import FacepipeError
from ...core.extras import require
from ...core.files import is_standard_output, replacing
from ..results import Result
from .rows import Cell, RowForm

if TYPE_CHECKING:
    import pyarrow as pa


FORMULA = ("=", "+", "-", "@", "\t", "\r")
GUARDED = ("source", "error", "saved")
COMPRESSION = "zstd"
GROUP = 20_000
"""Rows held in memory and written as one row group."""


def write_csv(path: Path, form: RowForm, results: Iterable[Result]) -> int:
    """Write results as CSV rows, one at a time. The file is written atomically.

    Args:
        path: of the file.
        form: its columns.
        results: one at a time.

    Returns:
        The number of rows, without the header.

    Raises:
        OSError: the file cannot be written.
    """
    names = [column.name for column in form.columns]
    guarded = [names.index(name) for name in GUARDED if name in names]
    count = 0
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for result in results:
            for row in _guarded_rows(form, result, guarded):
                writer.writerow(row)
                count += 1
    return count


def _guarded_rows(form: RowForm, result: Result, guarded: Sequence[int]) -> Iterator[list[Cell]]:
    for row in form.rows(result):
        for index in guarded:
            row[index] = plain_text(row[index])
        yield row


def plain_text(cell: Cell) -> Cell:
    """A cell that spreadsheets do not treat as a formula."""
    return f"./{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def schema_of(form: RowForm) -> pa.Schema:
    """The Parquet schema: names and types of the columns.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa = require("pyarrow")
    kinds = {"text": pa.string(), "whole": pa.int32(), "real": pa.float64()}
    return pa.schema([(column.name, kinds[column.kind]) for column in form.columns])


def table_of(schema: pa.Schema, rows: Sequence[Sequence[Cell]]) -> pa.Table:
    """Convert rows, at least one, to a table."""
    pa = require("pyarrow")
    columns = [pa.array(cells, field.type) for cells, field in zip(zip(*rows, strict=True), schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def write_parquet(path: Path, form: RowForm, results: Iterable[Result]) -> int:
    """Write results as Parquet rows, one row group at a time. The file is written atomically.

    Args:
        path: of the file.
        form: its columns.
        results: one at a time.

    Returns:
        The number of rows.

    Raises:
        OSError: the file cannot be written.
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


def write_json(path: Path, lines: Iterable[bytes]) -> None:
    """Write results, already encoded as JSON, one per line. The file is written atomically.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as part, part.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)


@contextmanager
def _at_once(target: str | None) -> Iterator[None]:
    """Name the stream in an error when it cannot be written; a broken pipe is left to the command."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise FacepipeError(f"{target}: cannot be written ({error.strerror})") from error


class LiveOutputs:
    """Writes results immediately, to standard output (``-``) or to an existing device or pipe.

    Args:
        json: where JSON lines go, or None.
        csv: where rows go, or None.
        form: of the rows.

    Raises:
        FacepipeError: one of them cannot be written.
    """

    def __init__(self, json: str | None, csv: str | None, form: RowForm):
        self._stack = ExitStack()
        self._form = form
        self._targets = json, csv
        self._json = None if json is None else self._stack.enter_context(output_stream(json))
        self._csv = None if csv is None else self._stack.enter_context(output_stream(csv))
        names = [column.name for column in form.columns]
        self._guarded = [names.index(name) for name in GUARDED if name in names]
        try:
            self._put_rows([names])
        except BaseException:
            self.close()
            raise

    def add(self, result: Result) -> None:
        """Write one result immediately.

        Raises:
            FacepipeError: it cannot be written.
            BrokenPipeError: the reader is gone.
        """
        if self._json is not None:
            with _at_once(self._targets[0]):
                write_line(result, self._json)
        if self._csv is not None:
            self._put_rows(_guarded_rows(self._form, result, self._guarded))

    def _put_rows(self, rows: Iterable[Sequence[Cell]]) -> None:
        if self._csv is None:
            return
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)
        with _at_once(self._targets[1]):
            self._csv.write(text.getvalue().encode("utf-8"))
            self._csv.flush()

    def close(self) -> None:
        """Close what was opened."""
        self._stack.close()


@contextmanager
def output_stream(target: str) -> Iterator[BinaryIO]:
    """Open standard output, or an existing device or pipe, for writing.

    Raises:
        FacepipeError: it cannot be written.
    """
    if is_standard_output(target):
        yield sys.stdout.buffer
        return
    try:
        with open(target, "wb") as file:
            yield file
    except BrokenPipeError:  # from standard output, where tables are printed meanwhile
        raise
    except OSError as error:
        raise FacepipeError(f"{target}: cannot be written ({error.strerror})") from error


def write_line(result: Result, file: BinaryIO) -> None:
    """Write one result as one line of UTF-8 JSON and flush it."""
    file.write(result.model_dump_json().encode() + b"\n")
    file.flush()
