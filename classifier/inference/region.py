"""Which part of a frame a classifier is shown: the face, the head around it, or the torso below it.

The detector finds faces and heads. A torso is derived from the face, by human proportions; the unit is the width of the
face, for which a box's width is taken, or its height over ``ASPECT`` where that is more (a face turned to the side is
narrow). The training set (``facepipe data crop``) and the pipeline both cut by :func:`cut_region`.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...weights.manifest import CropRecipe
from .crop import FaceCrop, cut_face, refuse

Region = Literal["face", "head", "torso"]
"""As in ``CropRecipe.region``."""
ASPECT = 1.3
"""Height over width of an upright face's box. The median of 190 faces of at least 30 px, found by detector 1.0.0 in 160
of its validation pictures, is 1.31."""
HEAD_SIDES, HEAD_TOP, HEAD_BOTTOM = 0.2, 0.35, 0.05
"""How far a head's box reaches beyond the face's: to either side in face widths, above and below in face heights.
Medians of the same 190 faces, all of which lay in a head's box: 0.18 and 0.21, 0.35, 0.05."""
TORSO_BELOW, TORSO_WIDTH, TORSO_HEIGHT = 0.5, 2.8, 2.8
"""In face widths: where the torso's box begins below the chin, its width and its height.

Across from shoulder joint to shoulder joint (biacromial over bizygomatic breadth: mean 2.92 of 4,082 men, 2.73 of 1,986
women); down from just above the notch between the collarbones, about 0.6 below the chin, to the navel, 2.68 and 2.61
below the notch: ANSUR II, Gordon et al., "2012 Anthropometric Survey of U.S. Army Personnel", Natick/TR-15/007.
"""
LEAST_VISIBLE = 0.25
"""Share of a torso's box that must lie in the frame; the rest takes the crop recipe's border colour."""


def region_box(
    region: str, face: np.ndarray, head: np.ndarray | None, shape: tuple[int, ...]
) -> tuple[np.ndarray | None, str | None]:
    """The box of a region.

    Args:
        region: ``face``, ``head`` or ``torso``, as ``CropRecipe.region`` has it.
        face: the face's box, x1, y1, x2, y2 in frame pixels.
        head: the box of the head that the face lies in; None where none was found, and then it is derived.
        shape: of the frame, height and width first.

    Returns:
        The box, float64 (4,), and None; or None and the reason in words. A head's box is clipped to the frame. A
        torso's is not: what lies outside is filled when it is cut, so that shoulders and waist are at the same places
        of every crop.
    """
    x1, y1, x2, y2 = (float(value) for value in face)
    wide, high = x2 - x1, y2 - y1
    if region == "face" or not (np.isfinite((wide, high)).all() and wide > 0 and high > 0):
        return np.array([x1, y1, x2, y2]), None  # a box that is none is refused when it is cut
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
        face: the face's box in frame pixels.
        head: the box of its head, or None.
        recipe: says which region, and how it is cut.

    Returns:
        The crop, or the reason why there is none.
    """
    box, reason = region_box(recipe.region, face, head, frame.shape)
    return refuse(str(reason)) if box is None else cut_face(frame, box, recipe)
