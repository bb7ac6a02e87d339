"""Splits: which of train, val and test each picture goes to, near-duplicates together, every class in its share."""

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


def assign_splits(
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
    """Why :func:`assign_splits` cannot share out the groups, or None where it can.

    Args:
        groups: number of each picture's group.
        fixed: groups whose split is given.
        shares: of the splits, by name.
    """
    free = set(groups) - set(fixed)
    if not free or fixed or len(free) >= len(shares):
        return None
    return f"{len(groups)} pictures make {len(free)} groups of near-duplicates: too few for {', '.join(shares)}"


def _fill_empty(chosen: np.ndarray, order: np.ndarray, splits: int) -> None:
    """Give a split that got nothing the smallest group of the one that got most, in place."""
    for split in range(splits):
        counts = np.bincount(chosen[order], minlength=splits)
        if len(order) and counts[split] == 0:
            chosen[next(group for group in order if chosen[group] == counts.argmax())] = split


def group_alike(fitted: Sequence[Fitted], target: DataSet) -> tuple[list[int], dict[int, str]]:
    """Group near-duplicates, and Roboflow's augmented copies of one picture, also with pictures of the set.

    Args:
        fitted: the source's pictures.
        target: the set that they are to join; hashes that its rows lack are noted there.

    Returns:
        The number of each picture's group, and the split of each group that the set has pictures of.

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
    """The splits that the source's format gives, if they are to be kept.

    Args:
        path: the source, for messages.
        fitted: its pictures.
        add: they join a set; it has train and val already.
        keep: None keeps them where every picture has one, and there are both train and val.

    Raises:
        DataError: they are to be kept and a picture has none, or there is no train or no val.
    """
    own = [each.record.split or "" for each in fitted]
    missing = [] if add else [name for name in ("train", "val") if name not in own]
    if keep is None:
        return None if "" in own or missing else own
    if keep and "" in own:
        raise DataError(f"--keep-splits: nothing says the split of {fitted[own.index('')].record.path}")
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
    """New splits; see ``assign_splits``.

    Args:
        fitted: the pictures with their labels.
        groups: for each picture the number of its group of near-duplicates, which stays together.
        fixed: splits that are given, by picture.
        classes: how many there are.
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
    """How many groups of near-duplicates have pictures in more than one split.

    Args:
        groups: for each picture the number of its group.
        fixed: splits that are given, by picture.
        splits: of each picture.
    """
    sides: dict[int, set[str]] = {group: {split} for group, split in fixed.items()}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split)
    return sum(len(found) > 1 for found in sides.values())
