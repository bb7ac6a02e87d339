"""Tables of a measurement's figures, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .card_tables import table
from .manifest import Metric, Metrics
from .metrics import measure_and_subject

GROUP = re.compile(r"(\w+)=")
"""A feature of a group and its value follow: ``gender=female, race=asian``."""
WIDEST = 8
"""Most columns of figures in a table; where both measures and subjects are more, figures stand below each other."""


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
    """Of how many a figure is; empty where that is not told."""
    return "" if metric.count is None else f"{metric.count:,}"
