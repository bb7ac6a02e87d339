"""The rim: crops that reach over their photo's edge have a border of one colour, and training can fill it.

Training packs whose photos end close to the face give many such crops; a model that has seen nothing else there may
come to lean on it. Filled rims look like the context that a larger photo would have had.
"""

from __future__ import annotations

import cv2
import numpy as np

TOLERANCE = 8
"""Grey levels by which the border's colour may be off after JPEG."""
LEAST = 0.01
"""Share of a crop below which its rim is left as it is."""
SMALL = 64
"""Side in pixels at which the reflection is made; it is blurred in any case."""
PLAIN = 0.25
"""Probability that a rim is filled with one random colour in place of a blurred reflection of the picture."""


def find_rim(image: np.ndarray, border: tuple[int, int, int]) -> np.ndarray:
    """Where a crop has the border's colour, joined to the crop's edge.

    Args:
        image: uint8 (height, width, 3).
        border: BGR.

    Returns:
        uint8 (height, width), 1 in the rim; two pixels broader than the flat colour, which blends into the picture.
    """
    low, high = (np.clip(np.array(border) + step, 0, 255) for step in (-TOLERANCE, TOLERANCE))
    flat = cv2.inRange(image, low.astype(np.float64), high.astype(np.float64))
    count, labels = cv2.connectedComponents(flat, connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    joined = np.zeros(count, np.uint8)
    joined[edge] = 1
    joined[0] = 0
    return cv2.dilate(joined[labels], np.ones((5, 5), np.uint8))


def fill_rim(image: np.ndarray, border: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """Fill a crop's rim with the picture's blurred reflection, or with one random colour.

    A point of the rim shows what lies as far on the other side of the nearest point of the picture, or that point where
    this is rim, too.

    Args:
        image: uint8 (size, size, 3).
        border: colour of the rim, BGR.
        random: consumed the same way whatever is in the picture.

    Returns:
        A new picture, or the same one where there is nothing to fill or to fill it from.
    """
    plain, blur, *colour = random.random(5)
    rim = find_rim(image, border)
    share = float(rim.mean())
    if not LEAST <= share < 1 - LEAST:
        return image
    if plain < PLAIN:
        filled = np.empty_like(image)
        filled[:] = np.array(colour) * 255
    else:
        small = cv2.resize(image, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
        part = (cv2.resize(rim * np.float32(1), (SMALL, SMALL), interpolation=cv2.INTER_AREA) > 0).astype(np.uint8)
        if part.all():
            return image
        reflected = cv2.GaussianBlur(_reflect(small, part), (0, 0), 0.4 + 2 * blur)
        filled = cv2.resize(reflected, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(rim[:, :, None] == 1, filled, image)


def _reflect(image: np.ndarray, rim: np.ndarray) -> np.ndarray:
    """Fill the rim with what lies as far on the other side of the nearest point of the picture."""
    _, labels = cv2.distanceTransformWithLabels(rim, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    known = np.nonzero(rim == 0)
    number = labels[known]
    nearest = np.zeros((2, number.max() + 1), np.int32)
    nearest[:, number] = known
    near = nearest[:, labels]
    across = 2 * near - np.indices(rim.shape, np.int32)
    np.clip(across, 0, SMALL - 1, out=across)
    y, x = np.where(rim[across[0], across[1]] == 1, near, across)
    return np.asarray(image[y, x])
