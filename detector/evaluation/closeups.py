"""Recall of faces that fill the frame (selfies, passport photos, close crops), on unmodified pictures.

Such pictures have no boxes. A face counts as found if a face box at the detector's own threshold contains the picture's
centre, and the box's longer side is at least ``LEAST`` of the picture's shorter side. Recall is also measured at the
threshold ``COMMON``, to compare detectors with different thresholds.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...weights.manifest import Metric
from ..inference.boxes import Detections
from ..inference.detector import BATCH
from .matching import longer_side
from .predictions import COMMON, Detector, read_picture

LEAST = 0.4
FACE = "face"
SOURCES = ("utkface", "fairface")


@dataclass(frozen=True)
class Closeups:
    """The result for one source."""

    source: str
    pictures: int
    found: int
    """At the detector's own threshold."""
    found_at_common: int
    """At ``COMMON``."""


def fills_the_frame(detections: Detections, height: int, width: int, confidence: float) -> bool:
    """Whether one of the detections is a face that fills the picture.

    Args:
        detections: in the picture.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        confidence: least confidence of a box that counts.
    """
    faces = detections.of(FACE)
    boxes = faces.boxes[faces.confidence >= confidence]
    around = (boxes[:, :2] <= [width / 2, height / 2]) & (boxes[:, 2:] >= [width / 2, height / 2])
    return bool(np.any(around.all(axis=1) & (longer_side(boxes) >= LEAST * min(height, width))))


def closeup_recall(
    detectors: Sequence[Detector],
    faces: Path,
    sources: Sequence[str] = SOURCES,
    split: str = "val",
    progress: Callable[[int, int], None] | None = None,
) -> list[list[Closeups]]:
    """Measure how often detectors find the face in a list of close-ups.

    Args:
        detectors: each must have a class for faces.
        faces: CSV with the columns ``file`` (relative to it), ``source`` and ``split``.
        sources: use only rows of these sources.
        split: use only rows of this split.
        progress: called with the number of pictures done and the total.

    Returns:
        For each detector, the results in the order of ``sources``.

    Raises:
        DataError: the CSV or a picture cannot be read, a source has no rows, or a detector finds no faces.
    """
    for detector in detectors:
        if FACE not in detector.classes:
            raise DataError(f"a detector of {', '.join(detector.classes)} does not find faces")
    rows = _rows(faces, sources, split)
    counts = {source: sum(row[1] == source for row in rows) for source in sources}
    if empty := [source for source in sources if not counts[source]]:
        raise DataError(f"{faces}: no row of source {', '.join(empty)} and split {split}")
    found = [{source: [0, 0] for source in sources} for _ in detectors]
    for start in range(0, len(rows), BATCH):
        chunk = rows[start : start + BATCH]
        frames = [read_picture(path) for path, _ in chunk]
        for tally, detector in zip(found, detectors, strict=True):
            for (_, source), frame, detections in zip(chunk, frames, _detected(detector, frames), strict=True):
                for place, confidence in enumerate((detector.confidence, COMMON)):
                    tally[source][place] += fills_the_frame(detections, frame.shape[0], frame.shape[1], confidence)
        if progress:
            progress(start + len(chunk), len(rows))
    return [[Closeups(source, counts[source], *tally[source]) for source in sources] for tally in found]


def closeup_metrics(
    results: Sequence[Closeups], confidence: float, faces: Path, split: str
) -> tuple[list[Metric], str]:
    """The metrics by source and overall, and a description of the protocol.

    Args:
        results: one per source.
        confidence: the detector's own threshold.
        faces: the CSV of the pictures.
        split: the measured split.
    """
    if len(results) > 1:
        sums = (
            sum(numbers) for numbers in zip(*((r.pictures, r.found, r.found_at_common) for r in results), strict=True)
        )
        results = [*results, Closeups(" and ".join(result.source for result in results), *sums)]
    asked = dict.fromkeys((confidence, COMMON))
    metrics = [
        Metric(
            name=f"recall of a face that fills the frame at {threshold:g}, {result.source}",
            value=round((result.found if threshold == confidence else result.found_at_common) / result.pictures, 4),
            count=result.pictures,
        )
        for threshold in asked
        for result in results
    ]
    least = " and of ".join(f"{each:g}" for each in asked)
    return metrics, (
        f"A face that fills the frame: {split} split of {faces.name}, pictures as they are; found when a face box "
        f"contains the picture's centre and its longer side is at least {LEAST:g} of the picture's shorter side; "
        f"at a threshold of {least}"
    )


def _detected(detector: Detector, frames: Sequence[np.ndarray]) -> list[Detections]:
    """Detect at the detector's own threshold, or at the common one if that is lower."""
    own = detector.confidence
    detector.confidence = min(own, COMMON)
    try:
        return detector.detect(frames)
    finally:
        detector.confidence = own


def _rows(faces: Path, sources: Sequence[str], split: str) -> list[tuple[Path, str]]:
    """The selected pictures with their sources."""
    try:
        with faces.open(newline="", encoding="utf-8-sig") as handle:
            reader = csv.DictReader(handle)
            if missing := {"file", "source", "split"} - set(reader.fieldnames or ()):
                raise DataError(f"{faces}: line 1: no column {', '.join(sorted(missing))}")
            rows = []
            for row in reader:
                if row["source"] in sources and row["split"] == split:
                    if not row["file"]:
                        raise DataError(f"{faces}: line {reader.line_num}: no file")
                    rows.append((faces.parent / row["file"], row["source"]))
            return rows
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DataError(f"{faces}: {reason}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{faces}: not a CSV in UTF-8: {error}") from error
