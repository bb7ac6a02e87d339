"""Measure what is lost where, end to end, with confidence intervals.

A labelled face is *right* end to end if it was found and its attribute is right on the found box. The gap to 1 is split
exactly, face by face:

- ``unread``: the classifier refuses the true box (too small);
- ``classifier``: wrong on the true box;
- ``missed``: right on the true box, but the face was not found;
- ``shifted``: right on the true box but not on the found one, minus those right on the found one only.

Right means: for classes, the likeliest one is the labelled one; for numbers, within 5 % of the range (5 years), or in
the labelled range if only that is known; for points, the eyes are off by less than a tenth of their distance. The
errors themselves (years, eye distances) have no value for a missed face. They are reported separately, on the found
faces, with both boxes paired.

Intervals are 95 % percentiles of a cluster bootstrap (Davison and Hinkley, "Bootstrap Methods and their Application",
1997, section 3.8). Whole pictures are drawn, because the faces in one share its light and its blur. Differences are
drawn as differences of the same faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...classifier.evaluation.generalisation import measure_of
from ...classifier.evaluation.metrics import CLEAR, NEAR, row_errors, scores
from ...classifier.evaluation.subgroups import SMALLEST, features
from ...classifier.inference.attributes import numbers
from ...detector.evaluation.matching import BANDS, Sizes
from ...weights.manifest import Attribute, Metric, NumericAttribute, PointsAttribute
from .predictions import EndToEnd, Read

BOOTS, BLOCK = 1000, 100
"""Number of bootstrap resamplings, and how many are drawn at a time."""
STEPS = ("unread", "classifier", "missed", "shifted")
"""Where something is lost, in processing order."""
SIZES = (Sizes(0, 8), *BANDS)


@dataclass(frozen=True)
class Figure:
    """A mean over rows with its 95 % interval.

    Attributes:
        value: NaN without rows.
        count: number of rows behind it.
    """

    value: float
    low: float
    high: float
    count: int


def mean_figures(values: np.ndarray, pictures: np.ndarray, boots: int = BOOTS, seed: int = 0) -> list[Figure]:
    """The mean of each column, with an interval from a bootstrap by picture.

    Args:
        values: float (n, k); NaN does not count.
        pictures: int (n,), the picture of each row; whole pictures are drawn.
        boots: number of resamplings.
        seed: of the random draws.

    Returns:
        A figure for each of the k columns.
    """
    known = np.isfinite(values)
    _, own = np.unique(pictures, return_inverse=True)
    total = own.max() + 1 if len(own) else 0
    sums, counts = np.zeros((total, values.shape[1])), np.zeros((total, values.shape[1]))
    np.add.at(sums, own, np.where(known, values, 0.0))
    np.add.at(counts, own, known)
    random, drawn = np.random.default_rng(seed), []
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, boots if total else 0, BLOCK):
            times = random.multinomial(total, np.full(total, 1 / total), min(BLOCK, boots - start))
            drawn.append((times @ sums) / (times @ counts))
        means = sums.sum(axis=0) / counts.sum(axis=0)
    found = []
    for column, mean in enumerate(means):
        own_means = np.concatenate([each[:, column] for each in drawn])
        own_means = own_means[np.isfinite(own_means)]
        low, high = np.percentile(own_means, (2.5, 97.5)) if len(own_means) else (np.nan, np.nan)
        found.append(Figure(float(mean), float(low), float(high), int(counts[:, column].sum())))
    return found


@dataclass(frozen=True)
class Losses:
    """One attribute from perfect to end to end: ``end == 1 - unread - classifier - missed - shifted``.

    Attributes:
        right: what counts as right, in words.
        on_true: share right on the true boxes, of all labelled faces.
        steps: the loss at each of ``STEPS``; ``shifted`` may be negative.
        end: share right end to end.
        on_true_found, on_found: share right on either box, of the faces that were found.
    """

    attribute: str
    right: str
    on_true: Figure
    steps: dict[str, Figure]
    end: Figure
    on_true_found: Figure
    on_found: Figure


@dataclass(frozen=True)
class Errors:
    """An error that is defined only for faces that were read, on the true boxes and on the found ones.

    Attributes:
        measure: ``mae`` in the attribute's unit, ``eye_error`` or ``point_error_of_side``, or ``interval_coverage``.
        every: on the true boxes of all faces.
        on_true, on_found: of the faces read on both boxes.
        shift: the paired difference of these two; above 0 where the found boxes give more.
    """

    attribute: str
    measure: str
    every: Figure
    on_true: Figure
    on_found: Figure
    shift: Figure


@dataclass(frozen=True)
class Part:
    """The faces of one size or of one group of people.

    Attributes:
        kind: ``size``, or the feature.
        name: of the size or group.
        found: share of the faces found.
        losses: of each attribute that is labelled here.
    """

    kind: str
    name: str
    found: Figure
    losses: tuple[Losses, ...]


def right_rows(
    attribute: Attribute,
    output: np.ndarray,
    target: np.ndarray,
    starts: np.ndarray,
    sides: np.ndarray | None = None,
) -> np.ndarray:
    """Whether each row is right, float (n,): 1 or 0, NaN if unlabelled.

    Args:
        attribute: the schema's entry.
        output: (n, width) as the classifier gives it.
        target: as in FaceTable; points as fractions of the crop's side.
        starts: ascending starts of a number's labelled ranges; a value belongs to the last range that starts below it.
        sides: longer sides of the boxes in pixels, (n,); None treats every face as large.
    """
    errors = row_errors(attribute, output, target, sides)
    if isinstance(attribute, PointsAttribute):
        return np.where(np.isnan(errors), np.nan, errors < CLEAR)
    if not isinstance(attribute, NumericAttribute):
        return 1 - errors
    close = np.where(np.isnan(errors), np.nan, errors <= NEAR * (attribute.high - attribute.low))
    values, _ = numbers(attribute, output, sides)
    ranged = np.isnan(target[:, 0]) & ~np.isnan(target[:, 1])
    same = np.searchsorted(starts, values, side="right") == np.searchsorted(starts, target[:, 1], side="right")
    return np.where(ranged, same, close)


def criterion(attribute: Attribute, target: np.ndarray) -> str:
    """When :func:`right_rows` counts a row as right, in a few words.

    Args:
        attribute: the schema's entry.
        target: labels as in FaceTable, (n, columns of the attribute).
    """
    if isinstance(attribute, PointsAttribute):
        return f"{'eyes' if attribute.mirror else 'points'} within {CLEAR:g}"
    if not isinstance(attribute, NumericAttribute):
        return "right class"
    within = f"within {NEAR * (attribute.high - attribute.low):g} {attribute.unit}"
    exact, ranged = ~np.isnan(target[:, 0]), np.isnan(target[:, 0]) & ~np.isnan(target[:, 1])
    return "right range" if not exact.any() else f"{within}, or right range" if ranged.any() else within


class Figures:
    """The figures of both models on some photos, computed on first use."""

    def __init__(self, seen: EndToEnd, boots: int = BOOTS):
        self.seen, self.boots = seen, boots

    def mean(self, values: np.ndarray, rows: np.ndarray | None = None) -> Figure:
        """The mean of one number per row, over some rows.

        Args:
            values: (n,), one for each labelled face; NaN does not count.
            rows: bool or int (k,), the faces to include; None takes all.
        """
        chosen = slice(None) if rows is None else rows
        return mean_figures(values[chosen][:, None], self.seen.picture[chosen], self.boots)[0]

    @cached_property
    def found(self) -> Figure:
        """Share of the labelled faces that were found."""
        return self.mean(self.seen.found.astype(float))

    @cached_property
    def overlap(self) -> Figure:
        """Mean intersection over union of found and true boxes."""
        return self.mean(self.seen.overlap)

    @cached_property
    def alarms(self) -> Figure:
        """False face alarms per picture."""
        count = len(self.seen.photos.photos)
        each = np.bincount([alarm.photo for alarm in self.seen.alarms], minlength=count).astype(float)
        return mean_figures(each[:, None], np.arange(count), self.boots)[0]

    @cached_property
    def convention(self) -> dict[str, float]:
        """Median difference between found boxes and labels.

        ``width`` and ``height`` are ratios, ``right`` and ``down`` fractions of the true box's longer side. Empty if
        nothing was found.
        """
        seen = self.seen
        if not seen.found.any():
            return {}
        true, own = seen.photos.faces.boxes[seen.found].astype(float), seen.boxes[seen.found]
        sides, found = true[:, 2:] - true[:, :2], own[:, 2:] - own[:, :2]
        moved = ((own[:, 2:] + own[:, :2]) - (true[:, 2:] + true[:, :2])) / 2 / sides.max(axis=1, keepdims=True)
        ratios = found / sides
        values = np.median(np.concatenate([ratios, moved], axis=1), axis=0)
        return dict(zip(("width", "height", "right", "down"), values.tolist(), strict=True))

    @cached_property
    def losses(self) -> tuple[Losses, ...]:
        """The losses of each attribute, over all faces."""
        return self._losses(np.ones(len(self.seen.picture), bool))

    def _losses(self, rows: np.ndarray) -> tuple[Losses, ...]:
        return tuple(each for attribute in self.seen.attributes if (each := self._loss(attribute, rows)) is not None)

    @cached_property
    def _right(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each attribute and either box: 1 if a row is right, 0 if wrong or not read, NaN if unlabelled."""
        found = {}
        for attribute in self.seen.attributes:
            labels = self.seen.photos.faces.targets[attribute.name]
            starts = np.zeros(0)
            if isinstance(attribute, NumericAttribute):
                known = np.isnan(labels[:, 0]) & ~np.isnan(labels[:, 1])
                starts = np.unique(labels[known, 1])
            both = []
            for read in (self.seen.on_true, self.seen.on_found):
                output, target = _filled(read, attribute)
                right = right_rows(attribute, output, target, starts, read.sides[attribute.name])
                both.append(np.where(np.isnan(right) | read.read[attribute.name], right, 0.0))
            labelled = ~np.isnan(both[0])  # points are labelled in the true crop, even without a found crop
            found[attribute.name] = both[0], np.where(labelled, np.nan_to_num(both[1]), np.nan)
        return found

    def _loss(self, attribute: Attribute, rows: np.ndarray) -> Losses | None:
        true, own = self._right[attribute.name]
        rows = rows & ~np.isnan(true)
        if not rows.any():
            return None
        found, read = self.seen.found, self.seen.on_true.read[attribute.name]
        columns = {
            "on_true": true,
            "unread": (~read).astype(float),
            "classifier": (read & (true == 0)).astype(float),
            "missed": np.where(found, 0.0, true),
            "shifted": np.where(found, true - own, 0.0),
            "end": np.where(found, own, 0.0),
            "on_true_found": np.where(found, true, np.nan),
            "on_found": np.where(found, own, np.nan),
        }
        values = np.stack(list(columns.values()), axis=1)[rows]
        figures = dict(zip(columns, mean_figures(values, self.seen.picture[rows], self.boots), strict=True))
        return Losses(
            attribute=attribute.name,
            right=criterion(attribute, self.seen.photos.faces.targets[attribute.name]),
            steps={step: figures.pop(step) for step in STEPS},
            **figures,
        )

    @cached_property
    def errors(self) -> tuple[Errors, ...]:
        """The errors of numbers and points."""
        found = []
        for attribute in self.seen.attributes:
            if not isinstance(attribute, NumericAttribute | PointsAttribute):
                continue
            pair = [_errors(read, attribute) for read in (self.seen.on_true, self.seen.on_found)]
            for measure in pair[0]:
                true, own = (each[measure] for each in pair)
                both = ~np.isnan(true) & ~np.isnan(own)
                if not both.any():
                    continue
                columns = np.stack([np.where(both, each, np.nan) for each in (true, own, own - true)], axis=1)
                every, *rest = mean_figures(np.column_stack([true, columns]), self.seen.picture, self.boots)
                found.append(Errors(attribute.name, measure, every, *rest))
        return tuple(found)

    def scores(self) -> dict[str, list[Metric]]:
        """The classifier's own detailed metrics (``classifier/evaluation/metrics.py``).

        They are computed on the true boxes of all faces, and on either box of the found faces.
        """
        found = self.seen.found
        parts = {"true boxes": (self.seen.on_true, np.ones(len(found), bool))}
        parts |= {"true boxes, found faces": (self.seen.on_true, found), "found boxes": (self.seen.on_found, found)}
        metrics: dict[str, list[Metric]] = {}
        for name, (read, rows) in parts.items():
            metrics[name] = []
            for attribute in self.seen.attributes:
                both = rows & self.seen.on_true.read[attribute.name]
                both &= self.seen.on_found.read[attribute.name] | (name == "true boxes")
                seen = read.seen
                output, target = seen.outputs[attribute.name][both], seen.targets[attribute.name][both]
                metrics[name] += scores(attribute, output, target, True, read.sides[attribute.name][both])
        return metrics

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """By face size, and by each feature of the people and the source, in groups of at least ``SMALLEST``."""
        named: list[tuple[str, str, np.ndarray]] = [
            ("size", str(size).removesuffix(" at 640"), size.holds(self.seen.sides)) for size in SIZES
        ]
        for kind, values in features(self.seen.photos.faces).items():
            for value in sorted(set(values.tolist()) - {""}):
                rows = values == value
                if rows.sum() >= SMALLEST:
                    named.append((kind, value, rows))
        found = self.seen.found.astype(float)
        return tuple(
            Part(kind, name, self.mean(found, rows), self._losses(rows)) for kind, name, rows in named if rows.any()
        )


def _filled(read: Read, attribute: Attribute) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and labels of an attribute, with zeros as outputs of rows that were not read."""
    known = read.read[attribute.name]
    output = np.where(known[:, None], read.seen.outputs[attribute.name], 0.0)
    return output, read.seen.targets[attribute.name]


def _errors(read: Read, attribute: Attribute) -> dict[str, np.ndarray]:
    """Errors of rows that were read and labelled, (n,) each, NaN elsewhere."""
    output, target = _filled(read, attribute)
    known = read.read[attribute.name]
    sides = read.sides[attribute.name]
    found = {measure_of(attribute): np.where(known, row_errors(attribute, output, target, sides), np.nan)}
    if isinstance(attribute, NumericAttribute):
        _, ends = numbers(attribute, output, sides)
        number = target[:, 0]
        holds = (number >= ends[:, 0]) & (number <= ends[:, 1])
        found["interval_coverage"] = np.where(known & ~np.isnan(number), holds, np.nan)
    return found
