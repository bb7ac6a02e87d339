"""One record of each person in a video, and the tables that are made of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from ...classifier.inference.attributes import AttributeValue, PointsValue
from ...core.errors import FacepipeError
from ...core.files import replacing
from ...weights.manifest import Attribute
from ..outputs.columns import Cell, Column, Kind, model_cells, model_names
from ..outputs.rows import attribute_cells, attribute_names
from ..results import Box, Models, Part
from ..table import attribute_text

SUFFIXES = (".csv", ".parquet", ".jsonl")
"""Of the files that records can be written to."""


class BestLook(Part):
    """Where a person is seen best, by the face's size and sharpness."""

    frame: int
    time: float
    box: Box
    confidence: float


class TrackSummary(Part):
    """One person in a video."""

    source: str | None
    """The video."""
    track: int
    """The person's number in the video, as in ``Face.track``."""
    first_frame: int
    first_time: float
    last_frame: int
    last_time: float
    """In seconds from the video's start."""
    frames: int
    """Analysed frames in which the face was found."""
    looks: int
    """How often it was classified."""
    attributes: dict[str, AttributeValue] | None
    """Of all looks together; points are of the last one, in frame pixels. None where no look could be classified."""
    reason: str | None
    """Why ``attributes`` is None."""
    best: BestLook
    models: Models


class TrackForm:
    """The columns of a table of persons; attributes have those that ``outputs.rows.RowForm`` gives a face."""

    def __init__(self, attributes: Iterable[Attribute], classifiers: Sequence[str]):
        self._attributes = [each for each in attributes if each.kind != "points"]
        self._classifiers = tuple(classifiers)
        names: list[tuple[str, Kind]] = [
            ("source", "text"),
            ("track", "whole"),
            ("first_frame", "whole"),
            ("first_time", "real"),
            ("last_frame", "whole"),
            ("last_time", "real"),
            ("frames", "whole"),
            ("looks", "whole"),
            ("best_frame", "whole"),
            ("best_time", "real"),
            *((f"best_{side}", "real") for side in ("x1", "y1", "x2", "y2")),
            ("best_confidence", "real"),
            ("reason", "text"),
        ]
        for attribute in self._attributes:
            names += attribute_names(attribute)
        names += model_names(self._classifiers)
        self.columns = tuple(Column(name, kind) for name, kind in names)

    def row(self, track: TrackSummary) -> list[Cell]:
        """A person's cells, one for each column."""
        best = track.best
        cells: list[Cell] = [track.source, track.track, track.first_frame, track.first_time]
        cells += [track.last_frame, track.last_time, track.frames, track.looks, best.frame, best.time]
        cells += [*(round(side, 2) for side in (best.box.x1, best.box.y1, best.box.x2, best.box.y2))]
        cells += [round(best.confidence, 6), track.reason]
        for attribute in self._attributes:
            cells += attribute_cells(attribute, (track.attributes or {}).get(attribute.name))
        return [*cells, *model_cells(track.models, self._classifiers)]


def write_tracks(path: Path, tracks: Sequence[TrackSummary], form: TrackForm) -> None:
    """Write persons to a ``.csv``, ``.parquet`` or ``.jsonl`` file, whole or not at all.

    Raises:
        FacepipeError: another suffix, or the file cannot be written.
        MissingExtraError: Parquet is wanted and pyarrow is not installed.
    """
    check_suffix(path)
    try:
        with replacing(path) as part:
            if path.suffix.lower() == ".jsonl":
                part.write_bytes(b"".join(track.model_dump_json().encode() + b"\n" for track in tracks))
            elif path.suffix.lower() == ".csv":
                _write_csv(part, tracks, form)
            else:
                _write_parquet(part, tracks, form)
    except OSError as error:
        raise FacepipeError(f"{path}: cannot be written ({error.strerror or error})") from error


def check_suffix(path: Path) -> None:
    """Raise ``FacepipeError`` of a file that no records can be written to."""
    if path.suffix.lower() not in SUFFIXES:
        raise FacepipeError(f"{path}: expected a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


def read_tracks(lines: Iterable[str]) -> list[TrackSummary]:
    """Records from JSON, one each.

    Raises:
        FacepipeError: one of them is no such record.
    """
    try:
        return [TrackSummary.model_validate_json(line) for line in lines]
    except ValidationError as error:
        raise FacepipeError(f"no record of a person in a video: {error}") from error


def _write_csv(path: Path, tracks: Iterable[TrackSummary], form: TrackForm) -> None:
    from ..outputs.tabular import plain_text

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in form.columns)
        for track in tracks:
            first, *others = form.row(track)
            writer.writerow([plain_text(first), *others])


def _write_parquet(path: Path, tracks: Iterable[TrackSummary], form: TrackForm) -> None:
    from ..outputs.parquet_file import require_pyarrow

    pa = require_pyarrow()
    from pyarrow import parquet

    kinds = {"text": pa.string(), "whole": pa.int32(), "real": pa.float64()}
    rows = [form.row(track) for track in tracks]
    columns = {
        column.name: pa.array([row[index] for row in rows], kinds[column.kind])
        for index, column in enumerate(form.columns)
    }
    parquet.write_table(pa.table(columns), path, compression="zstd")


def tracks_table(source: str, tracks: Sequence[TrackSummary], counts: str = "") -> Table:
    """Persons as a table for the eye: number, when seen, in how many frames, best look, attributes.

    Args:
        source: the video.
        tracks: its persons.
        counts: stands in the title after the number of persons.
    """
    names = list(
        dict.fromkeys(
            name
            for track in tracks
            for name, value in (track.attributes or {}).items()
            if not isinstance(value, PointsValue)
        )
    )
    title = f"{source}: {len(tracks) or 'no'} person{'' if len(tracks) == 1 else 's'}"
    title += f" in {counts}" if counts else ""
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for column in ("person", "seen", "frames", "best at", *names):
        table.add_column(Text(column), justify="right" if column in ("person", "frames", "best at") else "left")
    for track in tracks:
        table.add_row(
            str(track.track),
            f"{clock(track.first_time)} – {clock(track.last_time)}",
            str(track.frames),
            clock(track.best.time),
            *(Text(attribute_text((track.attributes or {}).get(name))) for name in names),
        )
    return table


def clock(seconds: float) -> str:
    """``1:02.5``, ``1:00:02.5``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02d}.{rest % 10}"
