"""``FaceDetector``: run a released detector, with only numpy, OpenCV and onnxruntime."""

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
"""Most frames per session call."""
BATCH_PIXELS = BATCH * 640 * 640
"""Most input pixels per call on an accelerator. On a CPU, each frame gets its own call: on two cores this is 8 %
(float32) to 11 % (int8) faster than batches of eight and uses an eighth of the memory."""


LARGEST_SIZE = 4096
"""Most pixels of the input's longer side. Memory grows with the square: 100,000 would take 112 GiB."""


class FaceDetector:
    """Finds faces and heads in frames with a released model.

    >>> import cv2
    >>> (found,) = FaceDetector("1.0.0").detect([cv2.imread("examples/astronaut.jpg")])
    >>> found.of("face").boxes.shape, found.of("face").confidence.shape
    ((1, 4), (1,))

    Args:
        version: a version (``1.0.0``; for a named detector ``small@0.1.0`` or ``small``), a release folder, or None
            for the version in use.
        device: see ``weights.session.open_session``.
        threads: threads within one operator; None leaves it to ONNX Runtime.
        confidence: boxes below it are dropped; None takes the release's own threshold.
        iou: overlap above which the weaker box of one class is dropped; None takes the release's own.
        release: an already opened release; ``version`` is then ignored.
        precision: which of the release's files to run, see ``weights.session.choose_file``; None takes the first.
        imgsz: pixels that a frame's longer side is scaled to, rounded up to a multiple of 32; None takes the release's
            own. A larger size finds smaller faces, but time grows with its square. Only a release with a dynamic input
            (``input.dynamic`` in its manifest) accepts another size than its own.
        tiles: True also runs frames larger than ``imgsz`` in overlapping tiles of that size, a number in tiles of that
            many pixels of the frame; see ``inference.tiling``.

    Several threads may use one detector at the same time.

    Attributes:
        entry: the file in use.
        imgsz: the input size in use, in pixels.
        tiles: side of a tile in pixels of the frame, or None.

    Raises:
        WeightsError, DeviceError: no such release, damaged files, an unsupported size, or a missing device.
        MissingExtraError: tiles are requested but supervision is not installed.
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
        assert manifest.thresholds is not None  # guaranteed by the manifest's validation
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
        """Return the same detector with its own session, using this many threads within one operator.

        A call with two threads takes more than half the time of a call with one. If several callers have work at the
        same time, several single-threaded sessions therefore get more done (1.2 times as much on two cores).
        """
        other = copy.copy(self)
        other.session = open_session(self.release.read(self.entry.precision), self.device, threads)
        return other

    def with_confidence(self, confidence: float) -> Self:
        """Return the same detector, sharing its session, with another confidence threshold."""
        other = copy.copy(self)
        other.confidence = confidence
        return other

    @property
    def input_text(self) -> str:
        """Description of the preprocessing, with sizes in pixels."""
        shape = f"{self.imgsz} px, padded to multiples of {STRIDE}" if self.input.dynamic else f"{self.imgsz} px square"
        return shape if self.tiles is None else f"{shape}, and in tiles of {self.tiles} px where frames are larger"

    def detect(self, frames: Sequence[np.ndarray]) -> list[Detections]:
        """Find faces and heads.

        Args:
            frames: BGR images, uint8, shape (height, width, 3), of any sizes.

        Returns:
            One ``Detections`` per frame, in the order of the frames.
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
        """Like :meth:`detect`, but in one pass over each frame, whatever its size.

        Frames with inputs of the same shape share session calls. An input is square if the release requires it, and
        otherwise padded only to the next multiple of 32.
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
    """The input size in pixels to run a detector's release at: ``imgsz`` rounded up to a multiple of 32.

    Raises:
        WeightsError: the release does not accept that size; the message names what it accepts.
    """
    spec = release.manifest.input
    if imgsz is None:
        return spec.size
    size = -(-imgsz // STRIDE) * STRIDE
    possible = f"any multiple of {STRIDE} from {STRIDE} to {LARGEST_SIZE}" if spec.dynamic else f"{spec.size} only"
    if not STRIDE <= size <= LARGEST_SIZE or not (spec.dynamic or size == spec.size):
        raise WeightsError(f"detector {release.label} cannot run at imgsz {imgsz}; it takes {possible}")
    return size


def tile_side(tiles: bool | int, imgsz: int) -> int | None:
    """Side of the tiles in pixels, or None for no tiles.

    Raises:
        WeightsError: the tiles would be smaller than 32 pixels or larger than ``LARGEST_SIZE``.
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
    """Decode one frame's YOLOv8 output and apply non-maximum suppression within each class.

    Args:
        output: float32, shape (4 + classes, anchors): centre x, centre y, width, height in input pixels, then one score
            (0 to 1) per class.
        confidence: least score to keep.
        iou: overlap above which the weaker box is dropped.
        max_detections: most boxes to keep.

    Returns:
        Boxes (n, 4) as corners in input pixels, confidence (n,) and labels (n,), most confident first.
    """
    labels, anchors = np.nonzero(output[4:] >= confidence)
    scores = output[4:][labels, anchors].astype(np.float32)
    centre, sides = output[:2, anchors].T, output[2:4, anchors].T
    boxes = np.concatenate([centre - sides / 2, centre + sides / 2], axis=1).astype(np.float32)
    keep = strongest(boxes, scores, labels, iou, confidence)[:max_detections]
    return boxes[keep], scores[keep], labels[keep].astype(np.int64)
