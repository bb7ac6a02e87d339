"""Compare the figures of two models that were measured alike, and tell whether the second is better.

Figures are comparable if they were measured by the same protocol on the same labels, or if the publisher of one version
measured the other's exact file (by its SHA-256) beside it on the same labels, as ``evaluate`` does.
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
"""Rules for judging a model against another: what int8 may lose, and a point error of 0.3 % of the distance between the
eyes."""
OPEN = ("answered", "n_")
"""Measures where neither more nor less is better in itself."""
SHARES = ("accuracy", "recall")
"""Measures that are a fraction of the rows or boxes counted, so that an interval follows from the count."""
Z95 = 1.959964
"""Half-width, in standard deviations, of the interval that holds 95 % of a normal distribution."""


@dataclass(frozen=True)
class Figure:
    """One figure of two models."""

    name: str
    first: Metric
    second: Metric
    drawn: tuple[float, float] | None = None
    """95 % interval of the difference, if both were resampled in pairs."""

    @property
    def difference(self) -> float | None:
        """The second minus the first; None if either was not measured, or the numbers of rows differ."""
        if self.first.value is None or self.second.value is None or self.first.count != self.second.count:
            return None
        return self.second.value - self.first.value

    @property
    def better(self) -> bool | None:
        """Whether the second is better; None if they are equal or not comparable, or neither direction is better."""
        measure = measure_and_subject(self.name)[0].lower()
        if not self.difference or round(self.difference, 6) == 0 or any(word in measure for word in OPEN):
            return None
        return (self.difference < 0) == any(word in measure for word in LOWER_IS_BETTER)

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the difference; None if the two figures have none.

        From paired resampling if available, else from the intervals of both by the method of variance estimates
        recovery (Newcombe, Statistics in Medicine 1998; Zou and Donner, ibid. 2008). The latter assumes that they are
        independent: on the same rows, the true interval is narrower.
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
        """Whether the interval of the difference excludes zero; None if there is no interval."""
        return None if self.interval is None else not self.interval[0] <= 0 <= self.interval[1]


def _interval(metric: Metric) -> tuple[float, float] | None:
    """A figure's own 95 % interval, or Wilson's for a proportion (Wilson, JASA 1927)."""
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
    """Comparable figures.

    Attributes:
        first, second: what was measured, such as ``0.1.0 int8``.
        protocol: how it was measured.
        figures: those that both have.
    """

    first: str
    second: str
    protocol: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Apart:
    """A measurement without a counterpart in the other version."""

    of: str
    protocol: str
    figures: int


@dataclass(frozen=True)
class Baseline:
    """A model that a new one is compared with.

    Attributes:
        role: its relation to the new one: ``in use``, ``start``.
        label: its name.
        figures: those that decide on publishing; empty if it was not measured on the same rows.
    """

    role: str
    label: str
    figures: tuple[Figure, ...]

    def worse(self, manifest: Manifest) -> list[Figure]:
        """The figures in which a new model is worse: the interval excludes zero, or else the loss exceeds the limit.

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
    """The comparable figures that a release is judged by (``JUDGED``)."""
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
    """Add the interval of the difference to the figures that were resampled for both models.

    Args:
        figures: of the same rows.
        first: resampled figures of the first model by name; each draw has the same rows as the second's.
        second: resampled figures of the second model.
    """
    found = []
    for figure in figures:
        one, other = (np.array(each.get(figure.first.name, ()), float) for each in (first, second))
        if figure.difference is not None and len(one) == len(other):
            figure = replace(figure, drawn=central(other - one))
        found.append(figure)
    return tuple(found)


def side_by_side(first: Release, second: Release) -> tuple[tuple[SideBySide, ...], tuple[Apart, ...]]:
    """The comparable figures of two releases, and the measurements without a counterpart."""
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
    """Files of the same precision; if there are none, the default files."""
    mine, theirs = first.manifest.files, second.manifest.files
    pairs = [(one, other) for one in mine for other in theirs if one.precision == other.precision]
    return pairs or [(mine[0], theirs[0])]


def _of(release: Release, entry: FileEntry) -> str:
    return f"{release.label} {entry.precision}"


def _alike(first: Metrics, second: Metrics) -> bool:
    """Whether the protocol is the same, and, if both name them, the labels."""
    labels = {first.labels_sha256, second.labels_sha256} - {None}
    return len(labels) < 2 and first.protocol == second.protocol


def _common(first: Metrics, second: Metrics) -> tuple[Figure, ...]:
    theirs = {comparable(metric.name): metric for metric in second.values}
    return tuple(
        Figure(comparable(metric.name), metric, theirs[comparable(metric.name)])
        for metric in first.values
        if comparable(metric.name) in theirs
    )
