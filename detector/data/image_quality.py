"""Technical quality of a picture: size, sharpness and exposure, and when they count as poor.

Sharpness is the variance of the Laplacian: LAPV among the focus measures of Pertuz, Puig and Garcia, "Analysis of focus
measure operators for shape-from-focus" (2013), from Pech-Pacheco et al., "Diatom autofocusing in brightfield
microscopy: a comparative study" (2000). It depends on the picture's size, so it is measured at one fixed size. It is
taken from the sharpest part of the picture, because a portrait before a blurred background is not a blurred picture.

The limits are this project's own, set on its training packs so that they flag only a few, clearly poor pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE, TILES = 320, 4
"""Longer side in pixels at which pictures are measured, and parts per side among which the sharpest is chosen."""
SMALLEST = 64
"""Least pixels of the shorter side: below it, a face that fills half of the picture has less than 32."""
BLURRED = 60.0
"""Least variance of the Laplacian (squared grey levels, 0 to 255) in the sharpest part."""
DARK, BRIGHT = 60.0, 190.0
"""Grey levels: 95% of the pixels are below the first in a dark picture and above the second in a bright one."""
FLAT = 3.0
"""Standard deviation of grey levels below which a picture is blank."""


@dataclass(frozen=True)
class Quality:
    """Measured properties of a picture.

    Attributes:
        height, width: in pixels, upright.
        sharpness: variance of the Laplacian in the sharpest of 16 parts of the grey picture, scaled to a longer side of
            320 pixels.
        darkest, lightest: 5th and 95th percentile of its grey levels, 0 to 255.
        contrast: standard deviation of its grey levels.
    """

    height: int
    width: int
    sharpness: float
    darkest: float
    lightest: float
    contrast: float


def measure(frame: np.ndarray) -> Quality:
    """Measure a picture (BGR, uint8, shape (height, width, 3))."""
    height, width = frame.shape[:2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    grey = cv2.cvtColor(cv2.resize(frame, size, interpolation=way), cv2.COLOR_BGR2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_32F)
    parts = [part for row in np.array_split(edges, TILES) for part in np.array_split(row, TILES, axis=1) if part.size]
    darkest, lightest = np.percentile(grey, (5, 95))
    sharpness = max(float(part.var()) for part in parts)
    return Quality(height, width, sharpness, float(darkest), float(lightest), float(grey.std()))


def is_flat(quality: Quality) -> bool:
    """Whether the picture is blank; such pictures all look alike."""
    return quality.contrast < FLAT


def poor(quality: Quality) -> list[tuple[str, str]]:
    """List the faults of a picture.

    Returns:
        Pairs of a keyword (``small``, ``blank``, ``dark``, ``bright``, ``blurred``) and a sentence with the figures.
    """
    found = []
    if min(quality.height, quality.width) < SMALLEST:
        size = f"{quality.width} x {quality.height} pixels, the shorter side under {SMALLEST}"
        found.append(("small", size))
    if is_flat(quality):
        return [*found, ("blank", f"nothing to see: grey levels vary by {quality.contrast:.1f} of 255")]
    if quality.lightest < DARK:
        found.append(("dark", f"95 of 100 pixels are darker than {quality.lightest:.0f} of 255"))
    if quality.darkest > BRIGHT:
        found.append(("bright", f"95 of 100 pixels are lighter than {quality.darkest:.0f} of 255"))
    if quality.sharpness < BLURRED:
        found.append(("blurred", f"sharpness {quality.sharpness:.0f} in its sharpest part, under {BLURRED:.0f}"))
    return found
