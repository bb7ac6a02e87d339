"""Manifests: strict records that describe a released model, stored beside it in ``manifest.json``.

The manifest is the only link between the two stages: all the pipeline needs of a model is its ONNX file and this.
The records of the attribute schema and of the crop recipe are here because manifests contain them; what they *do* is in
``classifier/schema.py`` and ``classifier/crop.py``.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from ..core.errors import WeightsError
from ..core.files import write_whole
from .records import (
    DOCUMENT_BYTES,
    JSON_BYTES,
    LARGEST,
    ONNX_BYTES,
    SHA256,
    Factor,
    Figure,
    Label,
    Level,
    Line,
    MadeWith,
    Offset,
    Record,
    Version,
    first_error,
    parse_json,
    read_regular,
    shortened,
)

Stage = Literal["detector", "classifier"]


# ---------------------------------------------------------------------------------------------------------------------
# Attributes
# ---------------------------------------------------------------------------------------------------------------------


class SizeBand(Record):
    """How an attribute's output is read for faces of about one size; interpolated between bands."""

    side: float = Field(gt=0)
    """Longer side of the box that is cropped, in pixels of the frame."""
    temperature: float = Field(default=1.0, gt=0)
    widen: float = 0.0
    """For numbers: as ``NumericAttribute.widen``, in its unit."""


class AttributeBase(Record):
    """Fields of all attributes."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=100)
    weight: float = Field(default=1.0, gt=0, le=LARGEST)
    """Weight of this attribute's loss in the total training loss."""
    temperature: float = Field(default=1.0, ge=0.001, le=1000)
    """Divides the logits before the softmax (Guo et al., "On Calibration of Modern Neural Networks", 2017)."""
    bands: tuple[SizeBand, ...] = Field(default=(), strict=False)
    """Temperature and widening by face size, smallest first, instead of the attribute's own: linear in the logarithm of
    the size, constant beyond the first and the last band. Empty: the same for every size."""
    min_side: float | None = Field(default=None, ge=1)
    """Faces whose box has fewer pixels on its longer side get no value for this attribute. None: only the crop recipe's
    ``min_side`` applies, as it always does."""

    @field_validator("bands")
    @classmethod
    def _ascending(cls, bands: tuple[SizeBand, ...]) -> tuple[SizeBand, ...]:
        sides = [band.side for band in bands]
        if any(later <= earlier for earlier, later in pairwise(sides)):
            raise ValueError(f"the sides of bands must ascend, got {sides}")
        return bands


class ClassesBase(AttributeBase):
    """Fields of attributes with classes."""

    classes: tuple[Label, ...] = Field(min_length=2, max_length=10_000, strict=False)
    abstain_below: float = Field(default=0.0, ge=0, lt=1)
    """If the most likely class has a lower probability, the value is null; the probabilities are still reported."""

    @field_validator("classes")
    @classmethod
    def _distinct(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) != len(classes):
            raise ValueError(f"class names must differ, got {shortened(', '.join(classes))}")
        return classes


class FaceCheck(Record):
    """How a classifier's probability that a box holds a face joins the detector's confidence.

    The log-odds of the confidence rise by ``weight`` times what the log-odds of the probability are above ``neutral``:
    naive Bayes' sum of evidence, weighted because the two stages see the same picture. A box is kept if the joint
    confidence reaches the detector's threshold.
    """

    weight: float = Field(gt=0, le=10)
    neutral: float = Field(ge=-10, le=10)
    """Log-odds of the probability that leave the confidence as it is."""
    most: float = Field(default=0.6, ge=0, le=10)
    """The most by which the log-odds rise; boxes that this cannot raise to the threshold are not looked at."""


class BinaryAttribute(ClassesBase):
    """One of two classes; column ``<name>`` of the CSV holds a class name."""

    kind: Literal["binary"] = "binary"
    classes: tuple[Label, ...] = Field(min_length=2, max_length=2, strict=False)
    face_check: FaceCheck | None = None
    """Makes this the classifier's face check: the second class means that the crop shows a face. It is not reported
    itself, but judges the detector's boxes. None: an ordinary attribute."""


