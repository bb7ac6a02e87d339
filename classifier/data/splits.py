"""Splits: which rows are for training, validation and tests where the data do not say it."""

from __future__ import annotations

import numpy as np

from ..config.recipe import Split

SPLITS = ("train", "val", "test")


def assign_splits(groups: np.ndarray, splits: np.ndarray, shares: Split, seed: int) -> np.ndarray:
    """Assign a split to the rows without one, whole groups at random; a row with a blank group is a group of its own.

    Args:
        groups: (n,) names.
        splits: (n,) the split of each row, blank where it has none yet. A group of which some rows have a split gets
            the split of the first.
        shares: of the groups that become val and test rows.
        seed: of the order.

    Returns:
        (n,) split of each row.
    """
    keys = np.array([group or f"\0{index}" for index, group in enumerate(groups.tolist())])
    free = splits == ""
    given: dict[str, str] = {}
    for key, split in zip(keys[~free].tolist(), splits[~free].tolist(), strict=True):
        given.setdefault(key, split)
    names = np.array([name for name in np.unique(keys[free]) if name not in given], dtype=keys.dtype)
    order = np.random.default_rng(seed).permutation(names)
    val = max(1, round(shares.val * len(names)))
    test = max(1, round(shares.test * len(names))) if shares.test else 0
    assigned = given | {
        str(name): "val" if place < val else "test" if place < val + test else "train"
        for place, name in enumerate(order)
    }
    return np.array([split or assigned[key] for key, split in zip(keys.tolist(), splits.tolist(), strict=True)])
