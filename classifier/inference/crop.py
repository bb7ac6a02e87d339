"""The one way a box is cut out of a frame, for the training set and for serving alike (``region.py`` says which box).

Coordinates are continuous, as those of boxes: pixel (column i, row j) covers ``i..i+1`` by ``j..j+1``, its centre lies
at ``(i + 0.5, j + 0.5)``, and a crop of side S spans ``0..S``.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...weights.manifest import CropRecipe

LARGEST = 4.0
"""A box longer than this many times the frame's longer side is refused: hardly any of its crop would be picture."""


@dataclass(frozen=True)
class FaceCrop:
    """A face cut out of a frame, or the reason why there is none (exactly one of both is None).

    Attributes:
        image: BGR, uint8, (size, size, 3).
        reason: why the box gave no crop, in words.
        matrix: float64 (2, 3), takes frame coordinates to crop coordinates; the identity where there is no crop.
    """

    image: np.ndarray | None
    reason: str | None
    matrix: np.ndarray

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Take points, (n, 2) x and y in frame pixels, to pixels of the crop."""
        return np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Take points, (n, 2) x and y in pixels of the crop, to frame pixels."""
        return (np.asarray(points, np.float64) - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T


def refuse(reason: str) -> FaceCrop:
    """No crop, and why."""
    return FaceCrop(None, reason, np.eye(2, 3))


def cut_face(frame: np.ndarray, box: np.ndarray, recipe: CropRecipe) -> FaceCrop:
    """Cut the square around a box, as the recipe says.

    The square has the box's centre and the longer side times ``1 + 2 * margin``. What lies outside the frame takes the
    border colour. No more memory is used than the crop and the part of the frame under it need, however large the box.

    Args:
        frame: BGR, uint8, (height, width, 3).
        box: x1, y1, x2, y2 in frame pixels; any numbers.
        recipe: margin, size, border, interpolation, least side.

    Returns:
        The crop, or the reason why there is none; nothing is raised for any box.
    """
    height, width = frame.shape[:2]
    x1, y1, x2, y2 = (float(value) for value in box)
    if not np.isfinite((x1, y1, x2, y2)).all():
        return refuse("the box is not finite")
    if x2 <= x1 or y2 <= y1:
        return refuse("the box is empty")
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return refuse("the box lies outside the frame")
    longer = max(x2 - x1, y2 - y1)
    if longer < recipe.min_side:
        return refuse(f"too small: {longer:.1f} px, at least {recipe.min_side:g} are needed")
    if longer > LARGEST * max(width, height):
        return refuse("the box is far larger than the frame")
    side = longer * (1 + 2 * recipe.margin)
    left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
    shrink = side > recipe.size and recipe.interpolation == "area"
    if shrink:  # Whole source pixels, so that the area average below is the crop itself and is not resampled again.
        side = max(round(side), recipe.size)
        left, top = round(left), round(top)
    scale = recipe.size / side
    matrix = np.array([[scale, 0.0, -left * scale], [0.0, scale, -top * scale]])

    reach = 0 if shrink else 1  # linear interpolation looks one pixel further
    columns = slice(max(int(np.floor(left)) - reach, 0), min(int(np.ceil(left + side)) + reach, width))
    rows = slice(max(int(np.floor(top)) - reach, 0), min(int(np.ceil(top + side)) + reach, height))
    visible = frame[rows, columns]
    if visible.size == 0:
        return refuse("the box lies outside the frame")
    across = down = 1.0
    if shrink:
        small = int(np.ceil(visible.shape[1] * scale)), int(np.ceil(visible.shape[0] * scale))
        across, down = visible.shape[1] / small[0], visible.shape[0] / small[1]
        visible = cv2.resize(visible, small, interpolation=cv2.INTER_AREA)
    # From pixel indices of `visible` to those of the crop; indices are centres, hence the halves.
    placing = np.array(
        [
            [scale * across, 0.0, scale * (0.5 * across + columns.start - left) - 0.5],
            [0.0, scale * down, scale * (0.5 * down + rows.start - top) - 0.5],
        ]
    )
    image = cv2.warpAffine(
        visible,
        placing,
        (recipe.size, recipe.size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=recipe.border,
    )
    return FaceCrop(image, None, matrix)
