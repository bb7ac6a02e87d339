"""Converts results for other libraries: ``supervision.Detections`` and pandas DataFrames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from ..classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from ..core.extras import require
from .result_data import Face, Head, ResultData

if TYPE_CHECKING:
    from pandas import DataFrame
    from supervision import Detections

CLASSES = ("face", "head")
"""Class names by ``class_id``."""
BEFORE = (
    *("source", "error", "width", "height", "frame", "time"),
    *("face", "x1", "y1", "x2", "y2", "confidence", "head", "reason", "track"),
)
"""Columns of a table before those of the attributes; the first six describe the picture."""


def to_supervision(result: ResultData) -> Detections:
    """Convert the faces, then the heads, of a result.

    Args:
        result: of any picture; a result with an error gives no detections.

    Returns:
        ``xyxy`` float32 (n, 4) in frame pixels; ``confidence`` float32 (n,), the detector's; ``class_id`` int64 (n,), 0
        for a face and 1 for a head; ``tracker_id`` for videos with tracking, -1 where there is no track. ``data`` has
        ``class_name``, ``face`` (the index in ``result.faces``, -1 for a head) and, for each attribute of the result,
        its value (text, number, or points as a dict) and, if it has classes, ``<name>_probability``: object arrays,
        None where there is no value. ``metadata`` has source, width, height, frame, time and the models' versions.

    Raises:
        MissingExtraError: supervision is not installed.
    """
    supervision = require("supervision")
    found: list[Face | Head] = [*result.faces, *result.heads]
    boxes = [(each.box.x1, each.box.y1, each.box.x2, each.box.y2) for each in found]
    labels = [0] * len(result.faces) + [1] * len(result.heads)
    data: dict[str, Any] = {
        "class_name": np.array([CLASSES[label] for label in labels], dtype="<U4"),
        "face": np.array([*range(len(result.faces)), *[-1] * len(result.heads)], np.int64),
    }
    for name in dict.fromkeys(name for face in result.faces for name in face.attributes or {}):
        values = [(face.attributes or {}).get(name) for face in result.faces]
        data[name] = _objects([_plain(value) for value in values], len(found))
        if any(isinstance(value, ClassValue) for value in values):
            shares = [value.probability if isinstance(value, ClassValue) else None for value in values]
            data[f"{name}_probability"] = _objects(shares, len(found))
    tracks = [each.track if isinstance(each, Face) and each.track is not None else -1 for each in found]
    used = result.models
    return supervision.Detections(
        xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        confidence=np.array([each.confidence for each in found], np.float32),
        class_id=np.array(labels, np.int64),
        tracker_id=np.array(tracks, np.int64) if any(track >= 0 for track in tracks) else None,
        data=data,
        metadata={
            "source": result.source,
            "width": result.width,
            "height": result.height,
            "frame": result.frame,
            "time": result.time,
            "detector": used.detector.version,
            "classifiers": {name: each.version for name, each in used.classifiers.items()},
        },
    )


def _plain(value: AttributeValue | None) -> object:
    if value is None:
        return None
    return value.value if isinstance(value, ClassValue | NumericValue) else dict(value.points)


def _objects(values: list[Any], length: int) -> np.ndarray:
    """Make an object array of this length; entries after the values (the heads) are None."""
    array = np.full(length, None, object)
    for index, value in enumerate(values):
        array[index] = value
    return array


def to_df(results: ResultData | Iterable[ResultData | tuple[ResultData, Any]]) -> DataFrame:
    """Convert one or many results to a pandas DataFrame.

    >>> import facepipe
    >>> with facepipe.Pipeline() as pipeline:
    ...     table = facepipe.to_df(pipeline.stream("examples"))
    >>> table["gender"].tolist()
    ['female']

    Args:
        results: a result, any number of them, or a stream, whose frames are ignored.

    Returns:
        One row per face, and one for each picture without faces, whose ``face`` is missing. Columns are named as in
        ``facepipe detect --csv``: ``source``, ``error``, ``width``, ``height`` (for videos also ``frame``, ``time``
        and ``track``); ``face``, ``x1``, ``y1``, ``x2``, ``y2`` in pixels of the upright picture, ``confidence``,
        ``head``, ``reason``; then those of the attributes. Numbers are not rounded.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    pandas = require("pandas")
    found = [results] if isinstance(results, ResultData) else results
    rows = [row for each in found for row in _rows(each if isinstance(each, ResultData) else each[0])]
    table = pandas.DataFrame(rows, columns=[*dict.fromkeys([*BEFORE, *(name for row in rows for name in row)])])
    for name in ("frame", "time", "track"):
        if table[name].isna().all():
            table = table.drop(columns=name)
    for name in ("width", "height", "frame", "face", "head", "track"):
        if name in table:
            table[name] = table[name].astype("Int64")
    return table


def _rows(result: ResultData) -> Iterator[dict[str, object]]:
    start: dict[str, object] = {name: getattr(result, name) for name in BEFORE[:6]}
    if not result.faces:
        yield start
    for number, face in enumerate(result.faces):
        box = {side: getattr(face.box, side) for side in ("x1", "y1", "x2", "y2")}
        reason = face.reason or "; ".join(f"{name}: {text}" for name, text in face.reasons.items()) or None
        row = {**start, "face": number, **box, "confidence": face.confidence, "head": face.head}
        row |= {"reason": reason, "track": face.track}
        for name, value in (face.attributes or {}).items():
            row |= _cells(name, value)
        yield row


def _cells(name: str, value: AttributeValue) -> dict[str, object]:
    """The columns of an attribute, named as in the CSV."""
    if isinstance(value, ClassValue):
        shares = {f"{name}_{each}": share for each, share in value.probabilities.items()}
        return {name: value.value, f"{name}_probability": value.probability, **shares}
    if isinstance(value, NumericValue):
        return {name: value.value, f"{name}_low": value.interval[0], f"{name}_high": value.interval[1]}
    return {
        f"{name}_{point}_{axis}": at
        for point, place in value.points.items()
        for axis, at in zip("xy", place, strict=True)
    }
