"""Measurement of a released classifier on labelled crops, through the ONNX file that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..weights.manifest import Metric, Metrics
from .batches import CropSource, exact_batches
from .data import FaceTable
from .runtime import AttributeClassifier
from .scores import scores

if TYPE_CHECKING:
    from rich.table import Table

GROUPED = ("race",)
"""Columns that are no attribute, by whose values the accuracy of the classes is reported too."""
AGE_EDGES = (0, 10, 20, 30, 40, 50, 60, 70)
"""Numbers are grouped from one edge to the next for the report by group."""
SMALLEST_GROUP = 20
"""Groups with fewer rows are left out of the report."""


def measure(classifier: AttributeClassifier, table: FaceTable, workers: int = 2) -> list[Metric]:
    """Metrics over all rows, by source (``<attribute>.<metric>/<source>``) and by group (``.../race=...``).

    Args:
        classifier: reads attributes of the same names and kinds as the table's.
        table: rows that are crops; they are cut by the classifier's recipe.

    Raises:
        DataError: the rows are no crops, or were cut by another recipe.
    """
    table.require_crops(classifier.crop)
    source = CropSource(table, classifier.crop.size, classifier.crop.border)
    outputs: dict[str, list[np.ndarray]] = {attribute.name: [] for attribute in table.attributes}
    targets: dict[str, list[np.ndarray]] = {attribute.name: [] for attribute in table.attributes}
    for batch in exact_batches(source, 32, workers=workers):
        found = classifier.outputs(batch.images)
        for name in outputs:
            outputs[name].append(found[name])
            targets[name].append(batch.targets[name])
    everything = {name: (np.concatenate(outputs[name]), np.concatenate(targets[name])) for name in outputs}
    groups = {"": np.ones(len(table), bool)}
    names = table.columns["source"]
    groups |= {f"/{name}": names == name for name in np.unique(names) if name and (names != name).any()}
    metrics = []
    for suffix, rows in groups.items():
        for attribute in classifier.attributes:
            output, target = everything[attribute.name]
            found_here = scores(attribute, output[rows], target[rows])
            metrics += [metric.model_copy(update={"name": metric.name + suffix}) for metric in found_here]
    for suffix, rows in _groups(classifier, table).items():
        for attribute in classifier.attributes:
            if attribute.kind in ("numeric", "points"):
                continue
            output, target = everything[attribute.name]
            for metric in scores(attribute, output[rows], target[rows]):
                if metric.name.endswith(".accuracy") and (metric.count or 0) >= SMALLEST_GROUP:
                    metrics.append(metric.model_copy(update={"name": metric.name + suffix}))
    return metrics


def _groups(classifier: AttributeClassifier, table: FaceTable) -> dict[str, np.ndarray]:
    """Masks of rows by the values of ``GROUPED`` columns, and by the size of each number."""
    groups = {}
    for column in GROUPED:
        for value in np.unique(table.columns.get(column, np.array([], str))):
            if value:
                groups[f"/{column}={value}"] = table.columns[column] == value
    for attribute in classifier.attributes:
        if attribute.kind == "numeric":
            numbers = table.targets[attribute.name]
            place = np.digitize(
                np.where(np.isnan(numbers[:, 0]), numbers[:, 1:].mean(axis=1), numbers[:, 0]), AGE_EDGES
            )
            known = ~np.isnan(numbers[:, :2]).all(axis=1)
            for index in np.unique(place[known]):
                low = AGE_EDGES[index - 1] if index else "-"
                high = AGE_EDGES[index] if index < len(AGE_EDGES) else "+"
                groups[f"/{attribute.name}={low}-{high}"] = known & (place == index)
    return groups


def evaluate(
    classifier: AttributeClassifier, table: FaceTable, split: str = "val", workers: int = 2, command: str = ""
) -> Metrics:
    """Measure one split; the record goes into manifests and JSON.

    Raises:
        DataError: as for :func:`measure`, or the split has no rows.
    """
    rows = table.split(split)
    return Metrics(
        protocol=(
            f"{table.path.name} (sha256 {table.sha256[:12]}), split {split}, {len(rows)} crops of "
            f"{classifier.crop.size} px through the released ONNX file; unlabelled cells left out"
        ),
        command=command or f"facepipe evaluate-classifier --data {table.path.name} --split {split}",
        values=tuple(measure(classifier, rows, workers)),
    )


def metrics_table(metrics: Metrics, title: str) -> Table:
    """The figures by attribute and metric, one column for all rows and one for each source; then the groups."""
    from rich.table import Table

    found: dict[str, dict[str, Metric]] = {}
    for metric in metrics.values:
        name, _, group = metric.name.partition("/")
        found.setdefault(name, {})[group] = metric
    groups = list(dict.fromkeys(group for row in found.values() for group in row))
    columns = [group for group in groups if "=" not in group]
    table = Table(title=f"{title}: {metrics.protocol}", title_justify="left")
    table.add_column("metric")
    for column in columns:
        table.add_column(column or "all", justify="right")
    for name, row in found.items():
        table.add_row(name, *(_cell(row.get(column)) for column in columns))
    for group in (group for group in groups if "=" in group):
        table.add_section()
        for name, row in found.items():
            if group in row:
                table.add_row(f"{name}, {group}", _cell(row[group]))
    return table


def _cell(metric: Metric | None) -> str:
    return "" if metric is None or metric.value is None else f"{metric.value:.4f} ({metric.count})"
