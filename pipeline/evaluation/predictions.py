"""Run both models on photos with labelled faces, reading attributes on the true boxes and on the found ones.

The steps are those used in serving: the detector's boxes at its own threshold, ``match_heads``, ``cut_region``, the
released ONNX files. A found face box is matched one to one with the true box that it overlaps most
(``detector/evaluation/matching.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ...classifier.evaluation.predictions import Predictions
from ...classifier.inference.attributes import output_width
from ...classifier.inference.classifier import AttributeClassifier
from ...classifier.inference.crop import cut_region
from ...core.errors import DataError, ImageError
from ...detector.evaluation.matching import IOU, REFERENCE, Match, longer_side, match
from ...detector.inference.boxes import iou
from ...detector.inference.detector import FaceDetector
from ...weights.manifest import Attribute, PointsAttribute
from ..classifiers import Classifiers
from ..face_check import CheckedDetector
from ..inputs.image_reader import Frame, read_frame
from ..two_stage import match_heads
from .data import Photo, Photos

CHUNK = 8
"""Pictures in memory at a time."""


@dataclass(frozen=True)
class Read:
    """What the classifiers read on some rows of a table.

    Attributes:
        seen: raw outputs and labels; NaN in the outputs of rows that were not read.
        read: for each attribute, the rows that were read, bool (n,). A face that was not found, or whose box was too
            small, was not.
    """

    seen: Predictions
    read: dict[str, np.ndarray]
    sides: dict[str, np.ndarray]
    """For each attribute, the longer side of the box that was cut, in pixels, (n,); 1 if none was."""


@dataclass(frozen=True)
class Alarm:
    """A false alarm: the picture's index in ``Photos.photos``, its box, (4,), and its confidence."""

    photo: int
    box: np.ndarray
    confidence: float


@dataclass(frozen=True)
class EndToEnd:
    """Both models on the labelled faces of some photos; rows are those of ``photos.faces``.

    Attributes:
        detector: its version, and the precision that ran: ``1.0.0 (int8)``.
        classifiers: the same, by name.
        sha256: of the files that ran, the detector's and the classifiers'.
        attributes: that are read, in order, and labelled somewhere.
        photos: the data; pictures that could not be read are left out.
        picture: of each row, its index in ``photos.photos``, int (n,).
        least: minimum IoU for a found box to match a labelled face.
        confidence: the detector's threshold.
        boxes: found for each row, (n, 4), NaN if the face was missed.
        overlap: IoU of that box with the true one, (n,), NaN if missed.
        sides: longer side of the true box in pixels, with the picture scaled to
            ``detector.evaluation.matching.REFERENCE``, (n,).
        alarms: false alarms.
        on_true: what was read on the true boxes.
        on_found: what was read on the found ones.
        failed: what is wrong with each picture that could not be read.
    """

    detector: str
    classifiers: dict[str, str]
    sha256: dict[str, str]
    attributes: tuple[Attribute, ...]
    photos: Photos
    picture: np.ndarray
    least: float
    confidence: float
    boxes: np.ndarray
    overlap: np.ndarray
    sides: np.ndarray
    alarms: tuple[Alarm, ...]
    on_true: Read
    on_found: Read
    failed: tuple[str, ...]

    @property
    def found(self) -> np.ndarray:
        """Rows whose face was found, bool (n,)."""
        return np.isfinite(self.overlap)


