"""Pieces of Markdown for cards: tables, those of a measurement's figures, nested settings, lists in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from .manifest import Metric, Metrics
from .metrics import measure_and_subject

GROUP = re.compile(r"(\w+)=")
"""A feature of a group and its value follow: ``gender=female, race=asian``."""
WIDEST = 8
"""Most columns of figures in a table; where both measures and subjects are more, figures stand below each other."""


def table(header: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> list[str]:
    """A table and the blank line after it.

    Args:
        header: texts of the first line.
        rows: texts of the others.
        right: columns that are set to the right.
    """
    aligned = set(right)
    ruled = ["---:" if number in aligned else "---" for number in range(len(header))]
    return [*("| " + " | ".join(_cell(text) for text in line) + " |" for line in (header, ruled, *rows)), ""]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def tree(content: dict[str, Any] | list[Any] | tuple[Any, ...], depth: int = 0) -> list[str]:
    """Nested settings as indented lines in the manner of YAML."""
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
    """A setting as one word or line: numbers short, lists in brackets."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(plain(each) for each in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {plain(each)}" for key, each in value.items()) + "}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    found = list(names)
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def metrics_tables(metrics: Metrics) -> list[str]:
    """The figures of one measurement: a table for those of named groups (``race=...``, ``gender=..., race=...``) each,
    one for the gaps between groups, and for the others one for all the measures that are of the same subjects."""
    groups: dict[str, list[Metric]] = {}
    for metric in metrics.values:
        groups.setdefault(_kind(metric), []).append(metric)
    return [line for group in groups.values() for related in _related(group) for line in _metrics_table(related)]


def by_group(metric: Metric) -> bool:
    """Whether a figure is of a group of people, or of the gap between two."""
    return _kind(metric) != ""


def _kind(metric: Metric) -> str:
    measure, subject = measure_and_subject(metric.name)
    if measure.endswith("_gap"):
        return "gap"
    return " x ".join(GROUP.findall(subject)) if GROUP.match(subject) else ""


def _related(metrics: Sequence[Metric]) -> list[list[Metric]]:
    """Figures that share a measure or a subject, directly or through others, together."""
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
    """Measures across and subjects down, or the other way round where that is narrower."""
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
    """A figure to four decimals, with its confidence interval to three where there is one."""
    if metric.value is None:
        return "not measured"
    return f"{metric.value:.4f}" + ("" if metric.interval is None else " [{:.3f}, {:.3f}]".format(*metric.interval))


def count_text(metric: Metric) -> str:
    """Of how many a figure is; empty where that is not known."""
    return "" if metric.count is None else f"{metric.count:,}"
