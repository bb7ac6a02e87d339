"""What a new model is compared with: the version in use and the one that it started from, on the same rows."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..core.errors import FacepipeError, WeightsError
from .comparison import Baseline, drawn_in_pairs, headline, side_by_side
from .manifest import Manifest
from .metrics import EVALUATION, EVALUATION_FILE, Measured
from .release import Release, label, metrics_of
from .store import find

Resampled = Mapping[Measured, Mapping[str, Sequence[float | None]]]
"""Resampled figures by name, for each measured file."""


class WorseError(WeightsError):
    """A model is worse than its start or than the version in use, and publishing was not forced."""

    def __init__(self, message: str, baselines: tuple[Baseline, ...]):
        super().__init__(message)
        self.baselines = baselines


def rivals(new: Release, name: str) -> list[tuple[str, Release]]:
    """The versions that a new model is compared with, each with its role: ``in use`` or ``start``.

    Args:
        new: the new model; its manifest says what its training started from.
        name: of the model that it becomes, else empty.
    """
    found: dict[str, tuple[str, Release]] = {}
    start = new.manifest.training.get("start")
    wanted = [("in use", name or None), ("start", start.rpartition("/")[2] if isinstance(start, str) else "")]
    for role, version in wanted:
        if version != "":
            with suppress(WeightsError):  # there is none yet, or the start is a file or is gone
                release = find(new.stage, version)
                found.setdefault(release.label, (role, release))
    return list(found.values())


def measure_rivals(
    run: Path, exported: Release, measure: Callable[[Release, Path], None], name: str | None = None
) -> list[str]:
    """Measure the versions that a run's model is to be compared with, skipping those already measured.

    Args:
        run: the folder of a run that was exported and measured.
        exported: its working release.
        measure: measures a release on the run's validation rows and writes its report into the folder.
        name: of the model that it becomes; None for the run's own.

    Returns:
        A sentence for each version that could not be measured, for example because its data is gone or was cropped
        with another recipe.
    """
    remarks = []
    for role, release in rivals(exported, exported.name if name is None else name):
        folder = run / EVALUATION / release.label
        if (folder / EVALUATION_FILE).is_file() or release.entry().sha256 == exported.entry().sha256:
            continue
        try:
            measure(release, folder)
        except (FacepipeError, OSError) as error:
            remarks.append(f"{release.stage} {release.label} ({role}) was not measured on the run's rows: {error}")
    return remarks


def baselines(new: Release, name: str, resampled: Resampled) -> tuple[Baseline, ...]:
    """The models that a new one is compared with, and the figures on the same rows.

    Args:
        new: the new model, with its figures and those of other models measured beside it.
        name: of the model that it becomes, else empty.
        resampled: resampled figures of the run's evaluations.
    """
    file = new.manifest.files[0]
    labels = next((metrics.labels_sha256 for metrics in metrics_of(new.manifest, file)), None)
    own = resampled.get((file.sha256, labels), {})
    found = []
    for role, release in rivals(new, name):
        files = ((each.sha256, labels) for each in release.manifest.files)
        theirs = next((resampled[each] for each in files if each in resampled), {})
        measured = reversed(side_by_side(release, new)[0])  # the run's own measurements come last; prefer them
        judged = (headline(each.figures, new.stage) for each in measured)
        figures = next((figures for figures in judged if figures), ())
        found.append(Baseline(role, release.label, drawn_in_pairs(figures, theirs, own)))
    return tuple(found)


def refuse_worse(run: Path, manifest: Manifest, compared: tuple[Baseline, ...]) -> None:
    """Refuse a model that is worse than one of its baselines.

    Args:
        run: the folder of its run.
        manifest: of the version that it would become.
        compared: as from :func:`baselines`.

    Raises:
        WorseError: the model is worse.
    """
    for baseline in compared:
        if bad := baseline.worse(manifest):
            worse = "; ".join(
                f"{figure.name} {figure.first.value:.4f} -> {figure.second.value:.4f} ({figure.difference:+.4f})"
                for figure in bad[:5]
            )
            raise WorseError(
                f"{run}: worse than {manifest.stage} {baseline.label} ({baseline.role}): {worse}. Publish it "
                f"anyway with: facepipe weights publish {shlex.quote(str(run))} --version {label(manifest)} --force",
                compared,
            )
