"""JPEGs that are damaged within are found, and whole ones are not suspected."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import ImageError, Limits, Pipeline, read_frame
from facepipe.pipeline.inputs.image_reader import read_picture
from PIL import Image

KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "full colour": {"subsampling": 0},
    "optimised": {"optimize": True},
    "restarts": {"restart_marker_rows": 4},
    "restart blocks": {"restart_marker_blocks": 7},
    "fine": {"quality": 97},
    "progressive": {"progressive": True},
    "progressive restarts": {"progressive": True, "restart_marker_rows": 4},
}
ASTRONAUT = Path(__file__).parents[3] / "examples" / "astronaut.jpg"


def damage(content: bytes) -> str | None:
    """What a row would say: a warning, an error, or nothing."""
    try:
        return read_picture(content).warning
    except ImageError as error:
        return str(error)


def jpeg(kind: str, frame: np.ndarray | None = None) -> bytes:
    stored = io.BytesIO()
    picture = np.asarray(cv2.imread(str(ASTRONAUT)) if frame is None else frame)
    Image.fromarray(np.ascontiguousarray(picture[..., ::-1])).save(stored, "JPEG", **KINDS[kind])
    return stored.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_whole_pictures_are_not_suspected(kind: str) -> None:
    astronaut = np.asarray(cv2.imread(str(ASTRONAUT)))
    grey_end = astronaut.copy()
    grey_end[300:] = 128
    plain = np.full((65, 47, 3), 128, np.uint8)
    for frame in (astronaut, astronaut[:501, :397], grey_end, plain, np.zeros((1, 1, 3), np.uint8), plain * 0 + 255):
        assert damage(jpeg(kind, frame)) is None
    assert damage(jpeg(kind) + b"what a camera leaves behind the end") is None


def test_grey_pictures_and_cmyk_are_not_suspected() -> None:
    for mode in ("L", "CMYK"):
        stored = io.BytesIO()
        Image.open(ASTRONAUT).convert(mode).save(stored, "JPEG")
        assert damage(stored.getvalue()) is None


@pytest.mark.parametrize("kind", KINDS)
def test_data_that_end_too_early_are_found(kind: str) -> None:
    whole = jpeg(kind)
    source = random.Random(0)
    for _ in range(12):
        place = source.randrange(800, len(whole) - 400)
        ended = whole[:place] + b"\xff\xd9" + whole[place + 2 :]
        assert re.match("damaged: |bytes: the JPEG cannot be decoded", damage(ended) or "")


def test_a_missing_piece_is_found_more_often_than_not() -> None:
    """Now and then blocks of nonsense make up for the blocks that are missing."""
    whole, source, found = jpeg("baseline"), random.Random(0), 0
    for _ in range(12):
        place = source.randrange(800, len(whole) * 2 // 3)
        found += damage(whole[:place] + whole[place + len(whole) // 5 :]) is not None
    assert found >= 9


def test_zeros_before_the_end_are_no_damage() -> None:
    """Some cameras pad with them."""
    whole = jpeg("baseline")
    assert damage(whole[:-2] + bytes(700) + whole[-2:]) is None
    assert "broken" in (damage(whole[:-2] + b"\1" * 700 + whole[-2:]) or "")


def test_the_warning_says_how_much_is_lost() -> None:
    whole = jpeg("baseline")
    place = len(whole) // 8
    warning = damage(whole[:place] + b"\xff\xd9" + whole[place + 2 :])
    grey = (read_frame(whole[:place] + b"\xff\xd9" + whole[place + 2 :]) == 128).all(axis=(1, 2)).sum()
    assert warning is not None
    told = int(warning.split("about ")[1].split(" of 512 rows")[0])
    assert abs(told - int(grey)) <= 16
    assert grey > 300


def test_overwritten_data_are_found_more_often_than_not() -> None:
    whole, source = jpeg("baseline"), random.Random(1)
    found, size = 0, len(whole) // 10
    for _ in range(20):
        place = source.randrange(800, len(whole) - size - 400)
        found += damage(whole[:place] + bytes(size) + whole[place + size :]) is not None
    assert found >= 15


def test_missing_scans_of_a_progressive_picture_are_found() -> None:
    whole = jpeg("progressive")
    scans = [place for place in range(len(whole) - 1) if whole[place : place + 2] == b"\xff\xda"]
    assert "scans" in (damage(whole[: scans[2]] + b"\xff\xd9") or "")


def test_scans_of_a_progressive_picture_that_end_too_early_are_found() -> None:
    whole, source = jpeg("progressive"), random.Random(0)
    found = re.finditer(rb"\xff\xda(?=(.*?)\xff[\xc4\xd9\xda])", whole, re.DOTALL)
    scans = [(scan.end(), scan.end() + len(scan[1])) for scan in found]
    assert len(scans) == 10
    for begin, end in scans:
        place = source.randrange(begin + 16, end - 5)
        assert "data are missing" in (damage(whole[:place] + whole[end:]) or "")


def test_overwritten_data_of_a_progressive_picture_are_found_more_often_than_not() -> None:
    whole, source, found = jpeg("progressive"), random.Random(1), 0
    size = len(whole) // 10
    for _ in range(20):
        place = source.randrange(800, len(whole) - size - 400)
        found += damage(whole[:place] + bytes(size) + whole[place + size :]) is not None
    assert found >= 15


def test_the_row_has_a_warning_and_strict_makes_it_an_error(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = jpeg("baseline")
    place = len(whole) // 8
    path = tmp_path / "d.jpg"
    path.write_bytes(whole[:place] + b"\xff\xd9" + whole[place + 2 :])
    assert (read_picture(path).warning or "").startswith("damaged: ")
    assert read_picture(ASTRONAUT).warning is None
    with pytest.raises(ImageError, match=r"d\.jpg: damaged: "):
        read_frame(path, Limits(damaged=False))
    with Pipeline() as pipeline:
        result = pipeline.run(path)
        streamed = [each for each, _ in pipeline.stream([path, ASTRONAUT])]
    assert result.error is None
    assert (result.warning or "").startswith("damaged: ")
    assert [each.warning for each in streamed] == [result.warning, None]
    with Pipeline(limits=Limits(damaged=False)) as pipeline:
        assert "damaged" in (pipeline.run([path])[0].error or "")
    capsys.readouterr()
