"""Figures of hand-made predictions: what is lost where, and intervals by picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from facepipe.classifier.data.label_files import read_table_file
from facepipe.classifier.data.table import make_table
from facepipe.classifier.evaluation.predictions import Predictions
from facepipe.pipeline.evaluation.data import Photo, Photos
from facepipe.pipeline.evaluation.metrics import STEPS, Figures, mean_figures, right_rows
from facepipe.pipeline.evaluation.predictions import Alarm, EndToEnd, Read
from facepipe.weights.manifest import BinaryAttribute, NumericAttribute, PointsAttribute

GENDER = BinaryAttribute(name="gender", classes=("female", "male"))


AGE = NumericAttribute(name="age", unit="years", low=0.0, high=100.0, bins=None)


EYES = PointsAttribute(name="eyes", points=("left_eye", "right_eye"), mirror=(("left_eye", "right_eye"),))


HEADER = "file,x1,y1,x2,y2,gender,age,age_lo,age_hi,left_eye_x,left_eye_y,right_eye_x,right_eye_y"


def write(path: Path, lines: Sequence[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def hand_made(tmp_path: Path) -> EndToEnd:
    """Six faces in three pictures, two of them missed, one too small; their gender by hand."""
    names = ["a", "a", "b", "b", "c", "c"]
    lines = [f"{name}.png,0,0,10,10,male,,,,,,," for name in names]
    table = make_table(read_table_file(write(tmp_path / "by-hand.csv", lines)), (GENDER,), must_exist=False)
    places = {name: np.flatnonzero(np.array(names) == name) for name in "abc"}
    photos = tuple(Photo(Path(f"{n}.png"), f"{n}.png", rows, np.zeros((0, 4))) for n, rows in places.items())

    def read(said: Sequence[str]) -> Read:
        outputs = np.array([{"m": (0, 1), "f": (1, 0), "-": (np.nan, np.nan)}[each] for each in said], np.float32)
        known = np.array([each != "-" for each in said])
        seen = Predictions((GENDER,), table, {"gender": outputs}, table.targets, 0.0)
        return Read(seen, {"gender": known}, {"gender": np.full(len(said), 50.0)})

    overlap = np.array([1, 0.8, np.nan, 0.6, np.nan, 0.8])
    return EndToEnd(
        detector="1", classifiers={"face": "1"}, sha256={}, attributes=(GENDER,),
        photos=Photos(table, photos, "val", ("by-hand.csv",)), picture=np.array([0, 0, 1, 1, 2, 2]), least=0.5,
        confidence=0.25, boxes=np.where(np.isnan(overlap)[:, None], np.nan, table.boxes), overlap=overlap,
        sides=np.array([4.0, 12, 20, 40, 40, 200]), alarms=(Alarm(1, np.array([0, 0, 5, 5.0]), 0.5),),
        # right and right; wrong and right; right and missed; right and wrong; wrong and missed; too small on both
        on_true=read("mfmmf-"), on_found=read("mm-f--"), failed=(),
    )  # fmt: skip


def test_the_arithmetic(tmp_path: Path) -> None:
    figures = Figures(hand_made(tmp_path))
    (gender,) = figures.losses
    assert gender.on_true.value == pytest.approx(3 / 6)
    assert {step: gender.steps[step].value * 6 for step in STEPS} == pytest.approx(
        {"unread": 1, "classifier": 2, "missed": 1, "shifted": 0}  # one lost, one won
    )
    assert gender.end.value == pytest.approx(2 / 6)
    assert (gender.on_true_found.value, gender.on_true_found.count) == (pytest.approx(2 / 4), 4)
    assert gender.on_found.value == pytest.approx(2 / 4)
    assert (figures.found.value, figures.found.count) == (pytest.approx(4 / 6), 6)
    assert figures.overlap.value == pytest.approx(0.8)
    assert (figures.alarms.value, figures.alarms.count) == (pytest.approx(1 / 3), 3)
    assert [(part.name, part.found.count) for part in figures.parts] == [
        ("0-8 px", 1), ("8-16 px", 1), ("16-32 px", 1), ("32-96 px", 2), (">= 96 px", 1)
    ]  # fmt: skip
    assert figures.convention == pytest.approx({"width": 1, "height": 1, "right": 0, "down": 0})
    metrics = {metric.name: metric for metric in figures.scores()["true boxes"]}
    assert (metrics["gender.accuracy"].value, metrics["gender.accuracy"].count) == (pytest.approx(3 / 5), 5)


def test_intervals_are_of_pictures() -> None:
    random = np.random.default_rng(3)
    values = random.integers(0, 2, (300, 1)).astype(float)
    (single,) = mean_figures(values, np.arange(300))
    assert single.value == values.mean()
    assert single.high - single.low == pytest.approx(2 * 1.96 * 0.5 / np.sqrt(300), rel=0.15)
    # Four rows of one picture that say the same tell no more than one.
    (four,) = mean_figures(np.repeat(values, 4, axis=0), np.repeat(np.arange(300), 4))
    assert (four.value, four.low, four.high, four.count) == (single.value, single.low, single.high, 1200)
    # A paired difference that is always the same has no width, however scattered its parts are.
    scattered = random.normal(0, 10, 300)
    (pair,) = mean_figures(((scattered + 1) - scattered)[:, None], np.arange(300))
    assert pair.high - pair.low == pytest.approx(0, abs=1e-9)
    (nothing,) = mean_figures(np.full((3, 1), np.nan), np.arange(3))
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    assert nothing.count == 0


def test_what_is_right() -> None:
    target = np.array([[30, np.nan, np.nan], [30, np.nan, np.nan], [np.nan, 20, 29], [np.nan, 20, 29], [np.nan] * 3])
    output = np.array([[0.35], [0.36], [0.297], [0.301], [0.5]])
    right = right_rows(AGE, output, target, np.array([20.0, 30.0]))
    assert np.array_equal(right, [1, 0, 1, 0, np.nan], equal_nan=True)
    points = np.array([[[0.3, 0.5], [0.7, 0.5]], [[0.3, 0.5], [0.7, 0.5]], [[np.nan, np.nan], [0.7, 0.5]]])
    said = points.copy()
    said[0, :, 0] += 0.03
    said[1, :, 0] += 0.05
    right = right_rows(EYES, np.nan_to_num(said).reshape(3, 4), points, np.zeros(0))
    assert np.array_equal(right, [1, 0, np.nan], equal_nan=True)
