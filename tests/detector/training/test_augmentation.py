"""Augmentation recipes: read, resolved, and done to pictures whose right outcome is known."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe.core.errors import TrainingError
from facepipe.detector.data.dataset import read_description
from facepipe.detector.training.augmentation import (
    OFF,
    Blur,
    Exposure,
    Noise,
    Recipe,
    Rotation,
    View,
    Zoom,
    as_recipe,
    read_recipe,
    shipped,
)
from facepipe.detector.training.preview import augmented_sheet, write_augmentation
from facepipe.detector.training.transforms import (
    BoxRotation,
    ExposureStep,
    PlacedStep,
    RandomView,
    Reframe,
    blur,
    moved,
    noise,
)
from facepipe.pipeline.cli import app
from typer.testing import CliRunner
from ultralytics.utils.instance import Instances

FACE, HEAD, IGNORED = 0, 1, 2


def sample(frame: np.ndarray, rows: list[tuple[float, ...]]) -> dict[str, Any]:
    """A sample as ultralytics' transforms have it; rows are class, x1, y1, x2, y2 in pixels."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    boxes = Instances(table[:, 1:].copy(), np.zeros((0, 1000, 2), np.float32), bbox_format="xyxy", normalized=False)
    return {"img": frame.copy(), "cls": table[:, :1].copy(), "instances": boxes}


def rows_of(labels: dict[str, Any]) -> list[tuple[float, ...]]:
    labels["instances"].convert_bbox(format="xyxy")
    return [(float(c), *map(float, b)) for c, b in zip(labels["cls"].ravel(), labels["instances"].bboxes, strict=True)]


def ellipse(height: int = 160, width: int = 200) -> tuple[np.ndarray, tuple[float, float, float, float]]:
    """A white ellipse on black, and its box."""
    frame = np.zeros((height, width, 3), np.uint8)
    cv2.ellipse(frame, (120, 70), (18, 30), 0, 0, 360, (255, 255, 255), -1, cv2.LINE_AA)
    return frame, (101.5, 39.5, 138.5, 100.5)


def bounds(frame: np.ndarray) -> np.ndarray:
    """The box around what is white, in pixels."""
    y, x = np.nonzero(frame[:, :, 1] > 160)
    return np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], float)


# ---- recipes ---------------------------------------------------------------------------------------------------------


def test_the_shipped_recipes_are_what_they_say() -> None:
    assert shipped() == ("finish", "roboflow", "ultralytics", "views")
    plain = read_recipe("ultralytics").arguments()
    from ultralytics.utils import DEFAULT_CFG_DICT

    assert {key: plain[key] for key in OFF if key in DEFAULT_CFG_DICT} == {
        key: DEFAULT_CFG_DICT[key] for key in OFF if key in DEFAULT_CFG_DICT
    }
    roboflow = read_recipe("roboflow")
    assert roboflow.zoom == Zoom(least=0.0, most=0.3)
    assert roboflow.exposure == Exposure(change=0.16)
    assert [step.where for step in (*roboflow.rotation, *roboflow.blur, *roboflow.noise)] == ["picture", "boxes"] * 3
    assert {key for key, value in roboflow.arguments().items() if value} == {"fliplr"}
    assert read_recipe("views").view == View(canvas=0.8, scale=(0.6, 2.0))
    for name in shipped():
        assert as_recipe(read_recipe(name).to_dict()) == read_recipe(name)


