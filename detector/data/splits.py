"""Assign pictures to train, val and test: near-duplicates stay together, and every class gets its share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...core.errors import DataError, ImageError
from ...core.near_duplicates import copied_from, join_groups, near_duplicates, perceptual_hash
from .box_clipping import Fitted
from .exif import read_upright
from .folder import DataSet
from .formats.records import SPLITS

DEFAULT_SHARES = {"train": 0.85, "val": 0.15}


def read_shares(text: str) -> dict[str, float]:
    """Parse the shares of train, val and optionally test, such as ``0.85,0.15`` or ``0.7,0.15,0.15``.

    Raises:
        DataError: the text is not two or three positive numbers that sum to 1.
    """
    try:
        shares = [float(part) for part in text.split(",")]
    except ValueError:
        shares = []
    if len(shares) not in (2, 3) or not all(share > 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise DataError(
            f"--split takes the shares of train, val and optionally test, such as 0.7,0.15,0.15, got {text!r}"
        )
    return dict(zip(SPLITS, shares, strict=False))


def assign_splits(
    groups: Sequence[int],
    counts: np.ndarray,
    shares: Mapping[str, float],
    seed: int = 0,
    fixed: Mapping[int, str] | None = None,
) -> list[str]:
    """Assign a split to each picture.

    Whole groups are assigned one after the other, the large ones first. Each goes to the split that lacks most of what
    the group has: pictures, pictures without objects, and boxes of each class. (A greedy form of the stratification of
    Sechidis et al., "On the Stratification of Multi-Label Data", ECML 2011, with counts instead of labels.)

    Args:
        groups: number of each picture's group.
        counts: float, shape (pictures, kinds): how much of each kind a picture has.
        shares: of each split, above 0, with the sum 1.
        seed: of the order in which groups of similar size are assigned.
        fixed: groups with a given split; they do not count towards the shares.

    Raises:
        DataError: there are fewer groups than splits.
    """
    number, index = np.unique(np.asarray(groups, np.int64), return_inverse=True)
    fixed = fixed or {}
    names = list(shares)
    share = np.array([shares[name] for name in names])
    totals = np.zeros((len(number), counts.shape[1]))
    free = np.array([int(each) not in fixed for each in number], bool)
    np.add.at(totals, index, counts)
    whole = totals[free].sum(axis=0)
    weights = totals / np.where(whole > 0, whole, 1)  # give each kind the same weight
    if (reason := too_few(groups, fixed, shares)) is not None:
        raise DataError(reason)
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


def too_few(groups: Sequence[int], fixed: Mapping[int, str], shares: Mapping[str, float]) -> str | None:
    """Why :func:`assign_splits` cannot assign the groups, or None if it can.

    Args:
        groups: number of each picture's group.
        fixed: groups with a given split.
        shares: of the splits, by name.
    """
    free = set(groups) - set(fixed)
    if not free or fixed or len(free) >= len(shares):
        return None
    return f"{len(groups)} pictures make {len(free)} groups of near-duplicates: too few for {', '.join(shares)}"


def _fill_empty(chosen: np.ndarray, order: np.ndarray, splits: int) -> None:
    """Give each empty split the smallest group of the fullest one, in place."""
    for split in range(splits):
        counts = np.bincount(chosen[order], minlength=splits)
        if len(order) and counts[split] == 0:
            chosen[next(group for group in order if chosen[group] == counts.argmax())] = split


def group_alike(fitted: Sequence[Fitted], target: DataSet) -> tuple[list[int], dict[int, str]]:
    """Group near-duplicates and Roboflow's augmented copies of a picture, including pictures already in the set.

    Args:
        fitted: the source's pictures.
        target: the set that they join; hashes missing from its rows are added.

    Returns:
        The number of each picture's group, and the split of each group that contains pictures of the set.

    Raises:
        DataError: a picture of the set cannot be read.
    """
    there = [_fingerprint(row, target) for row in target.rows]
    alike = near_duplicates([each.seen.fingerprint for each in fitted] + there)
    copies = [copied_from(each.record.path) for each in fitted] + [None] * len(there)
    groups = join_groups(alike, copies)
    fixed: dict[int, str] = {}
    for group, row in zip(groups[len(fitted) :], target.rows, strict=True):
        fixed.setdefault(group, row["split"])
    return groups[: len(fitted)], fixed


def _fingerprint(row: dict[str, str], target: DataSet) -> int:
    if not re.fullmatch("[0-9a-f]{16}", row.get("hash", "")) and target.description is not None:
        path = target.description.root / row["file"]
        try:
            row["hash"] = f"{perceptual_hash(read_upright(path)):016x}"
        except ImageError as error:
            raise DataError(f"{path}: {error}") from error
    return int(row["hash"], 16)


def own_splits(path: Path, fitted: Sequence[Fitted], add: bool, keep: bool | None) -> list[str] | None:
    """The splits that the source's format gives, if they are to be kept; None otherwise.

    Args:
        path: the source, for messages.
        fitted: its pictures.
        add: they join a set, which already has train and val.
        keep: None keeps them if every picture has one and both train and val exist.

    Raises:
        DataError: they are to be kept, but a picture has none, or train or val is missing.
    """
    own = [each.record.split or "" for each in fitted]
    missing = [] if add else [name for name in ("train", "val") if name not in own]
    if keep is None:
        return None if "" in own or missing else own
    if keep and "" in own:
        raise DataError(f"--keep-splits: no split is given for {fitted[own.index('')].record.path}")
    if keep and missing:
        raise DataError(f"{path}: has no {' and no '.join(missing)} split to keep; leave out --keep-splits")
    return own if keep else None


def new_splits(
    fitted: Sequence[Fitted],
    groups: Sequence[int],
    fixed: Mapping[int, str],
    classes: int,
    shares: Mapping[str, float],
    seed: int,
) -> list[str]:
    """Assign new splits; see ``assign_splits``.

    Args:
        fitted: the pictures with their labels.
        groups: number of each picture's group of near-duplicates, which stays together.
        fixed: given splits, by group.
        classes: number of classes.
        shares: of the splits, by name.
        seed: of the random order.
    """
    counts = np.zeros((len(fitted), 2 + classes))
    for row, each in zip(counts, fitted, strict=True):
        row[:2] = 1, not each.boxes
        for box in each.boxes:
            row[2 + box.label] += 1
    return assign_splits(groups, counts, shares, seed, fixed)


def leakage(groups: Sequence[int], fixed: Mapping[int, str], splits: Sequence[str]) -> int:
    """Count the groups of near-duplicates that span more than one split.

    Args:
        groups: number of each picture's group.
        fixed: given splits, by group.
        splits: of each picture.
    """
    sides: dict[int, set[str]] = {group: {split} for group, split in fixed.items()}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split)
    return sum(len(found) > 1 for found in sides.values())
