"""How good a picture is to look at: its size, sharpness and exposure, as numbers, and when they are called poor.

Sharpness is the variance of the Laplacian, LAPV among the focus measures of Pertuz, Puig and Garcia, "Analysis of focus
measure operators for shape-from-focus" (2013), from Pech-Pacheco et al., "Diatom autofocusing in brightfield
microscopy: a comparative study" (2000). It grows with the size of a picture, so it is taken at one size, and in the
sharpest part of the picture, for a portrait before a blurred background is no blurred picture.

The limits are this project's own, set on its training packs so that they name few pictures and those plainly poor.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

SIDE, TILES = 320, 4
"""Longer side in pixels at which pictures are measured, and parts a side in which the sharpest is looked for."""
SMALLEST = 64
"""Pixels of the shorter side: below it a face that fills half of the picture has under 32."""
BLURRED = 60.0
"""Variance of the Laplacian (squared grey levels 0 to 255) in the sharpest part."""
DARK, BRIGHT = 60.0, 190.0
"""Grey levels: in a dark picture 95 of 100 pixels are below the one, in a bright one above the other."""
FLAT = 3.0
"""Standard deviation of the grey levels of a picture with nothing in it."""


@dataclass(frozen=True)
class Quality:
    """What is measured of a picture.

    Attributes:
        height, width: in pixels, upright.
        sharpness: variance of the Laplacian in the sharpest of 16 parts, of the grey picture scaled to a longer side of
            320 pixels.
        darkest, lightest: 5th and 95th percentile of its grey levels, 0 to 255.
        contrast: their standard deviation.
    """

    height: int
    width: int
    sharpness: float
    darkest: float
    lightest: float
    contrast: float


def measure(frame: np.ndarray) -> Quality:
    """Measure a picture: BGR, uint8, shape (height, width, 3)."""
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
    """Whether there is nothing in the picture; such pictures all look alike."""
    return quality.contrast < FLAT


def poor(quality: Quality) -> list[tuple[str, str]]:
    """What is poor in a picture.

    Returns:
        Pairs of a word (``small``, ``blank``, ``dark``, ``bright``, ``blurred``) and a sentence with the figures.
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
