"""Both models on labelled photos: against their own word, and against boxes that were moved."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from facepipe import AttributeClassifier, FaceDetector
from facepipe.pipeline.evaluation.data import read_photos
from facepipe.pipeline.evaluation.metrics import Figures
from facepipe.pipeline.evaluation.predictions import EndToEnd, predict_end_to_end


def observed(path: Path, least: float = 0.5) -> EndToEnd:
    classifier = AttributeClassifier()
    photos = read_photos([str(path)], classifier.attributes)
    return predict_end_to_end(FaceDetector(), [classifier], photos, least)


def test_nothing_is_lost_against_its_own_word(told_itself: Path) -> None:
    seen = observed(told_itself)
    figures = Figures(seen)
    assert seen.found.all()
    assert not seen.alarms
    assert np.allclose(seen.overlap, 1, atol=1e-4)
    assert {each.attribute for each in figures.losses} == {"gender", "age", "eyes"}
    for each in figures.losses:
        assert (each.on_true.value, each.end.value, each.on_found.value) == (1, 1, 1), each
        assert all(step.value == 0 for step in each.steps.values())
    (mae,) = [each for each in figures.errors if each.measure == "mae"]
    assert mae.on_found.value < 0.01
    assert mae.shift.value == pytest.approx(0, abs=1e-6)
    assert [part.found.value for part in figures.parts] == [1] * len(figures.parts)


def test_missed_shifted_and_ignored(told_itself: Path) -> None:
    with told_itself.open(newline="") as file:
        rows = list(csv.DictReader(file))
    first, second, third, *rest = rows
    first |= {"x1": "1", "y1": "1", "x2": "7", "y2": "7"}  # nobody is found there
    second["x2"] = str(float(second["x2"]) + 0.3 * (float(second["x2"]) - float(second["x1"])))
    ignored = dict.fromkeys(third, "") | {name: third[name] for name in ("file", "x1", "y1", "x2", "y2")}
    with told_itself.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*first, "ignore"])
        writer.writeheader()
        writer.writerows([first, second, ignored | {"ignore": "yes"}, *rest])
    seen = observed(told_itself)
    assert seen.found.tolist() == [False, True] + [True] * len(rest)
    assert seen.overlap[1] == pytest.approx(1 / 1.3, abs=0.02)
    assert len(seen.alarms) == 1  # the face whose label went elsewhere; the ignored one is none
    assert len(seen.picture) == len(rows) - 1
    figures = Figures(seen)
    for each in figures.losses:
        assert 1 - sum(step.value for step in each.steps.values()) == pytest.approx(each.end.value)
        assert each.end.count == len(rows) - 1
    # At a higher overlap the widened box is not the face's any more.
    assert observed(told_itself, 0.9).found.tolist() == [False, False] + [True] * len(rest)
