"""WIDER FACE's own protocol: average precision on its easy, medium and hard faces (Yang et al., CVPR 2016).

Follows the official ``eval_tools`` (MATLAB) and reads its four files of the validation split:
``wider_face_val.mat`` holds the names and all boxes; ``wider_easy_val.mat``, ``wider_medium_val.mat`` and
``wider_hard_val.mat`` hold which boxes of each picture count. These peculiarities are kept:

- Scores are first normalised to 0..1 over all pictures.
- Each detection is compared only to the true box that it overlaps most (IoU 0.5 or more; boxes include their last
  pixel, so a width is ``x2 - x1 + 1``). If that box does not count, the detection is left out; if it was already
  found, the detection is a false positive.
- Precision and recall are sampled at 1000 thresholds; the area under the interpolated curve is computed as in VOC 2010.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import DataError
from ...core.extras import require
from ...weights.manifest import Metric
from .evaluate import Evaluation

SETTINGS = ("easy", "medium", "hard")
THRESHOLDS = 1000
IOU = 0.5
WIDTH = 1024
"""Width in pixels of every picture in WIDER FACE; boxes found in smaller copies are scaled to it."""
FACE = "face"


@dataclass(frozen=True)
class WiderPicture:
    """One picture of the official validation split.

    Attributes:
        event: its folder, such as ``0--Parade``.
        boxes: float, shape (m, 4): x, y, width, height in pixels of the official picture.
        counted: bool, shape (m,), by setting: which boxes count.
    """

    event: str
    boxes: np.ndarray
    counted: dict[str, np.ndarray]


@dataclass(frozen=True)
class WiderScore:
    """Average precision in one setting; None if no face counts."""

    average_precision: float | None
    faces: int


def read_splits(folder: Path) -> dict[str, WiderPicture]:
    """Read the four official files.

    Returns:
        The pictures by file name without suffix, such as ``0_Parade_marchingband_1_465``.

    Raises:
        MissingExtraError: scipy is not installed.
        DataError: a file is missing or not in the official form; the message names it and the picture.
    """
    path = folder / "wider_face_val.mat"
    content = _load(path, "event_list", "file_list", "face_bbx_list")
    settings = {setting: folder / f"wider_{setting}_val.mat" for setting in SETTINGS}
    chosen = {setting: _cells(_load(file, "gt_list")["gt_list"]) for setting, file in settings.items()}
    events, names, boxes = (_cells(content[key]) for key in ("event_list", "file_list", "face_bbx_list"))
    for file, lists in [(path, [names, boxes]), *((settings[setting], [chosen[setting]]) for setting in SETTINGS)]:
        if any(len(each) != len(events) for each in lists):
            raise DataError(f"{file}: {len(lists[0])} events where event_list has {len(events)}")
    found = {}
    for number, event in enumerate(events):
        in_event = _cells(names[number])
        for index, cell in enumerate(in_event):
            name = _text(cell)
            try:
                of_picture = np.asarray(_cells(boxes[number])[index], float).reshape(-1, 4)
                counted = {
                    setting: _flags(_cells(chosen[setting][number])[index], len(of_picture)) for setting in SETTINGS
                }
            except (IndexError, ValueError, TypeError) as error:
                raise DataError(f"{folder}: the files disagree on {_text(event)}/{name}: {error}") from error
            found[name] = WiderPicture(_text(event), of_picture, counted)
    return found


def wider_scores(found: Mapping[str, np.ndarray], pictures: Mapping[str, WiderPicture]) -> dict[str, WiderScore]:
    """Score detections.

    Args:
        found: for each picture of ``pictures``, shape (n, 5): x1, y1, x2, y2 in pixels of the official picture, and
            the confidence.
        pictures: those to score.

    Returns:
        The score in each of ``SETTINGS``.
    """
    scores = [boxes[:, 4] for boxes in found.values() if len(boxes)]
    low, high = (float(end(np.concatenate(scores))) for end in (np.min, np.max)) if scores else (0.0, 1.0)
    span = high - low if high > low else 1.0
    results = {}
    for setting in SETTINGS:
        # At each threshold: detections that are not left out, and true boxes that were found.
        totals, faces = np.zeros((THRESHOLDS, 2)), 0
        for name, picture in pictures.items():
            counted = picture.counted[setting]
            faces += int(counted.sum())
            boxes = found.get(name, np.zeros((0, 5)))
            if not len(boxes) or not len(picture.boxes):
                continue
            boxes = boxes[np.argsort(-boxes[:, 4], kind="stable")]
            normalised = (boxes[:, 4] - low) / span if high > low else np.ones(len(boxes))
            totals += _picture_counts(boxes[:, :4], normalised, picture.boxes, counted)
        results[setting] = WiderScore(_average_precision(totals, faces) if faces else None, faces)
    return results


def wider_metrics(evaluation: Evaluation, folder: Path) -> tuple[list[Metric], str]:
    """Score an evaluation's pictures that are in WIDER FACE's official split.

    A picture is in the official split if its file has the official name, optionally with a ``SOURCE__`` prefix.

    Args:
        evaluation: of a detector that finds faces.
        folder: holds the four official files.

    Returns:
        The metrics, and a description of the protocol.

    Raises:
        MissingExtraError, DataError: as :func:`read_splits`; or no picture is in the official split.
    """
    official = read_splits(folder)
    found: dict[str, np.ndarray] = {}
    for prediction in evaluation.predictions:
        name = prediction.picture.path.stem.rpartition("__")[2]
        if name in official and FACE in prediction.truth and FACE in evaluation.classes:
            mine = prediction.of(FACE)
            scale = WIDTH / prediction.width
            found[name] = np.column_stack([mine.boxes.astype(float) * scale, mine.confidence.astype(float)])
    if not found:
        raise DataError(f"{folder}: none of the pictures measured is one of the {len(official):,} of these files")
    scores = wider_scores(found, {name: official[name] for name in found})
    metrics = [
        Metric(
            name=f"AP by WIDER FACE's protocol, {setting}",
            value=None if score.average_precision is None else round(score.average_precision, 4),
            count=score.faces,
        )
        for setting, score in scores.items()
    ]
    part = "" if len(found) == len(official) else ", so not comparable with published figures"
    return metrics, (
        f"WIDER FACE's protocol: {len(found):,} of the {len(official):,} official validation pictures{part}; "
        f"1000 thresholds, IoU {IOU:g}"
    )


def _picture_counts(found: np.ndarray, confidence: np.ndarray, truth: np.ndarray, counted: np.ndarray) -> np.ndarray:
    """One picture's contribution to the totals, shape (THRESHOLDS, 2).

    Args:
        found: shape (n, 4), corners, most confident first.
        confidence: shape (n,), normalised.
        truth: shape (m, 4), x, y, width, height.
        counted: bool, shape (m,).
    """
    overlaps = _overlaps(found, np.concatenate([truth[:, :2], truth[:, :2] + truth[:, 2:]], axis=1))
    kept = np.ones(len(found), bool)
    taken = np.zeros(len(truth), bool)
    right = np.zeros(len(found), int)
    for index, (best, overlap) in enumerate(zip(overlaps.argmax(axis=1), overlaps.max(axis=1), strict=True)):
        if overlap >= IOU:
            if counted[best]:
                taken[best] = True
            else:
                kept[index] = False
        right[index] = taken.sum()
    thresholds = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
    last = np.searchsorted(-confidence, -thresholds, side="right")  # boxes at or above each threshold
    return np.column_stack([np.append(0, np.cumsum(kept))[last], np.append(0, right)[last]])


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of corner boxes that include their last pixel, shapes (n, 4) and (m, 4) to (n, m)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2]) + 1
    common = np.clip(sides, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=1) for boxes in (a, b)]
    return common / (areas[0][:, None] + areas[1][None, :] - common)


def _average_precision(totals: np.ndarray, faces: int) -> float:
    precision = np.divide(totals[:, 1], totals[:, 0], out=np.zeros(len(totals)), where=totals[:, 0] > 0)
    recall = totals[:, 1] / faces
    recall, precision = np.concatenate([[0], recall, [1]]), np.concatenate([[0], precision, [0]])
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall) * precision[1:]).sum())


def _load(path: Path, *keys: str) -> dict[str, Any]:
    matlab = require("scipy.io.matlab")
    try:
        content = matlab.loadmat(io.BytesIO(path.read_bytes()))
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        raise DataError(f"{path}: {reason}; it comes with WIDER FACE's official eval_tools") from error
    except (matlab.MatReadError, ValueError, TypeError, NotImplementedError) as error:  # the last: MATLAB 7.3
        raise DataError(f"{path}: not a MATLAB file that scipy can read: {error}") from error
    if missing := [key for key in keys if key not in content]:
        raise DataError(f"{path}: has no {', '.join(missing)}; it is not the file of WIDER FACE's eval_tools")
    return content


def _cells(value: Any) -> list[Any]:
    """The cells of a MATLAB cell array."""
    return list(np.asarray(value, object).ravel()) if np.asarray(value).dtype == object else [value]


def _text(cell: Any) -> str:
    """The text in a cell, at any nesting depth."""
    while isinstance(cell, np.ndarray):
        cell = cell.ravel()[0] if cell.size else ""
    return str(cell)


def _flags(numbers: Any, count: int) -> np.ndarray:
    """Convert 1-based box numbers to one flag per box."""
    chosen = np.asarray(numbers, int).ravel()
    if len(chosen) and not 1 <= chosen.min() <= chosen.max() <= count:
        raise ValueError(f"box {chosen.max()} is chosen of {count}")
    flags = np.zeros(count, bool)
    flags[chosen - 1] = True
    return flags