def test_a_step_is_on_when_named_and_a_file_is_a_recipe(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("zoom: true\nflip: false\nblur: {where: boxes}\nultralytics: {mosaic: 0.5}\n")
    recipe = read_recipe(str(file))
    assert (recipe.name, recipe.zoom, recipe.flip, recipe.blur) == ("mine", Zoom(), None, (Blur(where="boxes"),))
    assert recipe.arguments() == {**OFF, "mosaic": 0.5}
    assert recipe.to_dict() == {
        "name": "mine",
        "zoom": {"probability": 1.0, "least": 0.0, "most": 0.3},
        "blur": [{"probability": 1.0, "where": "boxes", "sigma": 1.5}],
        "ultralytics": {"mosaic": 0.5},
    }


def test_settings_beside_a_recipe_win_and_rect_joins_nothing() -> None:
    recipe = read_recipe("ultralytics")
    changed = recipe.resolved({"mosaic": 0.25, "fliplr": 0.1, "lr0": 0.01})
    assert (changed.flip, changed.ultralytics["fliplr"], changed.ultralytics["mosaic"]) == (None, 0.1, 0.25)
    assert "lr0" not in changed.arguments()
    assert changed.arguments()["fliplr"] == 0.1
    still = recipe.resolved({}, rect=True)
    assert still.arguments()["mosaic"] == 0
    assert "close_mosaic" not in still.ultralytics
    with pytest.raises(TrainingError, match="mosaic joins pictures, which --rect does not allow"):
        recipe.resolved({"mosaic": 1.0}, rect=True)
    with pytest.raises(TrainingError, match="view replaces ultralytics' degrees"):
        read_recipe("views").resolved({"degrees": 10.0})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zoom: {most: 1.5}", r"zoom\.most: Input should be less than or equal to 0\.9"),
        ("zoom: {least: 0.5}", r"zoom: .*least \(0\.5\) must not be above most \(0\.3\)"),
        ("blurr: true", "blurr: Extra inputs are not permitted"),
        ("flip:", "flip: write true, false, or its settings"),
        ("noise: {where: faces}", r"noise\.0\.where: Input should be 'picture' or 'boxes'"),
        ("ultralytics: {mosiac: 1}", "mosiac: not an ultralytics setting; did you mean mosaic"),
        ("ultralytics: {lr0: 0.1}", "lr0: not a setting that changes pictures with boxes"),
        ("ultralytics: {mosaic: much}", "mosaic: 'mosaic=much' is of invalid type"),
        ("flip: true\nultralytics: {fliplr: 0.5}", "flip and ultralytics' fliplr are the same step"),
        ("view: {scale: [2, 1]}", "scale goes from the least to the largest"),
        ("- flip", "a recipe names steps and their settings, got list"),
        ("flip: [", "not valid YAML"),
    ],
)
def test_a_wrong_recipe_is_told_with_its_file(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(text)
    with pytest.raises(TrainingError, match=f"(?s)wrong\\.yaml: .*{said}"):
        read_recipe(str(file))


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(TrainingError, match="gone: no such augmentation; one of finish, roboflow, ultralytics, views"):
        read_recipe("gone")


# ---- boxes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rotation", "zoom"),
    [(Rotation(degrees=40), None), (None, Zoom(most=0.3)), (Rotation(degrees=30), Zoom(least=0.1, most=0.3))],
)
def test_boxes_move_with_rotation_and_zoom(rotation: Rotation | None, zoom: Zoom | None) -> None:
    frame, box = ellipse()
    random.seed(4)
    step, whole = Reframe(2, rotation, zoom), 0
    for _ in range(20):
        out = step(sample(frame, [(FACE, *box)]))
        assert out["img"].shape == frame.shape
        white = bounds(out["img"])
        inside = white[0] > 0 and white[1] > 0 and white[2] < 200 and white[3] < 160
        if inside:
            [(number, *found)] = rows_of(out)
            assert number == FACE
            np.testing.assert_allclose(found, white, atol=2.0)
            whole += 1
    assert whole >= 5


def test_an_ignore_region_keeps_all_of_itself_under_rotation() -> None:
    box = np.array([[10.0, 20.0, 50.0, 40.0]])
    angle = np.deg2rad(30)
    matrix = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    corners = np.array([[10, 20], [50, 20], [10, 40], [50, 40]]) @ matrix[:2, :2].T
    around = [*corners.min(0), *corners.max(0)]
    np.testing.assert_allclose(moved(box, matrix, np.array([False]))[0], around)
    smaller = moved(box, matrix, np.array([True]))[0]
    assert smaller[0] > around[0] + 2
    assert smaller[3] < around[3] - 2


def test_what_is_hardly_visible_becomes_an_ignore_region() -> None:
    step = Reframe(2, None, Zoom())
    labels = sample(
        np.zeros((100, 100, 3), np.uint8),
        [
            (FACE, 60, 60, 90, 90),
            (HEAD, 40, 60, 60, 80),
            (FACE, 30, 60, 54, 84),
            (FACE, 5, 5, 20, 20),
            (IGNORED, 40, 40, 60, 60),
        ],
    )
    matrix = np.array([[2, 0, -100], [0, 2, -100], [0, 0, 1]], np.float32)
    params = {"M": matrix, "scale": 2.0, "orig_shape": (100, 100), "size": (100, 100)}
    out = rows_of(step.apply_instances(step.apply_image(labels, params), params))
    assert out == [
        (FACE, 20, 20, 80, 80),
        (HEAD, 0, 20, 20, 60),
        (IGNORED, 0, 20, 8, 68),
        (IGNORED, 0, 0, 20, 20),
    ]


def test_views_hold_their_objects_and_stay_on_the_canvas() -> None:
    frame, box = ellipse()
    random.seed(1)
    step = RandomView(View(canvas=0.5, scale=(0.5, 2.0), towards_objects=1.0), classes=2, size=256)
    for _ in range(20):
        labels = sample(frame, [(HEAD, *box), (IGNORED, 0, 0, 60, 60)])
        out = step(labels)
        assert out["img"].shape == (128, 128, 3)
        found = [row for row in rows_of(out) if row[0] == HEAD]
        assert len(found) == 1
        np.testing.assert_allclose(found[0][1:], bounds(out["img"]), atol=2.5)


