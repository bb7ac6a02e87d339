"""The crop recipe: any box on any frame, and points there and back."""

from __future__ import annotations

import numpy as np
import pytest
from facepipe.classifier.inference.crop import cut_face
from facepipe.weights.manifest import CropRecipe
from hypothesis import given, settings
from hypothesis import strategies as st

numbers = st.floats(width=64, allow_nan=True, allow_infinity=True)
near = st.floats(-300, 600)
boxes = st.one_of(st.tuples(numbers, numbers, numbers, numbers), st.tuples(near, near, near, near))
recipes = st.builds(
    CropRecipe,
    margin=st.floats(0, 2),
    size=st.integers(16, 96),
    interpolation=st.sampled_from(["area", "linear"]),
    min_side=st.floats(1, 20),
)


@settings(max_examples=300, deadline=None)
@given(boxes, recipes, st.integers(1, 300), st.integers(1, 300))
def test_any_box_gives_a_crop_or_a_reason(box, recipe, height, width):
    crop = cut_face(np.zeros((height, width, 3), np.uint8), np.array(box), recipe)
    assert (crop.image is None) != (crop.reason is None)
    if crop.image is not None:
        assert crop.image.shape == (recipe.size, recipe.size, 3)
        assert crop.image.dtype == np.uint8


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(near, near), st.floats(8, 900), st.floats(0.5, 2), recipes, st.lists(st.tuples(near, near), min_size=1)
)
def test_points_survive_the_way_there_and_back(corner, side, ratio, recipe, points):
    box = np.array([*corner, corner[0] + side, corner[1] + side * ratio])
    crop = cut_face(np.zeros((400, 500, 3), np.uint8), box, recipe)
    if crop.reason:
        return
    there = crop.to_crop(np.array(points))
    assert np.abs(crop.to_frame(there) - points).max() < 0.5
    middle = crop.to_crop([[(box[0] + box[2]) / 2, (box[1] + box[3]) / 2]])
    # Whole source pixels: half of one for the square's corner, a quarter for half of its side.
    assert np.abs(middle - recipe.size / 2).max() <= 0.75 + 1e-9


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((np.nan, 0, 9, 9), "not finite"),
        ((0, 0, np.inf, 9), "not finite"),
        ((9, 9, 9, 20), "empty"),
        ((20, 0, 9, 9), "empty"),
        ((0, 0, 5, 6), "too small: 6.0 px"),
        ((200, 0, 230, 30), "outside"),
        ((-30, 0, -1, 30), "outside"),
        ((-1e9, -1e9, 1e9, 1e9), "far larger"),
    ],
)
def test_reasons(box, words):
    crop = cut_face(np.zeros((100, 100, 3), np.uint8), np.array(box), CropRecipe(margin=0.1, size=32))
    assert crop.image is None
    assert words in crop.reason


@pytest.mark.parametrize(
    "box", [(30.3, 40.7, 60.2, 77.1), (5, 8, 195.5, 170.4), (-40, 20, 110, 150), (60, 60, 260, 220)]
)
@pytest.mark.parametrize("size", [16, 48, 150])
def test_pixels_lie_where_the_matrix_says(box, size):
    """Each pixel of a smooth picture names its own place; so must those of the crop."""
    y, x = np.mgrid[0:200, 0:200]
    frame = np.stack([x, y, np.full_like(x, 200)], axis=-1).astype(np.uint8)
    crop = cut_face(frame, np.array(box), CropRecipe(margin=0.2, size=size, border=(0, 0, 0)))
    rows, columns = np.nonzero(crop.image[..., 2] > 198)  # away from the border
    assert len(rows) > size
    places = crop.to_frame(np.column_stack([columns, rows]) + 0.5) - 0.5
    step = max(1.0, 1 / crop.matrix[0, 0])
    assert np.abs(crop.image[rows, columns, :2] - places).max() <= 0.75 * step + 1


def test_a_huge_face_does_not_alias():
    """Stripes finer than a pixel of the crop must average out."""
    frame = np.zeros((900, 900, 3), np.uint8)
    frame[:, ::2] = 255
    crop = cut_face(frame, np.array([100, 100, 800, 800]), CropRecipe(margin=0, size=64))
    assert crop.image.std() < 10  # without averaging it is 127


def test_outside_takes_the_border_colour():
    frame = np.full((50, 50, 3), 250, np.uint8)
    crop = cut_face(frame, np.array([-40, 0, 10, 50]), CropRecipe(margin=0, size=50, border=(1, 2, 3)))
    assert (crop.image[:, :39] == (1, 2, 3)).all()
    assert (crop.image[:, 41:] == 250).all()


def test_the_face_fills_what_the_margin_leaves():
    frame = np.zeros((200, 200, 3), np.uint8)
    frame[60:140, 60:140] = 255
    crop = cut_face(frame, np.array([60, 60, 140, 140]), CropRecipe(margin=0.25, size=60))
    assert (crop.image[11:49, 11:49] == 255).all()
    assert (crop.image[:9] == 0).all()
