"""The chain of both stages: detect, match faces to heads, cut, classify, assemble.

``analyse`` runs all of it for one picture. Streams and videos use the same steps with work in between: streams collect
the crops of several pictures for one call, videos track persons and leave out faces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np

from ..detector.inference.boxes import Detections, area, share_inside
from .classifiers import Classifiers, Cut, Placed, Reading
from .inputs.image_reader import Picture, Source, source_name
from .results import Box, Face, Head, Models, Result
from .stages import Parts, Stages, Stopwatch

SHARE_IN_HEAD = 0.7
"""A face belongs to a head if at least this fraction of its area lies in the head's box."""

CHECKED = 0.02
"""Confidence below which no face is checked: there are hundreds of boxes a picture, hardly any of them a face."""


@dataclass(frozen=True)
class Found:
    """What the detector found in one picture.

    Attributes:
        picture: the picture that was read.
        faces: the faces, most confident first, in pixels of the whole picture. With a face check also those that only
            its approval would raise to the detector's threshold.
        heads: the heads, likewise.
        head_of: for each face the index of its head, or None.
    """

    picture: Picture
    faces: Detections
    heads: Detections
    head_of: Sequence[int | None]

    def placed(self, due: Sequence[int] | None = None) -> Placed:
        """The faces in the form that the classifiers take.

        Args:
            due: indices of the faces to classify; None takes all.
        """
        boxes, heads = self.faces.boxes, self.head_of
        if due is not None:
            boxes, heads = boxes[list(due)], [self.head_of[face] for face in due]
        return Placed(self.picture, boxes, [None if head is None else self.heads.boxes[head] for head in heads])


def analyse(stages: Stages, source: Source, features: bool = False) -> Result:
    """Read one picture and run both stages on it with all threads.

    Args:
        stages: the models.
        source: as for ``Pipeline.run``.
        features: fill ``Face.features``.

    Raises:
        FrameError, ImageError, ImageTooLargeError: the picture cannot be read.
        WeightsError: features are requested and a classifier has none.
        FacepipeError: the pipeline is closed.
    """
    parts = stages.ready(features)
    with stages.stopwatch.measure("read"):
        picture = stages.read(source)
    found = detect(parts, [picture], stages.stopwatch)
    readings = classify(parts.classifiers, [found[0].placed()], stages.stopwatch, features)
    return assemble(stages.models, source_name(source), found[0], readings[0], features)


def detect(parts: Parts, pictures: Sequence[Picture], stopwatch: Stopwatch, candidates: bool = True) -> list[Found]:
    """The first stage: find the faces and heads in some pictures, and the head of each face.

    Args:
        parts: the detector, and the classifiers, whose face checks decide how far below the detector's threshold a face
            is still looked at.
        pictures: the pictures that were read.
        stopwatch: the time is added to it as ``detect``.
        candidates: False gives no faces below the threshold.
    """
    detector, confidence = parts.detector, 0.0
    if candidates and (most := parts.classifiers.most_evidence) > 0:
        confidence = detector.confidence
        detector = detector.with_confidence(least_checked(confidence, most))
    with stopwatch.measure("detect"):
        detections = detector.detect([picture.view for picture in pictures])
        return [_match(picture, each, confidence) for picture, each in zip(pictures, detections, strict=True)]


def least_checked(confidence: float, most: float) -> float:
    """The lowest confidence from which evidence can raise a face to a threshold, and not below ``CHECKED``.

    Args:
        confidence: the threshold.
        most: the most that the face checks can add.
    """
    return min(confidence, max(CHECKED, joint_confidence(confidence, -most)))


def joint_confidence(confidence: float, evidence: float) -> float:
    """The confidence of a face after its face check, 0 to 1; see ``weights.manifest.FaceCheck``.

    Args:
        confidence: the detector's, 0 to 1.
        evidence: ``Reading.evidence``; 0 leaves the confidence as it is.
    """
    if evidence == 0 or not 0 < confidence < 1:
        return confidence
    return round(1 / (1 + exp(-log(confidence / (1 - confidence)) - evidence)), 4)


def _match(picture: Picture, detections: Detections, confidence: float) -> Found:
    if picture.reduction > 1:
        boxes = np.minimum(detections.boxes * picture.reduction, [picture.width, picture.height] * 2)
        detections = replace(detections, boxes=boxes.astype(np.float32))
    faces, heads = detections.of("face"), detections.of("head").least(confidence)
    return Found(picture, faces, heads, match_heads(faces.boxes, heads.boxes))


