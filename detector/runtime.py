"""``FaceDetector``: a released detector at work. numpy, OpenCV and onnxruntime only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..weights.session import open_session
from ..weights.store import Release, find
from .boxes import Detections
from .letterbox import letterbox

BATCH = 8
"""Most frames in one session call: more gains nothing on a CPU and costs 5 MB of input each."""


class FaceDetector:
    """Finds faces and heads in frames with a released model.

    Args:
        version: a version, a release folder, or None for the newest.
        device: see ``weights.session.open_session``.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        confidence: boxes below it are dropped; None takes the release's own threshold.
        iou: overlap at which the weaker box of one class is dropped; None takes the release's own.
        release: a release already found; ``version`` is then not looked at.

    Raises:
        WeightsError, DeviceError: no such release, damaged files, or a missing device.
    """

    def __init__(
        self,
        version: str | Path | None = None,
        device: str = "cpu",
        threads: int | None = None,
        confidence: float | None = None,
        iou: float | None = None,
        release: Release | None = None,
        precision: str | None = None,
    ):
        self.release = release or find("detector", version)
        manifest = self.release.manifest
        assert manifest.thresholds is not None  # the manifest's own check of a detector
        self.confidence = manifest.thresholds.confidence if confidence is None else confidence
        self.iou = manifest.thresholds.iou if iou is None else iou
        self.max_detections = manifest.thresholds.max_detections
        self.classes = manifest.classes
        self.input = manifest.input
        self.session = open_session(self.release.read(precision), device, threads)

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """Find faces and heads.

        Args:
            frames: BGR images, uint8, shape (height, width, 3), of any sizes.

        Returns:
            One ``Detections`` a frame, in the order of the frames.
        """
        found: list[Detections] = []
        for start in range(0, len(frames), BATCH):
            boxed = [
                letterbox(frame, self.input.size, self.input.padding or (114, 114, 114))
                for frame in frames[start : start + BATCH]
            ]
            outputs = self.session.run(None, {self.input.name: self.tensor([square for square, _ in boxed])})[0]
            for output, (_, transform) in zip(outputs, boxed, strict=True):
                boxes, confidence, labels = decode(output, self.confidence, self.iou, self.max_detections)
                found.append(Detections(transform.to_frame(boxes), confidence, labels, self.classes))
        return found

    def tensor(self, squares: Sequence[np.ndarray]) -> np.ndarray:
        """Letterboxed squares (size, size, 3) uint8 as the model's input, float32 (n, 3, size, size)."""
        scale = self.input.scale / np.array(self.input.std, dtype=np.float64)
        mean = np.array(self.input.mean, dtype=np.float64) / np.array(self.input.std, dtype=np.float64)
        return cv2.dnn.blobFromImages(
            list(squares), 1.0, mean=(0, 0, 0), swapRB=self.input.colour == "RGB"
        ) * scale.reshape(1, 3, 1, 1).astype(np.float32) - mean.reshape(1, 3, 1, 1).astype(np.float32)


def decode(
    output: np.ndarray, confidence: float, iou: float, max_detections: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode one frame's YOLOv8 output and drop doubles by non-maximum suppression within each class.

    Args:
        output: float32, shape (4 + classes, anchors): centre x, centre y, width, height in input pixels, then one score
            (0 to 1) a class.
        confidence: least score kept.
        iou: overlap at which the weaker box goes.
        max_detections: most boxes kept.

    Returns:
        Boxes (n, 4) as corners in input pixels, confidence (n,) and labels (n,), most confident first.
    """
    labels, anchors = np.nonzero(output[4:] >= confidence)
    scores = output[4:][labels, anchors].astype(np.float32)
    centre, sides = output[:2, anchors].T, output[2:4, anchors].T
    boxes = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1).astype(np.float32)
    if len(boxes):
        corner_and_sides = np.concatenate([boxes[:, :2], sides], axis=1)
        keep = np.asarray(
            cv2.dnn.NMSBoxesBatched(corner_and_sides.tolist(), scores.tolist(), labels.tolist(), confidence, iou),
            dtype=np.int64,
        ).reshape(-1)
        keep = keep[np.argsort(-scores[keep], kind="stable")][:max_detections]
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    return boxes, scores, labels.astype(np.int64)
