"""Resampled figures and their intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from facepipe.core.bootstrap import central, draws, listed, resampled_means


def test_each_draw_is_of_as_many_rows_and_the_same_each_time() -> None:
    drawn = list(draws(5, 40))
    assert {int(times.sum()) for times in drawn} == {5}
    assert all((one == other).all() for one, other in zip(drawn, draws(5, 40), strict=True))
    assert len({tuple(times) for times in drawn}) > 20


def test_the_interval_of_a_mean_is_scipy_s() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.array([0.0, 1, 1, 2, 3, 5, 8, 13, 21, 34])
    found = stats.bootstrap(
        (values,), np.mean, n_resamples=500, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert central(resampled_means(values, 500)) == pytest.approx((found.low, found.high))


def test_figures_without_a_value_do_not_count() -> None:
    assert central(np.array([np.nan, 1.0, np.nan, 3.0])) == pytest.approx((1.05, 2.95))
    assert central(np.array([np.nan])) is None
    assert central(np.zeros(0)) is None
    assert json.loads(json.dumps(listed(np.array([np.nan, 0.12345678])))) == [None, 0.123457]
