"""The eight orientations are the same in pictures and videos."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.pipeline.inputs.orientation import MATRICES, exif_orientation, matrix_orientation, turned
from PIL import Image, ImageOps


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_as_pillow_turns(orientation: int) -> None:
    stored = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(turned(stored, orientation), expected)
    assert turned(stored, orientation).flags.c_contiguous
    exif = Image.Exif()
    exif[0x0112] = orientation
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    assert exif_orientation(block) == exif_orientation(b"Exif\0\0" + block) == orientation


@pytest.mark.parametrize("orientation", MATRICES)
def test_a_display_matrix_puts_each_pixel_where_turning_does(orientation: int) -> None:
    stored = np.arange(24).reshape(4, 6)
    a, b, c, d = MATRICES[orientation]
    places = {(a * x + c * y, b * x + d * y): stored[y, x] for y in range(4) for x in range(6)}
    left, top = min(x for x, _ in places), min(y for _, y in places)
    shown = turned(stored, orientation)
    assert all(shown[y - top, x - left] == value for (x, y), value in places.items())
    one = 1 << 16
    matrix = np.array([a * one, b * one, 0, c * one, d * one, 0, 96 * one, 0, 1 << 30], "<i4").tobytes()
    assert matrix_orientation(matrix) == orientation


def test_what_tells_nothing_is_left_as_it_is() -> None:
    for exif in (b"", b"II", b"II*\0\xff\xff\0\0", b"Exif\0\0", b"nothing of the kind"):
        assert exif_orientation(exif) == 1
    stored = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(turned(stored, 9), stored)
