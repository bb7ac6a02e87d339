"""Draws results on pictures: legible on any background and at any size, with labels off the faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...classifier.inference.attributes import PointsValue
from ..inputs.image_reader import Frame
from ..result_data import Box, Face, ResultData
from .labels import label, number_label, short_label
from .options import DrawOptions
from .placement import Placed, Rectangle, Space, Wanted, place_labels

SMALL = 640
"""Pictures whose longer side is shorter are enlarged (at most 8 times), because text does not fit in them."""
FACE, HEAD, POINT = (96, 220, 64), (255, 168, 64), (64, 208, 255)  # BGR
INK, PAPER = (255, 255, 255), (24, 24, 24)
LIGHT = 0.45
"""Opacity of a head's outline if the head belongs to a face."""
DETAILED, FEW = 3, 6
"""A face gets its full label if it is at least ``DETAILED`` text lines high and there are at most ``FEW`` faces;
otherwise it gets the short form."""
DOT = 0.1
"""Maximum diameter of a point as a fraction of its face's shorter side; points that would be larger are left out."""


@dataclass(frozen=True)
class _Sizes:
    """Sizes that scale with the picture.

    Attributes:
        zoom: factor by which the picture is enlarged.
        letter: height of a letter in pixels.
        stroke: width of a line in pixels.
    """

    zoom: int
    letter: int
    stroke: int

    @classmethod
    def of(cls, frame: Frame) -> _Sizes:
        zoom = min(8, max(1, -(-SMALL // max(frame.shape[:2]))))
        letter = max(10, round(max(frame.shape[:2]) * zoom / 85))
        return cls(zoom, letter, max(1, round(letter / 7)))

    @property
    def step(self) -> int:
        """Distance between text lines in pixels."""
        return round(1.6 * self.letter)

    @property
    def pad(self) -> int:
        """Padding around text in pixels."""
        return round(0.5 * self.letter)


class Drawer:
    """Draws results on one picture after another.

    Args:
        options: what is drawn.

    In a video, labels keep their place next to a person while it is free, so that they can be read.
    """

    def __init__(self, options: DrawOptions | None = None):
        self._options = options or DrawOptions()
        self._before: dict[int, tuple[int, int, int]] = {}
        self.placed: dict[int, Rectangle] = {}

    def __call__(self, frame: Frame, result: ResultData) -> Frame:
        """Draw what was found in a picture.

        Args:
            frame: the picture that the result is of, BGR, uint8, (height, width, 3). It is not modified.
            result: its result. The number in a face's label is its index in ``result.faces``.

        Returns:
            The annotated picture, BGR, uint8; small pictures are enlarged. ``placed`` has the labels' rectangles by
            face.
        """
        sizes = _Sizes.of(frame)
        size = (frame.shape[1] * sizes.zoom, frame.shape[0] * sizes.zoom)
        canvas = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) if sizes.zoom > 1 else frame.copy()
        layers = self._options.layers
        if "heads" in layers:
            _draw_heads(canvas, result, sizes)
        for face in result.faces:
            box = _pixels(face.box, sizes.zoom)
            if "boxes" in layers:
                _outline(canvas, box, FACE, _thinner(sizes.stroke, box))
            if "points" in layers:
                _dots(canvas, face, box, sizes.zoom)
        self.placed = self._labels(canvas, result, sizes) if "labels" in layers else {}
        return canvas

    def _labels(self, canvas: np.ndarray, result: ResultData, sizes: _Sizes) -> dict[int, Rectangle]:
        faces = [_pixels(face.box, sizes.zoom) for face in result.faces]
        heads = [_pixels(head.box, sizes.zoom) for head in result.heads] if "heads" in self._options.layers else []
        margin = sizes.stroke + 1  # half of a box's line lies outside of it
        kept_off = [(x1 - margin, y1 - margin, x2 + margin, y2 + margin) for x1, y1, x2, y2 in faces]
        texts = {
            number: texts
            for number, (face, box) in enumerate(zip(result.faces, faces, strict=True))
            if (texts := self._forms(number, face, len(faces) <= FEW and box[3] - box[1] >= DETAILED * sizes.step))
        }
        wanted = {
            number: Wanted(
                kept_off[number],
                [_text_size(lines, sizes) for lines in forms],
                None if (track := result.faces[number].track) is None else self._before.get(track),
            )
            for number, forms in texts.items()
        }
        space = Space(canvas.shape[1], canvas.shape[0], max(2, sizes.letter // 3), kept_off, heads)
        placed = place_labels(space, wanted)
        for found in placed.values():
            if found.leader is not None:
                _lead(canvas, found.leader, sizes)
        for number, found in placed.items():
            _write(canvas, found.at, texts[number][found.form], sizes)
        self._remember(result, kept_off, placed)
        return {number: found.at for number, found in placed.items()}

    def _forms(self, number: int, face: Face, detailed: bool) -> list[list[str]]:
        """The possible texts of a face's label, the longest first."""
        fields = self._options.fields
        forms = [label(number, face, fields)] if detailed else []
        forms += [[short]] if (short := short_label(face, fields)) else []
        forms += [[number_label(number, face)]] if fields is None else []
        return [each for each in forms if each]

    def _remember(self, result: ResultData, faces: Sequence[Rectangle], placed: dict[int, Placed]) -> None:
        self._before = {
            track: (found.form, found.at[0] - faces[number][0], found.at[1] - faces[number][1])
            for number, found in placed.items()
            if (track := result.faces[number].track) is not None
        }


def draw(frame: Frame, result: ResultData, options: DrawOptions | None = None) -> Frame:
    """Draw heads, faces, points and attributes; see :class:`Drawer`.

    Args:
        frame: the picture that the result is of, BGR, uint8, (height, width, 3). It is not modified.
        result: its result.
        options: what is drawn; None draws everything.

    Returns:
        The annotated picture, BGR, uint8; small pictures are enlarged.
    """
    return Drawer(options)(frame, result)


def _pixels(box: Box, zoom: int) -> Rectangle:
    x1, y1, x2, y2 = (round(side * zoom) for side in (box.x1, box.y1, box.x2, box.y2))
    return x1, y1, x2, y2


def _thinner(stroke: int, box: Rectangle) -> int:
    """Limit the line width for small faces."""
    return max(1, min(stroke, round(min(box[2] - box[0], box[3] - box[1]) / 25)))


def _draw_heads(canvas: np.ndarray, result: ResultData, sizes: _Sizes) -> None:
    """Draw heads, faintly if they belong to a face, whose box already shows where they are."""
    owned = {face.head for face in result.faces}
    for number, head in enumerate(result.heads):
        box = _pixels(head.box, sizes.zoom)
        stroke = _thinner(sizes.stroke, box)
        if number not in owned:
            _outline(canvas, box, HEAD, stroke)
            continue
        reach = stroke + 1
        part = canvas[max(0, box[1] - reach) : box[3] + reach, max(0, box[0] - reach) : box[2] + reach]
        if part.size == 0:
            continue
        before = np.array(part, order="C")
        drawn = before.copy()
        left, top = box[0] - max(0, box[0] - reach), box[1] - max(0, box[1] - reach)
        corner = left + box[2] - box[0] - 1, top + box[3] - box[1] - 1
        cv2.rectangle(drawn, (left, top), corner, HEAD, max(1, stroke // 2), cv2.LINE_AA)
        part[:] = cv2.addWeighted(drawn, LIGHT, before, 1 - LIGHT, 0)


def _outline(canvas: np.ndarray, box: Rectangle, colour: tuple[int, int, int], stroke: int) -> None:
    """Draw a coloured line over a darker, wider one, so that it shows on any background."""
    for line, width in ((PAPER, stroke + 2), (colour, stroke)):
        cv2.rectangle(canvas, box[:2], (box[2] - 1, box[3] - 1), line, width, cv2.LINE_AA)


def _dots(canvas: np.ndarray, face: Face, box: Rectangle, zoom: int) -> None:
    side = min(box[2] - box[0], box[3] - box[1])
    radius = max(1, round(side * DOT / 6))
    rim = max(1, radius // 2)
    if 2 * (radius + rim) + 1 > DOT * side:
        return
    for value in (face.attributes or {}).values():
        if not isinstance(value, PointsValue):
            continue
        for x, y in value.points.values():
            centre = round(x * zoom), round(y * zoom)
            cv2.circle(canvas, centre, radius + rim, PAPER, -1, cv2.LINE_AA)
            cv2.circle(canvas, centre, radius, POINT, -1, cv2.LINE_AA)


def _font() -> cv2.FontFace:
    return cv2.FontFace("sans")


def _text_size(lines: Sequence[str], sizes: _Sizes) -> tuple[int, int]:
    font = _font()
    rights = [cv2.getTextSize((0, 0), line, (0, 0), font, _points(sizes), 500) for line in lines]
    return max(x + wide for x, _, wide, _ in rights) + 2 * sizes.pad, sizes.step * len(lines) + sizes.pad


def _points(sizes: _Sizes) -> int:
    """The font size at which capitals have the height of a letter."""
    return round(1.35 * sizes.letter)


def _lead(canvas: np.ndarray, line: tuple[int, int, int, int], sizes: _Sizes) -> None:
    for colour, width in ((PAPER, sizes.stroke + 2), (INK, sizes.stroke)):
        cv2.line(canvas, line[:2], line[2:], colour, max(1, width // 2), cv2.LINE_AA)


def _write(canvas: np.ndarray, at: Rectangle, lines: Sequence[str], sizes: _Sizes) -> None:
    panel = canvas[at[1] : at[3], at[0] : at[2]]
    below = np.array(panel, order="C")
    panel[:] = cv2.addWeighted(below, 0.25, np.full_like(below, PAPER), 0.75, 0)
    font = _font()
    for row, line in enumerate(lines, start=1):
        place = at[0] + sizes.pad, at[1] + row * sizes.step - sizes.pad // 2
        cv2.putText(canvas, line, place, INK, font, _points(sizes), 500)
