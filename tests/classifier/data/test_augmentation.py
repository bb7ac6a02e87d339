"""Augmentation and batches: points follow their pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.augmentation import (
    Augmentation,
    draw_placing,
    fill_border,
    find_border,
    place,
    place_points,
    relight,
    see_small,
)
from facepipe.classifier.data.loader import BrokenPictures, CropSource, exact_batches, training_batches
from facepipe.classifier.data.table import SIDECAR, CropSet, read_faces
from facepipe.classifier.inference.crop import cut_face
from facepipe.core.errors import DataError
from facepipe.weights.manifest import CropRecipe

from ..conftest import POINTS

SCHEMA = read_schema()
EYES = SCHEMA[-1]
ALWAYS = Augmentation(
    flip=1, scale=0, shift=0, rotation=0, brightness=0, contrast=0, saturation=0, tint=0, grey=0, coarse=0
)
COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)])
"""One for each point."""


def marked(size: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A picture with a spot of its own colour at each point."""
    points = np.float32([(40, 45), (80, 48), (62, 66), (46, 84), (76, 86)]) * size / 120
    image = np.full((size, size, 3), 128, np.uint8)
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cv2.circle(image, (round(x - 0.5), round(y - 0.5)), 3 * size // 120, colour.tolist(), -1)
    return image, points


def spot(image: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Centre of the pixels nearest to a colour, in continuous coordinates."""
    rows, columns = np.nonzero(np.abs(image.astype(int) - colour).max(axis=2) < 60)
    return np.array([columns.mean(), rows.mean()]) + 0.5


def test_a_mirrored_face_swaps_its_paired_points():
    image, points = marked()
    placing, mirrored = draw_placing((60, 60, 120), 120, ALWAYS, np.random.default_rng(0))
    assert mirrored
    flipped = place(image, placing, 120, (0, 0, 0))
    np.testing.assert_array_equal(flipped, image[:, ::-1])
    placed = place_points(points, placing, mirrored, 120, EYES) * 120
    # What is now the left eye is the picture of what was the right eye, and so for the mouth; the nose stays itself.
    for index, was in enumerate((1, 0, 2, 4, 3)):
        np.testing.assert_allclose(placed[index], spot(flipped, COLOURS[was]), atol=1)
    assert placed[0, 0] < placed[1, 0]
    assert placed[3, 0] < placed[4, 0]


def test_batches_mirror_points_onto_the_marks_of_the_mirrored_picture(tmp_path):
    """From the CSV to the batch: each named point of the mirrored crop lies on the spot that has its colour."""
    image, points = marked()
    cv2.imwrite(str(tmp_path / "a.png"), image)
    names = ",".join(f"{point}_{axis}" for point in POINTS for axis in "xy")
    cells = ",".join(f"{value:.2f}" for value in points.ravel())
    (tmp_path / "faces.csv").write_text(f"file,framing,split,{names}\na.png,tight,train,{cells}\n")
    table = read_faces(tmp_path / "faces.csv", SCHEMA)
    for flip in (0, 1):
        strength = ALWAYS.model_copy(update={"flip": float(flip)})
        batch = next(training_batches(CropSource(table, 96, (0, 0, 0)), 1, strength, (0,)))
        for index, was in enumerate((1, 0, 2, 4, 3) if flip else range(5)):
            np.testing.assert_allclose(
                batch.targets["eyes"][0, index] * 96, spot(batch.images[0], COLOURS[was]), atol=1
            )
        assert batch.targets["eyes"][0, 0, 0] < batch.targets["eyes"][0, 1, 0]


def test_saturation_of_a_recipe_is_a_factor_of_the_colours():
    """0.3 means 0.7 to 1.3, and nothing else of the picture changes."""
    image = np.full((8, 8, 3), (90, 120, 150), np.uint8)
    strength = ALWAYS.model_copy(update={"saturation": 0.3})
    grey = float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[0, 0])
    factors = []
    for seed in range(200):
        changed = relight(image, strength, np.random.default_rng(seed)).astype(float)[0, 0]
        factors.append((changed[2] - changed[0]) / 60)
        np.testing.assert_allclose(changed, grey + factors[-1] * (np.array([90, 120, 150]) - grey), atol=1.5)
    assert 0.69 < min(factors) < 0.73
    assert 1.27 < max(factors) < 1.31


@pytest.mark.parametrize("seed", range(6))
def test_points_follow_their_pixels_through_any_placing(seed):
    image, points = marked()
    strength = ALWAYS.model_copy(update={"flip": 0.5, "scale": 0.3, "shift": 0.1, "rotation": 40.0})
    placing, mirrored = draw_placing((60, 60, 110), 96, strength, np.random.default_rng(seed))
    warped = place(image, placing, 96, (128, 128, 128))
    placed = place_points(points, placing, mirrored, 96, EYES) * 96
    order = (1, 0, 2, 4, 3) if mirrored else range(5)
    for index, was in enumerate(order):
        np.testing.assert_allclose(placed[index], spot(warped, COLOURS[was]), atol=1.2)


def test_points_outside_the_crop_are_unlabelled():
    placing, _ = draw_placing((10, 10, 10), 32, None, np.random.default_rng(0))
    placed = place_points(
        np.float32([(10, 10), (30, 10), (10, 0), (np.nan, np.nan), (12, 12)]), placing, False, 32, EYES
    )
    assert np.isnan(placed).any(axis=1).tolist() == [False, True, True, True, False]


def test_without_strength_nothing_changes():
    placing, mirrored = draw_placing((60, 60, 120), 60, None, np.random.default_rng(0))
    assert not mirrored
    np.testing.assert_allclose(placing, [[0.5, 0, 0], [0, 0.5, 0]])
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(relight(image, ALWAYS, np.random.default_rng(0)), image)


@pytest.mark.parametrize("seed", range(12))
def test_light_and_detail_keep_shape_and_kind(seed):
    image, _ = marked(64)
    changed = relight(image, Augmentation(coarse=1, grey=0.3), np.random.default_rng(seed))
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert (changed != image).any()


def test_batches_repeat_by_seed_and_step(faces):
    table = read_faces(faces, SCHEMA).split("train")

    def first(start, count, seed=(0, 0)):
        stream = training_batches(CropSource(table, 32, (0, 0, 0)), 5, Augmentation(), seed, start)
        batches = [next(stream) for _ in range(count)]
        stream.close()
        return batches

    whole, rest, other = first(0, 9), first(7, 2), first(7, 2, (1, 0))
    for a, b, c in zip(whole[7:], rest, other, strict=True):
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.targets["eyes"], b.targets["eyes"])
        assert (a.images != c.images).any()


def test_an_epoch_shows_each_row_at_most_once(faces):
    table = read_faces(faces, SCHEMA).split("train")
    stream = training_batches(CropSource(table, 32, (0, 0, 0)), 8, ALWAYS, (3,))
    seen = [next(stream).images for _ in range(len(table) // 8)]
    stream.close()
    flat = np.concatenate(seen).reshape(-1, 32 * 32 * 3)
    assert len(np.unique(flat, axis=0)) == len(flat) == len(table) // 8 * 8


def test_kept_pictures_are_the_decoded_ones(faces):
    table = read_faces(faces, SCHEMA).split("val")
    rows = np.arange(len(table))
    kept = CropSource(table, 32, (0, 0, 0), memory=10 * 32 * 32 * 3)
    for _ in range(2):
        fresh = CropSource(table, 32, (0, 0, 0))
        for a, b in zip(exact_batches(kept, 4, rows), exact_batches(fresh, 4, rows), strict=True):
            np.testing.assert_array_equal(a.images, b.images)
    assert len(kept._kept) == 10


# ---------------------------------------------------------------------------------------------------------------------
# The border
# ---------------------------------------------------------------------------------------------------------------------

GREY = (114, 114, 114)


def bordered(size: int = 64, border: int = 16) -> np.ndarray:
    """Stripes with a grey border above and at the left, and a patch of that grey in their midst."""
    image = np.zeros((size, size, 3), np.uint8)
    image[:, ::2] = (40, 80, 200)
    image[30:36, 30:36] = GREY
    image[:border] = image[:, :border] = GREY
    return image


def test_the_rim_is_what_joins_the_edge():
    coded = cv2.imdecode(cv2.imencode(".jpg", bordered(), (cv2.IMWRITE_JPEG_QUALITY, 92))[1], cv2.IMREAD_COLOR)
    for image in (bordered(), coded):
        border = find_border(image, GREY)
        assert border[:14].all()
        assert border[:, :14].all()
        assert not border[19:, 19:].any()


@pytest.mark.parametrize("seed", range(8))
def test_a_filled_rim_is_no_longer_the_border_and_the_rest_stays(seed):
    image = bordered()
    filled = fill_border(image, GREY, np.random.default_rng(seed))
    np.testing.assert_array_equal(filled[19:, 19:], image[19:, 19:])
    assert (np.abs(filled[:14].astype(int) - 114).max(axis=2) > 10).mean() > 0.9


def test_a_reflection_shows_what_lies_on_the_other_side():
    image = np.full((64, 64, 3), GREY, np.uint8)
    image[20:] = np.arange(44)[:, None, None] * 2 + 140
    random = np.random.default_rng(2)  # draws a reflection, not one colour
    filled = fill_border(image, GREY, random)
    means = filled[:20].mean(axis=(1, 2))
    assert (np.diff(means) < 0).all()  # brighter upwards, as the picture is downwards
    assert means[4] == pytest.approx(image[2 * 22 - 4, 0, 0], abs=4)  # the border is two pixels broader


def test_a_crop_without_a_rim_or_with_nothing_else_stays():
    whole = np.random.default_rng(0).integers(0, 100, (32, 32, 3), dtype=np.uint8)
    assert fill_border(whole, GREY, np.random.default_rng(0)) is whole
    empty = np.full((32, 32, 3), GREY, np.uint8)
    assert fill_border(empty, GREY, np.random.default_rng(0)) is empty


def test_rims_are_off_by_default_and_leave_other_draws_alone(faces):
    """A run that was begun before there were rims goes on with the batches that it would have had."""
    table = read_faces(faces, SCHEMA).split("train")
    assert Augmentation().border_fill == 0
    shifted = Augmentation(shift=0.5, flip=0)

    def images(strength):
        stream = training_batches(CropSource(table, 32, GREY), 8, strength, (0,))
        found = next(stream).images
        stream.close()
        return found

    without, always = images(shifted), images(shifted.model_copy(update={"border_fill": 1.0}))
    assert [find_border(image, GREY).mean() > 0.02 for image in images(shifted.model_copy(update={"coarse": 0}))].count(
        True
    )
    assert (without != always).any()


# ---------------------------------------------------------------------------------------------------------------------
# Broken pictures
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    """20 rows of which the fourth's picture is none."""
    for index in range(20):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 20, 3), 10 * index, np.uint8))
    (tmp_path / "3.png").write_bytes(b"no picture")
    path = tmp_path / "faces.csv"
    rows = [f"{index}.png,male,40,tight,train" for index in range(20)]
    path.write_text("\n".join(["file,gender,age,framing,split", *rows]))
    return read_faces(path, SCHEMA)


