"""The bootstrap: how much a figure would vary over other rows or pictures of the same kind.

Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 6 and 13. The draws depend only on the number
of items. The figures of two models on the same rows are therefore paired: the differences between their draws give the
interval of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BOOTS = 1000
"""Number of resamplings."""


def draws(count: int, boots: int = BOOTS) -> Iterator[np.ndarray]:
    """Yield, for each of ``boots`` resamplings, how often each of ``count`` rows is drawn: int, shape (count,)."""
    random = np.random.default_rng(0)
    for _ in range(boots):
        yield np.bincount(random.integers(0, count, count), minlength=count)


def resampled_means(values: np.ndarray, boots: int = BOOTS) -> np.ndarray:
    """The mean of each resampling, shape (boots,).

    Args:
        values: finite, shape (n,), at least one.
        boots: number of resamplings.
    """
    return np.array([times @ values for times in draws(len(values), boots)]) / len(values)


def listed(resampled: np.ndarray) -> list[float | None]:
    """Resampled figures, shape (boots,), as a list for JSON; None for values that are not finite."""
    return [round(float(value), 6) if np.isfinite(value) else None for value in resampled]


def central(resampled: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of the finite values of resampled figures, shape (boots,); None if there are none."""
    known = resampled[np.isfinite(resampled)]
    if not len(known):
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
