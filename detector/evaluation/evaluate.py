"""Evaluate a detector, through the code used in production, on labelled pictures.

Protocol: average precision at IoU 0.5 is the area under the interpolated precision-recall curve (PASCAL VOC 2010 and
later), by class over the pictures that are labelled for it. COCO's mean over IoU 0.5 to 0.95 (``coco_scores``) is given
beside it. Sizes refer to the picture scaled to a longest side of 640 pixels; a box's size is its longer side. Ignore
regions and boxes out of a size range are ignored, as are detections matched to them and detections out of the range.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from ...core.bootstrap import central
from ...core.errors import DataError
from ...core.extras import require
from ...weights.manifest import Metric, Metrics
from ..data.dataset import DataDescription
from .coco_ap import CocoScore, coco_scores
from .matching import BIG, CLEAR, EVERY, IOU, RANGES, REFERENCE, Match, Scored, Sizes, resampled_precision
from .predictions import CONFIDENCE, MAX_DETECTIONS, Detector, Prediction, predict

RATES = (EVERY, BIG)
"""Size ranges that also get precision, a COCO score, and a confidence interval of their average precision."""


@dataclass(frozen=True)
class Evaluation:
    """The detections of one detector in one split of a data set, and their scores.

    Attributes:
        name: of the detector.
        predictions: the pictures with the truth and all detections down to a confidence of ``CONFIDENCE``.
        classes: the classes that both the detector and the data have.
        confidence: the detector's own threshold, used for precision, recall and false alarms.
        protocol: description of the protocol, with the detector's settings.
        command: the command line that repeats this measurement.
        coco: COCO's scores by class and size range.
        file_sha256: of the model file, if the detector provides it (``sha256``).
        labels_sha256: of the data set.
        milliseconds: per picture, with the settings used in production; None unless several detectors were measured.
        further: metrics of other protocols, each described in ``protocol``.
    """

    name: str
    predictions: tuple[Prediction, ...]
    classes: tuple[str, ...]
    confidence: float
    protocol: str
    command: str
    coco: dict[tuple[str, Sizes], CocoScore] = field(repr=False)
    file_sha256: str | None = None
    labels_sha256: str | None = None
    milliseconds: float | None = None
    further: tuple[Metric, ...] = ()

    @property
    def title(self) -> str:
        """The name, prefixed if it is only a version."""
        return self.name if ":" in self.name else f"detector {self.name}"

    @property
    def pictures(self) -> int:
        return len(self.predictions)

    @cached_property
    def matches(self) -> dict[tuple[str, Sizes], list[tuple[Prediction, np.ndarray, Match]]]:
        """By class and size range: labelled pictures with the confidence of their detections, (n,), and the match."""
        return {
            (name, sizes): [(each, *each.match(name, sizes)) for each in self.predictions if name in each.truth]
            for name in self.classes
            for sizes in RANGES
        }

    @cached_property
    def scores(self) -> dict[tuple[str, Sizes], Scored]:
        """Scores by class and size range."""
        return {
            key: Scored.joined((confidence, match) for _, confidence, match in value)
            for key, value in self.matches.items()
        }

    @cached_property
    def resampled(self) -> dict[str, np.ndarray]:
        """Average precision in each resampling of the pictures, (n,), by metric name, for each class and ``RATES``."""
        return {
            _ap50(name, sizes): resampled_precision([(found, match) for _, found, match in self.matches[name, sizes]])
            for name in self.classes
            for sizes in RATES
            if self.scores[name, sizes].positives
        }

    @cached_property
    def by_source(self) -> dict[tuple[str, str, Sizes], Scored]:
        """Scores by source, class and size range; only for sources labelled for the class."""
        found: dict[tuple[str, str, Sizes], list[tuple[np.ndarray, Match]]] = {}
        for (name, sizes), value in self.matches.items():
            for prediction, confidence, match in value:
                found.setdefault((prediction.picture.source, name, sizes), []).append((confidence, match))
        return {key: Scored.joined(found[key]) for key in sorted(found)}

    @cached_property
    def empty(self) -> tuple[Prediction, ...]:
        """Pictures labelled for every class and without any box: every detection in them is a false alarm."""
        return tuple(prediction for prediction in self.predictions if prediction.empty)

    @property
    def empty_pictures(self) -> int:
        return len(self.empty)

    def alarms(self, name: str) -> np.ndarray:
        """Confidence of all detections of one class in the pictures without any box, shape (n,)."""
        return np.concatenate([np.zeros(0), *(prediction.of(name).confidence for prediction in self.empty)])

    @property
    def false_alarms(self) -> int:
        """Number of false alarms of any class at the detector's own threshold in pictures without any box."""
        return sum(int((self.alarms(name) >= self.confidence).sum()) for name in self.classes)

    def metrics(self, command: str | None = None) -> Metrics:
        """The metrics for a manifest, the most important first."""
        values = [self._average(name, sizes) for sizes in (BIG, EVERY) for name in self.classes]
        values += [self._rate("recall", name, CLEAR) for name in self.classes]
        if self.empty:
            values.append(self._alarms("false alarms", self.false_alarms))
        for name in self.classes:
            values += [self._average(name, sizes) for sizes in RANGES]
            values += [self._coco(name, sizes) for sizes in RATES]
            values += [self._rate("precision", name, sizes) for sizes in RATES]
            values += [self._rate("recall", name, sizes) for sizes in RANGES]
            if self.empty:
                count = int((self.alarms(name) >= self.confidence).sum())
                values.append(self._alarms(f"false {name} alarms", count))
        if len(self.classes) > 1:
            values += [self._mean(what, sizes) for sizes in RATES for what in ("mAP50", "mAP50-95")]
        if len({prediction.picture.source for prediction in self.predictions}) > 1:
            for (source, name, sizes), scored in self.by_source.items():
                if sizes in RATES and scored.positives:
                    text = f"AP50 by source, {source}: {name} boxes {sizes}"
                    values.append(_metric(text, scored.average_precision(), scored.positives))
        values += self.further
        once = {metric.name: metric for metric in values}
        return Metrics(
            protocol=self.protocol,
            command=command or self.command,
            values=tuple(once.values()),
            file_sha256=self.file_sha256,
            labels_sha256=self.labels_sha256,
        )

    def with_further(self, metrics: Sequence[Metric], protocol: str) -> Evaluation:
        """Return this evaluation with metrics of another protocol added."""
        return replace(self, further=(*self.further, *metrics), protocol=f"{self.protocol}. {protocol}")

    def _average(self, name: str, sizes: Sizes) -> Metric:
        scored = self.scores[name, sizes]
        metric = _metric(_ap50(name, sizes), scored.average_precision(), scored.positives)
        interval = central(self.resampled[metric.name]) if metric.name in self.resampled else None
        if interval is None:
            return metric
        return metric.model_copy(update={"interval": (round(interval[0], 4), round(interval[1], 4))})

    def _coco(self, name: str, sizes: Sizes) -> Metric:
        return _metric(f"AP50-95, {name} boxes {sizes}", self.coco[name, sizes].ap, self.scores[name, sizes].positives)

    def _rate(self, what: str, name: str, sizes: Sizes) -> Metric:
        scored = self.scores[name, sizes]
        value = scored.at(self.confidence)[what == "recall"]
        return _metric(f"{what} at {self.confidence:g}, {name} boxes {sizes}", value, scored.positives)

    def _alarms(self, what: str, count: int) -> Metric:
        name = f"{what} a picture at {self.confidence:g}, pictures without a person"
        return _metric(name, count / len(self.empty), len(self.empty))

    def _mean(self, what: str, sizes: Sizes) -> Metric:
        """Mean over the classes that have boxes to find."""
        if what == "mAP50":
            each = [self.scores[name, sizes].average_precision() for name in self.classes]
        else:
            each = [self.coco[name, sizes].ap for name in self.classes]
        known = [value for value in each if value is not None]
        count = sum(self.scores[name, sizes].positives for name in self.classes)
        return _metric(f"{what}, {' and '.join(self.classes)} boxes {sizes}", _average(known), count)


