"""Parting the pictures of a data set: near-duplicates on one side, every class in its share, the same by each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...core.errors import DataError
from .dataset import SPLITS

DEFAULT_SHARES = {"train": 0.85, "val": 0.15}


def read_shares(text: str) -> dict[str, float]:
    """``0.85,0.15`` or ``0.7,0.15,0.15``: shares of train, val and test.

    Raises:
        DataError: not two or three positive numbers whose sum is 1.
    """
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) not in (2, 3) or not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise DataError(f"--split takes the shares of train, val and perhaps test, such as 0.7,0.15,0.15, got {text!r}")
    return dict(zip(SPLITS, shares, strict=False))


def part(
    groups: Sequence[int],
    counts: np.ndarray,
    shares: Mapping[str, float],
    seed: int = 0,
    fixed: Mapping[int, str] | None = None,
) -> list[str]:
    """Give each picture a split.

    Whole groups are dealt out one after the other, the large ones first, each to the split that lacks most of what the
    group has: pictures, pictures without an object, boxes of each class. (A greedy form of the stratification of
    Sechidis et al., "On the Stratification of Multi-Label Data", ECML 2011, with counts in place of labels.)

    Args:
        groups: number of each picture's group.
        counts: float, shape (pictures, kinds): how much of each kind a picture has.
        shares: of each split, above 0, with the sum 1.
        seed: of the order in which groups of like size are dealt out.
        fixed: groups whose split is given; they do not count towards the shares.

    Raises:
        DataError: fewer groups than splits.
    """
    number, index = np.unique(np.asarray(groups, np.int64), return_inverse=True)
    fixed = fixed or {}
    names = list(shares)
    share = np.array([shares[name] for name in names])
    totals = np.zeros((len(number), counts.shape[1]))
    free = np.array([int(each) not in fixed for each in number], bool)
    np.add.at(totals, index, counts)
    whole = totals[free].sum(axis=0)
    weights = totals / np.where(whole > 0, whole, 1)  # each kind counts alike
    if free.any() and not fixed and free.sum() < len(names):
        raise DataError(
            f"{len(groups)} pictures make {free.sum()} groups of near-duplicates: too few for {', '.join(names)}"
        )
    order = np.random.default_rng(seed).permutation(np.flatnonzero(free))
    size = np.floor(np.log2(np.maximum(weights[order].sum(axis=1), 1e-12)))
    order = order[np.argsort(-size, kind="stable")]
    chosen = np.zeros(len(number), np.int64)
    have, dealt = np.zeros((len(names), counts.shape[1])), np.zeros(counts.shape[1])
    for group in order:
        dealt += weights[group]
        chosen[group] = np.argmin((have - share[:, None] * dealt) @ weights[group])
        have[chosen[group]] += weights[group]
    if not fixed:
        _fill_empty(chosen, order[::-1], len(names))
    return [fixed.get(int(number[at])) or names[chosen[at]] for at in index]


def _fill_empty(chosen: np.ndarray, order: np.ndarray, splits: int) -> None:
    """Give a split that got nothing the smallest group of the one that got most, in place."""
    for split in range(splits):
        counts = np.bincount(chosen[order], minlength=splits)
        if len(order) and counts[split] == 0:
            chosen[next(group for group in order if chosen[group] == counts.argmax())] = split
