"""Statistics of labelled faces: rows by class and split, rows by group, and the balance of the splits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...weights.manifest import ClassesBase, NumericAttribute
from .sampling import BLANK, group_names
from .splits import SPLITS
from .table import FaceTable, middle

FAR = 0.1
"""Threshold for a large difference between a split and train, if statistically significant: Cramér's V of the classes
(a "small" effect by Cohen, "Statistical Power Analysis for the Behavioral Sciences", 1988), or the Kolmogorov-Smirnov
distance."""
Z = 3.09
"""Normal quantile for a significance level of 0.001."""
GROUPS = ("gender", "race", "age")
"""Columns and attributes by which the balance is reported, if present."""


@dataclass(frozen=True)
class LabelRow:
    """Row counts by split for one class, one range of a number, or rows with points."""

    attribute: str
    label: str
    rows: dict[str, int]


@dataclass(frozen=True)
class GroupRow:
    """Row counts of one group, such as ``female, asian``, by range of the first numeric attribute: ``{"30+": 12}``."""

    group: str
    rows: dict[str, int]


def untrainable(table: FaceTable) -> dict[str, str]:
    """Find the attributes that the training rows cannot teach, with the reason: no label, or a single label.

    If no row has a split, all rows count as training rows.
    """
    splits = table.columns["split"]
    rows = splits == ("train" if (splits != "").any() else "")
    found: dict[str, str] = {}
    for attribute in table.attributes:
        values = table.targets[attribute.name][rows]
        labelled = values[~np.isnan(values.reshape(len(values), -1)).all(axis=1)]
        if not len(labelled):
            found[attribute.name] = "no training row is labelled"
        elif isinstance(attribute, ClassesBase) and len(only := np.unique(labelled)) == 1:
            found[attribute.name] = f"every labelled training row is {attribute.classes[int(only[0])]!r}"
        elif isinstance(attribute, NumericAttribute) and len(only := np.unique(middle(labelled))) == 1:
            found[attribute.name] = f"every labelled training row is {only[0]:g} {attribute.unit}"
    return found


def splits_of(table: FaceTable) -> list[str]:
    """Return the splits of a table in order; "" stands for rows without a split."""
    return [name for name in (*SPLITS, "") if (table.columns["split"] == name).any()]


def by_label(table: FaceTable) -> list[LabelRow]:
    """Count the rows of each split with each label."""
    found = []
    splits = splits_of(table)
    for attribute in table.attributes:
        values = table.targets[attribute.name]
        if attribute.kind == "points":
            kinds = {"with points": ~np.isnan(values).any(axis=2).all(axis=1)}
        elif attribute.kind == "numeric":
            names = group_names(table, (attribute.name,))
            kinds = {name: names == name for name in _ranges(names)}
        else:
            kinds = {name: values == label for label, name in enumerate(attribute.classes)}
        for label, chosen in kinds.items():
            rows = {split: int((chosen & (table.columns["split"] == split)).sum()) for split in splits}
            found.append(LabelRow(attribute.name, label, rows))
    return found


def by_group(table: FaceTable, by: Sequence[str] = GROUPS) -> list[GroupRow]:
    """Count the rows of each group, by range of the first numeric attribute in ``by`` (if there is one)."""
    attributes = {attribute.name: attribute for attribute in table.attributes}
    known = [name for name in by if name in attributes or (table.columns.get(name, np.array([""])) != "").any()]
    number = next((name for name in known if name in attributes and attributes[name].kind == "numeric"), None)
    across = group_names(table, (number,)) if number else np.full(len(table), "rows")
    rest = tuple(name for name in known if name != number)
    if not rest:
        return []
    down = group_names(table, rest)
    ranges = _ranges(across) + ([BLANK] if (across == BLANK).any() else [])
    return [
        GroupRow(name, {label: int(((down == name) & (across == label)).sum()) for label in ranges})
        for name in sorted(set(down.tolist()), key=lambda name: (BLANK in name, name))
    ]


def _ranges(names: np.ndarray) -> list[str]:
    """Return the occurring ranges in order, without blanks."""
    return sorted({name for name in names.tolist() if name != BLANK}, key=_start)


def _start(name: str) -> float:
    return float(name.rstrip("+")) if name.rstrip("+").replace(".", "").replace("-", "").isdigit() else 0.0


def balance_report(table: FaceTable) -> list[str]:
    """Describe the label distribution of each split in lines, with a line ``warning: …`` for each large difference.

    Classes are shown as shares and numbers as means over the labelled rows; a range counts by its middle.
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
                warnings.append(
                    f"warning: {attribute.name} in {name} differs in distribution from train ({distance:.2f} of 1)"
                )
    return lines + warnings


def _shares(classes: tuple[str, ...], counts: np.ndarray) -> str:
    total = int(counts.sum())
    if not total:
        return "none"
    return (
        ", ".join(f"{name} {100 * n / total:.1f} %" for name, n in zip(classes, counts, strict=True)) + f" of {total:,}"
    )


def cramers_v(first: np.ndarray, second: np.ndarray) -> tuple[float, bool]:
    """Compute Cramér's V of two count vectors, 0 to 1, and its significance (chi-squared, 0.001).

    The chi-squared quantile is approximated after Wilson and Hilferty, "The Distribution of Chi-square" (1931).

    Args:
        first: counts, (k,).
        second: counts of the same categories, (k,).
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
    """Compute the maximum distance between two samples' distribution functions, and its significance (0.001).

    Args:
        first: numbers, (n,).
        second: numbers, (m,).
    """
    if not len(first) or not len(second):
        return 0.0, False
    places = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(each), places, side="right") / len(each) for each in (first, second)]
    distance = float(np.abs(below[0] - below[1]).max())
    return distance, distance > 1.95 * math.sqrt(1 / len(first) + 1 / len(second))