def predict_end_to_end(
    detector: FaceDetector | CheckedDetector,
    classifiers: Sequence[AttributeClassifier],
    photos: Photos,
    least: float = IOU,
    precision: str | None = None,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> EndToEnd:
    """Run both models over labelled photos.

    Args:
        detector: finds ``face``; checked, where a classifier has a face check, as in serving.
        classifiers: that read different attributes, those of the photos' table.
        photos: the data.
        least: minimum IoU for a found box to match a labelled face.
        precision: of the detector's file, as passed to ``FaceDetector``.
        workers: number of threads that read pictures.
        progress: called with the pictures done and their total.

    Raises:
        DataError: no picture can be read, or none of the labels is of an attribute that is read.
        WeightsError: two classifiers read the same attribute, or the detector finds no faces.
    """
    named = Classifiers(list(classifiers)).by_name
    faces = photos.faces
    blank = {
        attribute.name: np.full((len(faces), output_width(attribute)), np.nan, np.float32)
        for each in named.values()
        for attribute in each.attributes
    }
    collector = _Collector(photos, named, least, blank)
    for index, frame in _frames(photos, workers):
        if isinstance(frame, ImageError):
            collector.fail(index, str(frame))
        else:
            collector.add(index, frame, detector)
        if progress is not None:
            progress(index + 1, len(photos.photos))
    return collector.finish(detector, precision)


def _frames(photos: Photos, workers: int) -> Iterator[tuple[int, Frame | ImageError]]:
    """The pictures in order, a few read ahead."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[Future[Frame | ImageError]] = []
        rest = iter(photos.photos)
        for index in range(len(photos.photos)):
            waiting += [pool.submit(_frame, photo) for photo in islice(rest, CHUNK - len(waiting))]
            yield index, waiting.pop(0).result()


def _frame(photo: Photo) -> Frame | ImageError:
    try:
        return read_frame(photo.file)
    except ImageError as error:
        return error


class _Collector:
    """Collects the models' outputs, picture by picture."""

    def __init__(
        self, photos: Photos, named: dict[str, AttributeClassifier], least: float, blank: dict[str, np.ndarray]
    ):
        count = len(photos.faces)
        self.photos, self.named, self.least = photos, named, least
        self.outputs = [{name: values.copy() for name, values in blank.items()} for _ in range(2)]
        self.targets = [
            {name: photos.faces.targets[name].astype(np.float32) for name in blank} for _ in range(2)
        ]  # points are moved into each table's own crops
        self.cut_sides = [{name: np.ones(count) for name in blank} for _ in range(2)]
        self.boxes, self.overlap, self.sides = np.full((count, 4), np.nan), np.full(count, np.nan), np.zeros(count)
        self.picture = np.zeros(count, int)
        self.alarms: list[Alarm] = []
        self.failed: dict[int, str] = {}

    def fail(self, index: int, reason: str) -> None:
        self.failed[index] = reason

    def add(self, index: int, frame: Frame, detector: FaceDetector | CheckedDetector) -> None:
        """Detect in one picture, match, and read both boxes of each labelled face."""
        photo = self.photos.photos[index]
        rows, truth = photo.rows, self.photos.faces.boxes[photo.rows]
        (detections,) = detector.detect([frame])
        faces, heads = detections.of("face"), detections.of("head").boxes if "head" in detections.classes else None
        matched: Match = match(faces.boxes, truth, photo.ignored, least=self.least)
        self.picture[rows] = index
        self.sides[rows] = longer_side(truth) * REFERENCE / max(frame.shape[:2])
        for one in np.flatnonzero(matched.counts & ~matched.correct):
            self.alarms.append(Alarm(index, faces.boxes[one], float(faces.confidence[one])))
        hits = np.flatnonzero(matched.correct)
        hit_rows = rows[matched.truth[hits]]
        self.boxes[hit_rows] = faces.boxes[hits]
        self.overlap[hit_rows] = iou(faces.boxes[hits], truth)[np.arange(len(hits)), matched.truth[hits]]
        for which, (owners, boxes, chosen) in enumerate(
            ((rows, truth, np.arange(len(rows))), (hit_rows, faces.boxes, hits))
        ):
            # All boxes of a kind take part in the matching with heads, as in serving.
            own = [None] * len(boxes) if heads is None else match_heads(boxes, heads)
            places = [
                (int(row), boxes[one], None if heads is None or (head := own[one]) is None else heads[head])
                for row, one in zip(owners, chosen, strict=True)
            ]
            self._read(which, frame, places)

    def _read(self, which: int, frame: Frame, places: Sequence[tuple[int, np.ndarray, np.ndarray | None]]) -> None:
        """Classify some rows' boxes: 0 for the true ones, 1 for the found ones."""
        table = self.photos.faces
        for classifier in self.named.values():
            crops = [(row, cut_region(frame, box, head, classifier.served_crop)) for row, box, head in places]
            cut = [(row, crop) for row, crop in crops if crop.image is not None]
            if not cut:
                continue
            outputs = classifier.outputs(np.stack([crop.image for _, crop in cut]))  # type: ignore[misc]
            sides = np.array([crop.side for _, crop in cut])
            rows = np.array([row for row, _ in cut])
            for attribute in classifier.attributes:
                name = attribute.name
                enough = sides >= classifier.least_sides[name]
                self.outputs[which][name][rows[enough]] = outputs[name][enough]
                self.cut_sides[which][name][rows] = sides
                if isinstance(attribute, PointsAttribute):
                    for row, crop in cut:
                        self.targets[which][name][row] = crop.to_crop(table.targets[name][row]) / classifier.crop.size

    def finish(self, detector: FaceDetector | CheckedDetector, precision: str | None) -> EndToEnd:
        """The collected outputs, without the pictures that could not be read."""
        photos, table = self.photos, self.photos.faces
        if len(self.failed) == len(photos.photos):
            raise DataError(f"no picture of {table.path} can be read; the first: {next(iter(self.failed.values()))}")
        kept_photos = [index for index in range(len(photos.photos)) if index not in self.failed]
        lost = [row for index in self.failed for row in photos.photos[index].rows]
        kept = np.setdiff1d(np.arange(len(table)), lost)
        number = np.full(len(table), -1)
        number[kept] = np.arange(len(kept))
        place = {index: place for place, index in enumerate(kept_photos)}
        left = tuple(
            Photo(each.file, each.name, number[each.rows], each.ignored)
            for each in (photos.photos[index] for index in kept_photos)
        )
        rows = table.rows(kept)
        known = [attribute for each in self.named.values() for attribute in each.attributes]
        attributes = tuple(a for a in known if np.isfinite(rows.targets[a.name]).any())
        if not attributes:
            raise DataError(f"{table.path}: no label of {', '.join(each.name for each in known)}")
        reads = []
        for outputs, targets, sides in zip(self.outputs, self.targets, self.cut_sides, strict=True):
            outputs = {each.name: outputs[each.name][kept] for each in attributes}
            here = {each.name: targets[each.name][kept] for each in attributes}
            seen = Predictions(attributes, rows, outputs, here, milliseconds=0.0)
            read = {name: np.isfinite(values).all(axis=1) for name, values in outputs.items()}
            reads.append(Read(seen, read, {each.name: sides[each.name][kept] for each in attributes}))
        entry = detector.release.entry(precision)
        return EndToEnd(
            detector=f"{detector.release.label} ({entry.precision})",
            classifiers={name: f"{each.release.label} ({each.entry.precision})" for name, each in self.named.items()},
            sha256={"detector": entry.sha256} | {name: each.entry.sha256 for name, each in self.named.items()},
            attributes=attributes,
            photos=Photos(rows, left, photos.split, photos.data, photos.without_split),
            picture=np.array([place[index] for index in self.picture[kept]], int),
            least=self.least,
            confidence=detector.confidence,
            boxes=self.boxes[kept],
            overlap=self.overlap[kept],
            sides=self.sides[kept],
            alarms=tuple(Alarm(place[a.photo], a.box, a.confidence) for a in self.alarms),
            on_true=reads[0],
            on_found=reads[1],
            failed=tuple(self.failed.values()),
        )
