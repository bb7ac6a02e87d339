"""Two versions of a stage side by side: what changed in their manifests, and their figures where these compare.

Figures compare where they were measured alike: by the same protocol on the same labels; or where the publisher of one
version measured the other's very file (by its SHA-256) beside it on the same labels, as ``evaluate`` does. All other
figures are said not to compare, rather than set beside each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..core.errors import WeightsError
from .card import LOWER_IS_BETTER
from .manifest import FileEntry, Manifest, Metric, Metrics
from .metrics import comparable, measure_and_subject, metrics_of
from .release import Release

ASIDE = ("history", "after", "command", "environment", "calibration", "labels_sha256")
"""Of the training: no settings, or too long to stand side by side; the cards have them."""
OPEN = ("answered", "n_")
"""Measures of which neither more nor less is better by itself."""


@dataclass(frozen=True)
class Change:
    """A line of the manifests that is not the same; None where one has no such line."""

    what: str
    first: str | None
    second: str | None


@dataclass(frozen=True)
class Figure:
    """One figure of both versions."""

    name: str
    first: Metric
    second: Metric

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
    def significant(self) -> bool | None:
        """Whether the 95 % intervals do not overlap; None where there are none."""
        a, b = self.first.interval, self.second.interval
        return None if a is None or b is None else a[1] < b[0] or b[1] < a[0]


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
class Differences:
    """What two versions differ in.

    Attributes:
        changes: lines of the manifests.
        same: headings whose lines are all the same.
        figures: those that compare.
        apart: measurements that do not.
    """

    changes: tuple[Change, ...]
    same: tuple[str, ...]
    figures: tuple[SideBySide, ...]
    apart: tuple[Apart, ...]


def differences(first: Release, second: Release) -> Differences:
    """Compare two releases of one stage.

    Raises:
        WeightsError: they are of two stages.
    """
    if first.stage != second.stage:
        raise WeightsError(f"{first.stage} {first.label} and {second.stage} {second.label} do two different things")
    changes: list[Change] = []
    same: list[str] = []
    before, after = dict(_sections(first.manifest)), dict(_sections(second.manifest))
    for heading in dict.fromkeys([*after, *before]):
        a, b = before.get(heading, {}), after.get(heading, {})
        found = [
            Change(f"{heading} {name}".strip(), a.get(name), b.get(name))
            for name in dict.fromkeys([*a, *b])
            if a.get(name) != b.get(name)
        ]
        changes += found
        if not found and a:
            same.append(heading)
    figures, apart = _figures(first, second)
    return Differences(tuple(changes), tuple(same), figures, apart)


def _sections(manifest: Manifest) -> Iterator[tuple[str, dict[str, str]]]:
    """The manifest as lines under headings."""
    for name in ("architecture", "licence", "date", "facepipe", "output", "decoder", "classes", "features"):
        value = getattr(manifest, name)
        if value not in (None, ()):
            yield name, {"": _text(value)}
    yield "input", dict(_lines(manifest.input.model_dump()))
    if manifest.thresholds is not None:
        yield "threshold", dict(_lines(manifest.thresholds.model_dump()))
    if manifest.crop is not None:
        yield "crop", dict(_lines(manifest.crop.model_dump()))
    for attribute in manifest.attributes:
        yield f"attribute {attribute.name}", dict(_lines(attribute.model_dump(exclude={"name"})))
    yield "file", {file.precision: f"{file.name}, {file.bytes / 1e6:.1f} MB" for file in manifest.files}
    yield "data", {each.name: f"{each.count:,} pictures; {each.terms}" for each in manifest.data}
    if manifest.data:
        yield "labels", {"": ", ".join(dict.fromkeys(each.labels_sha256[:12] for each in manifest.data))}
    yield "training", dict(_lines({k: v for k, v in manifest.training.items() if k not in ASIDE}))


def _lines(record: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _lines(value, f"{before}{name}.")
        elif value is not None:
            yield f"{before}{name}", _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_text(each) for each in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _figures(first: Release, second: Release) -> tuple[tuple[SideBySide, ...], tuple[Apart, ...]]:
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
                told = f"{protocol}{beside.metrics.protocol}"
                found.append(SideBySide(*(names if host is second else names[::-1]), told, both))
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
    """The same protocol, and the same labels; where one does not tell its labels, the protocol must."""
    told = None in (first.labels_sha256, second.labels_sha256) or first.labels_sha256 == second.labels_sha256
    return told and first.protocol == second.protocol


def _common(first: Metrics, second: Metrics) -> tuple[Figure, ...]:
    theirs = {comparable(metric.name): metric for metric in second.values}
    return tuple(
        Figure(comparable(metric.name), metric, theirs[comparable(metric.name)])
        for metric in first.values
        if comparable(metric.name) in theirs
    )
