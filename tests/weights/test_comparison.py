"""Figures of two models side by side: the difference, its interval, and whether it matters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.weights.comparison import Baseline, Figure, drawn_in_pairs, headline
from facepipe.weights.manifest import Metric
from facepipe.weights.release import Release


def figure(
    name: str,
    first: float | None,
    second: float | None,
    count: int = 1000,
    intervals: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Figure:
    a, b = intervals or (None, None)
    return Figure(
        name,
        Metric(name=name, value=first, count=count, interval=a),
        Metric(name=name, value=second, count=count, interval=b),
    )


def test_the_interval_of_two_shares_is_newcombe_s() -> None:
    """9 of 10 less 3 of 10 (Newcombe 1998, table II (b), method 10): 0.1705 to 0.8090."""
    found = figure("gender.accuracy", 0.3, 0.9, count=10)
    assert found.interval == pytest.approx((0.1705, 0.8090), abs=5e-5)
    assert found.significant is True
    other_rows = Metric(name="gender.accuracy", value=0.9, count=11)
    assert Figure("gender.accuracy", found.first, other_rows).interval is None


def test_given_intervals_are_used() -> None:
    found = figure("age.mae", 5.0, 4.0, intervals=((4.9, 5.1), (3.8, 4.2)))
    assert found.interval == pytest.approx((-1 - 0.05**0.5, -1 + 0.05**0.5))
    assert found.significant is True
    assert found.better is True
    assert figure("age.mae", 5.0, 4.9, intervals=((4.9, 5.1), (4.8, 5.0))).significant is False


def test_of_the_same_rows_the_differences_of_the_draws_tell() -> None:
    """Two models whose errors go up and down with the rows; the second is always half a year worse, then sometimes."""
    first: list[float | None] = [4.0, 4.5, 5.0, 5.5, 6.0, None]
    worse: list[float | None] = [4.5, 5.0, 5.5, 6.0, 6.5, None]
    mixed: list[float | None] = [4.5, 4.3, 5.5, 5.3, 6.5, 7.0]
    alone = figure("age.mae", 5.0, 5.5, intervals=((4.0, 6.0), (4.5, 6.5)))
    assert alone.significant is False
    (paired,) = drawn_in_pairs((alone,), {"age.mae": first}, {"age.mae": worse})
    assert paired.interval == pytest.approx((0.5, 0.5))
    assert (paired.significant, paired.better) == (True, False)
    (unsure,) = drawn_in_pairs((alone,), {"age.mae": first}, {"age.mae": mixed})
    assert unsure.interval == pytest.approx((-0.2, 0.5))
    assert unsure.significant is False
    for other in ({}, {"age.mae": worse[:3]}, {"age.cs5": worse}):
        assert drawn_in_pairs((alone,), {"age.mae": first}, other) == (alone,)
    of_other_rows = Figure("age.mae", alone.first, Metric(name="age.mae", value=5.5, count=7))
    assert drawn_in_pairs((of_other_rows,), {"age.mae": first}, {"age.mae": worse}) == (of_other_rows,)


def test_without_intervals() -> None:
    assert figure("AP50, face boxes >= 16 px at 640", 0.9, 0.8).interval is None
    assert figure("AP50, face boxes >= 16 px at 640", 0.9, 0.8).significant is None
    assert figure("gender.accuracy", None, 0.8).interval is None
    assert figure("gender.accuracy", 1.0, 1.0, count=50).interval is not None


@pytest.mark.parametrize(
    ("compared", "worse"),
    [
        (figure("gender.accuracy", 0.95, 0.90, count=2000), True),
        (figure("gender.accuracy", 0.95, 0.94, count=200), False),  # within the interval
        (figure("gender.accuracy", 0.90, 0.95, count=2000), False),
        (figure("age.mae", 5.0, 5.05), False),  # 0.05 years of 100: below the limit
        (figure("age.mae", 5.0, 5.2), True),
        (figure("age.mae", 5.2, 5.0), False),
        (figure("eyes.eye_error", 0.06, 0.062), False),  # 0.2 % of the eyes' distance: below the limit
        (figure("eyes.eye_error", 0.06, 0.064), True),
    ],
)
def test_what_counts_as_worse(
    compared: Figure, worse: bool, tmp_path: Path, publish_classifier: Callable[..., Release]
) -> None:
    manifest = publish_classifier(tmp_path).manifest
    assert headline((compared, figure("gender.accuracy/race=x", 0.9, 0.1)), "classifier") == (compared,)
    assert bool(Baseline("in use", "1.0.0", (compared,)).worse(manifest)) is worse
