"""Augmentation of training crops: geometry, then light, then loss of detail.

It covers the jitter of detector boxes, the different framing of data sets and the differences between cameras.
Validation and serving use none of it. Coordinates are continuous, as in ``inference/crop.py``.

Crops that extend beyond their photo have a border of one colour. Training packs whose photos end close to the face give
many such crops, and the model may learn to rely on the border. ``border_fill`` makes it look like the context of a
larger photo.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from pydantic import AliasChoices, Field

from ...weights.manifest import PointsAttribute
from ...weights.records import Record

SMALLEST, LARGEST_SMALL = 10.0, 96.0
"""Range of sides in pixels to which ``small`` shrinks a crop, log-uniform. With a margin of 0.2 a 10 px crop holds a
7 px face."""
TOLERANCE = 8
"""Maximum deviation of the border colour after JPEG, in grey levels."""
LEAST_BORDER = 0.01
"""Borders that cover less than this share of a crop are left unchanged."""
REFLECTED = 64
"""Side in pixels at which the reflection is computed; it is blurred anyway."""
PLAIN_FILL = 0.25
"""Probability of filling a border with one random colour instead of a blurred reflection of the picture."""


class Augmentation(Record):
    """Augmentation strengths; 0 disables an augmentation."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of mirroring."""
    scale: float = Field(default=0.15, ge=0, lt=1)
    """Zoom between 1 / (1 + scale) and 1 + scale."""
    shift: float = Field(default=0.07, ge=0, lt=1)
    """Maximum shift as a fraction of the crop's side."""
    rotation: float = Field(default=15.0, ge=0, le=180)
    """Maximum rotation in degrees."""
    brightness: float = Field(default=0.2, ge=0, lt=1)
    contrast: float = Field(default=0.3, ge=0, lt=1)
    saturation: float = Field(default=0.4, ge=0, le=1)
    """Colour saturation is scaled by a factor between 1 - saturation and 1 + saturation: 0.3 for 0.7 to 1.3."""
    tint: float = Field(default=0.06, ge=0, lt=1)
    """Maximum relative gain or loss of a colour channel."""
    grey: float = Field(default=0.04, ge=0, le=1)
    """Probability of converting to grey."""
    coarse: float = Field(default=0.2, ge=0, le=1)
    """Probability of losing detail: shrunk and enlarged, blurred, or compressed as a low-quality JPEG."""
    small: float = Field(default=0.0, ge=0, le=1)
    """Probability of simulating a small face in a large photo: the crop is shrunk to between ``SMALLEST`` and
    ``LARGEST_SMALL`` pixels, perhaps blurred and JPEG-compressed at that size, then enlarged as in serving."""
    border_fill: float = Field(default=0.0, ge=0, le=1, validation_alias=AliasChoices("border_fill", "rim"))
    """Probability of filling the one-colour border of a crop that extends beyond its photo. Older recipes and runs call
    it ``rim``."""


def draw_placing(
    square: tuple[float, float, float], size: int, strength: Augmentation | None, random: np.random.Generator
) -> tuple[np.ndarray, bool]:
    """Draw a random affine map from a stored picture to the model's crop.

    Args:
        square: centre x, centre y and side of the face's square in the stored picture.
        size: side of the crop.
        strength: of the augmentation; None places the square exactly.
        random: the random generator; with ``strength``, each call draws the same number of values.

    Returns:
        float64 (2, 3), picture to crop in continuous coordinates, and whether it mirrors.
    """
    x, y, side = square
    zoom, angle, move, mirrored = size / side, 0.0, np.zeros(2), False
    if strength is not None:
        flip, scale, turn, across, down = random.random(5)
        zoom *= (1 + strength.scale) ** (2 * scale - 1)
        angle = np.radians(strength.rotation) * (2 * turn - 1)
        move = size * strength.shift * (2 * np.array([across, down]) - 1)
        mirrored = bool(flip < strength.flip)
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        linear[0] = -linear[0]
    return np.column_stack([linear, size / 2 + move - linear @ (x, y)]), mirrored


def place(image: np.ndarray, placing: np.ndarray, size: int, border: tuple[int, int, int]) -> np.ndarray:
    """Warp a picture by the affine map of :func:`draw_placing` to (size, size, 3) uint8, with linear interpolation.

    Args:
        image: BGR, uint8, (height, width, 3).
        placing: affine map, (2, 3), from the picture to the crop.
        size: of the crop, in pixels.
        border: BGR colour outside the picture.
    """
    indices = placing.copy()  # pixel indices refer to centres
    indices[:, 2] += placing[:, :2] @ (0.5, 0.5) - 0.5
    return cv2.warpAffine(
        image, indices, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )


def place_points(
    points: np.ndarray, placing: np.ndarray, mirrored: bool, size: int, attribute: PointsAttribute
) -> np.ndarray:
    """Map points, (points, 2), from the stored picture to fractions of the crop's side, swapping mirrored pairs.

    A point outside the crop becomes NaN, because the model cannot see it.

    Args:
        points: in pixels of the stored picture, (points, 2).
        placing: affine map, (2, 3), from the picture to the crop.
        mirrored: whether the map mirrors.
        size: of the crop, in pixels.
        attribute: names the points and the pairs to swap.
    """
    placed = (points @ placing[:, :2].T + placing[:, 2]) / size
    placed[(placed < 0).any(axis=1) | (placed > 1).any(axis=1)] = np.nan
    if mirrored:
        order = list(range(len(attribute.points)))
        for first, second in attribute.mirror:
            a, b = attribute.points.index(first), attribute.points.index(second)
            order[a], order[b] = b, a
        placed = placed[order]
    return placed.astype(np.float32)


