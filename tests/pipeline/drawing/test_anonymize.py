"""Faces that are hidden are gone, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.pipeline.drawing.anonymize import CELLS, MARGIN, hide
from facepipe.pipeline.inputs.image_reader import read_frame
from facepipe.pipeline.results import Box, DetectorUsed, Face, Head, Models, Result
from facepipe.weights.store import PACKAGE_ROOT

ASTRONAUT = Path(__file__).parents[3] / "examples" / "astronaut.jpg"
HOW: tuple[Any, ...] = ("blur", "pixelate")
MODELS = Models(detector=DetectorUsed(version="1.0.0", sha256="ab" * 32), classifiers={})


def result(frame: np.ndarray, faces: list[tuple[float, ...]], heads: list[tuple[float, ...]] = ()) -> Result:  # type: ignore[assignment]
    def box(sides: tuple[float, ...]) -> Box:
        return Box(x1=sides[0], y1=sides[1], x2=sides[2], y2=sides[3])

    return Result(
        source="x.jpg",
        width=frame.shape[1],
        height=frame.shape[0],
        faces=tuple(Face(box=box(each), confidence=1, head=None, attributes=None, reason="") for each in faces),
        heads=tuple(Head(box=box(each), confidence=1) for each in heads),
        models=MODELS,
        error=None,
    )


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)


def likeness(one: np.ndarray, other: np.ndarray, box: tuple[int, int, int, int]) -> float:
    """Correlation of the detail of two faces: what is left of them without their broad colours (-1 to 1)."""
    x1, y1, x2, y2 = box
    sharp = []
    for frame in (one, other):
        part = cv2.cvtColor(frame[y1:y2, x1:x2], cv2.COLOR_BGR2GRAY).astype(np.float64)
        sharp.append((part - cv2.GaussianBlur(part, (0, 0), (y2 - y1) / 16)).ravel())
    if np.ptp(sharp[1]) == 0:
        return 0.0
    return float(np.corrcoef(sharp[0], sharp[1])[0, 1])


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("scale", [1, 3])
def test_the_face_is_gone_for_the_detector_and_by_its_detail(how: Any, scale: int) -> None:
    if not (PACKAGE_ROOT / "detector" / "1.0.0").is_dir():
        pytest.skip("the shipped detector is not here")
    frame = cv2.resize(read_frame(ASTRONAUT), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    with Pipeline("1.0.0", "1.0.0", confidence=0.2) as pipeline:
        before = pipeline.run(frame)
        face = before.faces[0].box
        hidden = hide(frame, before.model_copy(update={"faces": before.faces[:1]}), how, "faces")
        after = pipeline.run(hidden)
    for each in after.faces:  # none where the face was, not even at this low confidence
        overlap = max(0, min(face.x2, each.box.x2) - max(face.x1, each.box.x1)) * max(
            0, min(face.y2, each.box.y2) - max(face.y1, each.box.y1)
        )
        assert overlap == 0
    inner = int(face.x1), int(face.y1), int(face.x2), int(face.y2)
    assert likeness(frame, frame, inner) == pytest.approx(1)
    softened = cv2.GaussianBlur(frame, (0, 0), 3 * scale)
    assert likeness(frame, softened, inner) > 0.3  # a blur that hides nothing would be noticed
    assert abs(likeness(frame, hidden, inner)) < 0.2


@pytest.mark.parametrize("how", HOW)
def test_only_averages_of_a_few_cells_go_in(how: Any, noise: np.ndarray) -> None:
    """Two faces whose cells have the same averages give the same picture: there is nothing to bring back."""
    other = noise.copy()
    box = (100.0, 80.0, 180.0, 160.0)
    seen = result(noise, [box])
    hidden = hide(noise, seen, how, "faces")
    x1, y1, x2, y2 = 100, 80, 180, 160
    # Turn each block of 2 x 2 pixels around, which cells hold whole but at their rims.
    blocks = other[y1:y2, x1:x2].reshape(40, 2, 40, 2, 3)
    other[y1:y2, x1:x2] = np.flip(blocks, (1, 3)).reshape(80, 80, 3)
    assert (other != noise).any(axis=-1)[y1:y2, x1:x2].mean() > 0.9
    again = hide(other, seen, how, "faces")
    assert np.abs(again.astype(int) - hidden).max() <= 12  # only the pixels that cells share differ, of noise
    colours = np.unique(hidden[y1:y2, x1:x2].reshape(-1, 3), axis=0)
    if how == "pixelate":
        assert len(colours) <= CELLS**2


@pytest.mark.parametrize("how", HOW)
def test_all_of_the_box_and_nothing_far_from_it(how: Any, noise: np.ndarray) -> None:
    before = noise.copy()
    hidden = hide(noise, result(noise, [(100, 80, 180, 180)]), how, "faces")
    assert (noise == before).all()
    assert hidden.shape == noise.shape
    assert hidden.dtype == np.uint8
    margin = int(MARGIN * 100)
    inside = (hidden == noise).all(axis=-1)[80 - margin : 180 + margin, 100 - margin : 180 + margin]
    assert inside.mean() < 0.001
    far = np.ones(noise.shape[:2], bool)
    far[80 - 60 : 180 + 60, 100 - 60 : 180 + 60] = False
    assert (hidden == noise)[far].all()


@pytest.mark.parametrize("how", HOW)
def test_heads_are_the_heads_and_the_faces_without_one(how: Any, noise: np.ndarray) -> None:
    seen = result(noise, [(20, 20, 60, 60), (300, 200, 340, 240)], [(0, 0, 130, 130), (150, 100, 200, 160)])

    def changed(what: Any) -> list[bool]:
        hidden = hide(noise, seen, how, what)
        return [
            bool((hidden != noise).any(axis=-1)[y1:y2, x1:x2].mean() > 0.95)
            for x1, y1, x2, y2 in ((20, 20, 60, 60), (0, 0, 130, 130), (150, 100, 200, 160), (300, 200, 340, 240))
        ]

    assert changed("heads") == [True] * 4
    assert changed("faces") == [True, False, False, True]


@pytest.mark.parametrize("how", HOW)
def test_boxes_of_any_size_at_any_rim(how: Any, noise: np.ndarray) -> None:
    for box in ((0, 0, 400, 300), (-5, -5, 3, 3), (398.2, 299.1, 400, 300), (10, 10, 10.4, 10.4), (0, 100, 400, 101)):
        hidden = hide(noise, result(noise, [box]), how, "faces")
        x1, y1 = max(int(box[0]), 0), max(int(box[1]), 0)
        assert (hidden[y1, x1] != noise[y1, x1]).any()
    assert (hide(noise, result(noise, []), how, "faces") == noise).all()
    assert hide(noise[:1, :1], result(noise[:1, :1], [(0, 0, 1, 1)]), how, "heads").shape == (1, 1, 3)
    with pytest.raises(ValueError, match="blur or pixelate"):
        hide(noise, result(noise, []), "melt", "faces")  # type: ignore[arg-type]


def test_saved_pictures_have_no_metadata_and_no_drawing(
    tiny_weights: Path, tmp_path: Path, photo: Callable[..., np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    image = pytest.importorskip("PIL.Image")
    from facepipe.pipeline.cli import main

    exif = image.Exif()
    exif[0x010E] = "a secret place"
    frame = photo(0)
    image.fromarray(np.ascontiguousarray(frame[..., ::-1])).save(tmp_path / "a.jpg", exif=exif, quality=95)
    assert b"secret" in (tmp_path / "a.jpg").read_bytes()
    for option, name in (("--blur", "a-blurred.jpg"), ("--pixelate", "a-pixelated.jpg")):
        with pytest.raises(SystemExit) as ended:
            main(["detect", str(tmp_path / "a.jpg"), "--save", str(tmp_path / "out"), option, "heads"])
        assert not ended.value.code
        saved = tmp_path / "out" / name
        assert b"secret" not in saved.read_bytes()
        assert b"Exif" not in saved.read_bytes()
        assert read_frame(saved).shape == frame.shape  # a drawing would be larger
    assert len(list((tmp_path / "out").glob("[!.]*"))) == 2
    assert capsys.readouterr().err == ""
