"""Compare two versions of a stage: what changed in their manifests, and their figures where these are comparable.

Figures that were not measured alike (``comparison``) are reported as not comparable instead of side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..core.errors import WeightsError
from .comparison import Apart, SideBySide, side_by_side
from .manifest import Manifest
from .release import Release

ASIDE = ("history", "after", "command", "environment", "calibration", "labels_sha256")
"""Training keys that are not settings, or too long to show side by side; the cards have them."""


@dataclass(frozen=True)
class Change:
    """A manifest entry that differs; None for the version that lacks it."""

    what: str
    first: str | None
    second: str | None


@dataclass(frozen=True)
class Differences:
    """The differences between two versions.

    Attributes:
        changes: manifest entries that differ.
        same: headings whose entries are all the same.
        figures: comparable figures.
        apart: measurements that are not comparable.
    """

    changes: tuple[Change, ...]
    same: tuple[str, ...]
    figures: tuple[SideBySide, ...]
    apart: tuple[Apart, ...]


def differences(first: Release, second: Release) -> Differences:
    """Compare two releases of one stage.

    Raises:
        WeightsError: they belong to different stages.
    """
    if first.stage != second.stage:
        raise WeightsError(f"{first.stage} {first.label} and {second.stage} {second.label} have different tasks")
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
    figures, apart = side_by_side(first, second)
    return Differences(tuple(changes), tuple(same), figures, apart)


def _sections(manifest: Manifest) -> Iterator[tuple[str, dict[str, str]]]:
    """The manifest as entries under headings."""
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
