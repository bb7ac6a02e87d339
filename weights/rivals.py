"""What a new model is measured against: the version in use and the one that it started from, on the same rows."""

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
"""Resampled figures by name, of each file that was measured."""


class WorseError(WeightsError):
    """A model that is worse than its start or than the version in use, and was not to be published by force."""

    def __init__(self, message: str, baselines: tuple[Baseline, ...]):
        super().__init__(message)
        self.baselines = baselines


def rivals(new: Release, name: str) -> list[tuple[str, Release]]:
    """The versions that a new model is measured against, by what they are to it: the one in use, and its start.

    Args:
        new: the new model; its manifest says what its training started from.
        name: of the classifier that it becomes, else empty.
    """
    found: dict[str, tuple[str, Release]] = {}
    start = new.manifest.training.get("start")
    wanted = [("in use", name or None), ("start", start.rpartition("/")[2] if isinstance(start, str) else "")]
    for role, version in wanted:
        if version != "":
            with suppress(WeightsError):  # there is none yet, or the start is a file, or no longer here
                release = find(new.stage, version)
                found.setdefault(release.label, (role, release))
    return list(found.values())


def measure_rivals(
    run: Path, exported: Release, measure: Callable[[Release, Path], None], name: str | None = None
) -> list[str]:
    """Measure what a run's model is to be compared with; what is there already is left as it is.

    Args:
        run: the folder of a run that was exported and measured.
        exported: its working release.
        measure: measures a release on the run's validation rows and writes its report into the folder.
        name: of the classifier that it becomes; None for the run's own.

    Returns:
        A sentence for each version that could not be measured: its data is not there any more, say, or was cut by
        another recipe.
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
    """What a new model is measured against, with the figures of the same rows.

    Args:
        new: with its figures and those of other models that were measured beside it.
        name: of the classifier that it becomes, else empty.
        resampled: figures of the run's evaluations.
    """
    file = new.manifest.files[0]
    labels = next((metrics.labels_sha256 for metrics in metrics_of(new.manifest, file)), None)
    own = resampled.get((file.sha256, labels), {})
    found = []
    for role, release in rivals(new, name):
        files = ((each.sha256, labels) for each in release.manifest.files)
        theirs = next((resampled[each] for each in files if each in resampled), {})
        measured = reversed(side_by_side(release, new)[0])  # what the run itself measured comes last
        judged = (headline(each.figures, new.stage) for each in measured)
        figures = next((figures for figures in judged if figures), ())
        found.append(Baseline(role, release.label, drawn_in_pairs(figures, theirs, own)))
    return tuple(found)


def refuse_worse(run: Path, manifest: Manifest, compared: tuple[Baseline, ...]) -> None:
    """Refuse a model that is worse than one that it is measured against.

    Args:
        run: the folder of its run.
        manifest: of the version that it would become.
        compared: of :func:`baselines`.

    Raises:
        WorseError: it is.
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
