"""Results as ``supervision.Detections``, for its annotators, zones, sinks and metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from ..core.errors import MissingExtraError
from .results import Face, Head, Result

if TYPE_CHECKING:
    from supervision import Detections

CLASSES = ("face", "head")
"""By ``class_id``."""


def to_supervision(result: Result) -> Detections:
    """The faces, and then the heads, of a result.

    Args:
        result: of any picture; one with an error gives no detections.

    Returns:
        ``xyxy`` float32 (n, 4) in frame pixels; ``confidence`` float32 (n,), the detector's; ``class_id`` int64 (n,), 0
        a face and 1 a head; ``tracker_id`` in a video whose faces are tracked, -1 for what has none. ``data`` has
        ``class_name``, ``face`` (the place in ``result.faces``, -1 for a head), and for each attribute of the result
        its value (text, number, or points as a dict) and, where it has classes, ``<name>_probability``: arrays of
        objects, None where there is none. ``metadata`` has source, width, height, frame, time, the models' versions.

    Raises:
        MissingExtraError: supervision is not installed.
    """
    try:
        from supervision import Detections
    except ImportError as error:
        raise MissingExtraError("supervision", "tiles") from error

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
    return Detections(
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
    """An array of objects; what follows the faces, the heads, has None."""
    array = np.full(length, None, object)
    for index, value in enumerate(values):
        array[index] = value
    return array