class CategoricalAttribute(ClassesBase):
    """One of several unordered classes; column ``<name>`` holds a class name."""

    kind: Literal["categorical"] = "categorical"


class OrdinalAttribute(ClassesBase):
    """One of several ordered classes; column ``<name>`` holds a class name."""

    kind: Literal["ordinal"] = "ordinal"


class NumericAttribute(AttributeBase):
    """A number: the mean or median of a distribution over bins (DEX, Rothe et al. 2015), or one linear output.

    Column ``<name>`` holds the number; ``<name>_lo`` and ``<name>_hi`` hold a closed range if only that is known.
    """

    kind: Literal["numeric"] = "numeric"
    unit: str = Field(max_length=100)
    low: float = Field(ge=-1e12, le=1e12)
    high: float = Field(ge=-1e12, le=1e12)
    bins: int | None = Field(default=None, ge=2, le=10_000)
    """Bins of equal width whose centres run from ``low`` to ``high`` inclusive. None: one linear output, 0 at ``low``
    and 1 at ``high`` (regression)."""
    estimate: Literal["mean", "median"] = "mean"
    """What is read from a distribution over bins. The median minimises the absolute error, the mean the squared one."""
    interval: float = Field(default=0.8, gt=0, lt=1)
    """Intended coverage of the reported interval, as a probability."""
    widen: float = 0.0
    """Added to the interval at both ends, in ``unit``, so that its coverage is as intended (split conformal quantile
    regression, Romano et al., NeurIPS 2019). Without bins, the interval is the value plus and minus this."""

    @model_validator(mode="after")
    def _ordered(self) -> NumericAttribute:
        if self.high <= self.low:
            raise ValueError(f"{self.name}: high ({self.high}) must be above low ({self.low})")
        if abs(self.widen) > self.high - self.low:
            raise ValueError(
                f"{self.name}: widen ({self.widen:g}) must not exceed the range ({self.low:g} to {self.high:g})"
            )
        return self


class PointsAttribute(AttributeBase):
    """Named points; columns ``<point>_x`` and ``<point>_y`` hold pixels of the stored picture.

    "left" is the image's left: ``left_eye`` is the eye nearer to the picture's left edge on an upright face, which is
    the person's right eye, as in MTCNN, InsightFace and MTFL.
    """

    kind: Literal["points"] = "points"
    points: tuple[Label, ...] = Field(min_length=1, max_length=1000, strict=False)
    mirror: tuple[tuple[str, str], ...] = Field(default=(), max_length=1000, strict=False)
    """Pairs of points that swap when the picture is mirrored."""

    @model_validator(mode="after")
    def _known(self) -> PointsAttribute:
        if unknown := {p for pair in self.mirror for p in pair} - set(self.points):
            raise ValueError(f"{self.name}: mirror names points that are not in points: {sorted(unknown)}")
        return self


Attribute = Annotated[
    BinaryAttribute | CategoricalAttribute | OrdinalAttribute | NumericAttribute | PointsAttribute,
    Field(discriminator="kind"),
]


class CropRecipe(Record):
    """How a face is cropped from a frame, in training and serving alike (``classifier/crop.py``)."""

    region: Literal["face", "head", "torso"] = "face"
    """What is cropped: the face's box, the box of the head that contains the face, or the torso below it, whose box is
    derived from the face's (``classifier/region.py``)."""
    margin: float = Field(ge=0, le=2)
    """Added on each side, as a fraction of the longer side of the box."""
    square: Literal[True] = True
    size: int = Field(ge=16, le=1024)
    """Side of the crop in pixels."""
    border: tuple[Level, Level, Level] = Field(default=(114, 114, 114), strict=False)
    """BGR colour of the area outside the frame."""
    interpolation: Literal["area", "linear"] = "area"
    """How larger faces are shrunk; smaller ones are always enlarged linearly."""
    min_side: float = Field(default=8.0, ge=1, le=10_000)
    """Boxes whose longer side has fewer pixels are not classified."""

    @property
    def sha256(self) -> str:
        """Identifies the recipe: SHA-256 of its fields as ASCII JSON, sorted by name, without spaces.

        >>> CropRecipe(margin=0.25, size=224).sha256[:12]
        '2a36385db31c'
        """
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()


