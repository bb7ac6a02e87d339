"""Label files: the trainer's rule of where they lie, and what each kind of line means."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from facepipe.core.errors import DataError
from facepipe.detector.data.formats.labels import FAR, LabelReader, has_mirror, label_file

BOX = "0.44 0.23 0.18 0.24"
POINTS = [(0.40 + 0.015 * i, 0.2 + 0.01 * i) for i in range(5)]
FLAT = " ".join(f"{x:.3f} {y:.3f}" for x, y in POINTS)
SEEN = " ".join(f"{x:.3f} {y:.3f} {i % 3}" for i, (x, y) in enumerate(POINTS))


def reader(tmp_path: Path, *contents: str, points: tuple[int, int] | None = None) -> LabelReader:
    files = [tmp_path / f"{number}.txt" for number in range(len(contents))]
    for file, content in zip(files, contents, strict=True):
        file.write_text(content)
    return LabelReader(("face", "head"), points, files)


def rows(made: LabelReader) -> list[list[Sequence[float] | str]]:
    return [[row for _, row in made.rows(file)] for file in made.files]


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        ("/d/images/train/a.jpg", "/d/labels/train/a.txt"),
        ("/d/images/train/batch1/images/a.jpg", "/d/images/train/batch1/labels/a.txt"),
        ("/images/d/train/a.b.png", "/labels/d/train/a.b.txt"),
        ("/d/train/a.jpg", "/d/train/a.txt"),
        ("/d/images.jpg/a.jpg", "/d/images.jpg/a.txt"),
        ("/d/my images/images/x/images", "/d/my images/labels/x/images.txt"),
    ],
)
def test_the_place_of_a_label_file_is_the_trainers(picture: str, expected: str) -> None:
    assert label_file(Path(picture)) == Path(expected)
    assert has_mirror(Path(picture)) == ("labels" in expected)
    ultralytics = pytest.importorskip("ultralytics.data.utils", reason="the trainer's own rule")
    if Path(picture).suffix:
        assert [expected] == ultralytics.img2label_paths([picture])


@pytest.mark.parametrize(("shape", "line"), [((5, 2), f"0 {BOX} {FLAT}"), ((5, 3), f"0 {BOX} {SEEN}")])
def test_boxes_with_points_are_boxes(tmp_path: Path, shape: tuple[int, int], line: str) -> None:
    made = reader(tmp_path, f"{line}\n0 {BOX}\n", points=shape)
    assert rows(made) == [[(0, 0.44, 0.23, 0.18, 0.24)] * 2]
    wrong = reader(tmp_path, f"0 {BOX} 0.1 0.1\n", points=shape)
    assert "expected class cx cy w h and 5 points" in str(rows(wrong)[0][0])


@pytest.mark.parametrize("line", [f"0 {BOX} {FLAT}", f"0 {BOX} {' '.join(SEEN.split()[:6])}"])
def test_without_kpt_shape_nobody_guesses(tmp_path: Path, line: str) -> None:
    made = reader(tmp_path, f"0 {BOX}\n{line}\n", f"{line}\n")
    with pytest.raises(DataError, match=r"0\.txt: line 2: a box with points or a polygon\? set in data\.yaml: kpt_"):
        made.boxes(made.files[0])
    polygons = reader(tmp_path, f"{line}\n", points=(0, 0))
    values = np.array(line.split()[1:], float).reshape(-1, 2)
    _, x, y, width, height = polygons.boxes(polygons.files[0])[0]
    np.testing.assert_allclose([x, y], (values.min(0) + values.max(0)) / 2, atol=1e-6)
    np.testing.assert_allclose([width, height], np.ptp(values, axis=0), atol=1e-6)


@pytest.mark.parametrize(
    "contents",
    [
        ["1 0.2 0.5 0.4 0.1 0.6 0.3 0.5 0.9"],  # a box with points would have them far off
        ["0 0.4 0.4 0.42 0.41 0.41 0.43", "0 0.4 0.4 0.42 0.41 0.41 0.43 0.4 0.42"],  # of several lengths
        ["0 0.4 0.4 0.5 0.4 0.5 0.5 0.4 0.5"],  # a rectangle
    ],
)
def test_polygons_are_the_boxes_around_them(tmp_path: Path, contents: list[str]) -> None:
    for found, content in zip(rows(reader(tmp_path, *contents)), contents, strict=True):
        values = np.array(content.split()[1:], float).reshape(-1, 2)
        _, x, y, width, height = (float(value) for value in found[0])
        np.testing.assert_allclose((x - width / 2, y - height / 2), values.min(axis=0))
        np.testing.assert_allclose((x + width / 2, y + height / 2), values.max(axis=0))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"2 {BOX}", r"class 2 is not one of 0 to 1 \(face, head\)"),
        (f"0.5 {BOX}", "class 0.5"),
        (f"nan {BOX}", "the class must be a number"),
        ("0 0.1 0.1 0.2", "a box with points needs kpt_shape"),
        ("0 0.1 0.1 0.2 0.2 0.9", "expected class cx cy w h"),
        ("0 0.1 1e999 0.2 0.2", "a coordinate must be a number"),
        ("0 30 20 10 10", "coordinates are fractions of the picture"),
        (f"0 {BOX[:-1]}\xff", "not UTF-8"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(f"0 {BOX}\n\n{line}\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.txt: line 3: .*" + message):
        LabelReader(("face", "head")).boxes(file)


def test_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"\xef\xbb\xbf" + f"1 {BOX}\r\n\r\n0 {BOX}\r".encode())
    assert LabelReader(("face", "head")).boxes(file)[:, 0].tolist() == [1, 0]
    assert LabelReader(()).boxes(tmp_path / "none.txt").shape == (0, 5)
    file.write_text("7 -1 0.5 0.5 0.5\n")
    assert LabelReader((), limits=FAR).boxes(file)[0].tolist() == [7, -1, 0.5, 0.5, 0.5]
