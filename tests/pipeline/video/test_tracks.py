from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from facepipe.classifier.inference.attributes import ClassValue, NumericValue, PointsValue
from facepipe.pipeline.results import Box
from facepipe.pipeline.video.tracks import LARGE, TrackAttributes, quality, weighted_median

HERE, THERE = Box(x1=10, y1=10, x2=30, y2=50), Box(x1=110, y1=20, x2=150, y2=100)


def gender(female: float) -> ClassValue:
    return ClassValue(
        value="female" if female > 0.5 else "male",
        probability=max(female, 1 - female),
        probabilities={"female": female, "male": 1 - female},
    )


def age(value: float, low: float, high: float) -> NumericValue:
    return NumericValue(value=value, unit="years", interval=(low, high))


def test_probabilities_are_averaged_by_weight() -> None:
    track = TrackAttributes({"gender": 0.6})
    assert track.values(HERE) == {}
    track.add({"gender": gender(0.9)}, HERE, 3.0)
    track.add({"gender": gender(0.1)}, HERE, 1.0)
    value = track.values(HERE)["gender"]
    assert isinstance(value, ClassValue)
    assert value.probabilities == pytest.approx({"female": 0.7, "male": 0.3})
    assert (value.value, value.probability) == ("female", pytest.approx(0.7))
    track.add({"gender": gender(0.1)}, HERE, 1.0)  # 2.9 / 5 = 0.58
    value = track.values(HERE)["gender"]
    assert isinstance(value, ClassValue)
    assert (value.value, value.likeliest) == (None, "female")
    assert value.probability == pytest.approx(0.58)
    assert track.looks == 3


def test_numbers_are_medians_and_lie_in_their_interval() -> None:
    track = TrackAttributes({})
    for years in (age(30, 20, 40), age(34, 25, 60), age(80, 70, 90)):
        track.add({"age": years}, HERE, 1.0)
    assert track.values(HERE)["age"] == age(34, 25, 60)
    track.add({"age": age(80, 70, 90)}, HERE, 5.0)
    assert track.values(HERE)["age"] == age(80, 70, 90)


def test_the_interval_always_holds_the_value() -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        track = TrackAttributes({})
        for _ in range(random.integers(1, 6)):
            low, value, high = np.sort(random.uniform(0, 100, 3)).tolist()
            track.add({"age": age(value, low, high)}, HERE, float(random.uniform(0.01, 2)))
        found = track.values(HERE)["age"]
        assert isinstance(found, NumericValue)
        assert found.interval[0] <= found.value <= found.interval[1]


def test_points_are_the_newest_and_go_along_with_the_box() -> None:
    track = TrackAttributes({})
    track.add({"eyes": PointsValue(points={"nose": (0.0, 0.0)})}, HERE, 9.0)
    track.add({"eyes": PointsValue(points={"nose": (20.0, 30.0)})}, HERE, 1.0)
    assert track.values(HERE)["eyes"] == PointsValue(points={"nose": (20.0, 30.0)})
    assert track.values(THERE)["eyes"] == PointsValue(points={"nose": (130.0, 60.0)})


def test_an_attribute_that_is_missing_in_one_look_stays_known() -> None:
    track = TrackAttributes({})
    track.add({"gender": gender(0.9), "age": age(30, 20, 40)}, HERE, 1.0)
    track.add({"age": age(30, 20, 40)}, HERE, 1.0)
    assert list(track.values(HERE)) == ["gender", "age"]


@pytest.mark.parametrize(
    ("values", "weights", "median"),
    [([5], [2], 5), ([1, 2, 3], [1, 1, 1], 2), ([4, 1], [1, 1], 2.5), ([1, 2, 9], [1, 1, 5], 9)],
)
def test_weighted_median(values: list[float], weights: list[float], median: float) -> None:
    assert weighted_median(values, weights) == median


def test_quality_grows_with_size_and_sharpness(photo: Callable[..., np.ndarray]) -> None:
    random = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    sharp = cv2.resize(random[:60, :60], (400, 400), interpolation=cv2.INTER_CUBIC)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 6)
    box = Box(x1=100, y1=100, x2=300, y2=300)
    assert quality(sharp, box) > 2 * quality(blurred, box) > 0
    small = cv2.resize(sharp, (100, 100), interpolation=cv2.INTER_AREA)
    assert quality(sharp, box) > quality(small, Box(x1=25, y1=25, x2=75, y2=75))
    assert quality(sharp, Box(x1=399.5, y1=0, x2=400, y2=400)) == pytest.approx(1e-6)
    assert LARGE == 224
