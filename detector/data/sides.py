"""Which side of the split each picture of a source goes to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from ...core.errors import DataError
from ...core.near_duplicates import copied_from, join_groups, near_duplicates, perceptual_hash
from .box_clipping import Fitted
from .folder import DataSet
from .splits import part


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
        frame = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if frame is None:
            raise DataError(f"{path}: not a picture that OpenCV can read")
        row["hash"] = f"{perceptual_hash(frame):016x}"
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


def deal_out(
    fitted: Sequence[Fitted],
    groups: Sequence[int],
    fixed: Mapping[int, str],
    classes: int,
    shares: Mapping[str, float],
    seed: int,
) -> list[str]:
    """New splits; see ``splitting.part``."""
    counts = np.zeros((len(fitted), 2 + classes))
    for row, each in zip(counts, fitted, strict=True):
        row[:2] = 1, not each.boxes
        for box in each.boxes:
            row[2 + box.label] += 1
    return part(groups, counts, shares, seed, fixed)


def straddling(groups: Sequence[int], fixed: Mapping[int, str], splits: Sequence[str]) -> int:
    """How many groups of near-duplicates have pictures in more than one split."""
    sides: dict[int, set[str]] = {group: {split} for group, split in fixed.items()}
    for group, split in zip(groups, splits, strict=True):
        sides.setdefault(group, set()).add(split)
    return sum(len(found) > 1 for found in sides.values())
