"""Read result files one picture at a time: JSON lines, CSV and Parquet as ``facepipe detect`` writes them.

A folder whose name ends in ``.parquet`` is what ``--engine ray`` writes. Its parts are read in the order of their
names, and names that begin with ``_`` or ``.`` are skipped.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from ...core.errors import DataError, FacepipeError
from ...core.extras import require
from ...weights.manifest import Attribute
from ..outputs.rows import (
    SAVED,
    SOURCE_SHA256,
    WARNING,
    Cell,
    Kind,
    RowForm,
    model_names,
    read_models,
    result_of,
    same_digits,
)
from ..results import Models, Result

SUFFIXES = (".jsonl", ".csv", ".parquet")
START = ("source", "error", "width", "height")
"""The first columns of every table."""
FRAME = len(START)
"""Position of the column ``frame`` in tables with videos."""
Attributes = Mapping[str, Sequence[Attribute]]
"""Attributes of each classifier, by its name."""


@dataclass(frozen=True)
class Recorded:
    """What a file says about one picture, or one frame of a video.

    Attributes:
        where: ``line 12``, ``row 12``.
        source: as recorded.
        frame: whether it is from a video.
        data: the content of a JSON line, or the rows of a table.
        names: the table's columns; None for a JSON line.
    """

    where: str
    source: str | None
    frame: bool
    data: Any
    names: tuple[str, ...] | None = None

    @property
    def models(self) -> Models:
        """The models that it names.

        Raises:
            DataError: it names none.
        """
        try:
            if self.names is None:
                return Models.model_validate(self.data["models"])
            begin = _models_begin(self.names)
            return read_models(self.names[begin:-2], _typed(self, self.data[0], {})[begin:-2])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{self.where}: does not name the models in a form that this facepipe knows: {_first(error)}"
            ) from error

    def results(self, attributes: Attributes, now: Result) -> tuple[Result, Result]:
        """Return the recorded result, and ``now`` reduced to the same digits and parts for comparison.

        Raises:
            DataError: it is not a result of classifiers with these attributes.
        """
        try:
            if self.names is None:
                return Result.model_validate(self.data), now
            form = RowForm(attributes, _is_video(self.names))
            own = tuple(column.name for column in form.columns)
            if own != self.names:
                other = next((name for name in self.names if name not in own), None)
                raise ValueError(
                    f"has a column {other!r}, which these classifiers do not give"
                    if other
                    else "lacks columns that these classifiers give, or has them in another order"
                )
            kinds = {column.name: column.kind for column in form.columns}
            return result_of(form, [_typed(self, row, kinds) for row in self.data]), same_digits(form, now)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self.where}: is not a result that this facepipe understands: {_first(error)}") from error


def read_recorded(path: Path) -> Iterator[Recorded]:
    """Yield every picture and frame of a file in order, without keeping them in memory.

    Raises:
        DataError: unsupported suffix, empty, not such a file, or a damaged line or row, which is named.
        FacepipeError: the file cannot be read.
        MissingExtraError: the file is Parquet, and pyarrow is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(
            f"{path}: expected a name that ends in .jsonl, .csv or .parquet, as facepipe detect writes them"
        )
    count = 0
    try:
        for each in {".jsonl": _lines, ".csv": _csv, ".parquet": _parquet}[suffix](path):
            count += 1
            yield each
    except OSError as error:
        raise FacepipeError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is not a CSV file in UTF-8 ({error})") from error
    if not count:
        raise DataError(f"{path}: holds no results")


def _lines(path: Path) -> Iterator[Recorded]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                data = from_json(line)
            except ValueError as error:
                torn = "" if line.endswith(b"\n") else "; the file ends within it"
                raise DataError(f"{where}: is not valid JSON ({error}){torn}") from error
            if not (isinstance(data, dict) and {"source", "faces", "models", "error"} <= data.keys()):
                raise DataError(f"{where}: is not a result of facepipe detect")
            source = data["source"]
            if not (source is None or isinstance(source, str)):
                raise DataError(f"{where}: its source is not a string")
            data.pop(SAVED, None)
            yield Recorded(where, source, data.get("frame") is not None, data)


def _csv(path: Path) -> Iterator[Recorded]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file, strict=True)
        names = tuple(next(reader, ()))
        _check_names(path, names)

        def rows() -> Iterator[tuple[str, Sequence[Any]]]:
            for row in reader:
                where = f"{path}, line {reader.line_num}"
                if len(row) != len(names):
                    raise DataError(f"{where}: has {len(row)} cells, the header has {len(names)}")
                yield where, [cell or None for cell in row]

        yield from _grouped(names, rows())


def _parquet(path: Path) -> Iterator[Recorded]:
    if path.is_dir():
        for part in sorted(path.glob("*.parquet")):
            if not part.name.startswith(("_", ".")):
                yield from _parquet(part)
        return

    pa = require("pyarrow")
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = tuple(file.schema_arrow.names)
            _check_names(path, names)

            def rows() -> Iterator[tuple[str, Sequence[Any]]]:
                number = 0
                for batch in file.iter_batches(batch_size=4096):
                    for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                        number += 1
                        yield f"{path}, row {number}", row

            yield from _grouped(names, rows())
    except pa.ArrowException as error:
        raise DataError(f"{path}: is not a complete Parquet file ({error})") from error


def _check_names(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise DataError(f"{path}: holds no results")
    if tuple(names[: len(START)]) != START or "face" not in names or "version_detector" not in names:
        raise DataError(f"{path}: is not a table of facepipe detect: its columns begin with {', '.join(names[:4])}")
    if SOURCE_SHA256 not in names[-3:]:
        raise DataError(
            f"{path}: was written by an older facepipe, whose tables do not name the files of the models; only "
            "its --json results can be verified"
        )


def _grouped(names: tuple[str, ...], rows: Iterator[tuple[str, Sequence[Any]]]) -> Iterator[Recorded]:
    """Group consecutive rows of one picture. facepipe 0.4 had no column for warnings."""
    if names[-1] == SAVED:
        names, rows = names[:-1], ((place, row[:-1]) for place, row in rows)
    if names[-1] == SOURCE_SHA256:
        names, rows = (*names, WARNING), ((place, [*row, None]) for place, row in rows)
    face, video = names.index("face"), _is_video(names)
    where: str = ""
    held: list[Sequence[Any]] = []

    def together() -> Recorded:
        return Recorded(where, held[0][0], video and held[0][FRAME] is not None, held, names)

    for place, row in rows:
        if held and row[face] in (None, 0, "0"):
            yield together()
            held = []
        where = where if held else place
        held.append(row)
    if held:
        yield together()


def _is_video(names: Sequence[str]) -> bool:
    return tuple(names[FRAME : FRAME + 2]) == ("frame", "time")


def _models_begin(names: Sequence[str]) -> int:
    return len(names) - 1 - names[::-1].index("version_detector")


def _typed(recorded: Recorded, row: Sequence[Any], kinds: Mapping[str, Kind]) -> list[Cell]:
    """Convert cells to the types of their columns; CSV cells are text. Model columns may be missing from ``kinds``."""
    assert recorded.names is not None
    known = {**dict(model_names([])), **kinds}
    return [
        cell if not isinstance(cell, str) else _read(name, cell, known.get(name, "text"))
        for name, cell in zip(recorded.names, row, strict=True)
    ]


def _read(name: str, cell: str, kind: Kind) -> Cell:
    try:
        return cell if kind == "text" else int(cell) if kind == "whole" else float(cell)
    except ValueError as error:
        raise ValueError(f"{name} is {cell!r}") from error


def _first(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}"
