"""Which rows an epoch draws: equal numbers of each group, and the weights of ``--data PATH=WEIGHT``."""

from __future__ import annotations

import numpy as np

from ...core.errors import DataError
from ..config.recipe import Balance
from .table import FaceTable, middle

BLANK = "–"
"""How a blank is named in a group's name."""
PARTS = 10
"""Ranges of equal width that a number's span is cut into for balancing: decades, for an age of 0 to 100."""
FEW = 20
"""Draws of one row in an epoch over which a group's rows are called too few."""


def row_weights(table: FaceTable, balance: Balance) -> np.ndarray | None:
    """The probability with which each row is drawn.

    Every combination of values of the columns in ``balance.by`` is a group. With ``equal`` the groups share the draws
    equally, with ``square_root`` in proportion to the square root of their sizes; within a group rows are drawn by
    ``table.weights``.

    Args:
        table: the rows that are trained on.
        balance: of the recipe.

    Returns:
        float64 (n,) with the sum 1; None where every row is as likely as every other.

    Raises:
        DataError: ``balance`` names neither a column nor an attribute.
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
    """The name of each row's group, such as ``asian, female``; (n,) text.

    A name in ``by`` is an attribute's or a column's. Numbers fall into ``PARTS`` ranges of their span, ranges by their
    middle; points are labelled or not.

    Raises:
        DataError: a name is neither.
    """
    attributes = {attribute.name: attribute for attribute in table.attributes}
    parts: list[np.ndarray] = []
    for name in by:
        attribute = attributes.get(name)
        if attribute is None:
            if name not in table.columns:
                known = ", ".join(dict.fromkeys([*attributes, *table.columns]))
                raise DataError(f"{table.path}: nothing to balance by of the name {name!r}; there are: {known}")
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
    """Lines that say how many rows each group has and which share of the draws; none where nothing is balanced.

    Args:
        table: of the rows.
        draw: probability of each row, (n,); None draws each once.
        balance: what is balanced.
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
    """The rows of an epoch in their order, (count,): each once, or drawn by their probabilities.

    Drawing is systematic: a row is drawn as often as its probability says, rounded up or down, and groups come out as
    even as can be (Carpenter, Clifford and Fearnhead, "Improved particle filter for nonlinear problems", 1999).

    Args:
        count: of draws.
        draw: probability of each row, (n,); None draws each once.
        random: decides.
    """
    order = random.permutation(count)
    if draw is None:
        return order
    ends = np.cumsum(draw[order])
    marks = (np.arange(count) + random.random()) / count * ends[-1]
    drawn = order[np.searchsorted(ends, marks, side="right").clip(max=count - 1)]
    return random.permutation(drawn)