def _ap50(name: str, sizes: Sizes) -> str:
    return f"AP50, {name} boxes {sizes}"


def _average(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _metric(name: str, value: float | None, count: int) -> Metric:
    return Metric(name=name, value=None if value is None else round(value, 4), count=count)


def evaluate(
    detector: Detector,
    description: DataDescription,
    split: str = "val",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a detector on one split of a data set.

    Args:
        detector: a ``FaceDetector`` or one of ``baselines``, with the settings used in production. Only its confidence
            and number of boxes are relaxed for the curves.
        description: the data set.
        split: ``train``, ``val``, or another split of the data set.
        progress: called with the number of pictures done and the total.

    Raises:
        DataError: a picture cannot be read, or the data set has no such split or none of the detector's classes.
        MissingExtraError: faster-coco-eval is not installed.
    """
    return evaluate_all([detector], description, split, progress)[0]


def evaluate_all(
    detectors: Sequence[Detector],
    description: DataDescription,
    split: str = "val",
    progress: Callable[[int, int], None] | None = None,
    names: Sequence[str] | None = None,
) -> list[Evaluation]:
    """Measure several detectors side by side: on the same pictures, read once, and timed over the same periods.

    Classes that a detector lacks are not measured for it. Errors are those of :func:`evaluate`.

    Args:
        detectors: of any kind.
        description: the data set.
        split: the split to measure.
        progress: called with the number of pictures done and the total.
        names: of the detectors, if their own names are ambiguous.
    """
    require("faster_coco_eval")
    names = names or [detector_name(detector) for detector in detectors]
    classes = [_common(detector, description) for detector in detectors]
    predictions, milliseconds = predict(detectors, description, split, progress)
    return [
        Evaluation(
            name=name,
            predictions=pictures,
            classes=common,
            confidence=detector.confidence,
            protocol=_protocol(detector, description, split, common),
            command=f"facepipe evaluate-detector --data {description.yaml.name} --detector {name} --split {split}",
            coco={(each, sizes): score for each in common for sizes, score in coco_scores(pictures, each).items()},
            file_sha256=getattr(detector, "sha256", None),
            labels_sha256=description.labels_sha256,
            milliseconds=spent,
        )
        for detector, name, common, pictures, spent in zip(
            detectors, names, classes, predictions, milliseconds, strict=True
        )
    ]


def detector_name(detector: Detector) -> str:
    """The name of a baseline, or the version of a release."""
    named = getattr(detector, "name", None)
    release = getattr(detector, "release", None)
    return str(named or (release.label if release is not None else type(detector).__name__))


def _common(detector: Detector, description: DataDescription) -> tuple[str, ...]:
    names = tuple(name for name in description.classes if name in detector.classes)
    if not names:
        raise DataError(
            f"{description.yaml}: has the classes {', '.join(description.classes)}, but {detector_name(detector)} "
            f"finds {', '.join(detector.classes)}: nothing in common to measure"
        )
    return names


def _protocol(detector: Detector, description: DataDescription, split: str, names: tuple[str, ...]) -> str:
    unmeasured = [name for name in description.classes if name not in names]
    return (
        f"{split} split, {len(description.pictures[split])} pictures, labels {description.labels_sha256[:12]}; "
        f"input {input_text(detector)}, confidence >= {CONFIDENCE:g}, NMS IoU {getattr(detector, 'iou', IOU):g}, "
        f"at most {MAX_DETECTIONS} boxes; IoU {IOU:g}, AP50-95 as COCO's; sizes by the longer side in the picture "
        f"scaled to {REFERENCE} px; ignore regions and unlabelled classes left out"
        + (f"; {', '.join(unmeasured)} not measured: this detector has no such class" if unmeasured else "")
    )


def input_text(detector: Detector) -> str:
    """How a detector preprocesses pictures, for the protocol."""
    text = getattr(detector, "input_text", None)
    if text:
        return str(text)
    tiles = getattr(detector, "tiles", None)
    return f"{detector.imgsz} px" + (f" and tiles of {tiles} px" if tiles else "")  # type: ignore[attr-defined]
