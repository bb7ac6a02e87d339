"""Sampling of an epoch's rows: balanced groups, and the weights of ``--data PATH=WEIGHT``."""

from __future__ import annotations

import numpy as np

from ...core.errors import DataError
from ..config.recipe import Balance
from .table import FaceTable, middle

BLANK = "–"
"""Stands for a blank in a group's name."""
PARTS = 10
"""Number of equal ranges into which a number is split for balancing: decades for an age of 0 to 100."""
FEW = 20
"""A group is reported as too small if each of its rows is drawn more often than this per epoch."""


def row_weights(table: FaceTable, balance: Balance) -> np.ndarray | None:
    """Compute the sampling probability of each row.

    Every combination of values of the columns in ``balance.by`` is a group. With ``equal`` all groups get the same
    share of the draws, with ``square_root`` a share proportional to the square root of their sizes. Within a group,
    rows are drawn by ``table.weights``.

    Args:
        table: the training rows.
        balance: of the recipe.

    Returns:
        float64 (n,) with sum 1; None if all rows are equally likely.

    Raises:
        DataError: a name in ``balance`` is neither a column nor an attribute.
    """
    weights = table.weights.astype(np.float64)
    if not balance.by and (weights == weights[0]).all():
        return None
    if balance.by:
        _, group = np.unique(group_names(table, balance.by), return_inverse=True)
        rows, sums = np.bincount(group), np.bincount(group, weights)
        share = np.sqrt(rows) if balance.draw == "square_root" else np.ones(len(rows))
        weights = weights * (share / sums)[group]
    return weights / weights.sum()


def group_names(table: FaceTable, by: tuple[str, ...]) -> np.ndarray:
    """Name each row's group, such as ``asian, female``; (n,) text.

    ``by`` names attributes or columns. Numbers fall into ``PARTS`` equal ranges, labelled ranges by their middle; for
    points it only matters whether they are labelled.

    Raises:
        DataError: a name is neither an attribute nor a column.
    """
    attributes = {attribute.name: attribute for attribute in table.attributes}
    parts: list[np.ndarray] = []
    for name in by:
        attribute = attributes.get(name)
        if attribute is None:
            if name not in table.columns:
                known = ", ".join(dict.fromkeys([*attributes, *table.columns]))
                raise DataError(f"{table.path}: nothing named {name!r} to balance by; there are: {known}")
            parts.append(np.where(table.columns[name] == "", BLANK, table.columns[name]))
            continue
        values = table.targets[name]
        if attribute.kind == "numeric":
            numbers = middle(values)
            width = (attribute.high - attribute.low) / PARTS
            place = np.clip(np.floor((np.nan_to_num(numbers) - attribute.low) / width), 0, PARTS - 1)
            labels = np.array([f"{attribute.low + width * part:g}+" for part in range(PARTS)])
            parts.append(np.where(np.isnan(numbers), BLANK, labels[place.astype(int)]))
        elif attribute.kind == "points":
            parts.append(np.where(np.isnan(values).any(axis=(1, 2)), BLANK, name))
        else:
            labels = np.array(attribute.classes)
            parts.append(np.where(np.isnan(values), BLANK, labels[np.nan_to_num(values).astype(int)]))
    return np.array([", ".join(each) for each in zip(*parts, strict=True)])


def draw_report(table: FaceTable, draw: np.ndarray | None, balance: Balance) -> list[str]:
    """Report the rows of each group and their share of the draws, in lines; empty without balancing.

    Args:
        table: of the rows.
        draw: probability of each row, (n,); None draws each once.
        balance: of the recipe.
    """
    if draw is None or not balance.by:
        return []
    names, group = np.unique(group_names(table, balance.by), return_inverse=True)
    rows, share = np.bincount(group), np.bincount(group, draw)
    groups = list(zip(names.tolist(), rows.tolist(), share.tolist(), strict=True))
    lines = [f"drawn by {' x '.join(balance.by)} ({balance.draw}):"]
    lines += [f"  {name}: {100 * s:.1f} % of the draws, {n:,} rows" for name, n, s in groups]
    scarce = [name for name, n, s in groups if s * len(table) > FEW * n]
    return lines + [f"warning: each row of {name!r} is drawn over {FEW} times an epoch" for name in scarce]


def draw_rows(count: int, draw: np.ndarray | None, random: np.random.Generator) -> np.ndarray:
    """Draw the rows of an epoch in order, (count,): each once, or by their probabilities.

    Sampling is systematic: each row is drawn its expected number of times, rounded up or down, which keeps groups as
    even as possible (Carpenter, Clifford and Fearnhead, "Improved particle filter for nonlinear problems", 1999).

    Args:
        count: number of draws.
        draw: probability of each row, (n,); None draws each once.
        random: the random generator.
    """
    order = random.permutation(count)
    if draw is None:
        return order
    ends = np.cumsum(draw[order])
    marks = (np.arange(count) + random.random()) / count * ends[-1]
    drawn = order[np.searchsorted(ends, marks, side="right").clip(max=count - 1)]
    return random.permutation(drawn)
