"""EXIF-rotated pictures: which way up their labels are meant, and boxes turned along."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.core.errors import ImageError
from facepipe.core.near_duplicates import perceptual_hash
from facepipe.detector.data.exif import TURNS, _tiff_orientation, look, read_upright
from PIL import Image

WIDTH, HEIGHT = 64, 40
MARK = (8, 4, 24, 12)
"""Where the stored picture is white: x1, y1, x2, y2."""


def save(path: Path, orientation: int, quality: int = 95) -> Path:
    frame = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    frame[:, : WIDTH // 2, 0] = 90
    frame[MARK[1] : MARK[3], MARK[0] : MARK[2]] = 255
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(frame).save(path, quality=quality, exif=exif)
    return path


@pytest.mark.parametrize("orientation", TURNS)
def test_a_box_of_the_stored_picture_is_turned_with_it(tmp_path: Path, orientation: int) -> None:
    path = save(tmp_path / "a.jpg", orientation)
    seen = look(path, (WIDTH, HEIGHT), "stored")
    x1, y1, x2, y2 = (round(value) for value in seen.upright(MARK))
    upright = cv2.imread(str(path))
    assert upright is not None
    assert (seen.height, seen.width) == upright.shape[:2]
    inside = np.zeros(upright.shape[:2], bool)
    inside[y1:y2, x1:x2] = True
    white = upright.min(axis=2) > 140
    assert inside.sum() == (MARK[2] - MARK[0]) * (MARK[3] - MARK[1])
    assert (inside == white).mean() > 0.98


def test_the_stated_size_decides(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", 6)
    assert look(path, (HEIGHT, WIDTH)).turn == 1
    assert look(path, None).turn == 1
    assert look(path, (WIDTH, HEIGHT)).turn == 6
    assert look(path, (WIDTH, HEIGHT)).upright((0, 0, WIDTH, HEIGHT)) == (0, 0, HEIGHT, WIDTH)
    assert look(save(tmp_path / "b.jpg", 3), (WIDTH, HEIGHT)).turn == 1
    with pytest.raises(ImageError, match="40 x 64 pixels, but its labels are for 64 x 40"):
        look(path, (WIDTH, HEIGHT), "upright")


@pytest.mark.parametrize("orientation", TURNS)
def test_a_turned_tiff_is_read_upright(tmp_path: Path, orientation: int) -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:10, :20] = 255
    path = tmp_path / "a.tif"
    Image.fromarray(frame).save(path, tiffinfo={274: orientation})
    turn, _ = TURNS[orientation]
    np.testing.assert_array_equal(read_upright(path), turn(frame))
    assert look(path, (WIDTH, HEIGHT), "stored").turn == orientation


@pytest.mark.parametrize("order", "<>")
def test_the_orientation_of_a_tiff(order: str) -> None:
    mark = {"<": b"II", ">": b"MM"}[order]
    content = struct.pack(f"{order}2sHIHHHIHH", mark, 42, 8, 1, 274, 3, 1, 6, 0)
    assert _tiff_orientation(content) == 6
    assert [_tiff_orientation(content[:cut]) for cut in (8, 12, 18)] == [1, 1, 1]
    assert _tiff_orientation(struct.pack(f"{order}2sHIHHHIHH", mark, 42, 8, 1, 274, 3, 1, 99, 0)) == 1
    assert _tiff_orientation(b"\xff\xd8\xff") is None


def test_the_hash_is_of_the_upright_picture(tmp_path: Path, photo: Callable[..., np.ndarray]) -> None:
    path = tmp_path / "a.png"
    frame = photo(1)
    cv2.imwrite(str(path), frame)
    assert look(path).fingerprint == perceptual_hash(frame)


def test_broken_pictures(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no such picture"):
        look(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"not a picture")
    with pytest.raises(ImageError, match="not a picture that OpenCV can read"):
        look(tmp_path / "b.jpg")
    with pytest.raises(ImageError, match="64 x 40 pixels, but its labels are for 640 x 480"):
        look(save(tmp_path / "c.jpg", 1), (640, 480))