# ---------------------------------------------------------------------------------------------------------------------
# Manifest
# ---------------------------------------------------------------------------------------------------------------------


class FileEntry(Record):
    """A model file of a release."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=200)
    sha256: str = Field(pattern=SHA256)
    bytes: int = Field(ge=1, le=ONNX_BYTES)
    precision: Literal["float32", "float16", "int8"]
    """How the weights are stored; inputs and outputs are always float32."""
    reduced_range: bool = False
    """int8 weights that use 7 of 8 bits: their products never saturate, so any x86 processor gets the same sums."""


class Document(Record):
    """A file of a release that is not a model: its card, or one of the card's plots."""

    name: str = Field(pattern=r"^(card/)?[A-Za-z0-9_][A-Za-z0-9._-]*$", max_length=200)
    sha256: str = Field(pattern=SHA256)
    bytes: int = Field(ge=1, le=DOCUMENT_BYTES)


class InputSpec(Record):
    """What the ONNX file expects. ``value = (pixel * scale - mean) / std`` in the order of ``colour``."""

    name: Label
    size: int = Field(ge=16, le=4096)
    colour: Literal["RGB", "BGR"]
    layout: Literal["NCHW", "NHWC"]
    scale: Factor
    mean: tuple[Offset, Offset, Offset] = Field(default=(0.0, 0.0, 0.0), strict=False)
    std: tuple[Factor, Factor, Factor] = Field(default=(1.0, 1.0, 1.0), strict=False)
    padding: tuple[Level, Level, Level] | None = Field(default=None, strict=False)
    """Colour around a letterboxed frame (detector only)."""
    dynamic: bool = False
    """Whether the input's height and width may be any multiples of 32, usually ``size``; else only ``size``."""


class TrainingData(Record):
    """One source of the training data."""

    name: Line
    count: int = Field(ge=0)
    """Training rows (pictures)."""
    labels_sha256: str = Field(pattern=SHA256)
    terms: Line


class Thresholds(Record):
    """Which of a detector's boxes are kept by default."""

    confidence: float = Field(ge=0, le=1)
    """Detections below it are dropped."""
    iou: float = Field(ge=0, le=1)
    """Overlap above which non-maximum suppression drops the weaker box of the same class."""
    max_detections: int = Field(ge=1, le=100_000)


class Metric(Record):
    """One figure.

    Its name says what was measured and, after a comma or a slash, on what: ``AP50, face boxes of every size``,
    ``gender.accuracy/UTKFace``.
    """

    name: Line
    value: Figure
    count: int | None = None
    """Number of pictures, boxes or rows measured."""
    interval: tuple[float, float] | None = Field(default=None, strict=False)
    """95 % confidence interval of the value, if one was computed."""


class Metrics(Record):
    """The figures of one measurement."""

    protocol: str
    command: str
    values: tuple[Metric, ...] = Field(strict=False)
    file_sha256: str | None = Field(default=None, pattern=SHA256)
    """The model file that was measured; None in older manifests."""
    labels_sha256: str | None = Field(default=None, pattern=SHA256)
    """The data set it was measured on, as in ``TrainingData``."""


class Beside(Record):
    """Another model, measured in the same way as the release."""

    name: Line
    metrics: Metrics


