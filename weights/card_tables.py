"""Markdown for cards: tables, tables of a measurement's figures, nested settings, lists in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from .manifest import Metric, Metrics
from .metrics import measure_and_subject

GROUP = re.compile(r"(\w+)=")
"""The feature before each value in a group's name, such as ``gender=female, race=asian``."""
WIDEST = 8
"""Maximum columns of figures in a table; if both measures and subjects exceed it, each figure gets its own row."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """A table, followed by a blank line.

    Args:
        header: cells of the header row.
        rows: cells of the other rows.
        right: indices of right-aligned columns.
    """
    aligned = set(right)
    ruled = ["---:" if number in aligned else "---" for number in range(len(header))]
    return [*("| " + " | ".join(_cell(text) for text in line) + " |" for line in (header, ruled, *rows)), ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def tree(content: dict[str, Any] | list[Any] | tuple[Any, ...], depth: int = 0) -> list[str]:
    """Nested settings as indented lines in the style of YAML."""
    lines, pad = [], "  " * depth
    pairs = content.items() if isinstance(content, dict) else (("-", value) for value in content)
    for key, value in pairs:
        name = f"{pad}{key}:" if isinstance(content, dict) else f"{pad}-"
        nested = isinstance(value, dict) or (isinstance(value, list | tuple) and any(map(_is_nested, value)))
        if not nested or not value:
            lines.append(f"{name} {plain(value)}")
        elif isinstance(content, dict):
            lines += [name, *tree(value, depth + 1)]
        else:
            first, *rest = tree(value, depth + 1)
            lines += [f"{name} {first.lstrip()}", *rest]
    return lines


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list | tuple)


def plain(value: Any) -> str:
    """A setting on one line, with short numbers and lists in brackets."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(plain(each) for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {plain(each)}" for key, each in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def listed(names: Iterable[str]) -> str:
    """Join names for a sentence: ``a``, ``a and b``, ``a, b and c``."""
    found = list(names)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def metrics_tables(metrics: Metrics) -> list[str]:
    """Tables of the figures of one measurement.

    There is one for each kind of group (``race=...``, ``gender=..., race=...``), one for the gaps between groups, and
    one for all other measures of the same subjects.
    """
    groups: dict[str, list[Metric]] = {}
    for metric in metrics.values:
        groups.setdefault(_kind(metric), []).append(metric)
    return [line for group in groups.values() for related in _related(group) for line in _metrics_table(related)]


def by_group(metric: Metric) -> bool:
    """Whether a figure is about a group of people, or the gap between two."""
    return _kind(metric) != ""


def _kind(metric: Metric) -> str:
    measure, subject = measure_and_subject(metric.name)
    if measure.endswith("_gap"):
        return "gap"
    return " x ".join(GROUP.findall(subject)) if GROUP.match(subject) else ""


def _related(metrics: Sequence[Metric]) -> list[list[Metric]]:
    """Group figures that share a measure or a subject, directly or through others."""
    found: list[tuple[set[str], list[Metric]]] = []
    for metric in metrics:
        measure, subject = measure_and_subject(metric.name)
        names = {f"measure {measure}", f"subject {subject}"}
        joined = [group for group in found if group[0] & names]
        found = [group for group in found if not group[0] & names]
        found.append(
            (names.union(*(group[0] for group in joined)), [m for group in joined for m in group[1]] + [metric])
        )
    order = {metric.name: number for number, metric in enumerate(metrics)}
    ordered = [sorted(group, key=lambda metric: order[metric.name]) for _, group in found]
    return sorted(ordered, key=lambda group: order[group[0].name])


def _metrics_table(metrics: Sequence[Metric]) -> list[str]:
    """A table with measures as columns and subjects as rows, or transposed if that is narrower."""
    cells = {measure_and_subject(metric.name): metric for metric in metrics}
    measures = list(dict.fromkeys(measure for measure, _ in cells))
    subjects = list(dict.fromkeys(subject for _, subject in cells))
    if min(len(measures), len(subjects)) > WIDEST:
        rows = [[metric.name, value_text(metric), count_text(metric)] for metric in metrics]
        return table(["", "value", "n"], rows, right=(1, 2))
    upright = len(measures) <= len(subjects)
    down, across = (subjects, measures) if upright else (measures, subjects)
    rows = []
    for row in down:
        found = [cells.get((column, row) if upright else (row, column)) for column in across]
        counts = {count_text(metric) for metric in found if metric is not None}
        alike = len(counts) == 1
        shown = [
            "" if metric is None else value_text(metric) + ("" if alike else f" ({count_text(metric)})")
            for metric in found
        ]
        rows.append([row, *shown, counts.pop() if alike else ""])
    return table(["", *across, "n"], rows, right=range(1, len(across) + 2))


def value_text(metric: Metric) -> str:
    """A figure to four decimals, and its confidence interval, if there is one, to three."""
    if metric.value is None:
        return "not measured"
    return f"{metric.value:.4f}" + ("" if metric.interval is None else " [{:.3f}, {:.3f}]".format(*metric.interval))


def count_text(metric: Metric) -> str:
    """The number of items behind a figure; empty if unknown."""
    return "" if metric.count is None else f"{metric.count:,}"
