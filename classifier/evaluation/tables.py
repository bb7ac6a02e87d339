"""The printed output of an evaluation: tables of its figures, and sentences on what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...weights.manifest import ClassesBase, Metric
from .evaluate import Evaluation
from .metrics import confusions
from .subgroups import SMALLEST, GroupFigure

if TYPE_CHECKING:
    from rich.table import Table

MOST_CLASSES = 12
"""Confusion matrices with more classes are only in the report."""


def size_table(evaluation: Evaluation) -> Table | None:
    """Tabulate every figure by face size, one column per size; None if sizes were not measured."""
    if not evaluation.sizes:
        return None
    rows: dict[str, dict[str, Metric]] = {}
    for metric in evaluation.sizes:
        name, _, size = metric.name.partition("/")
        rows.setdefault(name, {})[size] = metric
    columns = list(dict.fromkeys(size for row in rows.values() for size in row))
    table = _table(f"{evaluation.title}, by size of the face", "figure", *columns, "rows")
    before = ""
    for name, row in rows.items():
        if before and name.partition(".")[0] != before:
            table.add_section()
        before = name.partition(".")[0]
        values = [f"{row[size].value:.3f}" if size in row else "" for size in columns]
        table.add_row(name, *values, f"{max(each.count or 0 for each in row.values()):,}")
    return table


def size_lines(evaluation: Evaluation) -> list[str]:
    """Format the table by size as text, one line per figure."""
    rows: dict[str, list[str]] = {}
    for metric in evaluation.sizes:
        name, _, size = metric.name.partition("/")
        rows.setdefault(name, []).append(f"{size} {metric.value:.3f}")
    return [f"{name} by size of the face: {', '.join(cells)}" for name, cells in rows.items()]


def figure_table(evaluation: Evaluation) -> Table:
    """Tabulate every figure: one column for all rows and one per source."""
    found: dict[str, dict[str, Metric]] = {}
    for metric in (*evaluation.overall, *evaluation.details):
        name, _, subject = metric.name.partition("/")
        if ("=" in subject and not subject.startswith("class=")) or name.endswith("_gap"):
            continue
        if subject.startswith("class="):
            name, subject = f"{name}, {subject.removeprefix('class=')}", ""
        found.setdefault(name, {})[subject] = metric
    columns = list(dict.fromkeys(subject for row in found.values() for subject in row))
    table = _table(evaluation.title, "figure", *(column or "all rows" for column in columns))
    before = ""
    for name, row in found.items():
        if before and name.partition(".")[0] != before:
            table.add_section()
        before = name.partition(".")[0]
        table.add_row(name, *(_cell(row.get(column)) for column in columns))
    return table


def group_tables(evaluation: Evaluation) -> list[Table]:
    """Make a table per single feature and one for gender x race, with intervals."""
    kinds: dict[tuple[str, ...], list[GroupFigure]] = {}
    for figure in evaluation.figures:
        if len(figure.group) <= 2 and tuple(figure.group) != ("source",):
            kinds.setdefault(tuple(figure.group), []).append(figure)
    tables = []
    for kind, figures in kinds.items():
        columns = list(dict.fromkeys(f"{figure.attribute} {figure.measure}" for figure in figures))
        table = _table(f"by {' x '.join(kind)} (groups of at least {SMALLEST} rows)", "group", *columns)
        rows: dict[str, dict[str, GroupFigure]] = {}
        for figure in figures:
            rows.setdefault(" ".join(figure.group.values()), {})[f"{figure.attribute} {figure.measure}"] = figure
        for name in sorted(rows):
            table.add_row(name, *(_interval(rows[name].get(column)) for column in columns))
        tables.append(table)
    return tables


def confusion_tables(evaluation: Evaluation) -> list[Table]:
    """Make confusion matrices: true class down, predicted class across; only for few classes."""
    tables = []
    for attribute in evaluation.seen.attributes:
        if not isinstance(attribute, ClassesBase) or len(attribute.classes) > MOST_CLASSES:
            continue
        seen = evaluation.seen
        matrix = confusions(attribute, seen.outputs[attribute.name], seen.targets[attribute.name])
        if matrix.sum():
            table = _table(attribute.name, "labelled \\ predicted", *attribute.classes)
            for name, row in zip(attribute.classes, matrix, strict=True):
                table.add_row(name, *(f"{count:,}" for count in row))
            tables.append(table)
    return tables


def sentences(evaluation: Evaluation) -> list[str]:
    """Describe the largest gaps between groups, and the training rows against these rows."""
    lines = []
    for gap in evaluation.gaps:
        worst, best = gap.worst, gap.best
        kind = " x ".join(feature for feature in worst.group if feature != "source")
        within = f" of {worst.group['source']}" if len(worst.group) > 1 and "source" in worst.group else ""
        lines.append(
            f"{worst.attribute} {worst.measure.replace('_', ' ')}, largest gap by {kind}{within}: {gap.value:.3f}, "
            f"{_group_text(worst)} against {_group_text(best)}; {gap.groups} groups of at least {SMALLEST} rows"
        )
    return lines + [f"{fit}." for fit in evaluation.fits]


def side_by_side(evaluations: Sequence[Evaluation]) -> Table:
    """Tabulate the figures over all rows of several classifiers, one column each."""
    table = _table("side by side", "figure", *(evaluation.title for evaluation in evaluations))
    columns = [{metric.name: metric for metric in evaluation.overall} for evaluation in evaluations]
    for name in dict.fromkeys(name for column in columns for name in column):
        table.add_row(name, *(_cell(column.get(name)) for column in columns))
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _group_text(figure: GroupFigure) -> str:
    names = [value for feature, value in figure.group.items() if feature != "source" or len(figure.group) == 1]
    return f"{' '.join(names)} {figure.value:.3f} (n {figure.count:,})"


def _cell(metric: Metric | None) -> str:
    return "" if metric is None or metric.value is None else f"{metric.value:.4f} ({metric.count:,})"


def _interval(figure: GroupFigure | None) -> str:
    if figure is None:
        return ""
    return f"{figure.value:.3f} [{figure.low:.3f}–{figure.high:.3f}] ({figure.count:,})"
