"""The figures of a check of labelled faces: rows by class and split, and by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .check import FaceReport
from .sampling import BLANK, group_names
from .splits import SPLITS
from .table import FaceTable

GROUPS = ("gender", "race", "age")
"""Columns and attributes by which the balance is told, as far as they are there."""


@dataclass(frozen=True)
class LabelRow:
    """Rows of one class, of one range of a number, or with points; by split."""

    attribute: str
    label: str
    rows: dict[str, int]


@dataclass(frozen=True)
class GroupRow:
    """Rows of one group, such as ``female, asian``, by the range of the first numeric attribute: ``{"30+": 12}``."""

    group: str
    rows: dict[str, int]


def splits_of(table: FaceTable) -> list[str]:
    """The splits that a table has, in order; one of an empty name where it has none."""
    return [name for name in (*SPLITS, "") if (table.columns["split"] == name).any()]


def by_label(table: FaceTable) -> list[LabelRow]:
    """How many rows of each split have each label."""
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
    """How many rows each group has, over the ranges of the first numeric attribute in ``by`` (all together without)."""
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
    """The ranges that occur, in their order, without the unlabelled."""
    return sorted({name for name in names.tolist() if name != BLANK}, key=_start)


def _start(name: str) -> float:
    return float(name.rstrip("+")) if name.rstrip("+").replace(".", "").replace("-", "").isdigit() else 0.0


def as_json(report: FaceReport) -> dict[str, Any]:
    """The whole report as plain data for ``json.dumps``."""
    table = report.table
    return {
        "data": str(table.path),
        "labels_sha256": table.sha256,
        "rows": len(table),
        "splits": {name: int((table.columns["split"] == name).sum()) for name in splits_of(table)},
        "readable": sum(seen.size is not None for seen in report.seen),
        "by_label": [vars(row) for row in by_label(table)],
        "by_group": [vars(row) for row in by_group(table)],
        "findings": [finding.told() for finding in report.findings],
    }
