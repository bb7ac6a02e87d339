"""Summarise each person in a video: aggregate several looks into one value per attribute, and write the tables.

Looks are weighted by :func:`quality`. For classes, the probabilities are averaged and the head's abstention threshold
is applied to the average. For numbers, the value is the weighted median, and so is each end of the interval. Quantiles
are averaged rather than distributions, because the errors of two looks at one face are strongly correlated, so the
interval of their mean is no narrower than theirs (Lichtendahl, Grushka-Cockayne and Winkler, "Is It Better to Average
Probabilities or Quantiles?", Management Science 59, 2013). Points come from the newest look.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from ...core.errors import FacepipeError, os_errors_as
from ...core.extras import require
from ...core.files import replacing
from ...weights.manifest import Attribute
from ..console import attribute_text
from ..inputs.image_reader import Frame
from ..outputs.rows import Cell, Column, Kind, attribute_cells, attribute_names, model_cells, model_names
from ..results import Box, Models, Part

SIDE = 112
"""Faces are scaled to this many pixels before sharpness is measured; a small face, enlarged, is still blurred."""
LARGE = 224
"""More pixels than this on a face's shorter side add nothing for a classifier."""
SUFFIXES = (".csv", ".parquet", ".jsonl")
"""File types that summaries can be written to."""