class Manifest(Record):
    """Everything a user or another stage needs to know about one released model."""

    stage: Stage
    name: str = Field(default="", pattern=r"^([a-z][a-z0-9_]*)?$", max_length=100)
    """Which of several classifiers this is: ``shirt`` for ``shirt@0.1.0``. Empty for the detector and for the face
    classifier, which is also called ``face``."""
    version: Version
    architecture: Line
    files: tuple[FileEntry, ...] = Field(min_length=1, max_length=100, strict=False)
    """The first one runs unless another precision is requested."""
    input: InputSpec
    output: Line
    """How the outputs are decoded, in words; ``decoder`` names the code."""
    decoder: Literal["yolov8", "attributes"]
    classes: tuple[Label, ...] = Field(default=(), max_length=10_000, strict=False)
    thresholds: Thresholds | None = None
    attributes: tuple[Attribute, ...] = Field(default=(), max_length=1000, strict=False)
    crop: CropRecipe | None = None
    features: int | None = Field(default=None, ge=1, le=1_000_000)
    """Width of the output ``features``, the pooled activations before the heads; None if there is no such output."""
    data: tuple[TrainingData, ...] = Field(strict=False)
    training: dict[str, Any]
    """Settings of the training command as used, including the seed."""
    metrics: tuple[Metrics, ...] = Field(default=(), strict=False)
    beside: tuple[Beside, ...] = Field(default=(), strict=False)
    licence: Line
    facepipe: MadeWith
    date: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    notes: str = ""
    """The publisher's notes, in Markdown; a section of the card."""
    documents: tuple[Document, ...] = Field(default=(), strict=False)

    @field_validator("date")
    @classmethod
    def _date(cls, date: str) -> str:
        dt.date.fromisoformat(date)
        return date

    @field_validator("files")
    @classmethod
    def _distinct(cls, files: tuple[FileEntry, ...]) -> tuple[FileEntry, ...]:
        if len({file.name.lower() for file in files}) != len(files):  # lower: some file systems ignore case
            raise ValueError("two files have the same name")
        return files

    @model_validator(mode="after")
    def _complete(self) -> Manifest:
        if self.stage == "detector" and not (self.classes and self.thresholds and self.decoder == "yolov8"):
            raise ValueError("a detector's manifest needs classes, thresholds and the decoder yolov8")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        if self.stage == "classifier" and not (self.attributes and self.crop and self.decoder == "attributes"):
            raise ValueError("a classifier's manifest needs attributes, crop and the decoder attributes")
        if len({attribute.name for attribute in self.attributes}) != len(self.attributes):
            raise ValueError("two attributes have the same name")
        if len(self.attributes) - len(self.reported) > 1:
            raise ValueError("two attributes have face_check; a classifier has one")
        if self.attributes and not self.reported:
            raise ValueError("the only attribute is the face check, so nothing is reported")
        return self

    @property
    def face_check(self) -> BinaryAttribute | None:
        """The attribute that tells faces from the detector's false alarms; None if there is none."""
        for attribute in self.attributes:
            if isinstance(attribute, BinaryAttribute) and attribute.face_check is not None:
                return attribute
        return None

    @property
    def reported(self) -> tuple[Attribute, ...]:
        """The attributes that results contain: all but the face check."""
        return tuple(each for each in self.attributes if getattr(each, "face_check", None) is None)


def read_manifest(path: Path) -> Manifest:
    """Read and check a ``manifest.json``.

    Raises:
        WeightsError: the file is missing, not a regular file, not JSON, or breaks the contract; the message names the
            field.
    """
    try:
        content = read_regular(path, JSON_BYTES)
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such manifest") from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        parsed = parse_json(content)
    except ValueError as error:
        raise WeightsError(f"{path}: bad manifest, not valid JSON: {error}") from error
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as error:
        raise WeightsError(f"{path}: bad manifest, {first_error(error)}{_made_with(parsed)}") from error


def _made_with(parsed: Any) -> str:
    """Note which facepipe wrote a manifest that cannot be read; a newer one may know more fields."""
    maker = parsed.get("facepipe") if isinstance(parsed, dict) else None
    return f" (it was written by facepipe {' '.join(maker[:40].split())})" if isinstance(maker, str) else ""


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest atomically as indented JSON (UTF-8, one trailing newline)."""
    text = json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_whole(path, f"{text}\n".encode())
