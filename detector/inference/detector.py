"""``FaceDetector``: a released detector at work. numpy, OpenCV and onnxruntime only."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from ...core.errors import WeightsError
from ...core.extras import require
from ...weights.manifest import FileEntry
from ...weights.release import Release
from ...weights.session import choose_file, open_session
from ...weights.store import find
from .boxes import Detections, show_nothing, strongest
from .preprocessing import STRIDE, InputBuffer, fit

BATCH = 8
"""Most frames in one session call."""
BATCH_PIXELS = BATCH * 640 * 640
"""Most input pixels in one call on an accelerator. On a CPU each frame has a call of its own: on two cores that is 8 %
(float32) to 11 % (int8) quicker than eight at a time, and takes an eighth of the memory."""


LARGEST_SIZE = 4096
"""Pixels of the input's longer side at most: its memory grows with the square, 100,000 would take 112 GiB."""


class FaceDetector:
    """Finds faces and heads in frames with a released model.

    >>> import cv2
    >>> (found,) = FaceDetector("1.0.0").detect([cv2.imread("examples/astronaut.jpg")])
    >>> found.of("face").boxes.shape, found.of("face").confidence.shape
    ((1, 4), (1,))

    Args:
        version: a version, a release folder, or None for the newest.
        device: see ``weights.session.open_session``.
        threads: threads within one operator; None leaves the choice to ONNX Runtime.
        confidence: boxes below it are dropped; None takes the release's own threshold.
        iou: overlap at which the weaker box of one class is dropped; None takes the release's own.
        release: a release already found; ``version`` is then not looked at.
        precision: which of the release's files runs, see ``weights.session.choose_file``; None takes its first.
        imgsz: pixels that a frame's longer side is scaled to, rounded up to a multiple of 32; None takes the release's
            own. A larger one finds smaller faces and takes longer (by the square). Only a release whose input size is
            free (``input.dynamic`` in its manifest) takes another than its own.
        tiles: True looks at frames larger than ``imgsz`` in overlapping tiles of that size too, a number in tiles of so
            many pixels of the frame; see ``detector.tiles``.

    Several threads may call one detector at once.

    Attributes:
        entry: the file that runs.
        imgsz: the size in use, in pixels.
        tiles: side of a tile in pixels of the frame, or None.

    Raises:
        WeightsError, DeviceError: no such release, damaged files, a size that it does not take, or a missing device.
        MissingExtraError: tiles are asked for and supervision is not installed.
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
        imgsz: int | None = None,
        tiles: bool | int = False,
    ):
        self.release = release or find("detector", version)
        manifest = self.release.manifest
        assert manifest.thresholds is not None  # the manifest's own check of a detector
        self.confidence = manifest.thresholds.confidence if confidence is None else confidence
        self.iou = manifest.thresholds.iou if iou is None else iou
        self.max_detections = manifest.thresholds.max_detections
        self.classes = manifest.classes
        self.input = manifest.input
        self.imgsz = usable_size(self.release, imgsz)
        self.tiles = tile_side(tiles, self.imgsz)
        if self.tiles is not None:
            require("supervision")
        self.batch_pixels = 1 if device == "cpu" else BATCH_PIXELS
        self.device = device
        self.entry: FileEntry = choose_file(self.release, precision, device)
        self.session = open_session(self.release.read(self.entry.precision), device, threads)
        self._buffer = InputBuffer(self.input)

    def with_threads(self, threads: int) -> Self:
        """The same detector over a session of its own with so many threads within one operator.

        One call of a session with two threads takes longer than half of one with one: where there is work for several
        callers at once, several threads that call a session of one thread get more done (1.2 times as much on two
        cores).
        """
        other = copy.copy(self)
        other.session = open_session(self.release.read(self.entry.precision), self.device, threads)
        return other

    def with_confidence(self, confidence: float) -> Self:
        """The same detector, over the same session, with another least confidence."""
        other = copy.copy(self)
        other.confidence = confidence
        return other

    @property
    def input_text(self) -> str:
        """How frames are taken in, in words: sizes in pixels."""
        shape = f"{self.imgsz} px, padded to multiples of {STRIDE}" if self.input.dynamic else f"{self.imgsz} px square"
        return shape if self.tiles is None else f"{shape}, and in tiles of {self.tiles} px where frames are larger"

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """Find faces and heads.

        Args:
            frames: BGR images, uint8, shape (height, width, 3), of any sizes.

        Returns:
            One ``Detections`` a frame, in the order of the frames.
        """
        found = self.detect_whole(frames)
        if self.tiles is not None:
            from .tiling import add_tiles

            for index, frame in enumerate(frames):
                if max(frame.shape[:2]) > self.tiles:
                    found[index] = add_tiles(
                        frame, found[index], self.detect_whole, self.tiles, self.imgsz, self.iou, self.max_detections
                    )
        return found

    def detect_whole(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """As :meth:`detect`, in one pass over each frame, whatever its size.

        Frames whose inputs have the same shape share session calls. An input is square where the release takes no
        other, else padded only to the next multiple of 32.
        """
        stride = STRIDE if self.input.dynamic else None
        boxes = [fit(frame.shape[1], frame.shape[0], self.imgsz, stride) for frame in frames]
        alike: dict[tuple[int, int], list[int]] = {}
        for index, box in enumerate(boxes):
            alike.setdefault(box.outer, []).append(index)
        found: dict[int, Detections] = {}
        for (width, height), members in alike.items():
            most = min(BATCH, max(1, self.batch_pixels // (width * height)))
            for start in range(0, len(members), most):
                chunk = members[start : start + most]
                tensor = self._buffer.fill([frames[index] for index in chunk], [boxes[index] for index in chunk])
                for index, output in zip(chunk, self.session.run(None, {self.input.name: tensor})[0], strict=True):
                    corners, confidence, labels = decode(output, self.confidence, self.iou, self.max_detections)
                    corners = boxes[index].to_frame(corners)
                    keep = ~show_nothing(frames[index], corners)
                    found[index] = Detections(corners[keep], confidence[keep], labels[keep], self.classes)
        return [found[index] for index in range(len(frames))]


def usable_size(release: Release, imgsz: int | None) -> int:
    """The input size in pixels that a detector's release is run at: ``imgsz`` rounded up to a multiple of 32.

    Raises:
        WeightsError: the release does not take that size; the message names what it takes.
    """
    spec = release.manifest.input
    if imgsz is None:
        return spec.size
    size = -(-imgsz // STRIDE) * STRIDE
    possible = f"any multiple of {STRIDE} from {STRIDE} to {LARGEST_SIZE}" if spec.dynamic else f"{spec.size} only"
    if not STRIDE <= size <= LARGEST_SIZE or not (spec.dynamic or size == spec.size):
        raise WeightsError(f"detector {release.version} cannot run at imgsz {imgsz}; it takes {possible}")
    return size


def tile_side(tiles: bool | int, imgsz: int) -> int | None:
    """Side in pixels of the tiles asked for, or None.

    Raises:
        WeightsError: the tiles would be smaller than 32 pixels.
    """
    if tiles is False:
        return None
    side = imgsz if tiles is True else tiles
    if not STRIDE <= side <= LARGEST_SIZE:
        wanted = f"at least {STRIDE}" if side < STRIDE else f"at most {LARGEST_SIZE}"
        raise WeightsError(f"tiles of {side} px: they must have {wanted}")
    return side


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
    keep = strongest(boxes, scores, labels, iou, confidence)[:max_detections]
    return boxes[keep], scores[keep], labels[keep].astype(np.int64)
