"""What every label format is read into: one record a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Box:
    """One labelled box, as the format states it: it may reach out of the picture or be turned inside out.

    Attributes:
        corners: x1, y1, x2, y2; in pixels, or as fractions of the picture where the record says so.
        name: the class as the format calls it.
        ignore: a region that counts neither as object nor as background (crowd, difficult, invalid).
        where: file and line or field, for messages.
    """

    corners: tuple[float, float, float, float]
    name: str
    ignore: bool
    where: str


@dataclass(frozen=True)
class Record:
    """One picture and its boxes.

    Attributes:
        path: the picture; where the labels name one that is not there, where it was looked for first.
        boxes: of it.
        where: file and line or field that names the picture, for messages.
        size: width and height that the format states, None where it states none.
        fractions: the boxes are fractions of the upright picture, for the format does not know its size (YOLO).
        split: ``train``, ``val`` or ``test`` if the format knows one.
        source: the set that it is from, if the format knows it.
        labelled: the classes that are labelled in this picture, if the format knows them.
    """

    path: Path
    boxes: tuple[Box, ...]
    where: str
    size: tuple[int, int] | None = None
    fractions: bool = False
    split: str | None = None
    source: str | None = None
    labelled: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Annotations:
    """A data set as its labels describe it.

    Attributes:
        format: its name in ``formats.FORMATS``.
        path: what was read.
        classes: names in the format's own order, or as they come; some may have no box.
        records: one a picture.
        notes: what a user should know of the reading, a sentence each.
        terms: under which its sources may be used, by source (``*``: all of them), where the format says so.
    """

    format: str
    path: Path
    classes: tuple[str, ...]
    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()
    terms: Mapping[str, str] = field(default_factory=dict)
