"""Means over labelled faces, with intervals of a bootstrap by picture.

Faces of one picture share its light and its blur, so whole pictures are drawn (the cluster bootstrap: Davison and
Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8); drawing single faces would make the intervals
too narrow. The ends are 95 % percentiles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BOOTS, BLOCK = 1000, 100
"""Resamplings, and how many are drawn at a time."""


@dataclass(frozen=True)
class Figure:
    """One mean over rows and its 95 % interval.

    Attributes:
        value: NaN without rows.
        count: rows behind it.
    """

    value: float
    low: float
    high: float
    count: int


def mean_figures(values: np.ndarray, pictures: np.ndarray, boots: int = BOOTS, seed: int = 0) -> list[Figure]:
    """The mean of each column, with the interval of a bootstrap by picture.

    Args:
        values: (n, k); NaN does not count.
        pictures: int (n,), the picture of each row; whole pictures are drawn.
    """
    known = np.isfinite(values)
    _, own = np.unique(pictures, return_inverse=True)
    total = own.max() + 1 if len(own) else 0
    sums, counts = np.zeros((total, values.shape[1])), np.zeros((total, values.shape[1]))
    np.add.at(sums, own, np.where(known, values, 0.0))
    np.add.at(counts, own, known)
    random, drawn = np.random.default_rng(seed), []
    with np.errstate(invalid="ignore", divide="ignore"):
        for start in range(0, boots if total else 0, BLOCK):
            times = random.multinomial(total, np.full(total, 1 / total), min(BLOCK, boots - start))
            drawn.append((times @ sums) / (times @ counts))
        means = sums.sum(axis=0) / counts.sum(axis=0)
    found = []
    for column, mean in enumerate(means):
        own_means = np.concatenate([each[:, column] for each in drawn])
        own_means = own_means[np.isfinite(own_means)]
        low, high = np.percentile(own_means, (2.5, 97.5)) if len(own_means) else (np.nan, np.nan)
        found.append(Figure(float(mean), float(low), float(high), int(counts[:, column].sum())))
    return found
