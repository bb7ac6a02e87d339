"""Figures by the size of the face: what is seen at each size, which rows, which figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.table import FaceTable, read_faces
from facepipe.classifier.evaluation.predictions import (
    Predictions,
    predict,
    predict_sizes,
    seen_small,
    sides_of,
    size_name,
    whole_side,
)
from facepipe.classifier.evaluation.sizes import size_metrics, size_sample
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.classifier.inference.crop import cut_face
from facepipe.weights.manifest import BinaryAttribute, CropRecipe, SizeBand
from facepipe.weights.release import Release

RECIPE = CropRecipe(margin=0.25, size=128)


def test_a_crop_seen_small_is_what_serving_cuts_of_a_small_face() -> None:
    """A photo, and the same photo shrunk until its face has 20 px."""
    random = np.random.default_rng(0)
    photo = cv2.GaussianBlur(random.integers(0, 256, (480, 480, 3), dtype=np.uint8), (0, 0), 4)
    photo = cv2.normalize(photo, None, 0, 255, cv2.NORM_MINMAX)
    face = np.array([160.0, 160, 320, 320])
    shrunk = cv2.resize(photo, (60, 60), interpolation=cv2.INTER_AREA)
    served = cut_face(shrunk, face / 8, RECIPE)
    whole = cut_face(photo, face, RECIPE)
    assert served.side == 20
    assert served.image is not None
    assert whole.image is not None
    small = seen_small(whole.image[None], 20, RECIPE)[0]
    inner = np.s_[4:-4, 4:-4]
    difference = np.abs(small[inner].astype(int) - served.image[inner])
    assert difference.mean() < 3
    assert np.abs(whole.image[inner].astype(int) - served.image[inner]).mean() > 3 * difference.mean()


def test_sizes_whose_crop_is_not_enlarged_are_left_out() -> None:
    assert sides_of(RECIPE) == (12, 16, 24, 32, 48, 64)
    assert whole_side(RECIPE) == pytest.approx(128 / 1.5)
    assert sides_of(CropRecipe(margin=0.05, size=128)) == (12, 16, 24, 32, 48, 64, 96)
    assert [size_name(side, RECIPE) for side in (12, 64, whole_side(RECIPE))] == ["12 px", "64 px", "whole"]


@pytest.fixture(scope="module")
def table(faces: Path) -> FaceTable:
    return read_faces(faces, read_schema())


def test_whole_crops_are_read_as_ever_and_small_ones_otherwise(table: FaceTable, classifier_release: Release) -> None:
    classifier = AttributeClassifier(release=classifier_release)
    sized = predict_sizes(classifier, table)
    assert list(sized) == [12, 16, whole_side(classifier.crop)]
    plain = predict(classifier, table)
    *small, whole = sized.values()
    for name, values in plain.outputs.items():
        np.testing.assert_array_equal(whole.outputs[name], values)
        assert np.abs(small[0].outputs[name] - values).max() > 1e-3
        np.testing.assert_array_equal(small[0].targets[name], plain.targets[name])
    assert (small[1].sides == 16).all()


def test_a_crop_of_a_face_that_was_smaller_does_not_count_as_large(
    table: FaceTable, classifier_release: Release
) -> None:
    native = np.array(["14.0"] + ["200"] * (len(table) - 2) + [""])
    known = replace(table, columns=table.columns | {"face_side": native})
    at_12, at_16, whole = predict_sizes(AttributeClassifier(release=classifier_release), known).values()
    labelled = ~np.isnan(table.targets["gender"])
    assert labelled[0]
    assert (~np.isnan(at_12.targets["gender"]) == labelled).all()
    for seen in (at_16, whole):
        assert np.isnan(seen.targets["gender"][0])
        assert (~np.isnan(seen.targets["gender"][1:]) == labelled[1:]).all()


def test_the_figures_use_the_calibration_of_their_size() -> None:
    bands = (SizeBand(side=12, temperature=8.0), SizeBand(side=64, temperature=1.0))
    gender = BinaryAttribute(name="gender", classes=("female", "male"), bands=bands)
    random = np.random.default_rng(1)
    truth = random.integers(0, 2, 4000).astype(np.float32)
    sized = {}
    for side, noise in ((12.0, 8.0), (64.0, 1.0)):  # log odds of a normal score with this variance
        score = np.where(truth == 1, 1, -1) + random.normal(0, np.sqrt(noise), 4000)
        outputs = np.stack([-score, score], axis=1).astype(np.float32)
        seen = Predictions((gender,), None, {"gender": outputs}, {"gender": truth}, 0.0, np.full(4000, side))
        sized[side] = seen
    found = {metric.name: metric.value for metric in size_metrics(sized, RECIPE)}
    assert found["gender.accuracy/12 px"] < 0.7 < 0.8 < found["gender.accuracy/64 px"]
    assert found["gender.ece/12 px"] < 0.03
    assert found["gender.ece/64 px"] < 0.03
    plain = {side: seen.read_as((gender.model_copy(update={"bands": ()}),)) for side, seen in sized.items()}
    worse = {metric.name: metric.value for metric in size_metrics(plain, RECIPE)}
    assert worse["gender.ece/12 px"] > 0.15
    assert worse["gender.ece/64 px"] == found["gender.ece/64 px"]


def test_a_sample_has_rows_of_every_attribute(table: FaceTable) -> None:
    counts = {name: (~np.isnan(values.reshape(len(table), -1)).all(axis=1)) for name, values in table.targets.items()}
    rows = size_sample(table, 12)
    assert len(rows) == len(set(rows.tolist())) == 12
    assert (np.diff(rows) > 0).all()
    for name in ("age", "gender", "glasses", "eyes"):
        assert counts[name][rows].sum() >= 2
    assert size_sample(table, 1000).tolist() == list(range(len(table)))
    assert (size_sample(table, 12) == rows).all()
