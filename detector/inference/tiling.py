"""Tiled detection: large photos looked at whole, for big faces, and in overlapping tiles, for small ones.

The tiles are cut by supervision's ``InferenceSlicer`` (after SAHI: Akyon et al., "Slicing Aided Hyper Inference and
Fine-tuning for Small Object Detection", 2022). A face that a tile's edge cuts gives a box of its visible part only. If
it is smaller than the overlap, a neighbouring tile has the whole of it; if it is larger, one of its parts is as long as
the overlap, and the look at the whole photo will have found all of it. What is dropped follows from that.
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
"""Of neighbouring tiles, as a fraction of their side."""
EDGE = 2.0
"""A box that ends within so many pixels of a tile's edge is taken for cut."""
SMALL = 16
"""Boxes whose longer side has fewer pixels in the look at the whole photo are left to the tiles: there they are too
coarse to be recognised as doubles."""
COVERED = 0.7
"""A part is dropped when at least this share of it lies in a whole box of its class."""
Detect = Callable[[list[np.ndarray]], list[Detections]]
"""Takes frames, uint8 BGR (height, width, 3), and gives what is found in each."""
BATCH = 8
"""Tiles that are given to the detector at once."""


def add_tiles(
    frame: np.ndarray, whole: Detections, detect: Detect, side: int, imgsz: int, iou: float, max_detections: int
) -> Detections:
    """Look at a frame in tiles, and join what is found there with what was found in the whole of it.

    Args:
        frame: BGR image, uint8, shape (height, width, 3), longer than ``side``.
        whole: what one pass over the frame found.
        detect: looks at the tiles, each in one pass.
        side: of a tile, in pixels of the frame.
        imgsz: pixels that the frame's longer side was scaled to for ``whole``.
        iou: overlap at which the weaker box of one class goes.
        max_detections: most boxes in the end.

    Returns:
        The detections of the frame, boxes in its pixels.
    """
    height, width = frame.shape[:2]
    tiled, gaps = look_at_tiles(frame, detect, side, whole.classes)
    return join(whole, tiled, gaps, (width, height), side * OVERLAP, imgsz / max(height, width), iou, max_detections)


def look_at_tiles(
    frame: np.ndarray, detect: Detect, side: int, classes: tuple[str, ...]
) -> tuple[Detections, np.ndarray]:
    """What is found in overlapping tiles of a frame, doubles and parts included.

    Args:
        frame: BGR, uint8, (height, width, 3).
        detect: finds boxes in the tiles.
        side: of a tile, in pixels.
        classes: of the detector.

    Returns:
        The detections of all tiles, boxes in pixels of the frame; and, shape (n, 4), how far each box is from the left,
        top, right and bottom edge of its tile, in pixels.
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
    """Join what was found in the whole of a frame and in its tiles: every face once, and no parts of faces.

    Of the whole look, boxes that were too small in it are dropped, unless they are larger than the overlap. Of the
    tiles, parts shorter than the overlap are dropped, and larger ones that lie in a whole box of their class. Then the
    weaker of two boxes of one class that overlap goes.

    Args:
        whole: found in one pass over the frame.
        tiled: found in the tiles, boxes in pixels of the frame.
        gaps: shape (n, 4), from each box of ``tiled`` to the edges of its tile, as ``look_at_tiles`` gives them.
        size: width and height of the frame.
        overlap: of neighbouring tiles, in pixels of the frame.
        scale: at which the whole frame was looked at: pixels of the input for one of the frame.
        iou: overlap at which the weaker box of one class goes.
        max_detections: most boxes kept.

    Returns:
        The boxes that stay, most confident first.
    """
    big = longer_side(whole.boxes) >= min(SMALL / scale, overlap)
    # An edge of the tile cuts a box that ends there and has more of the frame beyond.
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
