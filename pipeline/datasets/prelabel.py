"""``facepipe data prelabel``: label boxes and attributes with the released models, for a person to correct."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from ...classifier.inference.attributes import AttributeValue, ClassValue
from ...classifier.inference.classifier import AttributeClassifier
from ...core.errors import DataError, FacepipeError
from ...core.near_duplicates import perceptual_hash
from ...detector.data.box_clipping import LEAST_SIDE
from ...detector.data.formats.records import pictures_below
from ...detector.inference.detector import BATCH, FaceDetector
from ..inputs.image_reader import read_frame
from ..pipeline import Pipeline
from ..results import Box, Result
from ..two_stage import box_of, match_heads, shortest

UNSURE = 0.6
"""An attribute whose class is less probable than this needs review."""
URGENCY = {"unreadable": 1.0, "nothing": 0.95, "full": 0.9, "no head": 0.4, "not classified": 0.35, "attribute": 0.3}
"""Urgency of each finding. A box of confidence c below the limit has 1 - c, where c is at least 0.25 by default."""


@dataclass(frozen=True)
class FoundBox:
    """A box as a label.

    Attributes:
        label: name of the class.
        box: in pixels of the upright picture.
        confidence: from the detector.
        attributes: of a face; None if they were not requested or could not be read.
        reason: why they could not be read.
    """

    label: str
    box: Box
    confidence: float
    attributes: dict[str, AttributeValue] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Prelabelled:
    """One picture and its labels, or why it has none.

    Attributes:
        path: as given.
        width: of the upright picture in pixels; 0 if it cannot be read, like the next two.
        height: likewise.
        fingerprint: its perceptual hash.
        boxes: most confident first.
        error: why it cannot be read; None if it can.
        full: the detector returned its maximum number of boxes, so there may be more.
    """

    path: Path
    width: int = 0
    height: int = 0
    fingerprint: int = 0
    boxes: tuple[FoundBox, ...] = ()
    error: str | None = None
    full: bool = False


@dataclass(frozen=True)
class ReviewRow:
    """One item to review.

    Attributes:
        urgency: 0 to 1, most urgent first.
        number: of the picture.
        what: in words.
        box: the box it is about; None for the whole picture.
    """

    urgency: float
    number: int
    what: str
    box: FoundBox | None = None


def gather(given: Iterable[Path]) -> list[Path]:
    """Collect pictures: files as they are, and all pictures below folders. Each is listed once.

    Raises:
        DataError: a folder without a picture.
    """
    found: dict[Path, Path] = {}
    for path in given:
        below = pictures_below(path) if path.is_dir() else [path]
        if not below:
            raise DataError(f"{path}: no picture in this folder")
        for each in below:
            found.setdefault(each.resolve(), each)
    return list(found.values())


def prelabel(
    paths: Sequence[Path], detector: FaceDetector, classifier: AttributeClassifier | None = None
) -> Iterator[Prelabelled]:
    """Label pictures in order, a few at a time. A picture that cannot be read is yielded with an error.

    Args:
        paths: the pictures.
        detector: set to the confidence that boxes must have.
        classifier: reads the attributes of faces; None leaves them out.
    """
    if classifier is None:
        yield from _boxes_only(paths, detector)
        return
    with Pipeline(detector, classifier) as pipeline:
        for path, (result, frame) in zip(paths, pipeline.stream(paths), strict=True):
            if frame is None:
                yield Prelabelled(path, error=result.error)
            else:
                boxes = _of_result(result)
                yield _labelled(path, frame, boxes, len(boxes) >= detector.max_detections)


def _boxes_only(paths: Sequence[Path], detector: FaceDetector) -> Iterator[Prelabelled]:
    waiting = iter(paths)
    while chunk := list(islice(waiting, BATCH)):
        frames = [_read(path) for path in chunk]
        found = iter(detector.detect([frame for frame in frames if isinstance(frame, np.ndarray)]))
        for path, frame in zip(chunk, frames, strict=True):
            if not isinstance(frame, np.ndarray):
                yield Prelabelled(path, error=frame)
                continue
            seen = next(found)
            boxes = [
                FoundBox(seen.classes[label], box_of(box), shortest(confidence))
                for label, box, confidence in zip(seen.labels, seen.boxes, seen.confidence, strict=True)
            ]
            yield _labelled(path, frame, boxes, len(boxes) >= detector.max_detections)


def _read(path: Path) -> np.ndarray | str:
    try:
        return read_frame(path)
    except FacepipeError as error:
        return str(error)


def _of_result(result: Result) -> list[FoundBox]:
    faces = [FoundBox("face", face.box, face.confidence, face.attributes, face.reason) for face in result.faces]
    return faces + [FoundBox("head", head.box, head.confidence) for head in result.heads]


def _labelled(path: Path, frame: np.ndarray, boxes: Sequence[FoundBox], full: bool) -> Prelabelled:
    height, width = frame.shape[:2]
    sound = [found for found in boxes if min(found.box.x2 - found.box.x1, found.box.y2 - found.box.y1) >= LEAST_SIDE]
    ordered = tuple(sorted(sound, key=lambda found: -found.confidence))
    return Prelabelled(path, width, height, perceptual_hash(frame), ordered, full=full)


def to_review(pictures: Sequence[Prelabelled], limit: float, classes: Sequence[str]) -> list[ReviewRow]:
    """List what a person should review, most urgent first.

    Args:
        pictures: with their labels.
        limit: boxes of lower confidence need review.
        classes: that the detector knows.
    """
    rows = []
    both = {"face", "head"} <= set(classes)
    for number, picture in enumerate(pictures):
        if picture.error is not None:
            rows.append(ReviewRow(URGENCY["unreadable"], number, picture.error))
            continue
        if not picture.boxes:
            rows.append(ReviewRow(URGENCY["nothing"], number, "nothing found"))
        if picture.full:
            text = f"{len(picture.boxes)} boxes, the detector's maximum: there may be more"
            rows.append(ReviewRow(URGENCY["full"], number, text))
        for found in picture.boxes:
            if found.confidence < limit:
                rows.append(ReviewRow(1 - found.confidence, number, "low confidence", found))
            if found.reason is not None:
                rows.append(ReviewRow(URGENCY["not classified"], number, found.reason, found))
            for name, value in (found.attributes or {}).items():
                if isinstance(value, ClassValue) and (value.value is None or value.probability < UNSURE):
                    text = f"{name} unsure: {value.likeliest} {value.probability:.2f}"
                    rows.append(ReviewRow(URGENCY["attribute"], number, text, found))
        alone = _headless(picture) if both else []
        rows += [ReviewRow(URGENCY["no head"], number, "a face without a head", face) for face in alone]
    return sorted(rows, key=lambda row: -row.urgency)


def _headless(picture: Prelabelled) -> list[FoundBox]:
    """Faces without a matching head: either a head was missed, or it is not a face."""
    faces = [found for found in picture.boxes if found.label == "face"]
    heads = [found for found in picture.boxes if found.label == "head"]

    def corners(boxes: Sequence[FoundBox]) -> np.ndarray:
        rows = [(found.box.x1, found.box.y1, found.box.x2, found.box.y2) for found in boxes]
        return np.array(rows, np.float64).reshape(-1, 4)

    matched = match_heads(corners(faces), corners(heads))
    return [face for face, head in zip(faces, matched, strict=True) if head is None]