def test_a_broken_picture_is_named(broken):
    source = CropSource(broken, 32, (0, 0, 0))
    with pytest.raises(DataError, match=r"3\.png"):
        source.picture(3)
    with pytest.raises(DataError, match=r"3\.png"):
        next(exact_batches(source, 20))


def test_training_goes_on_without_a_broken_picture(broken):
    told: list[str] = []

    def epoch():
        source = CropSource(broken, 16, GREY, broken=BrokenPictures(len(broken), told.append))
        stream = training_batches(source, 5, ALWAYS, (0,))
        found = [next(stream) for _ in range(8)]  # two epochs
        stream.close()
        return found

    first, again = epoch(), epoch()
    assert len(told) == 2  # once each run
    assert "3.png" in told[0]
    labels = np.concatenate([batch.targets["gender"] for batch in first])
    assert np.isnan(labels).sum() == 2
    images = np.concatenate([batch.images for batch in first])
    assert (images[np.isnan(labels)] == 114).all()
    assert np.isnan(np.concatenate([batch.targets["age"] for batch in first])[np.isnan(labels)]).all()
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.images, b.images)


def test_many_broken_pictures_are_an_error(broken):
    for index in (5, 9):
        broken.files[index].unlink()
    told: list[str] = []
    source = CropSource(broken, 16, GREY, broken=BrokenPictures(len(broken), told.append, share=0.1))
    with pytest.raises(DataError, match="broken picture 3 of 20 rows, more than the 2"):
        for _ in exact_batches(source, 4):
            pass
    assert len(told) == 2


