"""Figures by group: intervals, the largest gap, what is left out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.evaluation.subgroups import (
    GroupFigure,
    band_names,
    bands,
    crosses,
    features,
    group_figures,
    largest_gaps,
    wilson,
)
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute

GENDER = BinaryAttribute(name="gender", classes=("female", "male"))
AGE = NumericAttribute(name="age", unit="years", low=0, high=100, bins=101)


def test_wilson_against_published_values() -> None:
    # Newcombe, Statistics in Medicine 1998, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert wilson(20, 20)[1] == 1.0


def test_groups_have_their_own_accuracy_and_small_ones_are_left_out() -> None:
    races = np.array(["white"] * 100 + ["black"] * 100 + ["asian"] * 10 + [""] * 50)
    errors = np.zeros(260)
    errors[:5], errors[100:120], errors[200:] = 1, 1, 1
    errors[99] = np.nan
    found = {figure.group["race"]: figure for figure in group_figures(GENDER, "accuracy", errors, {"race": races})}
    assert set(found) == {"white", "black"}
    assert found["white"].value == pytest.approx(94 / 99)
    assert (found["black"].value, found["black"].count) == (pytest.approx(0.8), 100)
    assert (found["black"].low, found["black"].high) == pytest.approx(wilson(80, 100))
    (gap,) = largest_gaps(list(found.values()))
    metric = gap.metric()
    assert metric.name == "gender.accuracy_gap/by race: black - white"
    assert metric.value == pytest.approx(94 / 99 - 0.8)
    assert metric.count == 99
    # Newcombe 1998, method 10, of 94/99 - 80/100.
    assert metric.interval == pytest.approx((0.0592, 0.2434), abs=2e-3)


def test_means_have_a_bootstrap_interval() -> None:
    random = np.random.default_rng(1)
    genders = np.array(["female", "male"] * 200)
    errors = np.abs(random.normal(0, np.where(genders == "female", 4.0, 8.0)))
    found = {
        figure.group["gender"]: figure for figure in group_figures(AGE, "mae", errors, {"gender": genders}, 30, 400)
    }
    for name, figure in found.items():
        own = errors[genders == name]
        assert figure.value == pytest.approx(own.mean())
        assert figure.low < figure.value < figure.high
        assert figure.high - figure.low == pytest.approx(2 * 1.96 * own.std() / np.sqrt(200), rel=0.35)
    (gap,) = largest_gaps(list(found.values()))
    assert (gap.worst.group, gap.metric().interval) == ({"gender": "male"}, None)


def test_crossed_groups_are_compared_within_a_source() -> None:
    assert list(crosses(["gender", "age", "race", "source"])) == [
        ("gender",),
        ("age",),
        ("race",),
        ("source",),
        ("gender", "race"),
        ("source", "gender", "race"),
        ("gender", "age", "race"),
    ]
    assert list(crosses(["source"])) == [("source",)]
    figures = [
        GroupFigure("gender", "accuracy", {"source": source, "gender": gender, "race": "x"}, value, 0, 1, 50)
        for source, gender, value in (("a", "f", 0.9), ("a", "m", 0.95), ("b", "f", 0.5), ("b", "m", 0.7))
    ]
    assert [gap.value for gap in largest_gaps(figures)] == pytest.approx([0.05, 0.2])
    assert largest_gaps(figures[:1]) == []


def test_bands_of_numbers() -> None:
    nan = np.nan
    target = np.array(
        [[9.4, nan, nan], [10, nan, nan], [116, nan, nan], [nan, 30, 39], [nan, nan, nan], [-3, nan, nan]]
    )
    assert bands(AGE, target).tolist() == ["0-9", "10-19", "90+", "30-39", "", "0-9"]
    share = NumericAttribute(name="blur", unit="", low=0, high=1)
    assert band_names(share)[:2] == ["0-0.1", "0.1-0.2"]
    assert bands(share, target[:1] / 100).tolist() == ["0-0.1"]


def test_features_even_out_how_sources_write(faces: Path) -> None:
    table = read_faces(faces, read_schema())
    table.columns["race"] = np.array(["White", "white", "East_Asian", ""] * 12)
    found = features(table)
    assert next(iter(found)) == "gender"
    assert set(found["race"]) == {"white", "east asian", ""}
    assert set(found["gender"]) == {"female", "male", ""}
    assert set(found["source"]) == {"ages", "ranges", "points"}
    assert "50-59" in found["age"]
    alone = features(table.rows(table.columns["source"] == "ranges"))
    assert "source" not in alone
    assert "gender" not in alone, "nobody's is known there"
