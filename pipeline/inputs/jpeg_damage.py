"""Whether the picture data of a JPEG are damaged within, which decoders pass over: they fill what is missing with grey.

Two ways, after ITU-T T.81. The markers: restarts come in order (E.1.4), every scan of a progressive picture is there
(G.1), and nothing but tables stands between scans. And the amount of data, where Pillow is installed: the picture is
decoded once more, at an eighth of its size in grey, as if it were some rows higher. Of a sound picture the rows that
were added come out as the grey that libjpeg fills with, and the picture's own last blocks do not. A progressive picture
is rather blurred than grey where data are missing: it is decoded in grey at half its size, with noise behind each
scan's data and without, and a whole scan never reads that noise. (OpenCV would do as well, but its libjpeg prints a
line for each such picture.)
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from ...core.extras import optional
from .pillow import FAULTS

START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
START_OF_SCAN, END_OF_IMAGE, RESTART_INTERVAL = 0xDA, 0xD9, 0xDD
BETWEEN_SCANS = frozenset((0xC4, 0xDA, 0xDB, 0xDC, RESTART_INTERVAL, END_OF_IMAGE, 0xFE, *range(0xE0, 0xF0)))
"""Markers that may follow a scan: DHT, SOS, DQT, DNL, DRI, EOI, COM and APPn."""
FILL = 128
"""What libjpeg shows of a block without data."""
ADDED = 3
"""Rows of MCUs that are added."""
LARGE = 85_000_000
"""Pixels of a picture whose amount of data is not looked at: Pillow warns of so large ones."""
NOISE = bytes(37 * step % 251 + 1 for step in range(64))
"""Stands before a marker where a picture that ends too early would take it for data; a whole one never reads it."""


@dataclass
class _Frame:
    """What the markers say.

    Attributes:
        height_at: where the height is stored.
        sampling: by component's number, horizontal and vertical sampling factors.
        interval: MCUs between restarts, 0 without.
        data: begin and end of each scan's data.
        scans: of each scan its components' numbers, first and last coefficient, and the bits that it leaves out.
        restarts: places of all restart markers in the file, int64 (n,).
    """

    kind: int = 0
    height: int = 0
    width: int = 0
    height_at: int = 0
    sampling: dict[int, tuple[int, int]] = field(default_factory=dict)
    interval: int = 0
    data: list[tuple[int, int]] = field(default_factory=list)
    scans: list[tuple[tuple[int, ...], int, int, int]] = field(default_factory=list)
    odd_marker: bool = False
    restarts: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def restarts_within(self, begin: int, end: int) -> list[int]:
        """Places of the restart markers from one place to another."""
        first, last = np.searchsorted(self.restarts, (begin, end))
        return [int(place) for place in self.restarts[first:last]]

    @property
    def step(self) -> tuple[int, int]:
        """Blocks of an MCU across and down."""
        if len(self.scans[0][0]) == 1 and self.kind in (0xC0, 0xC1):
            return 1, 1
        return max(h for h, _ in self.sampling.values()), max(v for _, v in self.sampling.values())

    @property
    def across(self) -> int:
        """MCUs in a row."""
        return -(-self.width // (8 * self.step[0]))

    @property
    def down(self) -> int:
        """Rows of MCUs."""
        return -(-self.height // (8 * self.step[1]))


def jpeg_damage(content: bytes) -> str | None:
    """What is wrong within a JPEG that runs to its end and could be decoded.

    Args:
        content: the file.

    Returns:
        ``damaged: …`` for people, or None where nothing is found. Data that are wrong and still fit are not found.
    """
    try:
        frame = _markers(content)
    except (struct.error, IndexError):
        return None  # what no decoder gets to either
    if frame.kind not in (0xC0, 0xC1, 0xC2) or not frame.data or not frame.sampling or frame.height == 0:
        return None
    if frame.odd_marker or not _restarts_fit(content, frame):
        return "damaged: the JPEG's picture data are broken"
    if frame.kind != 0xC2:
        return _amount(content, frame)
    if not _scans_complete(frame):
        return "damaged: the JPEG's later scans are missing, so it is blurred"
    if frame.height * frame.width <= LARGE and _reads_noise(content, frame, 2):
        return "damaged: data are missing within the JPEG; a part of it is blurred or grey"
    return None


def _markers(content: bytes) -> _Frame:
    markers, restarts = _marker_places(content)
    frame = _Frame(restarts=restarts)
    for marker, place in _segments(content, markers):
        if marker in START_OF_FRAME and not frame.kind:
            frame.kind, frame.height_at = marker, place + 3
            frame.height, frame.width, count = struct.unpack_from(">HHB", content, place + 3)
            for at in range(place + 8, place + 8 + 3 * count, 3):
                frame.sampling[content[at]] = content[at + 1] >> 4 or 1, content[at + 1] & 15 or 1
        elif marker == RESTART_INTERVAL:
            (frame.interval,) = struct.unpack_from(">H", content, place + 2)
        elif marker == START_OF_SCAN:
            count = content[place + 2]
            parts = tuple(content[place + 3 + 2 * each] for each in range(count))
            first, last, bits = content[place + 3 + 2 * count : place + 6 + 2 * count]
            frame.scans.append((parts, first, last, bits & 15))
            begin = place + struct.unpack_from(">H", content, place)[0]
            if (end := _next(markers, begin)) is None:
                break
            marker = content[end + 1]
            while end > begin and content[end - 1] == 0xFF:  # a fill byte
                end -= 1
            frame.data.append((begin, end))
            if marker not in BETWEEN_SCANS:
                frame.odd_marker = True
                break
    return frame


def _marker_places(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Places of all markers but restarts, and of restarts, int64 (n,): 0xFF before a byte that makes it no datum."""
    file = np.frombuffer(content, np.uint8)
    places = np.flatnonzero(file[:-1] == 0xFF)
    codes = file[places + 1]
    restart = codes & 0xF8 == 0xD0
    return places[~restart & (codes != 0) & (codes != 0xFF)], places[restart]