@pytest.mark.parametrize(("context", "size"), [(0.0, 96), (0.25, 96), (0.25, 48)])
def test_a_stored_crop_gives_what_serving_cuts(tmp_path, context, size):
    """Training on stored crops sees the same face in the same place as serving does on the photo."""
    image, points = marked(240)
    box, recipe = np.array([62.0, 70.0, 178.0, 190.0]), CropRecipe(margin=0.1, size=96)
    crops = CropSet(recipe=recipe, context=context)
    stored = cut_face(image, box, crops.stored)
    cv2.imwrite(str(tmp_path / "a.png"), stored.image)
    cells = [f"{value:.3f}" for value in stored.to_crop(points).ravel()]
    header = ",".join(f"{point}_{axis}" for point in POINTS for axis in "xy")
    (tmp_path / "faces.csv").write_text(f"file,framing,split,{header}\na.png,crop,train,{','.join(cells)}\n")
    (tmp_path / SIDECAR).write_text(crops.model_dump_json())
    batch = next(exact_batches(CropSource(read_faces(tmp_path / "faces.csv", SCHEMA), size, recipe.border), 1))
    served = cut_face(image, box, recipe.model_copy(update={"size": size}))
    assert np.abs(batch.images[0].astype(int) - served.image).mean() < 3
    np.testing.assert_allclose(batch.targets["eyes"][0] * size, served.to_crop(points), atol=0.6)


