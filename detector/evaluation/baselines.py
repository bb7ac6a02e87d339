"""Third-party detectors behind the interface of ``FaceDetector``, so that the same code measures them.

They are for comparison only and are not used in production. Each preprocesses pictures as its authors do; see
``input_text``.
"""

from __future__ import annotations

import ast
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from ...core.errors import WeightsError, os_errors_as
from ...weights.session import open_session
from ..inference.boxes import Detections
from ..inference.detector import decode
from ..inference.preprocessing import letterbox

SIZE = 640
KINDS = ("yunet", "scrfd", "yolov8")
BEFORE_NMS = 5000
"""Most boxes that enter SCRFD's non-maximum suppression, the best ones, as in RetinaFace's evaluation (Deng et al.
2020). Its time grows with their square, and at a confidence of 0.001 nearly every anchor has a box."""


class Peer(ABC):
    """A face detector that is not one of our releases.

    Attributes:
        name: for tables; ``open_baseline`` accepts it.
        confidence: threshold below which boxes are dropped; initially the authors' default.
        iou: overlap above which non-maximum suppression drops the weaker box.
        max_detections: most boxes per picture.
        classes: class names.
        input_text: description of the preprocessing.
        sha256: of its file.

    Raises:
        WeightsError: the file cannot be read.
    """

    kind: str
    confidence: float
    iou: float
    max_detections = 1000
    classes: tuple[str, ...] = ("face",)
    input_text: str

    def __init__(self, path: Path):
        self.path = path
        self.name = f"{self.kind}:{path.name}"
        with os_errors_as(WeightsError, f"{path}: cannot be read"):
            self.content = path.read_bytes()
        self.sha256 = hashlib.sha256(self.content).hexdigest()

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """Find faces: one ``Detections`` per BGR frame, in the order of the frames.

        Args:
            frames: BGR, uint8, (height, width, 3) each.
        """
        return [self._detect(frame) for frame in frames]

    @abstractmethod
    def _detect(self, frame: np.ndarray) -> Detections: ...

    def _faces(self, boxes: np.ndarray, confidence: np.ndarray, frame: np.ndarray) -> Detections:
        """Build ``Detections`` in pixels of the frame: sorted by confidence, clipped, at most ``max_detections``."""
        height, width = frame.shape[:2]
        order = np.argsort(-confidence, kind="stable")[: self.max_detections]
        clipped = np.clip(boxes[order], 0, [width, height] * 2).astype(np.float32)
        return Detections(clipped, confidence[order].astype(np.float32), np.zeros(len(order), np.int64), self.classes)


class YuNet(Peer):
    """OpenCV's YuNet in ``cv2.FaceDetectorYN``, with OpenCV's defaults.

    See Wu, Peng and Yu 2023, "YuNet: A Tiny Millisecond-level Face Detector".

    Raises:
        WeightsError: the file cannot be read, or OpenCV cannot load it.
    """

    kind = "yunet"
    confidence, iou = 0.9, 0.3
    input_text = f"scaled to a longest side of {SIZE} px"

    def __init__(self, path: Path):
        super().__init__(path)
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # suppress a warning about the default target
        try:
            self.network = cv2.FaceDetectorYN.create(str(path), "", (SIZE, SIZE), self.confidence, self.iou)
        except cv2.error as error:
            raise WeightsError(f"{path}: OpenCV cannot load it as a YuNet: {error.err}") from error
        finally:
            cv2.utils.logging.setLogLevel(level)

    def _detect(self, frame: np.ndarray) -> Detections:
        height, width = frame.shape[:2]
        scale = SIZE / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if size != (width, height):
            way = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
            small = cv2.resize(frame, size, interpolation=way)
        else:
            small = frame
        self.network.setInputSize(size)
        self.network.setScoreThreshold(self.confidence)
        try:
            rows = self.network.detect(small)[1]
        except cv2.error as error:
            raise WeightsError(f"{self.path}: not a YuNet that this OpenCV can run: {error.err}") from error
        rows = np.zeros((0, 15), np.float32) if rows is None else rows  # x y w h, ten landmark coordinates, score
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return self._faces(corners * ([width / size[0], height / size[1]] * 2), rows[:, 14], frame)


