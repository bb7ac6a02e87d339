"""The bootstrap: what a figure could have been, had other rows or pictures of the same kind been measured.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13. The draws depend on nothing but how
many there are to draw from, so that the figures of two models on the same rows are drawn in pairs: the differences of
their draws have the interval of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BOOTS = 1000
"""Resamplings."""


def draws(count: int, boots: int = BOOTS) -> Iterator[np.ndarray]:
    """How often each of ``count`` rows is drawn in each of ``boots`` resamplings: int, shape (count,)."""
    random = np.random.default_rng(0)
    for _ in range(boots):
        yield np.bincount(random.integers(0, count, count), minlength=count)


def resampled_means(values: np.ndarray, boots: int = BOOTS) -> np.ndarray:
    """The mean of each resampling, shape (boots,).

    Args:
        values: finite, shape (n,), at least one.
        boots: resamplings.
    """
    return np.array([times @ values for times in draws(len(values), boots)]) / len(values)


def listed(resampled: np.ndarray) -> list[float | None]:
    """Resampled figures, shape (boots,), ready for JSON; None where one has no value."""
    return [round(float(value), 6) if np.isfinite(value) else None for value in resampled]


def central(resampled: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of resampled figures, shape (boots,), NaN where one has no value; None where none has."""
    known = resampled[np.isfinite(resampled)]
    if not len(known):
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