def test_small_takes_a_crop_to_the_detail_of_a_small_face():
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    never = [0.0, 0.9, 0.0, 0.9, 0.0]  # the smallest size, neither blurred nor coded
    seen = see_small(noise, never)
    assert seen.shape == noise.shape
    assert seen.dtype == np.uint8
    again = cv2.resize(cv2.resize(seen, (10, 10), interpolation=cv2.INTER_AREA), (128, 128))
    assert np.abs(again.astype(int) - seen).mean() < 6  # nothing is left that 10 pixels do not hold
    assert np.abs(seen.astype(int) - noise).mean() > 40
    large = np.zeros((64, 64, 3), np.uint8)
    assert see_small(large, [1.0, 0, 0, 0, 0]) is large  # a crop is never enlarged


def test_small_is_off_by_default_and_leaves_the_other_draws_as_they_were():
    image, _ = marked()
    without = relight(image, Augmentation(), np.random.default_rng(3))
    never = relight(image, Augmentation(small=1e-12), np.random.default_rng(3))
    always = relight(image, Augmentation(small=1), np.random.default_rng(3))
    np.testing.assert_array_equal(without, never)
    assert not np.array_equal(without, always)


def test_the_old_name_of_border_fill_is_read() -> None:
    old = Augmentation.model_validate({"rim": 0.3})
    assert old == Augmentation(border_fill=0.3)
    assert old.model_dump(by_alias=True)["border_fill"] == 0.3
    assert "rim" not in old.model_dump(by_alias=True)
