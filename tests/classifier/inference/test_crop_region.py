"""Which part of a frame is cut for which region."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from facepipe.classifier.config.recipe import read_recipe
from facepipe.classifier.data.table import CropSet
from facepipe.classifier.inference.crop import (
    ASPECT,
    LEAST_VISIBLE,
    TORSO_BELOW,
    TORSO_HEIGHT,
    TORSO_WIDTH,
    cut_face,
    cut_region,
    region_box,
)
from facepipe.classifier.train import NewRun, RunOptions, _crop_recipe, train_classifier
from facepipe.core.errors import TrainingError, WeightsError
from facepipe.weights.manifest import CropRecipe

FACE = np.array([100.0, 50.0, 140.0, 102.0])  # 40 px wide, 1.3 times as high
SHAPE = (400, 300, 3)


def test_a_face_is_its_box_and_a_head_the_one_that_was_found():
    head = np.array([90.0, 30.0, 150.0, 110.0])
    assert region_box("face", FACE, head, SHAPE)[0].tolist() == FACE.tolist()
    assert region_box("head", FACE, head, SHAPE)[0].tolist() == head.tolist()
    beyond = np.array([-20.0, -9.0, 150.0, 500.0])
    assert region_box("head", FACE, beyond, SHAPE)[0].tolist() == [0, 0, 150, 400]


def test_a_head_that_was_not_found_is_derived_and_holds_the_face():
    box, reason = region_box("head", FACE, None, SHAPE)
    assert reason is None
    assert (box[:2] < FACE[:2]).all()
    assert (box[2:] > FACE[2:]).all()
    assert (box[0] + box[2]) / 2 == pytest.approx(120)
    assert FACE[1] - box[1] > box[3] - FACE[3], "there is more hair above than neck below"
    corner, _ = region_box("head", FACE - [100, 50, 100, 50], None, SHAPE)
    assert corner[:2].tolist() == [0, 0]


def test_a_torso_begins_below_the_chin_and_is_centred():
    box, reason = region_box("torso", FACE, None, SHAPE)
    assert reason is None
    assert (box[0] + box[2]) / 2 == pytest.approx(120)
    assert box[1] == pytest.approx(102 + TORSO_BELOW * 40)
    assert box[2] - box[0] == pytest.approx(TORSO_WIDTH * 40)
    assert box[3] - box[1] == pytest.approx(TORSO_HEIGHT * 40)
    with_head, _ = region_box("torso", FACE, np.array([90.0, 30.0, 150.0, 110.0]), SHAPE)
    assert with_head.tolist() == box.tolist()


def test_a_face_turned_to_the_side_has_shoulders_as_wide():
    narrow = np.array([110.0, 50.0, 130.0, 50 + 40 * ASPECT])
    box, _ = region_box("torso", narrow, None, SHAPE)
    assert box == pytest.approx(region_box("torso", FACE, None, SHAPE)[0])


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_regions_grow_with_the_face(scale):
    shape = tuple(int(side * scale) for side in SHAPE[:2])
    for region in ("face", "head", "torso"):
        one, _ = region_box(region, FACE, None, SHAPE)
        other, _ = region_box(region, FACE * scale, None, shape)
        assert other == pytest.approx(one * scale)


def test_a_torso_outside_the_frame_is_refused_with_the_reason():
    assert region_box("torso", FACE, None, (110, 300)) == (None, "the torso lies outside the frame")
    top = 102 + TORSO_BELOW * 40
    height = TORSO_HEIGHT * 40
    _, reason = region_box("torso", FACE, None, (round(top + 0.1 * height), 300))
    assert reason is not None
    assert "10% of the torso lies in the frame, at least 25% are needed" in reason
    box, reason = region_box("torso", FACE, None, (round(top + (LEAST_VISIBLE + 0.02) * height), 300))
    assert reason is None
    assert box[3] - box[1] == pytest.approx(height), "it is not squeezed into the frame"


@pytest.mark.parametrize("box", [[5, 5, 5, 9], [5, 9, 9, 5], [np.nan, 0, 9, 9], [0, 0, np.inf, 9]])
@pytest.mark.parametrize("region", ["face", "head", "torso"])
def test_boxes_that_are_none_are_refused_in_words(box, region):
    recipe = CropRecipe(region=region, margin=0.1, size=32)
    crop = cut_region(np.zeros((40, 40, 3), np.uint8), np.array(box, float), None, recipe)
    assert crop.image is None
    assert crop.reason in ("the box is empty", "the box is not finite")


def test_an_unknown_region_is_no_region():
    with pytest.raises(ValueError, match="no region 'foot'"):
        region_box("foot", FACE, None, SHAPE)


def test_a_torso_is_cut_as_any_other_box_and_points_move_along():
    frame = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    recipe = CropRecipe(region="torso", margin=0.1, size=64)
    crop = cut_region(frame, FACE, None, recipe)
    box, _ = region_box("torso", FACE, None, SHAPE)
    same = cut_face(frame, box, recipe)
    np.testing.assert_array_equal(crop.image, same.image)
    centre = (box[:2] + box[2:]) / 2
    assert crop.to_crop(centre[None])[0] == pytest.approx([32, 32], abs=1)
    assert crop.to_frame(crop.to_crop(centre[None]))[0] == pytest.approx(centre)


def test_only_the_region_is_in_the_crop():
    """The face is green, what lies from half a face width below it on is red."""
    frame = np.full(SHAPE, 40, np.uint8)
    frame[50:102, 100:140] = (0, 255, 0)
    top = int(102 + TORSO_BELOW * 40)
    frame[top:] = (0, 0, 255)
    for region, colour in (("face", (0, 255, 0)), ("torso", (0, 0, 255))):
        crop = cut_region(frame, FACE, None, CropRecipe(region=region, margin=0.0, size=32))
        assert crop.image is not None
        middle = crop.image[:, 8:24] if region == "face" else crop.image
        assert (middle == colour).all(), region
    # The right half of the torso lies outside: it takes the border's colour, and the left half stays where it was.
    cut = cut_region(frame[:, :120], FACE - [0, 0, 0, 0], None, CropRecipe(region="torso", margin=0.0, size=32))
    assert cut.image is not None
    assert (cut.image[:, :15] == (0, 0, 255)).all()
    assert (cut.image[:, 17:] == 114).all()


def test_crops_that_say_nothing_show_what_the_command_says():
    said = SimpleNamespace(crops=None, path=Path("torsos/faces.csv"))
    assert _crop_recipe(said, 64, None, None).region == "face"
    assert _crop_recipe(said, 64, None, "torso").region == "torso"
    recipe = CropRecipe(region="torso", margin=0.1, size=96)
    cut = SimpleNamespace(crops=CropSet(recipe=recipe, context=0.1), path=Path("torsos/faces.csv"))
    for region in (None, "torso"):
        assert _crop_recipe(cut, 64, None, region) == recipe.model_copy(update={"size": 64})
    with pytest.raises(TrainingError, match="--region face, but torsos holds crops with region torso"):
        _crop_recipe(cut, 64, None, "face")


def test_a_name_that_is_none_is_refused_before_the_training(tmp_path):
    with pytest.raises(WeightsError, match=r"'My shirt@0\.0\.0'.*is named like shirt@1\.0\.0"):
        train_classifier(
            tmp_path / "run", RunOptions(("faces.csv",), classifier_name="My shirt"), NewRun((), read_recipe())
        )
    assert list(tmp_path.iterdir()) == []
