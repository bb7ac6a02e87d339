"""Parting the pictures of a data set: near-duplicates on one side, every class in its share, the same by each seed."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePath

import numpy as np

from ..weights.errors import DataError
from .description import SPLITS

DEFAULT_SHARES = {"train": 0.85, "val": 0.15}
ROBOFLOW_COPY = re.compile(r"\.rf\.[0-9A-Za-z]+$")
"""Roboflow's exports end a name so; augmented copies of one picture share what stands before."""


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


def copied_from(path: PurePath) -> str | None:
    """The name of the picture that Roboflow made a picture from, None for pictures that are not Roboflow's."""
    return ROBOFLOW_COPY.sub("", path.stem) if ROBOFLOW_COPY.search(path.stem) else None


def join_groups(*keys: Sequence[Hashable]) -> list[int]:
    """Group items that share any of their keys, directly or through others.

    Args:
        keys: for each kind of key, the key of each item; None is no key.

    Returns:
        The number of each item's group, from 0.
    """
    parent = list(range(len(keys[0])))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for each in keys:
        first: dict[Hashable, int] = {}
        for item, key in enumerate(each):
            if key is not None:
                parent[root(item)] = root(first.setdefault(key, item))
    names: dict[int, int] = {}
    return [names.setdefault(root(item), len(names)) for item in range(len(parent))]


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
