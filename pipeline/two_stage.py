"""A picture's result, put together from what the two stages found.

Which face belongs to which head.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..detector.inference.boxes import Detections, area, share_inside
from .classifiers import Placed, Reading
from .inputs.image_reader import Frame
from .results import (
    Box,
    Face,
    Head,
    Models,
    Result,
    shortest,
)

Matched = tuple[Detections, Detections, Sequence[int | None]]
"""The faces of a frame, its heads, and for each face the number of the head that it lies in."""


def match(found: Detections) -> Matched:
    """Part what was found in a frame into faces and heads, and find the head of each face."""
    faces, heads = found.of("face"), found.of("head")
    return faces, heads, match_heads(faces.boxes, heads.boxes)


def placed(frame: Frame, matched: Matched) -> Placed:
    """A frame's faces as the classifiers take them."""
    faces, heads, numbers = matched
    return Placed(frame, faces.boxes, [None if number is None else heads.boxes[number] for number in numbers])


def assemble(
    models: Models,
    source: str | None,
    frame: Frame,
    matched: Matched,
    readings: Sequence[Reading],
    features: bool = False,
    source_sha256: str | None = None,
) -> Result:
    """The result of one frame.

    Args:
        models: that made it.
        source: the frame's path, or None.
        frame: of which only the size is told.
        matched: faces and heads.
        readings: one for each face.
        features: fill ``Face.features``.
        source_sha256: of the encoded picture, see ``inputs.reader.Picture``.
    """
    faces, heads, numbers = matched
    return Result(
        source=source,
        width=frame.shape[1],
        height=frame.shape[0],
        faces=tuple(
            Face(
                box=Box.of(box),
                confidence=shortest(confidence),
                head=head,
                attributes=read.attributes or None,
                reason=None if read.attributes else _in_one(read.reasons),
                reasons=read.reasons,
                features=read.features if features else None,
            )
            for box, confidence, head, read in zip(faces.boxes, faces.confidence, numbers, readings, strict=True)
        ),
        heads=tuple(
            Head(box=Box.of(box), confidence=shortest(confidence))
            for box, confidence in zip(heads.boxes, heads.confidence, strict=True)
        ),
        models=models,
        error=None,
        source_sha256=source_sha256,
    )


def failed(models: Models, source: str | None, error: Exception) -> Result:
    """The result of a picture that could not be read."""
    return Result(source=source, width=None, height=None, faces=(), heads=(), models=models, error=str(error))


def _in_one(reasons: dict[str, str]) -> str:
    """Several classifiers' reasons as one text; a reason that all of them have stands alone."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


SHARE_IN_HEAD = 0.7
"""A face belongs to a head when at least this share of its area lies in the head's box."""


def match_heads(faces: np.ndarray, heads: np.ndarray) -> list[int | None]:
    """Give each face the head that it lies in, and each head at most one face.

    Pairs are taken by the share of the face inside the head (in steps of a tenth), the tighter head first among equals.

    Args:
        faces: boxes, (n, 4), in frame pixels.
        heads: boxes, (m, 4).

    Returns:
        For each face the index of its head, or None.
    """
    shares, sizes = share_inside(faces, heads), area(heads)
    pairs = sorted(
        zip(*np.nonzero(shares >= SHARE_IN_HEAD), strict=True),
        key=lambda pair: (-round(float(shares[pair]), 1), float(sizes[pair[1]])),
    )
    matched: dict[int, int] = {}
    for face, head in pairs:
        if face not in matched and head not in matched.values():
            matched[int(face)] = int(head)
    return [matched.get(face) for face in range(len(faces))]
