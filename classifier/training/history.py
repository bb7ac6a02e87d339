"""A run's figures by validation: ``history.csv`` in its folder, and the means that lead up to a row of it."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from pathlib import Path

from ...core.errors import DataError
from ...core.files import write_whole

HISTORY = "history.csv"
TEXTS = ("stage",)
"""Columns that hold no number."""

Row = dict[str, str | float | None]


def read_history(folder: Path) -> list[Row]:
    """A run's rows, oldest first; none where there is no history yet. A figure that was not measured is None.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / HISTORY
    if not path.is_file():
        return []
    rows: list[Row] = []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        for line in reader:
            try:
                rows.append({k: v if k in TEXTS else float(v) if v else None for k, v in line.items()})
            except (TypeError, ValueError) as error:
                raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def add_to_history(folder: Path, row: Mapping[str, str | float | None]) -> None:
    """Add a row, in the place of any that there is of its ``epoch`` or of later ones."""
    epoch = _number(row, "epoch")
    rows = [*(each for each in read_history(folder) if _number(each, "epoch") < epoch), dict(row)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = list(dict.fromkeys(name for each in rows for name in each))
    writer.writerow(names)
    for each in rows:
        writer.writerow([_cell(each.get(name)) for name in names])
    write_whole(folder / HISTORY, text.getvalue().encode())


def _number(row: Mapping[str, str | float | None], name: str) -> float:
    value = row.get(name)
    return value if isinstance(value, float | int) else -1.0


def _cell(value: str | float | None) -> str:
    return "" if value is None else value if isinstance(value, str) else f"{value:.6g}"


class Meter:
    """Mean losses since the last progress line, and since the last validation."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.total: dict[str, float] = {}
        self.seen = 0
        self.images = 0
        self.since = time.monotonic()

    def add(self, images: int, logs: Mapping[str, float]) -> None:
        """Count a batch."""
        self.images += images
        for name, value in logs.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value) * images

    @property
    def logs(self) -> dict[str, float]:
        """Means since the last progress line."""
        return {name: value / self.images for name, value in self.sums.items()}

    def seconds(self) -> float:
        """Since the last progress line."""
        return time.monotonic() - self.since

    def next(self) -> None:
        """Close the interval."""
        for name, value in self.sums.items():
            self.total[name] = self.total.get(name, 0.0) + value
        self.seen += self.images
        self.sums = {}
        self.images, self.since = 0, time.monotonic()

    def take(self) -> dict[str, float]:
        """Means over the closed intervals, which start anew."""
        means = {name: value / self.seen for name, value in self.total.items()} if self.seen else {}
        self.total, self.seen = {}, 0
        return means
