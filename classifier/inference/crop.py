"""Cropping of faces for a classifier, with the same code for training sets and serving.

A crop shows the face, the head around it, or the torso below it. The detector finds faces and heads; the torso box is
derived from the face box by human proportions. Its unit is the face width: the box width, or the height divided by
``ASPECT`` if that is larger (a face turned sideways is narrow).

Coordinates are continuous, like those of boxes: pixel (column i, row j) covers ``i..i+1`` by ``j..j+1``, its centre is
at ``(i + 0.5, j + 0.5)``, and a crop of side S spans ``0..S``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ...weights.manifest import CropRecipe

LARGEST = 4.0
"""A box longer than this many times the frame's longer side is rejected: its crop would be almost all border."""
Region = Literal["face", "head", "torso"]
"""As in ``CropRecipe.region``."""
ASPECT = 1.3
"""Height over width of an upright face box. The median of 190 faces of at least 30 px, found by detector 1.0.0 in 160
of its validation pictures, is 1.31."""
HEAD_SIDES, HEAD_TOP, HEAD_BOTTOM = 0.2, 0.35, 0.05
"""How far a head box extends beyond the face box: to each side in face widths, above and below in face heights.
Medians of the same 190 faces, all of which lay in a head box: 0.18 and 0.21, 0.35, 0.05."""
TORSO_BELOW, TORSO_WIDTH, TORSO_HEIGHT = 0.5, 2.8, 2.8
"""Start of the torso box below the chin, its width and its height, in face widths.

The width is that from shoulder joint to shoulder joint (biacromial over bizygomatic breadth: mean 2.92 for 4,082 men,
2.73 for 1,986 women). The height is from just above the notch between the collarbones, about 0.6 below the chin, to the
navel, 2.68 and 2.61 below the notch. Source: ANSUR II, Gordon et al., "2012 Anthropometric Survey of U.S. Army
Personnel", Natick/TR-15/007.
"""
LEAST_VISIBLE = 0.25
"""Minimum share of a torso box inside the frame; the rest is filled with the crop recipe's border colour."""


