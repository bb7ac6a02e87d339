"""Rows as CSV: UTF-8, RFC 4180 (commas, quotation marks doubled, lines end in CR LF), empty where a cell is None.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-``, ``@``, a tab or a return for a formula, and a picture's
name can begin so. Such a cell of ``source`` or ``error`` gets ``./`` in front, which is still the path of that file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from ...core.files import replacing
from ..results import Result
from .columns import Cell
from .rows import RowForm

FORMULA = ("=", "+", "-", "@", "\t", "\r")
GUARDED = ("source", "error")


def write_csv(path: Path, form: RowForm, results: Iterable[Result]) -> int:
    """Write results as rows, one at a time; the file is there whole or as it was before.

    Returns:
        The number of rows, without the header.

    Raises:
        OSError: it cannot be written.
    """
    names = [column.name for column in form.columns]
    guarded = [names.index(name) for name in GUARDED]
    count = 0
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for result in results:
            for row in form.rows(result):
                for index in guarded:
                    row[index] = plain_text(row[index])
                writer.writerow(row)
                count += 1
    return count


def plain_text(cell: Cell) -> Cell:
    """A cell that no spreadsheet takes for a formula."""
    return f"./{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