def quality(frame: Frame, box: Box) -> float:
    """How much a look at a face is worth, above 0: its size in pixels (up to ``LARGE``) times its sharpness.

    Sharpness is the standard deviation of the Laplacian, whose square is the measure of Pech-Pacheco et al., "Diatom
    autofocusing in brightfield microscopy: a comparative study" (ICPR 2000).
    """
    height, width = frame.shape[:2]
    x1, y1 = max(0, int(box.x1)), max(0, int(box.y1))
    x2, y2 = min(width, round(box.x2)), min(height, round(box.y2))
    if x2 - x1 < 2 or y2 - y1 < 2:
        return 1e-6
    grey = cv2.cvtColor(frame[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY)
    shrinks = min(grey.shape) > SIDE
    scaled = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return float(min(x2 - x1, y2 - y1, LARGE) * (cv2.Laplacian(scaled, cv2.CV_32F).std() + 1e-3))


@dataclass
class _Classes:
    """Weighted sums of the probabilities."""

    classes: tuple[str, ...]
    sums: np.ndarray
    total: float = 0.0


@dataclass
class _Numbers:
    """One row per look: value, low, high, weight."""

    unit: str
    rows: list[tuple[float, float, float, float]] = field(default_factory=list)


@dataclass
class TrackAttributes:
    """Collects the looks at one face.

    Args:
        thresholds: ``abstain_below`` of each class attribute, by name.

    Attributes:
        looks: number of looks so far.
    """

    thresholds: Mapping[str, float]
    looks: int = 0
    _classes: dict[str, _Classes] = field(default_factory=dict)
    _numbers: dict[str, _Numbers] = field(default_factory=dict)
    _points: dict[str, tuple[PointsValue, Box]] = field(default_factory=dict)
    _order: dict[str, None] = field(default_factory=dict)

    def add(self, attributes: Mapping[str, AttributeValue], box: Box, weight: float) -> None:
        """Add one look.

        Args:
            attributes: what was read; points in frame pixels.
            box: of the face in that frame.
            weight: from :func:`quality`.
        """
        self.looks += 1
        for name, value in attributes.items():
            self._order[name] = None
            if isinstance(value, ClassValue):
                held = self._classes.setdefault(
                    name, _Classes(tuple(value.probabilities), np.zeros(len(value.probabilities)))
                )
                held.sums += weight * np.array([value.probabilities[each] for each in held.classes])
                held.total += weight
            elif isinstance(value, NumericValue):
                self._numbers.setdefault(name, _Numbers(value.unit)).rows.append((value.value, *value.interval, weight))
            else:
                self._points[name] = value, box

    def values(self, box: Box) -> dict[str, AttributeValue]:
        """What is known so far, by attribute; empty before the first look.

        Args:
            box: of the face in the frame for which points are wanted; the points are moved along with it.
        """
        known: dict[str, AttributeValue] = {}
        for name in self._order:
            if name in self._classes:
                known[name] = self._class_value(name)
            elif name in self._numbers:
                known[name] = _number_value(self._numbers[name])
            else:
                value, before = self._points[name]
                known[name] = value if before == box else _moved(value, before, box)
        return known

    def _class_value(self, name: str) -> ClassValue:
        held = self._classes[name]
        shares = held.sums / held.total
        best = int(shares.argmax())
        probability = float(shares[best])
        return ClassValue(
            value=held.classes[best] if probability >= self.thresholds.get(name, 0.0) else None,
            probability=probability,
            probabilities={each: float(share) for each, share in zip(held.classes, shares, strict=True)},
        )


def _number_value(held: _Numbers) -> NumericValue:
    rows = np.array(held.rows)
    value, low, high = (weighted_median(rows[:, column], rows[:, 3]) for column in range(3))
    return NumericValue(value=value, unit=held.unit, interval=(low, high))


def weighted_median(values: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray) -> float:
    """Weighted median: the smallest value at which the cumulative weight reaches half the total.

    If it is exactly half, the result is the midpoint between that value and the next.

    Args:
        values: (n,).
        weights: (n,), above 0.
    """
    order = np.argsort(values, kind="stable")
    ordered, cumulative = np.asarray(values, float)[order], np.cumsum(np.asarray(weights, float)[order])
    half = cumulative[-1] / 2
    place = int(np.searchsorted(cumulative, half * (1 - 1e-12)))
    if abs(cumulative[place] - half) <= half * 1e-9 and place + 1 < len(ordered):
        return float((ordered[place] + ordered[place + 1]) / 2)
    return float(ordered[place])


def _moved(value: PointsValue, before: Box, box: Box) -> PointsValue:
    """Points moved along with their face's box, to hundredths of a pixel."""
    wide = (box.x2 - box.x1) / max(before.x2 - before.x1, 1e-6)
    high = (box.y2 - box.y1) / max(before.y2 - before.y1, 1e-6)
    return PointsValue(
        points={
            name: (round(box.x1 + (x - before.x1) * wide, 2), round(box.y1 + (y - before.y1) * high, 2))
            for name, (x, y) in value.points.items()
        }
    )


class BestLook(Part):
    """Where a person is seen best, by face size and sharpness."""

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
    """In seconds from the start of the video."""
    frames: int
    """Analysed frames in which the face was found."""
    looks: int
    """How many times it was classified."""
    attributes: dict[str, AttributeValue] | None
    """From all looks together; points are from the last look, in frame pixels. None if no look could be classified."""
    reason: str | None
    """Why ``attributes`` is None."""
    best: BestLook
    models: Models


class TrackForm:
    """The columns of a table of people; attributes get the same columns as in ``outputs.rows.RowForm``."""

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
        """A person's cells, one per column."""
        best = track.best
        cells: list[Cell] = [track.source, track.track, track.first_frame, track.first_time]
        cells += [track.last_frame, track.last_time, track.frames, track.looks, best.frame, best.time]
        cells += [*(round(side, 2) for side in (best.box.x1, best.box.y1, best.box.x2, best.box.y2))]
        cells += [round(best.confidence, 6), track.reason]
        for attribute in self._attributes:
            cells += attribute_cells(attribute, (track.attributes or {}).get(attribute.name))
        return [*cells, *model_cells(track.models, self._classifiers)]


def write_tracks(path: Path, tracks: Sequence[TrackSummary], form: TrackForm) -> None:
    """Write people to a ``.csv``, ``.parquet`` or ``.jsonl`` file atomically.

    Args:
        path: of the file.
        tracks: one per person.
        form: its columns.

    Raises:
        FacepipeError: the suffix is not supported, or the file cannot be written.
        MissingExtraError: Parquet is requested and pyarrow is not installed.
    """
    check_suffix(path)
    with os_errors_as(FacepipeError, f"{path}: cannot be written"), replacing(path) as part:
        if path.suffix.lower() == ".jsonl":
            part.write_bytes(b"".join(track.model_dump_json().encode() + b"\n" for track in tracks))
        elif path.suffix.lower() == ".csv":
            _write_csv(part, tracks, form)
        else:
            _write_parquet(part, tracks, form)


def check_suffix(path: Path) -> None:
    """Check that summaries can be written to a file of this type.

    Raises:
        FacepipeError: the suffix is not supported.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise FacepipeError(f"{path}: expected a name that ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")


def read_tracks(lines: Iterable[str]) -> list[TrackSummary]:
    """Read summaries from JSON, one per line.

    Raises:
        FacepipeError: a line is not a valid summary.
    """
    try:
        return [TrackSummary.model_validate_json(line) for line in lines]
    except ValidationError as error:
        raise FacepipeError(f"not a record of a person in a video: {error}") from error


def _write_csv(path: Path, tracks: Iterable[TrackSummary], form: TrackForm) -> None:
    from ..outputs.tabular import plain_text

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(column.name for column in form.columns)
        for track in tracks:
            first, *others = form.row(track)
            writer.writerow([plain_text(first), *others])


def _write_parquet(path: Path, tracks: Iterable[TrackSummary], form: TrackForm) -> None:
    pa = require("pyarrow")
    from pyarrow import parquet

    kinds = {"text": pa.string(), "whole": pa.int32(), "real": pa.float64()}
    rows = [form.row(track) for track in tracks]
    columns = {
        column.name: pa.array([row[index] for row in rows], kinds[column.kind])
        for index, column in enumerate(form.columns)
    }
    parquet.write_table(pa.table(columns), path, compression="zstd")


def tracks_table(source: str, tracks: Sequence[TrackSummary], counts: str = "") -> Table:
    """A table of people for display: number, when seen, number of frames, best look, attributes.

    Args:
        source: the video.
        tracks: its people.
        counts: appended to the title after the number of people.
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
    """Format a time as ``1:02.5`` or ``1:00:02.5``."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    start = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{start}:{rest // 10:02d}.{rest % 10}"
