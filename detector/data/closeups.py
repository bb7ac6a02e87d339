"""Boxes for single-face pictures (attribute data sets, passport photos), taken from the current detector.

A detector trained on photos misses faces that fill the frame. Attribute data sets are full of these but have no boxes.
The box of a picture's own face is the first that applies:

1. The detector's most confident face with a confidence of at least ``SURE`` that contains the picture's points, or its
   centre if it has none. It must also resemble the source's typical box, if there is one.
2. The source's typical box: the median of the boxes found in its pictures, provided that three quarters of them overlap
   it with an IoU of at least ``ALIKE``.
3. None: the picture is left out.

Other faces found outside that box become ignore regions, because nobody has labelled them.
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
    """A single-face picture and the detector's findings in it."""

    source: str
    width: int
    height: int
    boxes: np.ndarray
    """float, shape (n, 4): detected faces, corners in pixels."""
    confidence: np.ndarray
    """float, shape (n,)."""
    points: np.ndarray
    """float, shape (k, 2): labelled points of the face in pixels; k may be 0."""


@dataclass(frozen=True)
class Chosen:
    """The box of a picture's own face, and ignore regions for other faces."""

    box: np.ndarray
    """float, shape (4,): corners in pixels, within the picture."""
    ignored: np.ndarray
    """float, shape (m, 4)."""
    typical: bool
    """Whether the box is the source's typical one."""


def choose(pictures: Sequence[OneFace]) -> list[Chosen | None]:
    """Choose each picture's own face by the rules of this module.

    Args:
        pictures: all pictures of a data set, since typical boxes are computed per source.

    Returns:
        One choice per picture, in order; None if the picture is to be left out.
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
    """Index of the most confident face that contains the picture's points, or its centre, with at least ``SURE``."""
    points = picture.points if len(picture.points) else _sides(picture)[None, :2] / 2
    for index in np.argsort(-picture.confidence, kind="stable"):
        x1, y1, x2, y2 = picture.boxes[index]
        inside = (points >= [x1, y1]).all() and (points <= [x2, y2]).all()
        if inside and picture.confidence[index] >= SURE:
            return int(index)
    return None


def _typical(boxes: np.ndarray) -> np.ndarray | None:
    """The median of normalised boxes, or None if they are too few or differ too much."""
    if len(boxes) < LEAST_EXAMPLES:
        return None
    median = np.median(boxes, axis=0)
    return median if np.mean(iou(boxes, median[None])[:, 0] >= ALIKE) >= 0.75 else None
