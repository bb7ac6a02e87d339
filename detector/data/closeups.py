"""Boxes for pictures of one face each (attribute data sets, passport photos), from the detector of the day.

A detector trained on photos misses faces that fill the frame, and attribute data sets are full of them but have no
boxes. The box of a picture's own face is, in this order,

1. the detector's most confident face (of at least ``SURE``) that holds the picture's points, or its centre where it has
   none, and that looks like the source's typical box where that source has one;
2. the source's typical box, where the source frames its faces alike: the median of its own such boxes, if three
   quarters of them overlap it by ``ALIKE``;
3. none: the picture is left out.

Other faces found in the picture, outside its own, become ignore regions: nobody has labelled them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..inference.boxes import iou, share_inside

SURE = 0.3
SEEN = 0.1
ALIKE = 0.5
LEAST_EXAMPLES = 20


@dataclass(frozen=True)
class OneFace:
    """A picture of one face and what the detector found in it."""

    source: str
    width: int
    height: int
    boxes: np.ndarray
    """float, shape (n, 4): faces found, corners in pixels."""
    confidence: np.ndarray
    """float, shape (n,)."""
    points: np.ndarray
    """float, shape (k, 2): labelled points of the face in pixels; k may be 0."""


@dataclass(frozen=True)
class Chosen:
    """The box of a picture's own face, and the regions of others."""

    box: np.ndarray
    """float, shape (4,): corners in pixels, within the picture."""
    ignored: np.ndarray
    """float, shape (m, 4)."""
    typical: bool
    """Whether the box is the source's typical one."""


def choose(pictures: Sequence[OneFace]) -> list[Chosen | None]:
    """Choose each picture's own face by the rules above.

    Args:
        pictures: all pictures of a data set together, for a source's typical box is made from them.

    Returns:
        One choice a picture, in order; None where the picture is to be left out.
    """
    own = [_own(picture) for picture in pictures]
    typical: dict[str, np.ndarray | None] = {}
    for source in {picture.source for picture in pictures}:
        found = [
            picture.boxes[index] / _sides(picture)
            for picture, index in zip(pictures, own, strict=True)
            if picture.source == source and index is not None
        ]
        typical[source] = _typical(np.array(found).reshape(-1, 4))
    choices: list[Chosen | None] = []
    for picture, index in zip(pictures, own, strict=True):
        usual = typical[picture.source]
        usual = None if usual is None else usual * _sides(picture)
        box = None if index is None else picture.boxes[index]
        if box is not None and usual is not None and iou(box[None], usual[None])[0, 0] < ALIKE:
            box = None
        from_source = box is None
        if box is None:
            box = usual
        if box is None:
            choices.append(None)
            continue
        box = np.clip(box, 0, _sides(picture))
        others = picture.boxes[picture.confidence >= SEEN].reshape(-1, 4)
        others = others[share_inside(others, box[None])[:, 0] < 0.3] if len(others) else others
        choices.append(Chosen(box, np.clip(others, 0, _sides(picture)), from_source))
    return choices


def _sides(picture: OneFace) -> np.ndarray:
    return np.array([picture.width, picture.height] * 2, dtype=np.float64)


def _own(picture: OneFace) -> int | None:
    """The most confident sure face around the picture's points, or around its centre."""
    points = picture.points if len(picture.points) else _sides(picture)[None, :2] / 2
    for index in np.argsort(-picture.confidence, kind="stable"):
        x1, y1, x2, y2 = picture.boxes[index]
        inside = (points >= [x1, y1]).all() and (points <= [x2, y2]).all()
        if inside and picture.confidence[index] >= SURE:
            return int(index)
    return None


def _typical(boxes: np.ndarray) -> np.ndarray | None:
    """The median of normalised boxes, if they are alike enough to stand for those not found."""
    if len(boxes) < LEAST_EXAMPLES:
        return None
    median = np.median(boxes, axis=0)
    return median if np.mean(iou(boxes, median[None])[:, 0] >= ALIKE) >= 0.75 else None
