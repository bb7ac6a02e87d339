"""Places labels in the free space of a picture, off every face and off each other.

The picture is divided into cells; those that a face or a label touches are taken. For each label, every position on
free cells only is considered (using a summed-area table), and the one nearest to its face is chosen. There are so few
cells that checking all of them takes about a millisecond. Large faces come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Rectangle = tuple[int, int, int, int]
"""x1, y1, x2, y2 in pixels; the second corner is exclusive."""
NEAR = 0.35
"""A label is near its face within this fraction of the face's longer side, or two lines of text if that is more."""
FAR = 0.4
"""A label may be further away, with a leader line, within this fraction of the picture's longer side."""
LOOKED_AT = 40
"""Number of nearest positions that are tried for a leader that crosses no other face."""


@dataclass(frozen=True)
class Wanted:
    """A label to be placed.

    Attributes:
        face: the rectangle of its face.
        sizes: width and height in pixels of each of its forms, the longest first.
        before: form and offset (x, y) from the face's corner in the previous frame; for videos only.
    """

    face: Rectangle
    sizes: Sequence[tuple[int, int]]
    before: tuple[int, int, int] | None = None


@dataclass(frozen=True)
class Placed:
    """Where a label goes.

    Attributes:
        form: index of the form used.
        at: its rectangle.
        leader: ends of the line from the label to its face; None if it is next to the face.
    """

    form: int
    at: Rectangle
    leader: tuple[int, int, int, int] | None