@dataclass(frozen=True)
class FaceCrop:
    """A crop from a frame, or the reason why there is none; exactly one of the two is None.

    Attributes:
        image: BGR, uint8, (size, size, 3).
        reason: why the box gave no crop.
        matrix: float64 (2, 3), maps frame coordinates to crop coordinates; the identity if there is no crop.
        side: longer side of the box in frame pixels; 0 if there is no crop.
    """

    image: np.ndarray | None
    reason: str | None
    matrix: np.ndarray
    side: float = 0.0

    def to_crop(self, points: np.ndarray) -> np.ndarray:
        """Map points, (n, 2) x and y, from frame pixels to crop pixels."""
        return np.asarray(points, np.float64) @ self.matrix[:, :2].T + self.matrix[:, 2]

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Map points, (n, 2) x and y, from crop pixels to frame pixels."""
        return (np.asarray(points, np.float64) - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T


def refuse(reason: str) -> FaceCrop:
    """Return a result without a crop, with the reason."""
    return FaceCrop(None, reason, np.eye(2, 3))


def too_small(side: float, least: float) -> str:
    """Return the reason why a box with this longer side in pixels is not read."""
    return f"too small: {side:.1f} px, at least {least:g} are needed"


def refusal(box: np.ndarray, width: int, height: int, least: float) -> str | None:
    """Return the reason why a box gives no crop, or None if it does.

    Args:
        box: (4,), x1, y1, x2, y2 in frame pixels; any numbers.
        width: of the frame, in pixels.
        height: of the frame, in pixels.
        least: minimum longer side of the box in pixels.
    """
    x1, y1, x2, y2 = (float(value) for value in box)
    if not np.isfinite(box).all():
        return "the box is not finite"
    if x2 <= x1 or y2 <= y1:
        return "the box is empty"
    if x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return "the box lies outside the frame"
    longer = max(x2 - x1, y2 - y1)
    if longer < least:
        return too_small(longer, least)
    return "the box is far larger than the frame" if longer > LARGEST * max(width, height) else None


def cut_face(frame: np.ndarray, box: np.ndarray, recipe: CropRecipe) -> FaceCrop:
    """Cut the square around a box according to the recipe.

    The square is centred on the box; its side is the longer side of the box times ``1 + 2 * margin``. The area outside
    the frame gets the border colour. Memory use is limited to the crop and the part of the frame under it, however
    large the box.

    Args:
        frame: BGR, uint8, (height, width, 3).
        box: x1, y1, x2, y2 in frame pixels; any numbers.
        recipe: margin, size, border, interpolation, minimum side.

    Returns:
        The crop, or the reason why there is none. No box raises an error.
    """
    height, width = frame.shape[:2]
    if (reason := refusal(box, width, height, recipe.min_side)) is not None:
        return refuse(reason)
    x1, y1, x2, y2 = (float(value) for value in box)
    longer = max(x2 - x1, y2 - y1)
    side = longer * (1 + 2 * recipe.margin)
    left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
    shrink = side > recipe.size and recipe.interpolation == "area"
    if shrink:  # Use whole source pixels, so that the area average below is the crop and is not resampled again.
        side = max(round(side), recipe.size)
        left, top = round(left), round(top)
    scale = recipe.size / side
    matrix = np.array([[scale, 0.0, -left * scale], [0.0, scale, -top * scale]])

    reach = 0 if shrink else 1  # linear interpolation reads one more pixel
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
    # Maps pixel indices of `visible` to those of the crop. Indices are pixel centres, hence the halves.
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
    return FaceCrop(image, None, matrix, longer)


def region_box(
    region: str, face: np.ndarray, head: np.ndarray | None, shape: tuple[int, ...]
) -> tuple[np.ndarray | None, str | None]:
    """Compute the box of a region.

    Args:
        region: ``face``, ``head`` or ``torso``, as in ``CropRecipe.region``.
        face: the face box, x1, y1, x2, y2 in frame pixels.
        head: the box of the head around the face; None if none was found, which derives it from the face.
        shape: of the frame, height and width first.

    Returns:
        The box, float64 (4,), and None; or None and the reason. A head box is clipped to the frame. A torso box is not:
        cutting fills the area outside the frame, so that shoulders and waist are at the same place in every crop.
    """
    x1, y1, x2, y2 = (float(value) for value in face)
    wide, high = x2 - x1, y2 - y1
    if region == "face" or not (np.isfinite((wide, high)).all() and wide > 0 and high > 0):
        return np.array([x1, y1, x2, y2]), None  # cutting rejects an invalid box
    height, width = shape[:2]
    if region == "head":
        beyond = [-HEAD_SIDES * wide, -HEAD_TOP * high, HEAD_SIDES * wide, HEAD_BOTTOM * high]
        box = np.array([x1, y1, x2, y2]) + beyond if head is None else np.asarray(head, np.float64)
        return np.clip(box, 0, [width, height, width, height]), None
    if region != "torso":
        raise ValueError(f"no region {region!r}; there are face, head and torso")
    unit = max(wide, high / ASPECT)
    middle, top = (x1 + x2) / 2, y2 + TORSO_BELOW * unit
    left, right, bottom = middle - TORSO_WIDTH * unit / 2, middle + TORSO_WIDTH * unit / 2, top + TORSO_HEIGHT * unit
    across, down = min(right, width) - max(left, 0), min(bottom, height) - max(top, 0)
    seen = max(across, 0) * max(down, 0) / ((right - left) * (bottom - top))
    if seen == 0:
        return None, "the torso lies outside the frame"
    if seen < LEAST_VISIBLE:
        return None, f"only {seen:.0%} of the torso lies in the frame, at least {LEAST_VISIBLE:.0%} are needed"
    return np.array([left, top, right, bottom]), None


def cut_region(frame: np.ndarray, face: np.ndarray, head: np.ndarray | None, recipe: CropRecipe) -> FaceCrop:
    """Cut the recipe's region of a face out of a frame.

    Args:
        frame: BGR, uint8, (height, width, 3).
        face: the face box in frame pixels.
        head: the box of its head, or None.
        recipe: defines the region and how it is cut.

    Returns:
        The crop, or the reason why there is none.
    """
    box, reason = region_box(recipe.region, face, head, frame.shape)
    return refuse(str(reason)) if box is None else cut_face(frame, box, recipe)
