"""The figures of two models side by side, where they were measured alike, and whether the second is better.

Figures compare where they were measured by the same protocol on the same labels; or where the publisher of one version
measured the other's very file (by its SHA-256) beside it on the same labels, as ``evaluate`` does.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.bootstrap import central
from .manifest import FileEntry, Manifest, Metric, Metrics, Stage
from .metrics import LOWER_IS_BETTER, comparable, measure_and_subject
from .release import RULES, Release, Rule, limit, metrics_of

POINTS = Rule(re.compile(r"\w+\.(eye_error|point_error_of_side)$"), "error of the points", False, 0.003)
JUDGED: dict[Stage, tuple[Rule, ...]] = {**RULES, "classifier": (*RULES["classifier"], POINTS)}
"""By what a model is judged against another: what int8 may lose, and an error of points of 0.3 % of the distance of the
eyes."""
OPEN = ("answered", "n_")
"""Measures of which neither more nor less is better by itself."""
SHARES = ("accuracy", "recall")
"""Measures that are a share of the rows or boxes counted, so that an interval follows from their number."""
Z95 = 1.959964
"""Standard deviations of a normal distribution that hold 95 % of it."""


@dataclass(frozen=True)
class Figure:
    """One figure of two models."""

    name: str
    first: Metric
    second: Metric
    drawn: tuple[float, float] | None = None
    """95 % interval of the difference, where both were resampled in pairs."""

    @property
    def difference(self) -> float | None:
        """The second less the first; None where one of them was not measured, or on another number of rows."""
        if self.first.value is None or self.second.value is None or self.first.count != self.second.count:
            return None
        return self.second.value - self.first.value

    @property
    def better(self) -> bool | None:
        """Whether the second is better; None where they are equal, do not compare, or neither way is better."""
        measure = measure_and_subject(self.name)[0].lower()
        if not self.difference or round(self.difference, 6) == 0 or any(word in measure for word in OPEN):
            return None
        return (self.difference < 0) == any(word in measure for word in LOWER_IS_BETTER)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the difference; None where the two figures have none.

        Of resampling in pairs; else from the intervals of both, by the method of variance estimates recovery (Newcombe,
        Statistics in Medicine 1998; Zou and Donner, ibid. 2008). That takes them for independent: on the same rows the
        truth is narrower.
        """
        if self.drawn is not None:
            return self.drawn
        first, second = _interval(self.first), _interval(self.second)
        if self.difference is None or first is None or second is None:
            return None
        a, b = self.first.value or 0.0, self.second.value or 0.0
        below = math.hypot(b - second[0], first[1] - a)
        above = math.hypot(second[1] - b, a - first[0])
        return self.difference - below, self.difference + above

    @property
    def significant(self) -> bool | None:
        """Whether the interval of the difference leaves out zero; None where there is none."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]


def _interval(metric: Metric) -> tuple[float, float] | None:
    """A figure's own 95 % interval, or Wilson's of a share (Wilson, JASA 1927)."""
    if metric.interval is not None:
        return metric.interval
    measure = measure_and_subject(metric.name)[0].rpartition(".")[2].partition(" ")[0]
    value, count = metric.value, metric.count
    if measure not in SHARES or value is None or not count or not 0 <= value <= 1:
        return None
    centre = (value + Z95**2 / (2 * count)) / (1 + Z95**2 / count)
    half = Z95 / (1 + Z95**2 / count) * math.sqrt(value * (1 - value) / count + Z95**2 / (4 * count**2))
    return centre - half, centre + half


@dataclass(frozen=True)
class SideBySide:
    """Figures that compare.

    Attributes:
        first, second: what was measured, such as ``0.1.0 int8``.
        protocol: how.
        figures: those that both have.
    """

    first: str
    second: str
    protocol: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Apart:
    """A measurement that has no counterpart in the other version."""

    of: str
    protocol: str
    figures: int


@dataclass(frozen=True)
class Baseline:
    """A model that a new one is measured against.

    Attributes:
        role: what it is to the new one: ``in use``, ``start``.
        label: what it is called.
        figures: those that publishing is judged by; empty where it was not measured on the same rows.
    """

    role: str
    label: str
    figures: tuple[Figure, ...]

    def worse(self, manifest: Manifest) -> list[Figure]:
        """The figures in which a new model is worse: its interval leaves out zero, or the loss is above the limit.

        Args:
            manifest: of the new model.
        """
        return [figure for figure in self.figures if figure.better is False and _matters(figure, manifest)]


def _matters(figure: Figure, manifest: Manifest) -> bool:
    if figure.significant is not None:
        return figure.significant
    rule = next(rule for rule in JUDGED[manifest.stage] if rule.names.match(figure.second.name))
    return round(abs(figure.difference or 0.0), 6) > limit(manifest, figure.second.name, rule)


def headline(figures: tuple[Figure, ...], stage: Stage) -> tuple[Figure, ...]:
    """The figures that a release is judged by (``JUDGED``), of those that compare."""
    rules = [rule.names for rule in JUDGED[stage]]
    return tuple(
        figure
        for figure in figures
        if figure.difference is not None and any(names.match(figure.second.name) for names in rules)
    )


def drawn_in_pairs(
    figures: tuple[Figure, ...],
    first: Mapping[str, Sequence[float | None]],
    second: Mapping[str, Sequence[float | None]],
) -> tuple[Figure, ...]:
    """The figures, with the interval of the difference of those that were resampled of both models.

    Args:
        figures: of the same rows.
        first: resampled figures of the first model by name, each draw of the same rows as the second's.
        second: of the second.
    """
    found = []
    for figure in figures:
        one, other = (np.array(each.get(figure.first.name, ()), float) for each in (first, second))
        if figure.difference is not None and len(one) == len(other):
            figure = replace(figure, drawn=central(other - one))
        found.append(figure)
    return tuple(found)


def side_by_side(first: Release, second: Release) -> tuple[tuple[SideBySide, ...], tuple[Apart, ...]]:
    """The figures of two releases that compare, and the measurements that have no counterpart."""
    found: list[SideBySide] = []
    used: list[Metrics] = []
    for one, other in _pairs(first, second):
        for mine in metrics_of(first.manifest, one):
            for theirs in metrics_of(second.manifest, other):
                if _alike(mine, theirs) and (both := _common(mine, theirs)):
                    found.append(SideBySide(_of(first, one), _of(second, other), mine.protocol, both))
                    used += [mine, theirs]
    for host, guest in ((second, first), (first, second)):
        for beside in host.manifest.beside:
            entry = next((file for file in guest.manifest.files if file.sha256 == beside.metrics.file_sha256), None)
            own = next(iter(metrics_of(host.manifest, host.manifest.files[0])), None)
            if entry is None or own is None or own.labels_sha256 != beside.metrics.labels_sha256:
                continue
            pair = (beside.metrics, own) if host is second else (own, beside.metrics)
            if both := _common(*pair):
                names = _of(guest, entry), _of(host, host.manifest.files[0])
                protocol = f"both measured by the publisher of {host.label}: {own.protocol}. {names[0]}: "
                protocol += beside.metrics.protocol
                found.append(SideBySide(*(names if host is second else names[::-1]), protocol, both))
                used.append(own)
    apart = [
        Apart(_of(release, entry), metrics.protocol, len(metrics.values))
        for release in (first, second)
        for entry in release.manifest.files
        for metrics in metrics_of(release.manifest, entry)
        if not any(metrics is each for each in used)
    ]
    return tuple(found), tuple(apart)


def _pairs(first: Release, second: Release) -> list[tuple[FileEntry, FileEntry]]:
    """Files of the same precision; the default ones where there are none."""
    mine, theirs = first.manifest.files, second.manifest.files
    pairs = [(one, other) for one in mine for other in theirs if one.precision == other.precision]
    return pairs or [(mine[0], theirs[0])]


def _of(release: Release, entry: FileEntry) -> str:
    return f"{release.label} {entry.precision}"


def _alike(first: Metrics, second: Metrics) -> bool:
    """The same protocol, and the same labels, where both name them."""
    labels = {first.labels_sha256, second.labels_sha256} - {None}
    return len(labels) < 2 and first.protocol == second.protocol


def _common(first: Metrics, second: Metrics) -> tuple[Figure, ...]:
    theirs = {comparable(metric.name): metric for metric in second.values}
    return tuple(
        Figure(comparable(metric.name), metric, theirs[comparable(metric.name)])
        for metric in first.values
        if comparable(metric.name) in theirs
    )
