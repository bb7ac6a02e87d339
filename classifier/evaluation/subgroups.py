"""Metrics by group of people (labelled gender, age and race) and by data source.

fairlearn's ``MetricFrame`` forms the groups. Shares get Wilson's interval (Wilson, JASA 1927), which stays within 0 to
1 even for small groups without errors. Mean errors get an interval from our own bootstrap: that of ``MetricFrame``
takes minutes for a few thousand rows, because it calls each metric per group and resampling. Race labels are used only
for this report and for balanced sampling in training; nothing predicts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ...core.bootstrap import BOOTS, resampled_means
from ...core.extras import require
from ...weights.manifest import Attribute, ClassesBase, Metric, NumericAttribute
from ..data.table import FaceTable

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("gender", "race")
"""Attributes or other columns whose values define groups."""
BANDS = 10
"""Number of bands for a number's range: decades for an age of 0 to 100."""
SMALLEST = 30
"""Groups with fewer rows are left out."""
Z = 1.959964
"""Standard normal quantile of a 95 % interval."""


@dataclass(frozen=True)
class GroupFigure:
    """One measure in one group.

    Attributes:
        attribute: its name.
        measure: as in ``scores``: ``accuracy``, ``mae``, ``eye_error`` or ``point_error_of_side``.
        group: the common values of the rows, such as ``{"gender": "female", "age": "20-29"}``.
        value: of the measure.
        low, high: 95 % confidence interval.
        count: number of rows.
    """

    attribute: str
    measure: str
    group: dict[str, str]
    value: float
    low: float
    high: float
    count: int

    @property
    def named(self) -> str:
        """The group as text: ``gender=female, age=20-29``."""
        return ", ".join(f"{feature}={value}" for feature, value in self.group.items())

    def metric(self) -> Metric:
        """Return the figure as a manifest metric."""
        name = f"{self.attribute}.{self.measure}/{self.named}"
        return Metric(name=name, value=self.value, count=self.count, interval=(self.low, self.high))


@dataclass(frozen=True)
class Gap:
    """The largest difference of one measure between two groups of one kind."""

    worst: GroupFigure
    best: GroupFigure
    groups: int
    """Number of groups compared, each of at least ``SMALLEST`` rows."""

    @property
    def value(self) -> float:
        return abs(self.best.value - self.worst.value)

    def metric(self) -> Metric:
        """Return the metric ``<attribute>.<measure>_gap``, named after both groups, with the smaller group's count.

        The interval of a difference of shares is Newcombe's (Statistics in Medicine 1998, method 10). It holds for
        these two groups; picking the two that are furthest apart makes the difference look larger than it is.
        """
        worst, best = self.worst, self.best
        kind = " x ".join(worst.group)
        names = [" ".join(figure.group.values()) for figure in (worst, best)]
        interval = None
        if worst.measure == "accuracy":
            below = math.hypot(best.value - best.low, worst.high - worst.value)
            above = math.hypot(best.high - best.value, worst.value - worst.low)
            interval = (self.value - below, self.value + above)
        return Metric(
            name=f"{worst.attribute}.{worst.measure}_gap/by {kind}: {names[0]} - {names[1]}",
            value=self.value,
            count=min(worst.count, best.count),
            interval=interval,
        )


def features(table: FaceTable) -> dict[str, np.ndarray]:
    """Return the values by which rows are grouped, as text, blank where unknown.

    Features with a single value are left out. Letter case and underscores are normalised, because sources write both
    ``White`` and ``white``.
    """
    found: dict[str, np.ndarray] = {}
    attributes = {attribute.name: attribute for attribute in table.attributes}
    for attribute in table.attributes:
        if isinstance(attribute, NumericAttribute):
            found[attribute.name] = bands(attribute, table.targets[attribute.name])
    for name in COLUMNS:
        labelled = attributes.get(name)
        if isinstance(labelled, ClassesBase):
            target = table.targets[name]
            classes = np.array([*labelled.classes, ""])
            found[name] = classes[np.where(np.isnan(target), len(labelled.classes), target).astype(int)]
        elif name in table.columns:
            found[name] = table.columns[name]
    if "source" in table.columns:
        found["source"] = table.columns["source"]
    even = {
        name: np.array([str(value).strip().replace("_", " ") for value in values]) for name, values in found.items()
    }
    even = {name: values if name == "source" else np.char.lower(values) for name, values in even.items()}
    ordered = {name: even[name] for name in ("gender", *even) if name in even}
    return {name: values for name, values in ordered.items() if len(set(values.tolist()) - {""}) > 1}


def band_names(attribute: NumericAttribute) -> list[str]:
    """Name the bands of a number, lowest first: ``0-9``, ``10-19``, … ``90+``."""
    edges = np.linspace(attribute.low, attribute.high, BANDS + 1)
    whole = bool((edges == edges.round()).all() and edges[1] - edges[0] > 1)
    names = [f"{low:g}-{high - whole:g}" for low, high in pairwise(edges)]
    return [*names[:-1], f"{edges[-2]:g}+"]


