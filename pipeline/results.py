"""Results: what facepipe says of one picture. ``Result.model_dump_json()`` is the one source of its JSON.

The JSON Schema of results: a line of ``facepipe detect --json``, what ``Result.model_dump_json`` gives.

Results as ``supervision.Detections``, for its annotators, zones, sinks and metrics.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from ..classifier.inference.attributes import AttributeValue, ClassValue, NumericValue
from ..core.extras import require
from ..core.version import __version__

if TYPE_CHECKING:
    from supervision import Detections


class Part(BaseModel):
    """A frozen piece of a result."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Box(Part):
    """A rectangle in pixels of the upright frame, clipped to it."""

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def of(cls, row: Iterable[np.float32]) -> Box:
        """The box of one row of ``Detections.boxes``."""
        x1, y1, x2, y2 = (shortest(value) for value in row)
        return cls(x1=x1, y1=y1, x2=x2, y2=y2)


class Face(Part):
    """A face and what was read of it."""

    box: Box
    confidence: float
    """The detector's, 0 to 1; the classifier's probabilities stand apart, in the attributes."""
    head: int | None
    """Index into the result's ``heads`` of the head that the face lies in."""
    attributes: dict[str, AttributeValue] | None
    """Of all classifiers, by attribute name; points are in pixels of the upright frame. None where no classifier could
    read the face."""
    reason: str | None
    """Why ``attributes`` is None."""
    reasons: dict[str, str] = {}
    """By classifier, why its attributes are missing: where only the torso lies outside the frame, those of the face are
    there. By attribute, why that one alone is missing: a small face may have a mask and no age. Empty where every
    attribute was read."""
    track: int | None = None
    """Number of the person in a video, the same in all its frames; None elsewhere."""
    features: dict[str, tuple[float, ...]] | None = Field(default=None, exclude=True, repr=False)
    """By classifier, the pooled numbers before its heads, where ``Pipeline.run(..., features=True)`` asked for them;
    never a part of the JSON. They are no identity embedding: neither trained nor fit to recognise persons."""


class Head(Part):
    """A head, seen from any side."""

    box: Box
    confidence: float


class ModelUsed(Part):
    """A released model, named exactly, and how it ran. Results of facepipe before 0.4.0 lack what has a default."""

    version: str
    sha256: str
    """Of the model file that ran."""
    device: str | None = None
    """Where it ran: ``cpu``, ``cuda:1``."""


class DetectorUsed(ModelUsed):
    """The detector, and the settings that decide which boxes it gives."""

    confidence: float | None = None
    """Boxes below it were dropped."""
    iou: float | None = None
    """Overlap at which the weaker box of one class was dropped."""
    imgsz: int | None = None
    """Pixels that a picture's longer side was scaled to."""
    tiles: int | None = None
    """Side in pixels of the tiles that larger pictures were looked at in, too; None without tiles."""


class ClassifierUsed(ModelUsed):
    """A classifier, and how its faces were cut out."""

    crop_sha256: str | None = None
    """Of the crop recipe in its manifest: ``CropRecipe.sha256``."""


class Models(Part):
    """What made a result: all that it takes to make it again."""

    detector: DetectorUsed
    classifiers: dict[str, ClassifierUsed]
    """By name, in the order in which they were switched on; ``face`` is the one without a name of its own."""
    facepipe: str | None = None
    """The version of facepipe."""


class Result(Part):
    """What was found in one picture, or why it could not be read (``error``; size and boxes are then missing).

    >>> from facepipe import Pipeline
    >>> with Pipeline() as pipeline:
    ...     result = pipeline.run("examples/astronaut.jpg")
    >>> Result.model_validate_json(result.model_dump_json()) == result
    True
    """

    source: str | None
    """The path as it was given; None for what came without one."""
    width: int | None
    height: int | None
    faces: tuple[Face, ...]
    """The most confident first."""
    heads: tuple[Head, ...]
    """The most confident first."""
    models: Models
    error: str | None
    frame: int | None = None
    """Number of the frame in its video, from 0; None of a picture."""
    time: float | None = None
    """Of that frame, in seconds from the video's start; of a live stream, from when it was opened."""
    source_sha256: str | None = None
    """Of the encoded picture that was read from a path, a URL or bytes; None of arrays, of frames, of what could not be
    read."""
    warning: str | None = None
    """``damaged: …`` of a picture that is damaged within: parts of it are grey or wrong. Else None."""

    def to_supervision(self) -> Detections:
        """The faces and heads as ``supervision.Detections``, see ``supervision_adapter.to_supervision``.

        Raises:
            MissingExtraError: supervision is not installed.
        """

        return to_supervision(self)


def shortest(value: np.float32) -> float:
    """The float with the fewest digits that still is this float32: 0.1 and not 0.10000000149011612."""
    return float(str(np.float32(value)))


DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one result, as plain data.

    Every key is there in each result, and no other. ``Face.features`` are never a part of the JSON. Attributes are not
    named: they follow from the classifiers, whose manifests list them; each is one of three kinds of value.

    >>> import facepipe
    >>> told = facepipe.schema()
    >>> sorted(told["properties"])[:4]
    ['error', 'faces', 'frame', 'heads']
    >>> told["$defs"]["Box"]["required"]
    ['x1', 'y1', 'x2', 'y2']
    """
    from ..classifier.inference import attributes as values
    from . import results

    told = results.Result.model_json_schema(mode="serialization")
    told_fields = {**_docstrings(values), **_docstrings(results)}
    for name, part in {"Result": told, **told["$defs"]}.items():
        part["required"] = list(part["properties"])  # those with a default are written, too
        bases = (getattr(results, name, None) or getattr(values, name)).__mro__
        for field, entry in part["properties"].items():
            if text := next(filter(None, (told_fields.get((base.__name__, field)) for base in bases)), None):
                entry["description"] = text
    return {"$schema": DIALECT, "$comment": f"facepipe {__version__}", **told}


def _docstrings(module: ModuleType) -> dict[tuple[str, str], str]:
    """What stands below the fields of a module's classes, by class and field."""
    found = {}
    for part in ast.parse(inspect.getsource(module)).body:
        if not isinstance(part, ast.ClassDef):
            continue
        for field, below in zip(part.body, part.body[1:], strict=False):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                found[part.name, field.target.id] = " ".join(str(below.value.value).replace("``", "").split())
    return found


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
    Detections = require("supervision").Detections
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
