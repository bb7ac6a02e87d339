"""The face check outside the pipeline: for measuring a detector as both stages serve it.

A detector sees a whole picture at once and is now and then sure of an elbow. A classifier sees a crop of the box at its
own input size, and one that has learnt the detector's false alarms can refuse them, as the later stages of cascades do
(Viola and Jones, 2001; MTCNN, Zhang et al., 2016). ``Pipeline`` does so on the way to the attributes; the class here
does only this, for ``evaluate-detector --face-check`` and ``evaluate``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..classifier.inference.attributes import probabilities
from ..classifier.inference.classifier import AttributeClassifier
from ..classifier.inference.crop import cut_region
from ..core.errors import WeightsError
from ..detector.inference.boxes import Detections
from ..detector.inference.detector import FaceDetector
from ..weights.release import Release
from .inputs.image_reader import Frame
from .two_stage import match_heads

CHECKED = 0.02
"""Confidence from which faces are checked; those below, far under any threshold in use, are too many."""


def face_probabilities(
    classifier: AttributeClassifier, frame: Frame, faces: np.ndarray, heads: np.ndarray
) -> np.ndarray:
    """The probability that each box holds a face, (n,), by a classifier's face check; 1 where there is no check.

    Args:
        classifier: with or without a face check.
        frame: the picture, BGR, uint8, (height, width, 3).
        faces: boxes, (n, 4), in pixels of the frame.
        heads: boxes of heads, (m, 4), for a classifier that crops heads.
    """
    sure, check = np.ones(len(faces)), classifier.face_check
    if check is None:
        return sure
    owners = match_heads(faces, heads)
    crops = [
        cut_region(frame, face, None if owner is None else heads[owner], classifier.served_crop)
        for face, owner in zip(faces, owners, strict=True)
    ]
    cut = [index for index, crop in enumerate(crops) if crop.image is not None]
    if cut:
        outputs = classifier.outputs(np.stack([crops[index].image for index in cut]))  # type: ignore[misc]
        sides = np.array([crops[index].side for index in cut])
        sure[cut] = np.where(sides < (check.min_side or 0), 1.0, probabilities(check, outputs[check.name], sides)[:, 1])
    return sure


class CheckedDetector:
    """A detector whose faces a classifier's face check has passed.

    Args:
        detector: finds faces, and heads if the classifier crops those.
        classifier: with a face check.

    Attributes:
        confidence, max_detections: those of the detector.

    Raises:
        WeightsError: the classifier has no face check.
    """

    def __init__(self, detector: FaceDetector | CheckedDetector, classifier: AttributeClassifier):
        if classifier.face_check is None or classifier.face_check.drop_below is None:
            raise WeightsError(f"{classifier.release.folder}: this classifier has no face check")
        self.detector, self.classifier = detector, classifier
        self._least = classifier.face_check.drop_below
        self.classes: tuple[str, ...] = detector.classes
        self.iou: float = detector.iou
        self.imgsz: int = detector.imgsz
        self.tiles: int | None = detector.tiles
        self.release: Release = detector.release
        self.name: str = f"{detector.release.version}, checked by classifier {classifier.release.label}"
        self.input_text: str = f"{detector.input_text}, faces from {CHECKED:g} on checked by {classifier.release.label}"

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
        """Find faces and heads; see ``FaceDetector.detect``."""
        return [self._checked(frame, found) for frame, found in zip(frames, self.detector.detect(frames), strict=True)]

    def _checked(self, frame: Frame, found: Detections) -> Detections:
        faces = np.flatnonzero((found.labels == found.classes.index("face")) & (found.confidence >= CHECKED))
        heads = found.of("head").boxes if "head" in found.classes else np.zeros((0, 4), np.float32)
        keep = np.ones(len(found), bool)
        keep[faces] = face_probabilities(self.classifier, frame, found.boxes[faces], heads) >= self._least
        return Detections(found.boxes[keep], found.confidence[keep], found.labels[keep], found.classes)
