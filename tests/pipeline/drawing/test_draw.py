"""Drawings show faces: labels stay off them and off each other, and everything follows the picture's size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.classifier.inference.attributes import AttributeValue, ClassValue, NumericValue, PointsValue
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.drawing.draw import DOT, FACE, HEAD, POINT, SMALL, Drawer, draw
from facepipe.pipeline.drawing.options import DrawOptions
from facepipe.pipeline.inputs.colour_profile import read_profile
from facepipe.pipeline.results import Box, DetectorUsed, Face, Head, Models, Result

GROUPS = [6, 12, 25]
SIZES = [(547, 365), (1600, 1200), (6000, 4000)]


@pytest.fixture
def result(tiny_weights: Path, photo: Callable[..., np.ndarray]) -> Result:
    return Pipeline().run(photo(0))


def group(count: int, width: int, height: int, seed: int = 0, track: bool = False) -> Result:
    """So many faces in rows as people stand for a photograph, not quite in line; each with attributes and a head."""
    random = np.random.default_rng(seed)
    columns = int(np.ceil(np.sqrt(count * width / height)))
    rows = -(-count // columns)
    faces, heads = [], []
    for number in range(count):
        across, down = width / columns, height / (rows + 1)
        side = min(across, down) * random.uniform(0.3, 0.45)
        x = (number % columns + random.uniform(0.2, 0.4)) * across
        y = (number // columns + random.uniform(0.2, 0.4)) * down
        attributes: dict[str, AttributeValue] = {
            "age": NumericValue(value=31.0, unit="years", interval=(21.0, 47.0)),
            "gender": ClassValue(value="female", probability=0.9, probabilities={"female": 0.9, "male": 0.1}),
            "glasses": ClassValue(value="no", probability=0.9, probabilities={"no": 0.9, "yes": 0.1}),
            "smile": ClassValue(value="yes", probability=0.8, probabilities={"no": 0.2, "yes": 0.8}),
            "eyes": PointsValue(points={"left": (x + 0.3 * side, y + 0.5 * side), "right": (x + 0.7 * side, y + side)}),
        }
        faces.append(
            Face(
                box=Box(x1=x, y1=y, x2=x + side, y2=y + 1.3 * side),
                confidence=0.9,
                head=number,
                attributes=attributes,
                reason=None,
                track=number + 1 if track else None,
            )
        )
        heads.append(
            Head(box=Box(x1=x - 0.2 * side, y1=y - 0.4 * side, x2=x + 1.2 * side, y2=y + 1.4 * side), confidence=0.9)
        )
    models = Models(detector=DetectorUsed(version="1.0.0", sha256="ab" * 32), classifiers={})
    return Result(
        source="group.jpg",
        width=width,
        height=height,
        faces=tuple(faces),
        heads=tuple(heads),
        models=models,
        error=None,
    )


@pytest.mark.parametrize("count", GROUPS)
@pytest.mark.parametrize("size", SIZES)
def test_labels_cover_no_face_and_no_other_label(count: int, size: tuple[int, int]) -> None:
    found = group(count, *size)
    drawer = Drawer()
    picture = drawer(np.full((size[1], size[0], 3), 90, np.uint8), found)
    zoom = picture.shape[1] // size[0]
    labels = np.zeros(picture.shape[:2], np.uint8)
    for x1, y1, x2, y2 in drawer.placed.values():
        assert 0 <= x1 < x2 <= picture.shape[1]
        assert 0 <= y1 < y2 <= picture.shape[0]
        labels[y1:y2, x1:x2] += 1
    assert labels.max() == 1, "two labels overlap"
    covered = sum(
        np.count_nonzero(labels[int(b.y1 * zoom) : round(b.y2 * zoom), int(b.x1 * zoom) : round(b.x2 * zoom)])
        for b in (face.box for face in found.faces)
    )
    assert covered == 0, "a label lies on a face"
    assert len(drawer.placed) == count, "there is room for all of them"


@pytest.mark.parametrize("count", GROUPS)
def test_the_inside_of_faces_stays_free_of_text_and_leaders(count: int) -> None:
    frame = np.full((1200, 1600, 3), 90, np.uint8)
    found = group(count, 1600, 1200, seed=3)
    picture = draw(frame, found, DrawOptions(frozenset({"labels"})))
    for number, face in enumerate(found.faces):
        inside = picture[int(face.box.y1) + 3 : int(face.box.y2) - 2, int(face.box.x1) + 3 : int(face.box.x2) - 2]
        assert (inside == 90).all(), number


def test_where_there_is_no_room_there_is_no_label() -> None:
    found = group(4, 100, 100)
    whole = tuple(
        face.model_copy(update={"box": Box(x1=x, y1=y, x2=x + 50, y2=y + 50)})
        for face, (x, y) in zip(found.faces, ((0, 0), (50, 0), (0, 50), (50, 50)), strict=True)
    )
    drawer = Drawer()
    drawer(np.zeros((100, 100, 3), np.uint8), found.model_copy(update={"faces": whole}))
    assert drawer.placed == {}


def test_boxes_are_drawn_where_they_are(result: Result) -> None:
    face = Face(box=Box(x1=300, y1=400, x2=500, y2=650), confidence=0.5, head=0, attributes=None, reason="too small")
    heads = tuple(Head(box=Box(x1=x, y1=300, x2=x + 300, y2=700), confidence=0.5) for x in (250, 650))
    frame = np.zeros((900, 1000, 3), np.uint8)
    picture = draw(frame, result.model_copy(update={"faces": (face,), "heads": heads}))
    assert picture.shape == frame.shape
    assert not frame.any(), "the frame itself must stay as it is"
    assert picture[500, 300].tolist() == list(FACE)
    assert picture[500, 650].tolist() == list(HEAD)
    light = picture[500, 250].astype(int)
    assert 0 < light.max() < max(HEAD) * 0.6, "a head that belongs to a face is drawn lightly"
    assert not picture[500, 400].any(), "the face itself stays free"
    assert not picture[800, 100].any()


@pytest.mark.parametrize(
    ("layers", "colours"),
    [("boxes", [FACE]), ("points", [POINT]), ("heads", [HEAD]), ("boxes,points", [FACE, POINT]), ("labels", [])],
)
def test_any_subset_is_drawn_and_nothing_else(layers: str, colours: list[Any]) -> None:
    found = group(6, 1600, 1200)
    found = found.model_copy(update={"faces": tuple(f.model_copy(update={"head": None}) for f in found.faces)})
    picture = draw(np.zeros((1200, 1600, 3), np.uint8), found, DrawOptions.parse(layers, None))
    for colour in (FACE, HEAD, POINT):
        assert (picture == colour).all(axis=2).any() == (colour in colours)
    assert (picture == 255).all(axis=2).any() == ("labels" in layers)


def test_unknown_names_are_refused_with_what_was_meant() -> None:
    with pytest.raises(FacepipeError, match="did you mean 'boxes'"):
        DrawOptions.parse("boxs", None)
    with pytest.raises(FacepipeError, match="names nothing"):
        DrawOptions.parse(",", None)
    options = DrawOptions.parse(None, "age, gendr")
    with pytest.raises(FacepipeError, match="did you mean 'gender'"):
        options.check(("age", "gender"))
    DrawOptions.parse(None, "age,gender").check(("age", "gender", "smile"))


def test_points_are_scaled_to_the_face_and_left_out_of_small_ones() -> None:
    options = DrawOptions.parse("points", None)

    def dots(side: float) -> int:
        eyes = PointsValue(points={"left": (500.0, 500.0)})
        box = Box(x1=500 - side / 2, y1=500 - side / 2, x2=500 + side / 2, y2=500 + side / 2)
        face = Face(box=box, confidence=0.9, head=None, attributes={"eyes": eyes}, reason=None)
        found = group(1, 1000, 1000).model_copy(update={"faces": (face,), "heads": ()})
        columns = np.flatnonzero((draw(np.full((1000, 1000, 3), 90, np.uint8), found, options) != 90).any(axis=(0, 2)))
        return 0 if len(columns) == 0 else int(columns[-1] - columns[0] + 1)

    assert dots(20) == 0
    assert 0 < dots(100) <= DOT * 100 + 2
    assert dots(100) < dots(400) <= DOT * 400 + 2


def test_labels_of_a_person_keep_their_place_from_frame_to_frame() -> None:
    drawer = Drawer()
    frame = np.full((1200, 1600, 3), 90, np.uint8)
    drawer(frame, group(6, 1600, 1200, track=True))
    before = drawer.placed
    moved = group(6, 1600, 1200, track=True)
    faces = tuple(
        face.model_copy(update={"box": Box(x1=b.x1 + 12, y1=b.y1 + 6, x2=b.x2 + 12, y2=b.y2 + 6)})
        for face in moved.faces
        for b in (face.box,)
    )
    drawer(frame, moved.model_copy(update={"faces": faces}))
    for number, (x1, y1, x2, _) in drawer.placed.items():
        assert abs(x1 - before[number][0] - 12) <= 8
        assert abs(y1 - before[number][1] - 6) <= 8
        assert x2 - x1 == before[number][2] - before[number][0]


@pytest.mark.parametrize("grey", [0, 127, 255])
def test_labels_are_legible_on_any_background(grey: int, result: Result) -> None:
    frame = np.full((800, 800, 3), grey, np.uint8)
    face = result.faces[0].model_copy(update={"box": Box(x1=100, y1=100, x2=300, y2=300)})
    drawer = Drawer()
    picture = drawer(frame, result.model_copy(update={"faces": (face,), "heads": ()}))
    x1, y1, x2, y2 = drawer.placed[0]
    assert picture[y1:y2, x1:x2].max() > 240
    assert picture[y1:y2, x1:x2].min() < 90


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 700), (2000, 2), (64, 48), (640, 480), (3000, 4000)])
def test_every_size_can_be_drawn(height: int, width: int, result: Result) -> None:
    corners = [(0, 0), (width * 0.9, 0), (0, height * 0.9), (width * 0.4, height * 0.4)]
    faces = tuple(
        result.faces[0].model_copy(
            update={"box": Box(x1=x, y1=y, x2=min(x + width * 0.3, width), y2=min(y + height * 0.3, height))}
        )
        for x, y in corners
    )
    picture = draw(np.zeros((height, width, 3), np.uint8), result.model_copy(update={"faces": faces}))
    zoom = picture.shape[0] // height
    assert picture.shape == (height * zoom, width * zoom, 3)
    assert max(picture.shape) >= SMALL or zoom == 8
    assert picture.any()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_saved_pictures_keep_their_colour_profile(
    suffix: str,
    tiny_weights: Path,
    tmp_path: Path,
    photo: Callable[..., np.ndarray],
    capsys: pytest.CaptureFixture[str],
) -> None:
    image, colours = pytest.importorskip("PIL.Image"), pytest.importorskip("PIL.ImageCms")
    from facepipe.pipeline.cli import main

    profile = colours.ImageCmsProfile(colours.createProfile("sRGB")).tobytes()
    path = tmp_path / f"a{suffix}"
    image.fromarray(photo(0)).save(path, icc_profile=profile)
    assert read_profile(str(path)) == profile
    for options, name in (
        ((), "a-faces.jpg"),
        (("--draw", "boxes"), "a-faces.jpg"),
        (("--blur", "faces"), "a-blurred.jpg"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["detect", str(path), "--save", str(tmp_path / "out"), *options])
        assert not ended.value.code
        with image.open(tmp_path / "out" / name) as saved:
            assert saved.info["icc_profile"] == profile
            saved.load()
    capsys.readouterr()
    image.fromarray(photo(0)).convert("L").save(
        tmp_path / "grey.jpg", icc_profile=profile[:16] + b"GRAY" + profile[20:]
    )
    assert read_profile(str(tmp_path / "grey.jpg")) is None
    assert read_profile(str(tmp_path / "none.jpg")) is None
