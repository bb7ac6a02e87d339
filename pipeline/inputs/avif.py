"""The picture size that an AV1 stream declares, which determines how much memory its decoder takes.

An AVIF file states its size twice: in a box and in the stream. Decoders follow the stream, so a limit that checked only
the box would let a 2 KB file that claims 64 x 64 take gigabytes. The layout follows the AV1 Bitstream & Decoding
Process Specification (5.3 to 5.5).
"""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE_HEADER = 1


def stream_sizes(stream: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of each sequence header in a stream, as far as the stream can be parsed.

    Raises:
        IndexError: the stream ends within a header.
    """
    for bits in _sequence_headers(stream):
        yield _sequence_size(bits)


def is_full_range_grey(stream: bytes) -> bool:
    """Whether the first sequence header of a grey stream declares full range, with luma from 0 to 255 (5.5.2).

    Raises:
        IndexError: the stream ends within that header.
    """
    bits = next(_sequence_headers(stream), None)
    return bits is not None and _full_range(bits)


def _sequence_headers(stream: bytes) -> Iterator[_Bits]:
    """The contents of each sequence header."""
    place = 0
    while place < len(stream):
        header = stream[place]
        place += 2 if header & 4 else 1  # an extension byte
        length, shift = len(stream) - place, 0
        if header & 2:
            length = 0
            while True:  # leb128
                byte = stream[place]
                place += 1
                length |= (byte & 0x7F) << shift
                shift += 7
                if not byte & 0x80 or shift > 56:
                    break
        if header >> 3 & 15 == SEQUENCE_HEADER:
            yield _Bits(stream[place : place + min(length, 4096)])
        place += length


class _Bits:
    """Reads numbers from bytes, most significant bit first."""

    def __init__(self, content: bytes):
        self.number, self.left = int.from_bytes(content), 8 * len(content)

    def take(self, count: int) -> int:
        if count > self.left:
            raise IndexError("the header ends early")
        self.left -= count
        return self.number >> self.left & (1 << count) - 1


def _sequence_size(bits: _Bits) -> tuple[int, int]:
    bits.take(4)  # profile, still picture
    if bits.take(1):  # reduced header
        bits.take(5)
    else:
        _operating_points(bits)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(across) + 1, bits.take(down) + 1


def _full_range(bits: _Bits) -> bool:
    profile = bits.take(3)
    bits.take(1)  # still picture
    reduced = bits.take(1)
    if reduced:
        bits.take(5)
    else:
        _operating_points(bits)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    bits.take(across + down)
    if not reduced and bits.take(1):  # frame numbers
        bits.take(7)
    bits.take(3)  # superblock size, intra filter, intra edge filter
    if not reduced:
        _inter_tools(bits)
    bits.take(3)  # super-resolution, CDEF, restoration
    if bits.take(1) and profile == 2:  # high bit depth
        bits.take(1)
    if not bits.take(1):
        raise IndexError("the header is of a picture in colour")
    if bits.take(1):  # colour description
        bits.take(24)
    return bool(bits.take(1))


def _inter_tools(bits: _Bits) -> None:
    """Skip the fields about inter-frame tools."""
    bits.take(4)
    order_hint = bits.take(1)
    if order_hint:
        bits.take(2)
    if (bits.take(1) or bits.take(1)) and not bits.take(1):  # screen content tools; integer motion vectors
        bits.take(1)
    if order_hint:
        bits.take(3)


def _operating_points(bits: _Bits) -> None:
    """Skip timing, decoder model and operating points."""
    delay = None
    if bits.take(1):  # timing
        bits.take(64)
        if bits.take(1):
            _skip_uvlc(bits)
        if bits.take(1):  # decoder model
            delay = bits.take(5) + 1
            bits.take(42)
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay is not None and bits.take(1):
            bits.take(2 * delay + 1)
        if display_delay and bits.take(1):
            bits.take(4)


def _skip_uvlc(bits: _Bits) -> None:
    zeros = 0
    while not bits.take(1):
        zeros += 1
    if zeros < 32:
        bits.take(zeros)
