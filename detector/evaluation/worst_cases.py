"""The worst cases of an evaluation as contact sheet cells: most large faces missed, most confident false alarms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.contact_sheet import Cell, Mark
from .evaluate import Evaluation
from .matching import BIG, CLEAR, EVERY, longer_side
from .predictions import Prediction, read_picture

RIGHT, WRONG, MISSED = (80, 200, 60), (50, 50, 240), (40, 220, 250)
"""BGR: true box found, false alarm, true box missed."""
AROUND, LEAST_SIDE = 5.0, 96.0
"""Side of the square crop around a false alarm: this many times its longer side, and at least this many pixels."""


@dataclass(frozen=True)
class Misses:
    """A picture with boxes missed at the detector's own threshold."""

    prediction: Prediction
    missed: int
    """Missed boxes of at least 32 px at 640."""
    wanted: int


@dataclass(frozen=True)
class Alarm:
    """A false alarm at or above the detector's own threshold, of at least 16 px at 640."""

    prediction: Prediction
    name: str
    box: np.ndarray
    """Shape (4,), corners in pixels of the picture."""
    confidence: float


def most_missed(evaluation: Evaluation, most: int = 12) -> list[Misses]:
    """The pictures with the most missed boxes of at least 32 px, worst first."""
    found = []
    for prediction in evaluation.predictions:
        missed = wanted = 0
        for name in _labelled(evaluation, prediction):
            _, match = prediction.match(name, CLEAR, evaluation.confidence)
            wanted += int(match.wanted.sum())
            missed += int(match.wanted.sum()) - int(match.correct.sum())
        if missed:
            found.append(Misses(prediction, missed, wanted))
    return sorted(found, key=lambda each: (-each.missed, -each.missed / each.wanted, each.prediction.picture.file))[
        :most
    ]


def most_confident_alarms(evaluation: Evaluation, most: int | None = 12) -> list[Alarm]:
    """The most confident false alarms, most confident first; all of them if ``most`` is None."""
    found = []
    for prediction in evaluation.predictions:
        for name in _labelled(evaluation, prediction):
            confidence, match = prediction.match(name, BIG, evaluation.confidence)
            boxes = prediction.of(name, evaluation.confidence).boxes
            for index in np.nonzero(match.counts & ~match.correct)[0].tolist():
                found.append(Alarm(prediction, name, boxes[index], float(confidence[index])))
    return sorted(found, key=lambda each: -each.confidence)[:most]


def worst_cells(evaluation: Evaluation, most: int = 12) -> list[Cell]:
    """Cells for ``contact_sheet``: the pictures with the most missed boxes, then the most confident false alarms.

    There are up to ``most`` of each; false alarms are cropped with some surroundings. Green marks true boxes that were
    found, yellow those that were missed, and red false alarms. All are at the detector's own threshold and in labelled
    classes only.

    Raises:
        DataError: a picture can no longer be read.
    """
    cells = []
    for miss in most_missed(evaluation, most):
        frame = read_picture(miss.prediction.picture.path)
        caption = f"missed {miss.missed} of {miss.wanted}: {miss.prediction.picture.file.rpartition('/')[2]}"
        cells.append(Cell(frame, caption, marks(evaluation, miss.prediction)))
    shown_once: dict[str, Alarm] = {}
    for alarm in most_confident_alarms(evaluation, None):
        shown_once.setdefault(alarm.prediction.picture.file, alarm)
    for alarm in list(shown_once.values())[:most]:
        frame = read_picture(alarm.prediction.picture.path)
        x1, y1, x2, y2 = _window(alarm.box, *frame.shape[:2])
        shown = [
            Mark((m.box[0] - x1, m.box[1] - y1, m.box[2] - x1, m.box[3] - y1), m.colour, m.text)
            for m in marks(evaluation, alarm.prediction)
            if m.box[0] < x2 and m.box[2] > x1 and m.box[1] < y2 and m.box[3] > y1
        ]
        caption = f"{alarm.name} {alarm.confidence:.2f}: {alarm.prediction.picture.file.rpartition('/')[2]}"
        cells.append(Cell(frame[y1:y2, x1:x2], caption, shown))
    return cells


def marks(evaluation: Evaluation, prediction: Prediction) -> list[Mark]:
    """Right, missed and wrong boxes of one picture at the detector's own threshold, in drawing order."""
    right, wrong, missed = [], [], []
    for name in _labelled(evaluation, prediction):
        confidence, match = prediction.match(name, EVERY, evaluation.confidence)
        found, truth = prediction.of(name, evaluation.confidence).boxes, prediction.truth[name]
        taken = set(match.truth[match.truth >= 0].tolist())
        for index, box in enumerate(truth):
            if index in taken:
                right.append(Mark(_corners(box), RIGHT))
            else:
                missed.append(Mark(_corners(box), MISSED))
        for index in np.nonzero(match.counts & ~match.correct)[0].tolist():
            wrong.append(Mark(_corners(found[index]), WRONG, f"{name} {confidence[index]:.2f}"))
    return right + missed + wrong


def _labelled(evaluation: Evaluation, prediction: Prediction) -> list[str]:
    return [name for name in evaluation.classes if name in prediction.truth]


def _corners(box: np.ndarray) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (float(side) for side in box)
    return x1, y1, x2, y2


def _window(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """A square around a box, shifted into the picture; smaller only if the picture is."""
    side = max(AROUND * float(longer_side(box.reshape(1, 4))[0]), LEAST_SIDE)
    found = []
    for centre, room in (((box[0] + box[2]) / 2, width), ((box[1] + box[3]) / 2, height)):
        whole = min(round(side), room)
        low = int(np.clip(round(float(centre) - whole / 2), 0, room - whole))
        found.append((low, low + whole))
    (x1, x2), (y1, y2) = found
    return x1, y1, x2, y2
