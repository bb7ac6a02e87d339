"""Results drawn onto their pictures, legible over any background and at any size."""

from __future__ import annotations

import cv2
import numpy as np

from ...classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from ..inputs.image_reader import Frame
from ..result_data import Box, Face, ResultData

SMALL = 640
"""A picture whose longer side is shorter is enlarged (8 times at most), for text has no room in it."""
FACE, HEAD, POINT = (96, 220, 64), (255, 168, 64), (64, 208, 255)  # BGR
INK, PAPER = (255, 255, 255), (24, 24, 24)
FONT = cv2.FONT_HERSHEY_SIMPLEX
ROOM = 3
"""A face gets its whole label when it is at least this many lines of text high; a smaller one only its number."""

Rectangle = tuple[int, int, int, int]


def draw(frame: Frame, result: ResultData) -> Frame:
    """Draw heads, faces, points and attributes.

    Args:
        frame: the picture that the result is of, BGR, uint8, (height, width, 3). It is left as it is.
        result: its result. The number in a face's label is its place in ``result.faces``.

    Returns:
        The annotated picture, BGR, uint8; a small one comes out larger.
    """
    zoom = min(8, max(1, -(-SMALL // max(frame.shape[:2]))))
    size = (frame.shape[1] * zoom, frame.shape[0] * zoom)
    canvas = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) if zoom > 1 else frame.copy()
    letter = max(10, round(max(size) / 85))
    stroke = max(1, round(letter / 7))
    for head in result.heads:
        _outline(canvas, _pixels(head.box, zoom), HEAD, stroke)
    for face in result.faces:
        _outline(canvas, _pixels(face.box, zoom), FACE, stroke)
        for value in (face.attributes or {}).values():
            if isinstance(value, PointsValue):
                _dots(canvas, value, zoom, stroke)
    taken = [_pixels(face.box, zoom) for face in result.faces]
    for index, (face, box) in enumerate(zip(result.faces, list(taken), strict=True)):
        whole = box[3] - box[1] >= ROOM * 1.6 * letter
        taken.append(
            _label(
                canvas,
                box,
                label(index, face) if whole else [str(index if face.track is None else face.track)],
                letter,
                taken,
            )
        )
    return canvas


def label(index: int, face: Face) -> list[str]:
    """The lines of a face's label: its number and confidence, then one for each attribute that words can tell.

    Of a person that is followed through a video it is the person's number alone, for that does not flicker.
    """
    lines = [f"face {index}  {face.confidence:.2f}" if face.track is None else f"person {face.track}"]
    lines += [f"{name}: {text}" for name, value in (face.attributes or {}).items() if (text := in_words(value))]
    return lines + ([face.reason] if face.reason else [])


def in_words(value: AttributeValue) -> str:
    """``male 0.98``, ``34 years (28-41)``, ``?`` of an unsure classifier; nothing for points, which are drawn."""
    if isinstance(value, ClassValue):
        return "?" if value.value is None else f"{value.value} {value.probability:.2f}"
    if isinstance(value, NumericValue):
        return f"{value.value:.0f} {value.unit} ({value.interval[0]:.0f}-{value.interval[1]:.0f})"
    return ""


def _pixels(box: Box, zoom: int) -> Rectangle:
    x1, y1, x2, y2 = (round(side * zoom) for side in (box.x1, box.y1, box.x2, box.y2))
    return x1, y1, x2, y2


def _outline(canvas: np.ndarray, box: Rectangle, colour: tuple[int, int, int], stroke: int) -> None:
    """A coloured line on a darker, broader one, so that it shows on any background."""
    for line, width in ((PAPER, stroke + 2), (colour, stroke)):
        cv2.rectangle(canvas, box[:2], (box[2] - 1, box[3] - 1), line, width, cv2.LINE_AA)


def _dots(canvas: np.ndarray, value: PointsValue, zoom: int, stroke: int) -> None:
    for x, y in value.points.values():
        centre = round(x * zoom), round(y * zoom)
        cv2.circle(canvas, centre, stroke + 2, PAPER, -1, cv2.LINE_AA)
        cv2.circle(canvas, centre, stroke + 1, POINT, -1, cv2.LINE_AA)


def _label(canvas: np.ndarray, box: Rectangle, lines: list[str], letter: int, taken: list[Rectangle]) -> Rectangle:
    """Write a label beside its box: inside of the picture and off what is taken, if there is such a place."""
    scale, weight = cv2.getFontScaleFromHeight(FONT, letter), max(1, round(letter / 12))
    step, pad = round(1.6 * letter), round(0.5 * letter)
    width = max(cv2.getTextSize(line, FONT, scale, weight)[0][0] for line in lines) + 2 * pad
    height = step * len(lines) + pad
    limits = canvas.shape[1] - width, canvas.shape[0] - height
    places = ((box[2], box[1]), (box[0] - width, box[1]), (box[0], box[3]), (box[0], box[1] - height))
    free = (
        (x, y)
        for x, y in places
        if 0 <= x <= limits[0]
        and 0 <= y <= limits[1]
        and not any(x < t[2] and t[0] < x + width and y < t[3] and t[1] < y + height for t in taken)
    )
    x, y = next(free, (min(max(0, box[2]), max(0, limits[0])), min(max(0, box[1]), max(0, limits[1]))))
    panel = canvas[y : y + height, x : x + width]
    panel[:] = (panel * 0.25 + np.array(PAPER) * 0.75).astype(np.uint8)
    for row, line in enumerate(lines, start=1):
        cv2.putText(canvas, line, (x + pad, y + row * step - pad // 2), FONT, scale, INK, weight, cv2.LINE_AA)
    return x, y, x + width, y + height