def bands(attribute: NumericAttribute, target: np.ndarray) -> np.ndarray:
    """Return the name of each number's band, "" if unlabelled.

    A range counts by its middle. Numbers beyond the ends belong to the outermost bands.

    Args:
        attribute: with its range.
        target: number, low and high, (n, 3), NaN where unlabelled.
    """
    number = np.where(np.isnan(target[:, 0]), target[:, 1:3].mean(axis=1), target[:, 0])
    edges = np.linspace(attribute.low, attribute.high, BANDS + 1)
    place = np.clip(np.digitize(number, edges[1:-1]), 0, BANDS - 1)
    return np.where(np.isnan(number), "", np.array(band_names(attribute))[place])


def crosses(names: list[str]) -> Iterator[tuple[str, ...]]:
    """Yield the feature combinations: each alone, gender x race (also within each source), and all but the source."""
    yield from ((name,) for name in names)
    people = tuple(name for name in names if name != "source")
    if {"gender", "race"} <= set(people):
        yield "gender", "race"
        if "source" in names:
            yield "source", "gender", "race"
    if len(people) > 1 and set(people) != {"gender", "race"}:
        yield people


def group_figures(
    attribute: Attribute,
    measure: str,
    errors: np.ndarray,
    by: dict[str, np.ndarray],
    smallest: int = SMALLEST,
    boots: int = BOOTS,
) -> list[GroupFigure]:
    """Measure one attribute in every group of at least ``smallest`` rows.

    Args:
        attribute: the schema entry.
        measure: name of the measure; ``accuracy``, for classes, is 1 minus the mean error.
        errors: from ``metrics.row_errors``, (n,), NaN where unlabelled.
        by: ``features`` of the rows.
        smallest: minimum number of rows in a group.
        boots: number of resamplings for the interval of a mean.

    Raises:
        MissingExtraError: fairlearn is not installed.
    """
    require("fairlearn.metrics")
    import pandas as pd

    known = ~np.isnan(errors)
    found: list[GroupFigure] = []
    for cross in crosses(list(by)):
        frame = pd.DataFrame({name: by[name][known] for name in cross})
        sizes = frame.groupby(list(cross))[cross[0]].transform("size").to_numpy()
        kept = (frame != "").all(axis=1).to_numpy() & (sizes >= smallest)
        frame = frame[kept].reset_index(drop=True)
        if len(frame.drop_duplicates()) > 1:
            found += _framed(attribute.name, measure, errors[known][kept], frame, boots)
    return found


def largest_gaps(figures: list[GroupFigure]) -> list[Gap]:
    """Find the largest gap of each measure among the groups of each kind with at least two groups.

    Groups of people that are crossed with the source are compared only within each source.
    """
    kinds: dict[tuple[str, str, tuple[str, ...], str], list[GroupFigure]] = {}
    for figure in figures:
        within = figure.group.get("source", "") if len(figure.group) > 1 else ""
        kinds.setdefault((figure.attribute, figure.measure, tuple(figure.group), within), []).append(figure)
    gaps = []
    for alike in kinds.values():
        if len(alike) > 1:
            ordered = sorted(alike, key=lambda figure: figure.value, reverse=alike[0].measure != "accuracy")
            gaps.append(Gap(ordered[0], ordered[-1], len(alike)))
    return gaps


def wilson(hits: float, count: int) -> tuple[float, float]:
    """Compute Wilson's 95 % interval of a share."""
    share, spread = hits / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def mean_interval(values: np.ndarray, boots: int = BOOTS) -> tuple[float, float]:
    """Compute the bootstrap 95 % interval of a mean (percentiles of ``boots`` resamplings with seed 0).

    Args:
        values: (n,), finite.
        boots: number of resamplings.
    """
    low, high = np.percentile(resampled_means(values, boots), (2.5, 97.5))
    return float(low), float(high)


def _framed(attribute: str, measure: str, errors: np.ndarray, frame: pd.DataFrame, boots: int) -> list[GroupFigure]:
    """Measure the groups with fairlearn's ``MetricFrame``."""
    from fairlearn.metrics import MetricFrame, count
    from fairlearn.metrics import mean_prediction as mean

    share = measure == "accuracy"
    # A single feature that numbers the combinations: with several features, MetricFrame makes all combinations, even
    # those that do not occur.
    numbered = frame.groupby(list(frame.columns)).ngroup().rename("group")
    cut = MetricFrame(
        metrics={"value": mean, "count": count},
        y_true=np.zeros(len(errors)),  # the metrics use only y_pred, each row's error
        y_pred=errors,
        sensitive_features=numbered,
    )
    groups = frame.drop_duplicates().sort_values(list(frame.columns)).to_dict("records")
    found = []
    for group, (key, row) in zip(groups, cut.by_group.iterrows(), strict=True):
        size = int(row["count"])
        value = 1 - float(row["value"]) if share else float(row["value"])
        own = errors[(numbered == key).to_numpy()]
        low, high = wilson(value * size, size) if share else mean_interval(own, boots)
        named = {str(name): str(each) for name, each in group.items()}
        found.append(GroupFigure(attribute, measure, named, value, low, high, size))
    return found