class Scrfd(Peer):
    """SCRFD in the layout published by InsightFace.

    See Guo et al. 2021, "Sample and Computation Redistribution for Efficient Face Detection". For each of the strides
    8, 16 and 32 there is a tensor of scores (anchors, 1), one of distances (anchors, 4) from the anchor's centre to the
    left, top, right and bottom in strides, and optionally one of landmarks. There are two anchors per cell.
    Preprocessing and thresholds are InsightFace's: RGB, (x - 127.5) / 128, 0.5 and 0.4.

    Args:
        path: of the ONNX file.
        device: see :func:`facepipe.weights.session.open_session`.
        threads: within one operator; None leaves it to ONNX Runtime.

    Raises:
        WeightsError: the file is missing or has another layout.
    """

    kind = "scrfd"
    confidence, iou = 0.5, 0.4
    input_text = f"letterboxed to {SIZE} px, black padding"
    strides = (8, 16, 32)
    anchors = 2

    def __init__(self, path: Path, device: str = "cpu", threads: int | None = None):
        super().__init__(path)
        self.session = open_session(self.content, device, threads)
        outputs = self.session.get_outputs()
        if len(outputs) not in (6, 9):
            raise WeightsError(
                f"{path}: not the layout of SCRFD (6 or 9 outputs: scores, distances and points at three strides); "
                f"it has {len(outputs)}"
            )

    def _detect(self, frame: np.ndarray) -> Detections:
        square, transform = letterbox(frame, SIZE, (0, 0, 0))
        tensor = cv2.dnn.blobFromImage(square, 1 / 128, (SIZE, SIZE), (127.5,) * 3, swapRB=True)
        outputs = _run(self.session, tensor, self.path)
        boxes, scores = [], []
        for level, stride in enumerate(self.strides):
            score, distance = outputs[level].reshape(-1), outputs[level + 3].reshape(-1, 4)
            if len(score) != len(distance) or len(score) != (SIZE // stride) ** 2 * self.anchors:
                raise WeightsError(f"{self.path}: not the layout of SCRFD: {len(score)} scores at stride {stride}")
            keep = np.nonzero(score >= self.confidence)[0]
            boxes.append(anchor_boxes(keep, distance[keep], stride, SIZE // stride, self.anchors))
            scores.append(score[keep])
        found, confidence = np.concatenate(boxes), np.concatenate(scores)
        best = np.argsort(-confidence, kind="stable")[:BEFORE_NMS]
        found, confidence = found[best], confidence[best]
        sides = np.concatenate([found[:, :2], found[:, 2:] - found[:, :2]], axis=1)
        kept = np.asarray(
            cv2.dnn.NMSBoxes(sides.tolist(), confidence.tolist(), self.confidence, self.iou), np.int64
        ).reshape(-1)
        return self._faces(transform.to_frame(found[kept]), confidence[kept], frame)


def anchor_boxes(places: np.ndarray, distances: np.ndarray, stride: int, columns: int, anchors: int) -> np.ndarray:
    """Decode the boxes of anchors.

    Args:
        places: shape (n,), indices of the anchors: row by row, with the anchors of a cell next to each other.
        distances: shape (n, 4), from the anchor's centre to the left, top, right and bottom, in strides.
        stride: pixels per cell; the centre of the cell in column x and row y is (x, y) times the stride.
        columns: cells per row.
        anchors: anchors per cell.

    Returns:
        Shape (n, 4), corners in pixels.
    """
    rows, across = np.divmod(places // anchors, columns)
    centres = np.stack([across, rows], axis=1) * stride
    return np.concatenate([centres - distances[:, :2] * stride, centres + distances[:, 2:] * stride], axis=1)


class Yolov8(Peer):
    """An ONNX file of YOLOv8 or a similar model, as exported by ultralytics.

    Its one output has the shape (1, 4 + classes, anchors), or more rows (keypoints) at the end. Class names come from
    the metadata. Thresholds are ultralytics' own, 0.25 and 0.7.

    Args:
        path: of the ONNX file.
        device: see :func:`facepipe.weights.session.open_session`.
        threads: within one operator; None leaves it to ONNX Runtime.
    """

    kind = "yolov8"
    confidence, iou = 0.25, 0.7

    def __init__(self, path: Path, device: str = "cpu", threads: int | None = None):
        super().__init__(path)
        self.session = open_session(self.content, device, threads)
        given = self.session.get_inputs()[0].shape[2:]
        self.size = int(given[0]) if len(given) == 2 and given[0] == given[1] and isinstance(given[0], int) else SIZE
        self.input_text = f"letterboxed to {self.size} px"
        rows = self.session.get_outputs()[0].shape[1:2]
        self.classes = self._names(rows[0] if rows and isinstance(rows[0], int) else None)

    def _names(self, rows: int | None) -> tuple[str, ...]:
        text = self.session.get_modelmeta().custom_metadata_map.get("names")
        if text is None:
            if rows == 5:
                return ("face",)
            raise WeightsError(f"{self.path}: its metadata names no classes, as ultralytics' export writes them")
        try:
            names = ast.literal_eval(text)
            found = tuple(str(names[key]) for key in sorted(names)) if isinstance(names, dict) else tuple(names)
        except (ValueError, SyntaxError, TypeError) as error:
            raise WeightsError(f"{self.path}: class names in its metadata cannot be read: {text!r}") from error
        if len(found) == 1:  # a pure face detector, whatever its class is called
            return ("face",)
        return found

    def _detect(self, frame: np.ndarray) -> Detections:
        square, transform = letterbox(frame, self.size)
        tensor = cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True)
        output = _run(self.session, tensor, self.path)[0]
        if output.ndim != 3 or output.shape[1] < 4 + len(self.classes) or output.shape[1] > output.shape[2]:
            raise WeightsError(
                f"{self.path}: not YOLOv8's layout (1, 4 + {len(self.classes)} classes, anchors): {output.shape}"
            )
        rows = output[0, : 4 + len(self.classes)]
        boxes, confidence, labels = decode(rows, self.confidence, self.iou, self.max_detections)
        return Detections(transform.to_frame(boxes), confidence, labels, self.classes)


def is_baseline(text: str) -> bool:
    """Whether the value of ``--detector`` names a baseline, as ``KIND:FILE``."""
    return text.partition(":")[0] in KINDS and ":" in text


def open_baseline(text: str, device: str = "cpu", threads: int | None = None) -> Peer:
    """Open a baseline named ``yunet:FILE``, ``scrfd:FILE`` or ``yolov8:FILE``. YuNet runs in OpenCV on the CPU.

    Args:
        text: kind and file.
        device: see :func:`facepipe.weights.session.open_session`.
        threads: within one operator; None leaves it to ONNX Runtime.

    Raises:
        WeightsError: the kind is unknown, or the file is missing or has another layout.
        DeviceError: as ``open_session``.
    """
    kind, _, file = text.partition(":")
    if kind == "yunet":
        return YuNet(Path(file))
    if kind == "scrfd":
        return Scrfd(Path(file), device, threads)
    if kind == "yolov8":
        return Yolov8(Path(file), device, threads)
    raise WeightsError(f"{text}: no such kind of baseline; one of {', '.join(KINDS)}")


def _run(session: ort.InferenceSession, tensor: np.ndarray, path: Path) -> list[np.ndarray]:
    try:
        return session.run(None, {session.get_inputs()[0].name: tensor})
    except Exception as error:  # onnxruntime raises its own unexported types
        raise WeightsError(f"{path}: cannot run on a picture of {tensor.shape[2]} px: {error}") from error
