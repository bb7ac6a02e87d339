"""The face check outside the pipeline: for measuring a detector as both stages serve it.

A detector sees a whole picture at once and is now and then sure of an elbow. A classifier sees a crop of the box at its
own input size, and one that has learnt the detector's false alarms can refuse them, as the later stages of cascades do
(Viola and Jones, 2001; MTCNN, Zhang et al., 2016). ``Pipeline`` does so on the way to the attributes; the class here
does only this, for ``evaluate-detector --face-check`` and ``evaluate``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..classifier.inference.classifier import AttributeClassifier
from ..core.errors import WeightsError
from ..detector.inference.boxes import Detections
from ..detector.inference.detector import FaceDetector
from ..weights.release import Release
from .classifiers import Classifiers, Placed
from .inputs.image_reader import Frame, Picture
from .two_stage import CHECKED, joint_confidence, least_checked, match_heads, shortest


def face_evidence(classifiers: Classifiers, frame: Frame, faces: np.ndarray, heads: np.ndarray) -> np.ndarray:
    """The evidence for a face in each box, (n,), by the classifiers' face checks; 0 where a box is too small for them.

    Args:
        classifiers: with or without face checks.
        frame: the picture, BGR, uint8, (height, width, 3).
        faces: boxes, (n, 4), in pixels of the frame.
        heads: boxes of heads, (m, 4), for a classifier that crops heads.
    """
    owners = [None if owner is None else heads[owner] for owner in match_heads(faces, heads)]
    return np.array([each.evidence for each in classifiers.read([Placed(Picture.of(frame), faces, owners)])[0]])


class CheckedDetector:
    """A detector whose faces have the confidence that both stages give them.

    Args:
        detector: finds faces, and heads if a classifier crops those.
        classifiers: those with a face check take part.

    Attributes:
        confidence, max_detections: those of the detector.

    Raises:
        WeightsError: no classifier has a face check.
    """

    def __init__(self, detector: FaceDetector, classifiers: Sequence[AttributeClassifier]):
        checks = [each for each in classifiers if each.face_check is not None]
        if not checks:
            raise WeightsError(f"no face check: {', '.join(str(each.release.folder) for each in classifiers)}")
        self.detector, self._classifiers = detector, Classifiers(checks)
        self.classes: tuple[str, ...] = detector.classes
        self.iou: float = detector.iou
        self.imgsz: int = detector.imgsz
        self.tiles: int | None = detector.tiles
        self.release: Release = detector.release
        by = " and ".join(each.release.label for each in checks)
        self.name: str = f"{detector.release.label}, checked by classifier {by}"
        self.input_text: str = f"{detector.input_text}, faces from {CHECKED:g} on checked by {by}"

    @property
    def confidence(self) -> float:
        return self.detector.confidence

    @confidence.setter
    def confidence(self, confidence: float) -> None:
        self.detector.confidence = confidence

    @property
    def max_detections(self) -> int:
        return self.detector.max_detections

    @max_detections.setter
    def max_detections(self, most: int) -> None:
        self.detector.max_detections = most

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """Find faces and heads in frames, BGR, uint8, (height, width, 3); see ``FaceDetector.detect``."""
        least = least_checked(self.confidence, self._classifiers.most_evidence)
        found = self.detector.with_confidence(least).detect(frames)
        return [self._checked(frame, each) for frame, each in zip(frames, found, strict=True)]

    def _checked(self, frame: Frame, found: Detections) -> Detections:
        faces = np.flatnonzero((found.labels == found.classes.index("face")) & (found.confidence >= CHECKED))
        heads = found.of("head").boxes if "head" in found.classes else np.zeros((0, 4), np.float32)
        evidence = face_evidence(self._classifiers, frame, found.boxes[faces], heads)
        confidence = found.confidence.copy()
        confidence[faces] = [
            joint_confidence(shortest(one), added) for one, added in zip(confidence[faces], evidence, strict=True)
        ]
        order = np.argsort(-confidence, kind="stable")
        return Detections(found.boxes[order], confidence[order], found.labels[order], found.classes).least(
            self.confidence
        )