# ---- pixels ----------------------------------------------------------------------------------------------------------


def textured(height: int = 80, width: int = 120) -> np.ndarray:
    return np.random.default_rng(3).integers(40, 200, (height, width, 3), dtype=np.uint8)


BOX = (30.0, 10.0, 90.0, 70.0)


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        (Blur(sigma=4.0, where="boxes"), blur(Blur(sigma=4.0))),
        (Noise(pixels=0.5, deviation=20.0, where="boxes"), noise(Noise(pixels=0.5, deviation=20.0))),
        (Rotation(degrees=90.0, where="boxes"), None),
    ],
)
def test_within_boxes_nothing_else_changes(settings: Any, change: Any) -> None:
    random.seed(5)
    frame = textured()
    step = BoxRotation(settings, 2) if change is None else PlacedStep(settings, change, 2)
    out = step(sample(frame, [(FACE, *BOX), (IGNORED, 95, 40, 118, 78), (HEAD, 2, 2, 8, 8)]))
    y, x = np.mgrid[0:80, 0:120]
    outside = ((x + 0.5 - 60) / 30) ** 2 + ((y + 0.5 - 40) / 30) ** 2 > 1
    assert (out["img"][outside] == frame[outside]).all()
    centre = out["img"][30:50, 50:70].astype(int) - frame[30:50, 50:70]
    assert np.abs(centre).mean() > 3
    assert rows_of(out)[0] == (FACE, *BOX)


def test_over_the_whole_picture_corners_change_too_and_boxes_stay() -> None:
    random.seed(6)
    frame = textured()
    for settings, change in (
        (Blur(sigma=5.0), blur(Blur(sigma=5.0))),
        (Noise(pixels=0.5), noise(Noise(pixels=0.5))),
        (Noise(pixels=0.0, deviation=30.0), noise(Noise(pixels=0.0, deviation=30.0))),
    ):
        out = PlacedStep(settings, change, 2)(sample(frame, [(FACE, *BOX)]))
        assert (out["img"][:10, :10] != frame[:10, :10]).any()
        assert rows_of(out) == [(FACE, *BOX)]
        assert out["img"].dtype == np.uint8


def test_a_box_that_touches_another_is_not_turned() -> None:
    random.seed(7)
    step = BoxRotation(Rotation(degrees=90.0, where="boxes"), 2)
    frame = textured()
    out = step(sample(frame, [(HEAD, *BOX), (FACE, 40, 20, 80, 60)]))
    assert (out["img"] == frame).all()


def test_exposure_multiplies_within_its_bounds() -> None:
    random.seed(8)
    frame = np.full((8, 8, 3), 100, np.uint8)
    seen = {int(ExposureStep(Exposure(change=0.16))(sample(frame, []))["img"][0, 0, 0]) for _ in range(300)}
    assert min(seen) == 84
    assert max(seen) == 116


# ---- the sheet -------------------------------------------------------------------------------------------------------


def test_the_sheet_shows_boxes_and_ignore_regions_and_leaves_random_numbers_alone(
    detection_data: Path, tmp_path: Path
) -> None:
    description = read_description(detection_data)
    recipe = as_recipe({"flip": True})
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    following = random.random(), float(np.random.random())  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    caches = {file: file.stat().st_mtime_ns for file in (detection_data.parent / "labels").glob("*.cache")}
    sheet = augmented_sheet(recipe, description, imgsz=96, count=12, seed=2)
    assert (random.random(), float(np.random.random())) == following  # noqa: NPY002
    from facepipe.detector.training.preview import COLOURS, IGNORED

    for colour in (COLOURS[0], COLOURS[1], IGNORED):
        assert (sheet == np.array(colour, np.uint8)).all(2).sum() > 40
    assert {file: file.stat().st_mtime_ns for file in (detection_data.parent / "labels").glob("*.cache")} == caches
    assert (sheet == augmented_sheet(recipe, description, imgsz=96, count=12, seed=2)).all()
    write_augmentation(read_recipe("roboflow"), description, tmp_path, 64, rect=False, seed=0)
    assert read_recipe(str(tmp_path / "augmentation.yaml")) == read_recipe("roboflow")
    assert cv2.imread(str(tmp_path / "augmentation.png")) is not None


def test_the_command_writes_a_sheet(detection_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    arguments = ["data", "augmented", str(detection_data), "--augmentation", "views", "--rect", "--imgsz", "64"]
    done = CliRunner().invoke(app, [*arguments, "--count", "4", "--columns", "2", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "4 training pictures after augmentation views" in done.output.replace("\n", "")
    assert cv2.imread(str(out)) is not None


def test_an_empty_recipe_changes_nothing_but_the_frame_around() -> None:
    assert Recipe().arguments() == OFF
    assert Recipe().to_dict() == {}