def relight(image: np.ndarray, strength: Augmentation, random: np.random.Generator) -> np.ndarray:
    """Change light, colour and detail of a crop; uint8 in and out, the shape stays.

    Args:
        image: BGR, uint8, (size, size, 3).
        strength: of each change.
        random: the random generator.
    """
    brightness, contrast, saturation, grey, coarse, kind, amount = random.random(7)
    gain = (1 + strength.contrast * (2 * contrast - 1)) * (1 + strength.tint * (2 * random.random(3) - 1))
    offset = 128 * (1 + strength.brightness * (2 * brightness - 1))
    table = np.clip((np.arange(256)[:, None] - 128) * gain + offset, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table.reshape(256, 1, 3))
    keep = 0.0 if grey < strength.grey else 1 + strength.saturation * (2 * saturation - 1)
    plain = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    image = cv2.addWeighted(image, keep, plain, 1 - keep, 0)
    if coarse < strength.coarse:
        image = _lose_detail(image, int(kind * 3), amount)
    if strength.small:
        seen, *rest = random.random(6)
        if seen < strength.small:
            image = see_small(image, rest)
    return image


def see_small(image: np.ndarray, draws: Sequence[float]) -> np.ndarray:
    """Simulate a crop from a photo in which the face is small.

    Args:
        image: uint8 (size, size, 3).
        draws: five numbers in [0, 1): size, whether to blur, blur width, whether to compress as JPEG, JPEG quality.

    Returns:
        uint8 (size, size, 3), with the detail of a crop of ``SMALLEST`` to ``LARGEST_SMALL`` pixels.
    """
    size, blurred, sigma, coded, quality = draws
    side = round(SMALLEST * (LARGEST_SMALL / SMALLEST) ** size)
    full = image.shape[1::-1]
    if side >= max(full):
        return image
    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    if blurred < 0.4:
        small = cv2.GaussianBlur(small, (0, 0), 0.3 + 0.7 * sigma)
    if coded < 0.6:
        _, code = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, int(35 + 60 * quality)))
        small = np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR))
    return np.asarray(cv2.resize(small, full, interpolation=cv2.INTER_LINEAR))


def _lose_detail(image: np.ndarray, kind: int, amount: float) -> np.ndarray:
    size = image.shape[1], image.shape[0]
    if kind == 0:
        small = tuple(max(int(side * (0.2 + 0.6 * amount)), 8) for side in size)
        return cv2.resize(cv2.resize(image, small, interpolation=cv2.INTER_AREA), size, interpolation=cv2.INTER_LINEAR)
    if kind == 1:
        return cv2.GaussianBlur(image, (0, 0), size[0] / 224 * (0.5 + 2 * amount))
    _, coded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, int(20 + 60 * amount)))
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))


def find_border(image: np.ndarray, border: tuple[int, int, int]) -> np.ndarray:
    """Find the areas of border colour that are connected to the crop's edge.

    Args:
        image: uint8 (height, width, 3).
        border: BGR colour.

    Returns:
        uint8 (height, width), 1 in the border; dilated by two pixels, because the border blends into the picture.
    """
    low, high = (np.clip(np.array(border) + step, 0, 255) for step in (-TOLERANCE, TOLERANCE))
    flat = cv2.inRange(image, low.astype(np.float64), high.astype(np.float64))
    count, labels = cv2.connectedComponents(flat, connectivity=4)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    joined = np.zeros(count, np.uint8)
    joined[edge] = 1
    joined[0] = 0
    return cv2.dilate(joined[labels], np.ones((5, 5), np.uint8))


def fill_border(image: np.ndarray, border: tuple[int, int, int], random: np.random.Generator) -> np.ndarray:
    """Fill a crop's border with a blurred reflection of the picture, or with one random colour.

    A border pixel is reflected at the nearest picture pixel; if its mirror image is also border, it gets the colour of
    that nearest pixel.

    Args:
        image: uint8 (size, size, 3).
        border: BGR colour.
        random: the random generator; draws the same number of values for every picture.

    Returns:
        A new picture, or the same one if there is nothing to fill or nothing to fill it from.
    """
    plain, blur, *colour = random.random(5)
    mask = find_border(image, border)
    share = float(mask.mean())
    if not LEAST_BORDER <= share < 1 - LEAST_BORDER:
        return image
    if plain < PLAIN_FILL:
        filled = np.empty_like(image)
        filled[:] = np.array(colour) * 255
    else:
        small = cv2.resize(image, (REFLECTED, REFLECTED), interpolation=cv2.INTER_AREA)
        part = (cv2.resize(mask * np.float32(1), (REFLECTED, REFLECTED), interpolation=cv2.INTER_AREA) > 0).astype(
            np.uint8
        )
        if part.all():
            return image
        reflected = cv2.GaussianBlur(_reflect(small, part), (0, 0), 0.4 + 2 * blur)
        filled = cv2.resize(reflected, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.where(mask[:, :, None] == 1, filled, image)


def _reflect(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Fill the border by reflection at the nearest picture pixel."""
    _, labels = cv2.distanceTransformWithLabels(mask, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    known = np.nonzero(mask == 0)
    number = labels[known]
    nearest = np.zeros((2, number.max() + 1), np.int32)
    nearest[:, number] = known
    near = nearest[:, labels]
    across = 2 * near - np.indices(mask.shape, np.int32)
    np.clip(across, 0, REFLECTED - 1, out=across)
    y, x = np.where(mask[across[0], across[1]] == 1, near, across)
    return np.asarray(image[y, x])
