"""The chain of both stages, written once: detect, match faces to heads, cut, classify, assemble.

``analyse`` is the whole of it for one picture. The stream and videos go through the same steps and do something in
between: the stream collects the crops of several pictures for one call, videos follow persons and leave out faces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..detector.inference.boxes import Detections, area, share_inside
from ..detector.inference.detector import FaceDetector
from .classifiers import Classifiers, Cut, Placed, Reading
from .inputs.image_reader import Picture, Source, source_name
from .results import Box, Face, Head, Models, Result
from .stages import Stages, Stopwatch

SHARE_IN_HEAD = 0.7
"""A face belongs to a head when at least this share of its area lies in the head's box."""


@dataclass(frozen=True)
class Found:
    """What the detector found in one picture.

    Attributes:
        picture: as it was read.
        faces: the faces, most confident first, in pixels of the whole picture.
        heads: the heads, likewise.
        head_of: for each face the number of the head that it lies in, or None.
    """

    picture: Picture
    faces: Detections
    heads: Detections
    head_of: Sequence[int | None]

    def placed(self, due: Sequence[int] | None = None) -> Placed:
        """The faces as the classifiers take them.

        Args:
            due: numbers of the faces that are to be classified; None takes all.
        """
        boxes, heads = self.faces.boxes, self.head_of
        if due is not None:
            boxes, heads = boxes[list(due)], [self.head_of[face] for face in due]
        return Placed(self.picture, boxes, [None if head is None else self.heads.boxes[head] for head in heads])


def analyse(stages: Stages, source: Source, features: bool = False) -> Result:
    """Read one picture and go through both stages with every thread.

    Args:
        stages: the models.
        source: as for ``Pipeline.run``.
        features: fill ``Face.features``.

    Raises:
        FrameError, ImageError, ImageTooLargeError: the picture cannot be read.
        WeightsError: features are asked for, and a classifier gives none.
        FacepipeError: the pipeline is closed.
    """
    parts = stages.ready(features)
    with stages.stopwatch.measure("read"):
        picture = stages.read(source)
    found = detect(parts.detector, [picture], stages.stopwatch)
    readings = classify(parts.classifiers, [found[0].placed()], stages.stopwatch, features)
    return assemble(stages.models, source_name(source), found[0], readings[0], features)


def detect(detector: FaceDetector, pictures: Sequence[Picture], stopwatch: Stopwatch) -> list[Found]:
    """The first stage: find the faces and heads of some pictures, and the head of each face.

    Args:
        detector: finds them.
        pictures: as they were read.
        stopwatch: that the time is added to, as ``detect``.
    """
    with stopwatch.measure("detect"):
        detections = detector.detect([picture.view for picture in pictures])
        return [_match(picture, each) for picture, each in zip(pictures, detections, strict=True)]


def _match(picture: Picture, detections: Detections) -> Found:
    if picture.reduction > 1:
        boxes = np.minimum(detections.boxes * picture.reduction, [picture.width, picture.height] * 2)
        detections = replace(detections, boxes=boxes.astype(np.float32))
    faces, heads = detections.of("face"), detections.of("head")
    return Found(picture, faces, heads, match_heads(faces.boxes, heads.boxes))


def classify(
    classifiers: Classifiers, placed: Sequence[Placed], stopwatch: Stopwatch, features: bool = False
) -> list[list[Reading]]:
    """The second stage: cut and classify the faces of some frames, all crops in one call for each classifier.

    Args:
        classifiers: read the attributes.
        placed: the faces, by frame.
        stopwatch: that the time is added to, as ``classify``.
        features: read the features, too.

    Returns:
        For each frame one reading for each face, in order.
    """
    with stopwatch.measure("classify"):
        return classifiers.read(placed, features)


def cut(classifiers: Classifiers, placed: Placed, stopwatch: Stopwatch) -> tuple[list[Reading], dict[str, list[Cut]]]:
    """The first half of :func:`classify` for one frame: the readings to fill, and by classifier the crops for it.

    Args:
        classifiers: that look.
        placed: a frame with its boxes.
        stopwatch: takes the time.
    """
    with stopwatch.measure("classify"):
        readings, cuts = classifiers.cut([placed])
    return readings[0], cuts


def classify_cuts(
    classifiers: Classifiers,
    name: str,
    cuts: Sequence[Cut],
    stopwatch: Stopwatch,
    features: bool = False,
    steady: bool = False,
) -> None:
    """The second half of :func:`classify`: one classifier's crops of any frames, whose readings are filled.

    Args:
        classifiers: of whom one works.
        name: of that one.
        cuts: at least one.
        stopwatch: that the time is added to, as ``classify``.
        features: read the features, too.
        steady: give a face the same numbers to the last digit whichever others it happens to be classified with.
    """
    with stopwatch.measure("classify"):
        classifiers.fill(name, cuts, features, steady)


def assemble(
    models: Models,
    source: str | None,
    found: Found,
    readings: Sequence[Reading],
    features: bool = False,
) -> Result:
    """The result of one picture.

    Args:
        models: that made it.
        source: its path, or None.
        found: faces and heads.
        readings: one for each face.
        features: fill ``Face.features``.
    """
    picture, faces, heads = found.picture, found.faces, found.heads
    return Result(
        source=source,
        width=picture.width,
        height=picture.height,
        faces=tuple(
            Face(
                box=box_of(box),
                confidence=shortest(confidence),
                head=head,
                attributes=read.attributes or None,
                reason=None if read.attributes else _in_one(read.reasons),
                reasons=read.reasons,
                features=read.features if features else None,
            )
            for box, confidence, head, read in zip(faces.boxes, faces.confidence, found.head_of, readings, strict=True)
        ),
        heads=tuple(
            Head(box=box_of(box), confidence=shortest(confidence))
            for box, confidence in zip(heads.boxes, heads.confidence, strict=True)
        ),
        models=models,
        error=None,
        source_sha256=picture.sha256,
        warning=picture.warning,
    )


def box_of(row: Iterable[np.float32]) -> Box:
    """The box of one row of ``Detections.boxes``."""
    x1, y1, x2, y2 = (shortest(value) for value in row)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def shortest(value: np.float32) -> float:
    """The float with the fewest digits that still is this float32: 0.1 and not 0.10000000149011612."""
    return float(str(np.float32(value)))


def failed(models: Models, source: str | None, error: Exception | str) -> Result:
    """The result of a picture or video that could not be read.

    Args:
        models: that a result names.
        source: as it was given; None of what came without one.
        error: why.
    """
    return Result(source=source, width=None, height=None, faces=(), heads=(), models=models, error=str(error))


def _in_one(reasons: dict[str, str]) -> str:
    """Several classifiers' reasons as one text; a reason that all of them have stands alone."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


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
