"""The boxes of a HEIC or AVIF file: the main picture, its size, and its crop and orientation.

The layouts are those of ISO/IEC 14496-12 (boxes; 8.11 ``meta``, ``iloc``, ``iinf``, ``pitm``), ISO/IEC 23008-12 (6.5
``ispe``, ``irot``, ``imir``, ``clap``; 9.3 ``ipma``) and, for AVIF, the AV1 Image File Format 1.1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...core.errors import ImageError

STILL = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", b"avif", b"avis"))
"""Brands of still pictures; a box-structured file without one is a video or something else."""
CODINGS = {b"hvc1": "HEIC", b"av01": "AVIF"}
"""Format by the type of the coded items."""
ALPHA = (b"urn:mpeg:hevc:2015:auxid:1", b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")
"""Types of an auxiliary picture that holds the alpha channel; phones add others, such as depth and gain maps."""
MOST = 65_536
"""Maximum number of items and extents in a file: a picture of 256 x 256 tiles, more than any camera writes."""
DAMAGED = "the boxes of the HEIC or AVIF do not fit together: damaged or cut short"

Span = tuple[int, int]
"""Start and end of a byte range in the file."""


@dataclass
class Item:
    """One item stored in the file: a picture, a tile of one, a thumbnail, EXIF.

    Attributes:
        kind: its type, ``b"hvc1"``, ``b"grid"``, ``b"Exif"``, …
        kind_at: offset of that type in the file.
        spans: where its bytes are in the file.
        properties: type and position of each of its properties, in order.
    """

    kind: bytes = b""
    kind_at: int = 0
    spans: list[Span] = field(default_factory=list)
    properties: list[tuple[bytes, Span]] = field(default_factory=list)


@dataclass(frozen=True)
class HeifFile:
    """The main picture of a file.

    Attributes:
        format: ``HEIC`` or ``AVIF``.
        moving: the file declares itself primarily a sequence.
        width: stored columns, before cropping and rotation.
        height: stored rows.
        changes: type and content of crop, rotation and mirroring (``clap``, ``irot``, ``imir``), in the order to apply.
        items: all items, by number.
        main: number of the main picture among them.
    """

    format: str
    moving: bool
    width: int
    height: int
    changes: tuple[tuple[bytes, bytes], ...]
    items: dict[int, Item]
    main: int = 0


def is_boxed(content: bytes) -> bool:
    """Whether a file begins like HEIC, AVIF and MP4."""
    return content[4:8] == b"ftyp"


def is_still(content: bytes) -> bool:
    """Whether the brands of a box-structured file name a still picture."""
    return not _brands(content).isdisjoint(STILL)


def _brands(content: bytes) -> set[bytes]:
    size = int.from_bytes(content[:4])
    return {content[8:12], *(content[place : place + 4] for place in range(16, min(size, len(content)), 4))}


def read_boxes(content: bytes) -> HeifFile:
    """Read the boxes of a HEIC or AVIF file.

    Raises:
        ImageError: another kind of file, or damaged; the message does not name the file.
    """
    try:
        return _read(content)
    except (struct.error, IndexError, KeyError) as error:
        raise ImageError(DAMAGED) from error


def is_transparent(content: bytes, file: HeifFile) -> bool:
    """Whether a picture has an alpha channel, which doubles the memory that decoders need."""
    described = (span for item in file.items.values() for name, span in item.properties if name == b"auxC")
    return any(content[begin + 4 : end].startswith(ALPHA) for begin, end in described)


def _read(content: bytes) -> HeifFile:
    if not is_still(content):
        raise ImageError("a video, or another file that is not a picture")
    top = dict(_boxes(content, (0, len(content))))
    if b"meta" not in top:
        raise ImageError("a sequence of pictures without a still one")
    start, end = top[b"meta"]
    meta = dict(_boxes(content, (start + 4, end)))
    items = _kinds(content, meta[b"iinf"])
    _places(content, meta, items)
    _properties(content, meta[b"iprp"], items)
    (version,) = struct.unpack_from(">B", content, meta[b"pitm"][0])
    (main,) = struct.unpack_from(">I" if version else ">H", content, meta[b"pitm"][0] + 4)
    picture = items[main]
    coding = next((kind for kind in [picture.kind, *(item.kind for item in items.values())] if kind in CODINGS), None)
    if coding is None:
        raise ImageError(f"a HEIF with a coding that facepipe does not read ({_shown(picture.kind)})")
    extents = [span for name, span in picture.properties if name == b"ispe"]
    if not extents:
        raise ImageError(f"the {CODINGS[coding]} does not give its size: damaged")
    width, height = struct.unpack_from(">II", content, extents[0][0] + 4)
    changes = tuple(
        (name, content[slice(*span)]) for name, span in picture.properties if name in (b"clap", b"irot", b"imir")
    )
    return HeifFile(CODINGS[coding], content[8:12] == b"avis", width, height, changes, items, main)


def _shown(kind: bytes) -> str:
    return kind.decode("ascii", "replace") if kind.isalnum() else "damaged"


def _boxes(content: bytes, span: Span) -> Iterator[tuple[bytes, Span]]:
    """Type and position of each box, in sequence."""
    place, end = span
    while place + 8 <= end:
        length, kind = struct.unpack_from(">I4s", content, place)
        begin = place + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", content, begin)
            begin += 8
        stop = end if length == 0 else place + length
        if not begin <= stop <= end:
            raise ImageError(DAMAGED)
        yield kind, (begin, stop)
        place = stop


def _kinds(content: bytes, span: Span) -> dict[int, Item]:
    """The items by number, from ``iinf``."""
    start, end = span
    items: dict[int, Item] = {}
    for name, (begin, stop) in _boxes(content, (start + (8 if content[start] else 6), end)):
        if name != b"infe" or stop - begin < 12:
            continue
        wide = content[begin] == 3
        number, _, kind = struct.unpack_from(">IH4s" if wide else ">HH4s", content, begin + 4)
        items[number] = Item(kind, begin + (10 if wide else 8))
    return items


def _places(content: bytes, meta: dict[bytes, Span], items: dict[int, Item]) -> None:
    """Fill in the byte ranges of the items, from ``iloc``."""
    place, end = meta[b"iloc"]
    reader = _Reader(content, place, end)
    version = reader.take(1)
    reader.place += 3
    sizes, bases = reader.take(1), reader.take(1)
    number_size = 4 if version == 2 else 2
    indices = bases & 15 if version else 0
    count, extents, total = reader.take(number_size), 0, 0
    for _ in range(count):
        number = reader.take(number_size)
        method = reader.take(2) & 15 if version else 0
        source = reader.take(2)
        base = reader.take(bases >> 4)
        parts = reader.take(2)
        extents += parts
        if extents > MOST or method > 1 or source:
            raise ImageError(DAMAGED)
        first, last = meta[b"idat"] if method == 1 else (0, len(content))
        spans = []
        for _ in range(parts):
            reader.take(indices)
            begin = first + base + reader.take(sizes >> 4)
            length = reader.take(sizes & 15)
            stop = begin + length if length else last
            if not begin <= stop <= last:
                raise ImageError(DAMAGED)
            spans.append((begin, stop))
            total += stop - begin
        if total > 4 * len(content):
            raise ImageError(DAMAGED)
        if number in items:
            items[number].spans = spans


def _properties(content: bytes, span: Span, items: dict[int, Item]) -> None:
    """Fill in the items' properties, from the ``ipco`` and ``ipma`` boxes."""
    known: list[tuple[bytes, Span]] = []
    for name, (begin, stop) in _boxes(content, span):
        if name == b"ipco":
            known = list(_boxes(content, (begin, stop)))
        elif name == b"ipma":
            reader = _Reader(content, begin, stop)
            version, flags = reader.take(1), reader.take(3)
            for _ in range(reader.take(4)):
                number, several = reader.take(4 if version else 2), reader.take(1)
                indices = [reader.take(2) & 0x7FFF if flags & 1 else reader.take(1) & 0x7F for _ in range(several)]
                if number in items:
                    items[number].properties += [known[index - 1] for index in indices if index]


class _Reader:
    """Reads consecutive big-endian numbers of any width from a box."""

    def __init__(self, content: bytes, place: int, end: int):
        self.content, self.place, self.end = content, place, end

    def take(self, size: int) -> int:
        self.place += size
        if self.place > self.end:
            raise ImageError(DAMAGED)
        return int.from_bytes(self.content[self.place - size : self.place])
