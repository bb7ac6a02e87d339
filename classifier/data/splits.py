"""Assignment of rows to training, validation and test splits if the data have none."""

from __future__ import annotations

import numpy as np

from ..config.recipe import Split

SPLITS = ("train", "val", "test")


def assign_splits(groups: np.ndarray, splits: np.ndarray, shares: Split, seed: int) -> np.ndarray:
    """Assign splits to the rows without one, whole groups at random; a row with a blank group is its own group.

    Args:
        groups: (n,) names.
        splits: (n,) the split of each row, blank if it has none yet. If some rows of a group have a split, the others
            get the first of those.
        shares: of the groups that become val and test rows.
        seed: of the random order.

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
