"""Parting rows into train, val and test where the data do not say it, and how evenly a split has come out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..config.recipe import Split

if TYPE_CHECKING:
    from .table import FaceTable

SPLITS = ("train", "val", "test")
FAR = 0.1
"""Difference of a split from train that is called large, if it is no chance: Cramér's V of the classes (a "small"
effect of Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988), or the distance of Kolmogorov and
Smirnov."""
Z = 3.09
"""Quantile of the normal distribution for a chance of 0.001, below which a difference is taken as none."""


def deal_out(groups: np.ndarray, splits: np.ndarray, shares: Split, seed: int) -> np.ndarray:
    """Give the rows without a split one: whole groups at random, a row with a blank group being a group of its own.

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
    dealt = given | {
        str(name): "val" if place < val else "test" if place < val + test else "train"
        for place, name in enumerate(order)
    }
    return np.array([split or dealt[key] for key, split in zip(keys.tolist(), splits.tolist(), strict=True)])


def balance_report(table: FaceTable) -> list[str]:
    """How the labels are spread over the splits, in lines of text; a line ``warning: …`` where one differs much.

    Classes as shares and numbers as means, of labelled rows; a range counts with its middle.
    """
    splits = [name for name in SPLITS if (table.columns["split"] == name).any()]
    masks = [table.columns["split"] == name for name in splits]
    sizes = [f"{name} {int(mask.sum()):,} rows" for name, mask in zip(splits, masks, strict=True)]
    lines = [f"balance of the splits: {' | '.join(sizes)}"]
    warnings: list[str] = []
    for attribute in table.attributes:
        values = table.targets[attribute.name]
        if attribute.kind == "points":
            shown = [f"{int((~np.isnan(values[mask]).any(axis=2)).any(axis=1).sum()):,}" for mask in masks]
            lines.append(f"  {attribute.name}: rows with points " + " | ".join(shown))
            continue
        if attribute.kind == "numeric":
            numbers = middle(values)
            parts = [each[~np.isnan(each)] for each in (numbers[mask] for mask in masks)]
            shown = [f"mean {part.mean():.1f} of {len(part):,}" if len(part) else "none" for part in parts]
            far = [kolmogorov_smirnov(parts[0], part) for part in parts[1:]]
        else:
            kinds = range(len(attribute.classes))
            counts = np.array([[(values[mask] == kind).sum() for kind in kinds] for mask in masks])
            shown = [_shares(attribute.classes, each) for each in counts]
            far = [cramers_v(counts[0], each) for each in counts[1:]]
        lines.append(f"  {attribute.name}: " + " | ".join(shown))
        for name, (distance, sure), part in zip(splits[1:], far, shown[1:], strict=True):
            if part == "none" and shown[0] != "none":
                warnings.append(f"warning: {attribute.name} is not labelled in {name}")
            elif sure and distance > FAR:
                warnings.append(f"warning: {attribute.name} in {name} is spread unlike in train ({distance:.2f} of 1)")
    return lines + warnings


def _shares(classes: tuple[str, ...], counts: np.ndarray) -> str:
    total = int(counts.sum())
    if not total:
        return "none"
    return (
        ", ".join(f"{name} {100 * n / total:.1f} %" for name, n in zip(classes, counts, strict=True)) + f" of {total:,}"
    )


def middle(values: np.ndarray) -> np.ndarray:
    """(n,) numbers of a numeric attribute's targets, (n, 3): the number, else the middle of the range, else NaN."""
    return np.where(np.isnan(values[:, 0]), (values[:, 1] + values[:, 2]) / 2, values[:, 0])


def cramers_v(first: np.ndarray, second: np.ndarray) -> tuple[float, bool]:
    """How unlike two rows of counts are, 0 to 1, and whether that is more than chance (chi-squared, 0.001).

    The quantile of chi-squared is that of Wilson and Hilferty, "The Distribution of Chi-square" (1931).
    """
    counts = np.stack([first, second]).astype(float)
    counts = counts[:, counts.sum(axis=0) > 0]
    total = counts.sum()
    if counts.shape[1] < 2 or not counts.sum(axis=1).all():
        return 0.0, False
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / total
    chi = float(((counts - expected) ** 2 / expected).sum())
    free = counts.shape[1] - 1
    quantile = free * (1 - 2 / (9 * free) + Z * math.sqrt(2 / (9 * free))) ** 3
    return math.sqrt(chi / total), chi > quantile


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> tuple[float, bool]:
    """The largest distance of two samples' distribution functions, and whether it is more than chance (0.001)."""
    if not len(first) or not len(second):
        return 0.0, False
    places = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(each), places, side="right") / len(each) for each in (first, second)]
    distance = float(np.abs(below[0] - below[1]).max())
    return distance, distance > 1.95 * math.sqrt(1 / len(first) + 1 / len(second))