def _next(places: np.ndarray, begin: int) -> int | None:
    """The first of some places that is not before another."""
    number = int(np.searchsorted(places, begin))
    return int(places[number]) if number < len(places) else None


def _segments(content: bytes, markers: np.ndarray) -> Iterator[tuple[int, int]]:
    """Marker and place (of its length field) of each segment, past the scans' data, up to the picture's end."""
    place = 2
    while (found := _next(markers, place)) is not None and found + 4 <= len(content):
        marker, place = content[found + 1], found + 2
        if marker == END_OF_IMAGE:
            return
        if marker == 0x01:  # stands alone
            continue
        yield marker, place
        place += struct.unpack_from(">H", content, place)[0]


def _restarts_fit(content: bytes, frame: _Frame) -> bool:
    """Whether a picture of one scan has its restart markers, in order; other ones are not looked at."""
    begin, end = frame.data[0]
    if frame.kind == 0xC2 or len(frame.scans) != 1 or len(frame.scans[0][0]) != len(frame.sampling):
        return True
    found = [content[each + 1] & 7 for each in frame.restarts_within(begin, end)]
    expected = -(-frame.across * frame.down // frame.interval) - 1 if frame.interval else 0
    return len(found) in (expected, expected + 1) and found == [each % 8 for each in range(len(found))]


def _scans_complete(frame: _Frame) -> bool:
    """Whether the first component has all its coefficients in full (the others may be flat, and left out)."""
    first = next(iter(frame.sampling))
    left = np.full(64, 16)  # bits that are missing
    for parts, begin, end, low in frame.scans:
        if first in parts:
            left[begin : end + 1] = low
    return bool((left == 0).all())


def _amount(content: bytes, frame: _Frame) -> str | None:
    """Look whether the data are as many as the picture's blocks."""
    higher = frame.height + 8 * frame.step[1] * ADDED
    if higher > 65_535 or higher * frame.width > LARGE:
        return None
    _, end = frame.data[0]
    tail = content[:end].rstrip(b"\0") + content[end:] if content[end - 1 : end] == b"\0" else content  # padding
    grown = bytearray(tail)
    struct.pack_into(">H", grown, frame.height_at, higher)
    small = _decode_small_grey(bytes(grown))
    if small is None:
        return None
    across, down = frame.step
    own = small[: frame.down * down]
    blocks = _filled(small, across, down)
    added = blocks[frame.down :].ravel()[2:]  # the first gets the bits that fill the last byte
    if frame.interval == 0 and len(added) and not added.all():
        return "damaged: the JPEG's picture data do not fit its size"
    ends = _last_of_each_interval(frame)
    if not blocks[: frame.down].ravel()[ends[ends < frame.across * frame.down]].any():
        return None
    if not _reads_noise(content, frame):
        return None
    grey = np.asarray(_filled(own, across, down).all(axis=1))
    lost = 0 if not grey[-1] else len(grey) - int(np.flatnonzero(~grey)[-1] if not grey.all() else -1) - 1
    rows = min(lost * 8 * down, frame.height)
    how_much = f"about {rows} of {frame.height} rows" if rows else "a part"
    return f"damaged: data are missing within the JPEG; {how_much} of it came out grey"


def _filled(small: np.ndarray, across: int, down: int) -> np.ndarray:
    """By MCU, whether it is all of the grey that stands for no data; small: one pixel a block, (height, width)."""
    rows, columns = small.shape[0] // down, -(-small.shape[1] // across)
    grey = np.ones((rows * down, columns * across), bool)
    grey[:, : small.shape[1]] = small[: rows * down] == FILL
    return np.asarray(grey.reshape(rows, down, columns, across).all(axis=(1, 3)))


def _last_of_each_interval(frame: _Frame) -> np.ndarray:
    total = frame.across * frame.down
    step = frame.interval or total
    return np.append(np.arange(step - 1, total - 1, step), total - 1)


def _reads_noise(content: bytes, frame: _Frame, scale: int = 8) -> bool:
    """Whether the picture, at a fraction of its size, is another one with noise before the end of each run of data:
    only where data are missing would it be read."""
    pieces, before = [], 0
    for begin, end in frame.data:
        for place in [*frame.restarts_within(begin, end), end]:
            pieces += [content[before:place], NOISE]
            before = place
    noisy = _decode_small_grey(b"".join([*pieces, content[before:]]), scale)
    plain = _decode_small_grey(content, scale)
    return noisy is not None and plain is not None and noisy.shape == plain.shape and bool((noisy != plain).any())


@cache
def _pillow() -> Any:
    """The module ``PIL.Image`` with its reader of JPEG, None where Pillow is not installed; looked for once."""
    optional("PIL.JpegImagePlugin")
    return optional("PIL.Image")


def _decode_small_grey(content: bytes, scale: int = 8) -> np.ndarray | None:
    """A JPEG's brightness at a fraction of its size, uint8 (height, width); None without Pillow, or where it fails."""
    module = _pillow()
    if module is None:
        return None
    try:
        with module.OPEN["JPEG"][0](io.BytesIO(content), "") as image:  # see ``pillow.open_by_pillow``
            if image.mode not in ("L", "RGB"):
                return None
            width, height = image.size
            image.draft("L", (max(1, width // scale), max(1, height // scale)))
            if image.mode != "L" or image.size != (-(-width // scale), -(-height // scale)):
                return None
            return np.asarray(image)
    except FAULTS:
        return None
