"""The data of a result, as frozen models. ``results.Result`` adds methods.

Drawing and the adapters for other libraries take ``ResultData``, because ``Result`` calls them.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from ..classifier.inference.attributes import AttributeValue


class Part(BaseModel):
    """A frozen piece of a result."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Box(Part):
    """A rectangle in pixels of the upright frame, clipped to it."""

    x1: float
    y1: float
    x2: float
    y2: float


class Face(Part):
    """A face and what was read of it."""

    box: Box
    confidence: float
    """The detector's, 0 to 1, joined by what a classifier's face check says of the box; the probabilities of attributes
    stand apart."""
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
    reduced_to: int | None = None
    """Large JPEGs were decoded at the smallest of a half, a quarter or an eighth of their size whose longer side has so
    many pixels; None where every pixel was decoded, as facepipe 0.4.0 did."""


class ClassifierUsed(ModelUsed):
    """A classifier, and how its faces were cut out."""

    crop_sha256: str | None = None
    """Of the crop recipe in its manifest: ``CropRecipe.sha256``."""
    face_check: str | None = None
    """Weight, neutral and most log-odds of the face check that took part in the faces' confidence, such as
    ``0.8,2,0.6``; None: there was no face check."""


class Models(Part):
    """What made a result: all that it takes to make it again."""

    detector: DetectorUsed
    classifiers: dict[str, ClassifierUsed]
    """By name, in the order in which they were switched on; ``face`` is the one without a name of its own."""
    facepipe: str | None = None
    """The version of facepipe."""


class ResultData(Part):
    """What was found in one picture, or why it could not be read (``error``; size and boxes are then missing)."""

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
    saved: str | None = Field(default=None, exclude_if=lambda value: value is None)
    """The file that ``--save`` has drawn it in; not written where there is none."""
