"""Makes faces or heads unrecognisable, for publishing.

A face is replaced by a few colours, the averages of at most ``CELLS`` by ``CELLS`` cells over its box, either as
squares (pixelate) or blended into each other (blur). Nothing else of the face is used, whatever the picture's size, so
no sharpening brings it back. A Gaussian blur of fixed width would leave a large face legible and can partly be undone.
The colours remain: networks trained on blurred or pixelated pictures of a few known persons can tell them apart from
little more (McPherson et al., "Defeating Image Obfuscation with Deep Learning", 2016, arXiv 1609.00408: mosaics with
cells of up to 16 pixels on faces about 100 pixels high). The cells here are larger, four over a face, but this does not
protect against someone who knows who may be in the picture and has hair, clothes and place to go by.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import cv2
import numpy as np

from ..inputs.image_reader import Frame
from ..result_data import Box, ResultData

CELLS = 5
"""Number of cells along the longer side of the hidden area."""
MARGIN = 0.12
"""Margin on each side of a box, as a fraction of its longer side: a slightly misplaced box leaves no ear or chin."""
FEATHER = 0.08
"""Width of a blurred patch's soft border, outside the fully hidden area, as a fraction of the longer side."""

How = Literal["blur", "pixelate"]
What = Literal["faces", "heads"]


def hide(frame: Frame, result: ResultData, how: How = "blur", what: What = "faces", more: Iterable[Box] = ()) -> Frame:
    """Hide what was found in a picture; the rest stays unchanged.

    Args:
        frame: the picture that the result is of, BGR, uint8, (height, width, 3). It is not modified.
        result: its result.
        how: ``pixelate`` puts a mosaic over each box and its margin; ``blur`` covers both with a soft ellipse.
        what: ``faces``, or ``heads``, which hides heads and all faces.
        more: further boxes to hide, see ``second_look``.

    Returns:
        A new picture of the same size, BGR, uint8, with nothing drawn on it.
    """
    if how not in ("blur", "pixelate") or what not in ("faces", "heads"):
        raise ValueError(f"expected blur or pixelate, and faces or heads, got {how!r} and {what!r}")
    canvas = frame.copy()
    boxes = [face.box for face in result.faces]
    if what == "heads":
        boxes += [head.box for head in result.heads]
    boxes += more
    for box in boxes:
        if how == "blur":
            _blur(canvas, box)
        else:
            _pixelate(canvas, box)
    return canvas


def _pixelate(canvas: np.ndarray, box: Box) -> None:
    x1, y1, x2, y2 = _reach(canvas, box, MARGIN)
    if x2 <= x1 or y2 <= y1:
        return
    cells = _cells(canvas[y1:y2, x1:x2])
    canvas[y1:y2, x1:x2] = cv2.resize(cells, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)


def _blur(canvas: np.ndarray, box: Box) -> None:
    """Hide the ellipse through the corners of the box with its margin completely; around it, fade into the picture."""
    wide, high = box.x2 - box.x1, box.y2 - box.y1
    margin = MARGIN * max(wide, high)
    axes = np.sqrt(2) * (wide / 2 + margin), np.sqrt(2) * (high / 2 + margin)
    rim = FEATHER * max(wide, high) + 1
    centre = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
    outer = Box(
        x1=centre[0] - axes[0] - rim,
        y1=centre[1] - axes[1] - rim,
        x2=centre[0] + axes[0] + rim,
        y2=centre[1] + axes[1] + rim,
    )
    x1, y1, x2, y2 = _reach(canvas, outer, 0.0)
    if x2 <= x1 or y2 <= y1:
        return
    part = canvas[y1:y2, x1:x2]
    cells = _cells(part)
    soft = cv2.resize(cells, (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    across = (np.arange(x1, x2) + 0.5 - centre[0])[None, :]
    down = (np.arange(y1, y2) + 0.5 - centre[1])[:, None]
    distance = np.hypot(across / axes[0], down / axes[1])  # 1 on the ellipse
    share = np.clip((distance - 1) * min(axes) / rim, 0, 1)[..., None].astype(np.float32)
    part[:] = np.rint(share * part + (1 - share) * soft).astype(np.uint8)


def _cells(part: np.ndarray) -> np.ndarray:
    """The average colours of at most ``CELLS`` by ``CELLS`` cells that are as square as possible."""
    height, width = part.shape[:2]
    side = max(height, width) / CELLS
    size = max(1, min(round(width / side), width // 2)), max(1, min(round(height / side), height // 2))
    return cv2.resize(part, size, interpolation=cv2.INTER_AREA)


def _reach(canvas: np.ndarray, box: Box, margin: float) -> tuple[int, int, int, int]:
    """The whole pixels that cover a box and its margin, clipped to the picture."""
    height, width = canvas.shape[:2]
    added = max(1.0, margin * max(box.x2 - box.x1, box.y2 - box.y1))
    x1, y1 = int(np.floor(box.x1 - added)), int(np.floor(box.y1 - added))
    x2, y2 = int(np.ceil(box.x2 + added)), int(np.ceil(box.y2 + added))
    return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