@dataclass
class Space:
    """The picture while labels are being placed.

    Args:
        width, height: of the picture in pixels.
        cell: side of a cell in pixels.
        faces: rectangles that no label may touch.
        heads: rectangles that labels avoid if there is room elsewhere.
    """

    width: int
    height: int
    cell: int
    faces: Sequence[Rectangle]
    heads: Sequence[Rectangle] = ()
    _hard: np.ndarray = field(init=False)
    _soft: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        # Only cells that lie entirely in the picture.
        shape = max(1, self.height // self.cell), max(1, self.width // self.cell)
        self._hard, self._soft = np.zeros(shape, bool), np.zeros(shape, bool)
        for face in self.faces:
            self._mark(self._hard, face)
        for rectangle in (*self.faces, *self.heads):
            self._mark(self._soft, rectangle)

    def _mark(self, cells: np.ndarray, rectangle: Rectangle) -> None:
        x1, y1, x2, y2 = rectangle
        cells[max(0, y1 // self.cell) : -(-y2 // self.cell), max(0, x1 // self.cell) : -(-x2 // self.cell)] = True

    def place(self, wanted: Wanted) -> Placed | None:
        """Find the best place for a label and take it; None if none of its forms fits.

        The previous frame's place comes first. Then longer forms near the face are preferred to shorter ones near it,
        and these to shorter ones further away.
        """
        longer = max(wanted.face[2] - wanted.face[0], wanted.face[3] - wanted.face[1])
        near = max(NEAR * longer, 2.0 * wanted.sizes[-1][1])
        far = FAR * max(self.width, self.height)
        kept = self._kept(wanted)
        if kept is not None:
            return kept
        forms = range(len(wanted.sizes))
        tries = [(form, near, cells) for form in forms for cells in (self._soft, self._hard)]
        tries += [(form, far, self._hard) for form in forms[1:] or forms]
        for form, most, cells in tries:
            found = self._best(wanted, form, most, cells)
            if found is not None:
                self._take(found.at)
                return found
        return None

    def _take(self, at: Rectangle) -> None:
        for cells in (self._hard, self._soft):
            self._mark(cells, at)

    def _kept(self, wanted: Wanted) -> Placed | None:
        """The place of the previous frame, if it is still free: labels that jump cannot be read."""
        if wanted.before is None or wanted.before[0] >= len(wanted.sizes):
            return None
        form, right, below = wanted.before
        x, y = (round((side + moved) / self.cell) for side, moved in zip(wanted.face[:2], (right, below), strict=True))
        wide, high = self._cells_of(wanted.sizes[form])
        if x < 0 or y < 0 or self._hard[y : y + high, x : x + wide].shape != (high, wide):
            return None
        if self._hard[y : y + high, x : x + wide].any():
            return None
        at = self._rectangle(x, y, wanted.sizes[form])
        self._take(at)
        return Placed(form, at, self._leader(at, wanted.face, wanted.sizes[-1][1]))

    def _cells_of(self, size: tuple[int, int]) -> tuple[int, int]:
        return -(-size[0] // self.cell), -(-size[1] // self.cell)

    def _rectangle(self, x: int, y: int, size: tuple[int, int]) -> Rectangle:
        return x * self.cell, y * self.cell, x * self.cell + size[0], y * self.cell + size[1]

    def _best(self, wanted: Wanted, form: int, most: float, cells: np.ndarray) -> Placed | None:
        size = wanted.sizes[form]
        wide, high = self._cells_of(size)
        rows, columns = cells.shape
        if wide > columns or high > rows:
            return None
        # Only positions within reach of the face are considered.
        reach = int(most) // self.cell + 1
        x1, y1, x2, y2 = (side // self.cell for side in wanted.face)
        left, right = max(0, x1 - reach - wide), min(columns - wide, x2 + 1 + reach)
        top, low = max(0, y1 - reach - high), min(rows - high, y2 + 1 + reach)
        if right < left or low < top:
            return None
        part = cells[top : low + high, left : right + wide]
        sums = np.zeros((part.shape[0] + 1, part.shape[1] + 1), np.int32)
        np.cumsum(np.cumsum(part, 0, dtype=np.int32), 1, out=sums[1:, 1:])
        taken = sums[high:, wide:] - sums[:-high, wide:] - sums[high:, :-wide] + sums[:-high, :-wide]
        ys, xs = np.nonzero(taken == 0)
        if len(xs) == 0:
            return None
        xs, ys = (xs + left) * self.cell, (ys + top) * self.cell
        distance, cost = _distances(xs, ys, size, wanted.face)
        order = np.argsort(cost, kind="stable")[:LOOKED_AT]
        order = order[distance[order] <= most]
        fallback: Placed | None = None
        for index in order:
            at = self._rectangle(int(xs[index]) // self.cell, int(ys[index]) // self.cell, size)
            leader = self._leader(at, wanted.face, wanted.sizes[-1][1])
            if leader is None or not any(_crosses(leader, each) for each in self.faces if each != wanted.face):
                return Placed(form, at, leader)
            fallback = fallback or Placed(form, at, leader)
        return fallback

    def _leader(self, at: Rectangle, face: Rectangle, line: int) -> tuple[int, int, int, int] | None:
        """The line between the closest points of both, if they are more than half a text line apart."""
        ends: tuple[list[int], list[int]] = ([], [])
        for low, high in ((0, 2), (1, 3)):
            between = max(at[low], face[low]), min(at[high], face[high])
            if between[0] <= between[1]:  # they overlap on this axis: a straight line
                middle = sum(between) // 2
                ends[0].append(middle)
                ends[1].append(middle)
            else:
                ends[0].append(at[high] if at[high] < face[low] else at[low])
                ends[1].append(face[low] if at[high] < face[low] else face[high])
        (x1, y1), (x2, y2) = ends
        return (x1, y1, x2, y2) if np.hypot(x2 - x1, y2 - y1) > 0.5 * line else None


def _distances(xs: np.ndarray, ys: np.ndarray, size: tuple[int, int], face: Rectangle) -> tuple[np.ndarray, np.ndarray]:
    """Gaps between a face and label positions, and their costs: corners and unaligned positions cost a little more."""
    right, below = xs + size[0], ys + size[1]
    across = np.maximum(np.maximum(face[0] - right, xs - face[2]), 0)
    down = np.maximum(np.maximum(face[1] - below, ys - face[3]), 0)
    distance = np.hypot(across, down)
    # Prefer labels aligned with an edge of their face, and to its right or above it.
    lined = np.minimum(np.abs(xs - face[0]), np.abs(ys - face[1]))
    side = 0.15 * size[1] * ((xs < face[0]).astype(float) + (ys > face[1]))
    return distance, distance + 0.1 * lined + side


def _crosses(line: tuple[int, int, int, int], box: Rectangle) -> bool:
    """Whether a line crosses a rectangle."""
    steps = np.linspace(0, 1, 24)
    x, y = line[0] + (line[2] - line[0]) * steps, line[1] + (line[3] - line[1]) * steps
    return bool(((x > box[0]) & (x < box[2]) & (y > box[1]) & (y < box[3])).any())


def place_labels(space: Space, wanted: Mapping[int, Wanted]) -> dict[int, Placed]:
    """Place labels by face, the largest face first; a label that does not fit is left out.

    Args:
        space: the picture and what is taken in it.
        wanted: by the face's number.
    """

    def area(number: int) -> int:
        x1, y1, x2, y2 = wanted[number].face
        return (x2 - x1) * (y2 - y1)

    placed = {}
    for number in sorted(wanted, key=lambda number: (-area(number), number)):
        found = space.place(wanted[number])
        if found is not None:
            placed[number] = found
    return placed
