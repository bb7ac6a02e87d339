"""Tiled detection: run large photos as a whole for large faces, and in overlapping tiles for small ones.

supervision's ``InferenceSlicer`` cuts the tiles (after SAHI: Akyon et al., "Slicing Aided Hyper Inference and
Fine-tuning for Small Object Detection", 2022). A face cut by a tile's edge gives a box of its visible part only. If the
face is smaller than the overlap, a neighbouring tile contains all of it. If it is larger, one of its parts is as long
as the overlap, and the pass over the whole photo will have found it. The rules for dropping boxes follow from this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..evaluation.matching import longer_side
from .boxes import Detections, share_inside, strongest

if TYPE_CHECKING:
    import supervision

OVERLAP = 0.2
"""Overlap of neighbouring tiles, as a fraction of their side."""
EDGE = 2.0
"""A box that ends within this many pixels of a tile's edge counts as cut."""
SMALL = 16
"""Boxes whose longer side has fewer pixels in the pass over the whole photo are left to the tiles: they are too coarse
to be recognised as duplicates."""
COVERED = 0.7
"""A partial box is dropped if at least this share of it lies in a whole box of its class."""
Detect = Callable[[list[np.ndarray]], list[Detections]]
"""Takes frames, uint8 BGR (height, width, 3), and returns the detections in each."""
BATCH = 8
"""Tiles per call of the detector."""


def add_tiles(
    frame: np.ndarray, whole: Detections, detect: Detect, side: int, imgsz: int, iou: float, max_detections: int
) -> Detections:
    """Detect in tiles of a frame and join the result with that of the whole frame.

    Args:
        frame: BGR image, uint8, shape (height, width, 3), longer than ``side``.
        whole: detections of one pass over the frame.
        detect: runs on the tiles, each in one pass.
        side: of a tile, in pixels of the frame.
        imgsz: pixels that the frame's longer side was scaled to for ``whole``.
        iou: overlap above which the weaker box of one class is dropped.
        max_detections: most boxes to keep.

    Returns:
        The detections of the frame, boxes in its pixels.
    """
    height, width = frame.shape[:2]
    tiled, gaps = detect_tiles(frame, detect, side, whole.classes)
    return join(whole, tiled, gaps, (width, height), side * OVERLAP, imgsz / max(height, width), iou, max_detections)


def detect_tiles(
    frame: np.ndarray, detect: Detect, side: int, classes: tuple[str, ...]
) -> tuple[Detections, np.ndarray]:
    """Detect in overlapping tiles of a frame; duplicates and partial boxes are included.

    Args:
        frame: BGR, uint8, (height, width, 3).
        detect: runs on the tiles.
        side: of a tile, in pixels.
        classes: of the detector.

    Returns:
        The detections of all tiles, with boxes in pixels of the frame; and each box's distances from the left, top,
        right and bottom edge of its tile, in pixels, shape (n, 4).
    """
    import supervision as sv

    def look(tiles: list[np.ndarray]) -> list[supervision.Detections]:
        return [
            sv.Detections(
                xyxy=found.boxes,
                confidence=found.confidence,
                class_id=found.labels,
                data={"gaps": gaps_to_edges(found.boxes, tile.shape[1], tile.shape[0])},
            )
            for tile, found in zip(tiles, detect(tiles), strict=True)
        ]

    slicer = sv.InferenceSlicer(
        look,
        slice_wh=side,
        overlap_wh=round(side * OVERLAP),
        overlap_filter=sv.OverlapFilter.NONE,
        batch_size=BATCH,
    )
    found = slicer(frame)
    if not len(found):
        nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int), classes)
        return nothing, np.zeros((0, 4))
    assert found.confidence is not None
    assert found.class_id is not None
    boxes = np.asarray(found.xyxy, np.float32)
    return Detections(boxes, found.confidence, found.class_id, classes), np.asarray(found.data["gaps"])


def join(
    whole: Detections,
    tiled: Detections,
    gaps: np.ndarray,
    size: tuple[int, int],
    overlap: float,
    scale: float,
    iou: float,
    max_detections: int,
) -> Detections:
    """Join the detections of a whole frame and of its tiles, so that every face appears once and in full.

    Boxes of the whole frame that were too small in it are dropped, unless they are larger than the overlap. Partial
    boxes of the tiles are dropped if they are shorter than the overlap or lie in a whole box of their class. Finally,
    non-maximum suppression drops the weaker of two overlapping boxes of one class.

    Args:
        whole: detections of one pass over the frame.
        tiled: detections of the tiles, boxes in pixels of the frame.
        gaps: shape (n, 4), from each box of ``tiled`` to the edges of its tile, as from ``detect_tiles``.
        size: width and height of the frame.
        overlap: of neighbouring tiles, in pixels of the frame.
        scale: of the pass over the whole frame: input pixels per frame pixel.
        iou: overlap above which the weaker box of one class is dropped.
        max_detections: most boxes to keep.

    Returns:
        The kept boxes, most confident first.
    """
    big = longer_side(whole.boxes) >= min(SMALL / scale, overlap)
    # A box is cut if it ends at an edge of the tile and the frame continues beyond.
    at_edge = (gaps <= EDGE) & (gaps + 1 < gaps_to_edges(tiled.boxes, *size))
    across, down = at_edge[:, 0] | at_edge[:, 2], at_edge[:, 1] | at_edge[:, 3]
    width, height = (tiled.boxes[:, 2:] - tiled.boxes[:, :2]).T
    long_enough = ~(across & (width < overlap)) & ~(down & (height < overlap))
    boxes = np.concatenate([whole.boxes[big], tiled.boxes[long_enough]])
    confidence = np.concatenate([whole.confidence[big], tiled.confidence[long_enough]])
    labels = np.concatenate([whole.labels[big], tiled.labels[long_enough]])
    part = np.concatenate([np.zeros(int(big.sum()), bool), (across | down)[long_enough]])
    wholes = np.nonzero(~part)[0]
    wholes = wholes[strongest(boxes[wholes], confidence[wholes], labels[wholes], iou)]
    uncovered = [
        index
        for index in np.nonzero(part)[0]
        if not (share_inside(boxes[[index]], boxes[wholes[labels[wholes] == labels[index]]]) >= COVERED).any()
    ]
    stay = np.concatenate([wholes, np.array(uncovered, np.int64)])
    keep = stay[strongest(boxes[stay], confidence[stay], labels[stay], iou)][:max_detections]
    return Detections(boxes[keep], confidence[keep], labels[keep], whole.classes)


def gaps_to_edges(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """Distances of boxes, shape (n, 4), from the left, top, right and bottom edge of a picture, in pixels.

    Args:
        boxes: corners in pixels, (n, 4).
        width: of the picture, in pixels.
        height: of the picture, in pixels.
    """
    return np.concatenate([boxes[:, :2], np.array([width, height]) - boxes[:, 2:]], axis=1)