def classify(
    classifiers: Classifiers, placed: Sequence[Placed], stopwatch: Stopwatch, features: bool = False
) -> list[list[Reading]]:
    """The second stage: cut and classify the faces of some frames, with one call per classifier for all crops.

    Args:
        classifiers: the classifiers.
        placed: the faces, by frame.
        stopwatch: the time is added to it as ``classify``.
        features: also read the features.

    Returns:
        For each frame one reading per face, in order.
    """
    with stopwatch.measure("classify"):
        return classifiers.read(placed, features)


def cut(classifiers: Classifiers, placed: Placed, stopwatch: Stopwatch) -> tuple[list[Reading], dict[str, list[Cut]]]:
    """The first half of :func:`classify` for one frame: the readings to fill, and the crops by classifier.

    Args:
        classifiers: the classifiers.
        placed: a frame with its boxes.
        stopwatch: the time is added to it as ``classify``.
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
    """The second half of :func:`classify`: classify one classifier's crops of any frames and fill their readings.

    Args:
        classifiers: all classifiers.
        name: of the one to run.
        cuts: the crops, at least one.
        stopwatch: the time is added to it as ``classify``.
        features: also read the features.
        steady: give a face the same numbers to the last digit whatever it is batched with.
    """
    with stopwatch.measure("classify"):
        classifiers.fill(name, cuts, features, steady)


def assemble(
    models: Models,
    source: str | None,
    found: Found,
    readings: Sequence[Reading],
    features: bool = False,
    tracks: Sequence[int | None] | None = None,
) -> Result:
    """Assemble the result of one picture, of the faces that reach the threshold after their face check.

    Args:
        models: that made it.
        source: its path, or None.
        found: faces and heads.
        readings: one per box of a face.
        features: fill ``Face.features``.
        tracks: in a video, the number of each box's person.
    """
    picture, faces, heads, head_of = found.picture, found.faces, found.heads, found.head_of
    joint = [
        joint_confidence(shortest(one), read.evidence) for one, read in zip(faces.confidence, readings, strict=True)
    ]
    order = list(range(len(joint)))
    if any(each.face_check is not None for each in models.classifiers.values()):
        least = models.detector.confidence or 0.0
        order = sorted((face for face in order if joint[face] >= least), key=lambda face: -joint[face])
        head_of = match_heads(faces.boxes[order], heads.boxes)
    return Result(
        source=source,
        width=picture.width,
        height=picture.height,
        faces=tuple(
            Face(
                box=box_of(faces.boxes[face]),
                confidence=joint[face],
                head=head,
                attributes=readings[face].attributes or None,
                reason=None if readings[face].attributes else _in_one(readings[face].reasons),
                reasons=readings[face].reasons,
                features=readings[face].features if features else None,
                track=None if tracks is None else tracks[face],
            )
            for face, head in zip(order, head_of, strict=True)
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
    """Convert one row of ``Detections.boxes`` to a box."""
    x1, y1, x2, y2 = (shortest(value) for value in row)
    return Box(x1=x1, y1=y1, x2=x2, y2=y2)


def shortest(value: np.float32) -> float:
    """The float with the fewest digits that rounds to this float32: 0.1, not 0.10000000149011612."""
    return float(str(np.float32(value)))


def failed(models: Models, source: str | None, error: Exception | str) -> Result:
    """The result of a picture or video that could not be read.

    Args:
        models: named in the result.
        source: as it was given; None if it has no name.
        error: the reason.
    """
    return Result(source=source, width=None, height=None, faces=(), heads=(), models=models, error=str(error))


def _in_one(reasons: dict[str, str]) -> str:
    """Join several classifiers' reasons into one text; a reason that they all share is given once."""
    if len(set(reasons.values())) == 1:
        return next(iter(reasons.values()))
    return "; ".join(f"{name}: {reason}" for name, reason in reasons.items())


def match_heads(faces: np.ndarray, heads: np.ndarray) -> list[int | None]:
    """Give each face the head that it lies in, and each head at most one face.

    Pairs are matched by the fraction of the face inside the head (in steps of a tenth), smaller heads first among
    equals.

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
