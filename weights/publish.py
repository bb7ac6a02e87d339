"""From a finished run's folder to a released version with a card.

A run folder (``runs/<stage>/NAME``) holds ``export/``, a working release, and under ``evaluation/`` what was measured
of its files (``weights/evaluations.py``), plots included. Publishing copies, names and describes; it measures nothing,
and leaves the run folder as it is.
"""

from __future__ import annotations

import datetime as dt
import io
import shlex
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import WeightsError
from ..core.extras import require
from .card import CARD, PLOT_TITLES, model_card
from .manifest import FileEntry, Manifest, Stage, is_version, shortened
from .metrics import EVALUATION, RULES, Loss, losses, metrics_of, read_evaluations
from .release import (
    FACE,
    MANIFEST,
    Release,
    document,
    joined,
    label,
    open_release,
    place,
    split_name,
)
from .store import publish, refuse_existing, user_root

EXPORT = "export"
PLOT_BYTES = 400_000
"""What all plots of a release together should not exceed."""
PLOT_WIDTHS = (1200, 900, 640, 480)
"""Widths in pixels to which plots are shrunk until they fit; wider ones are shrunk to the first in any case."""
EVALUATED_BY: dict[Stage, str] = {
    "detector": "facepipe export-detector {run}",
    "classifier": "facepipe train-classifier --resume --name {name} --data FACES.csv",
}
"""The commands that export a run's weights and measure the files."""


@dataclass(frozen=True)
class Published:
    """What publishing did.

    Attributes:
        release: the new version.
        losses: what the smaller files lose against the most exact one.
        remarks: what the publisher ought to know, in sentences.
    """

    release: Release
    losses: tuple[Loss, ...]
    remarks: tuple[str, ...]


def publish_run(
    run: Path,
    version: str,
    notes: str = "",
    replace: bool = False,
    most_loss: float | None = None,
    root: Path | None = None,
) -> Published:
    """Release what a run exported as a version of its stage, with a card. It happens as a whole or not at all.

    Args:
        run: the run's folder.
        version: name of the version, such as ``1.0.0``; ``shirt@0.1.0`` calls a classifier ``shirt``.
        notes: Markdown for the card.
        replace: allow a version that is already there to be replaced.
        most_loss: what int8 may lose, in place of the stage's own limit (``figures.RULES``).
        root: the folder of releases; None means the user's.

    Raises:
        WeightsError: the folder is no run, has not been exported or evaluated, was evaluated with other files, int8
            loses too much, or the version exists or has a bad name.
        MissingExtraError: Pillow, which packs the plots, is not installed.
    """
    exported = _exported(run)
    before = exported.manifest
    name, number = split_name(before.stage, version)
    if number is None or not is_version(number):
        raise WeightsError(f"a version reads like 1.2.3 or 1.2.3-name, got {shortened(version)}")
    if "@" not in version:
        name = exported.name
    refuse_existing(place(root or user_root(), before.stage, name, number), replace)
    evaluations = read_evaluations(run, before.files, f"measure it with: {_evaluated_by(run, before.stage)}")
    plots = _plots(run, before.files[0])
    manifest = before.model_copy(
        update={
            "version": number,
            "name": name,
            "date": dt.date.today().isoformat(),
            "notes": notes.strip(),
            "metrics": tuple(
                metrics.model_copy(update={"command": _renamed(metrics.command, before, joined(name, number))})
                for metrics in evaluations.metrics
            ),
            "beside": evaluations.beside,
        }
    )
    found = tuple(losses(manifest, most_loss))
    if bad := [loss for loss in found if loss.too_great]:
        told = "; ".join(str(loss) for loss in bad)
        raise WeightsError(
            f"{run}: the {bad[0].small.precision} file loses too much: {told}. Export the run without it, or allow "
            f"the loss with --most-loss"
        )
    card = model_card(manifest, [*plots], most_loss).encode()
    documents = {CARD: card, **plots}
    manifest = manifest.model_copy(
        update={"documents": tuple(document(name, content) for name, content in documents.items())}
    )
    files = [exported.folder / entry.name for entry in manifest.files]
    release = publish(Manifest.model_validate(manifest.model_dump()), files, root, replace, documents)
    return Published(release, found, tuple(_remarks(manifest)))


def _exported(run: Path) -> Release:
    """The working release in a run's folder, with its files checked."""
    if not run.is_dir():
        raise WeightsError(f"{run}: no such folder; give the folder of a run, such as runs/detector/NAME")
    if (run / MANIFEST).is_file():
        raise WeightsError(f"{run}: this is a release, not a run; give the folder of the run that made it")
    if not (run / EXPORT / MANIFEST).is_file():
        stages = [stage for stage in EVALUATED_BY if stage in run.resolve().parts]
        how = f"; make it with: {_evaluated_by(run, stages[0])}" if stages else ""
        raise WeightsError(f"{run}: not the folder of a run that was exported (no {EXPORT}/{MANIFEST}){how}")
    release = open_release(run / EXPORT)
    release.verify()
    return release


def _evaluated_by(run: Path, stage: Stage) -> str:
    return EVALUATED_BY[stage].format(run=shlex.quote(str(run)), name=shlex.quote(run.resolve().name))


def _renamed(command: str, manifest: Manifest, version: str) -> str:
    """A measuring command with the version in place of what the files were called before they had one."""
    words = command.split(" ")
    for number, word in enumerate(words[1:], 1):
        for before in (label(manifest), f"{FACE}@{manifest.version}"):
            if words[number - 1] == f"--{manifest.stage}" and f"{word}@".startswith(f"{before}@"):
                words[number] = version + word.removeprefix(before)
                break
    return " ".join(words)


def _plots(run: Path, default: FileEntry) -> dict[str, bytes]:
    """The plots for the card, packed, by their names in the release.

    Only those that ``PLOT_TITLES`` knows: a report also holds sheets of pictures, and those belong to their data sets.
    """
    folders = (run / EVALUATION / default.precision, run)
    found = [folder / f"{stem}.png" for stem in PLOT_TITLES for folder in folders]
    paths = {path.stem: path for path in reversed(found) if path.is_file()}
    for width in PLOT_WIDTHS:
        packed = {f"card/{stem}.png": _packed(paths[stem], width) for stem in PLOT_TITLES if stem in paths}
        if sum(map(len, packed.values())) <= PLOT_BYTES:
            break
    return packed


def _packed(path: Path, width: int) -> bytes:
    """A plot as a PNG of 64 colours that is at most so wide."""
    require("PIL")
    from PIL import Image
    from PIL.PngImagePlugin import PngImageFile

    try:
        with PngImageFile(path) as opened:  # not Image.open, which ultralytics replaces where it is imported
            plot = opened.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise WeightsError(f"{path}: cannot be read as a picture ({error})") from error
    if plot.width > width:
        plot = plot.resize((width, max(1, round(plot.height * width / plot.width))), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    plot.quantize(64, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
    return target.getvalue()


def _remarks(manifest: Manifest) -> list[str]:
    remarks = []
    own = {data.labels_sha256 for data in manifest.data}
    for entry in manifest.files:
        for metrics in metrics_of(manifest, entry):
            if metrics.labels_sha256 is not None and metrics.labels_sha256 not in own:
                remarks.append(
                    f"{entry.name} was measured on other labels ({metrics.labels_sha256[:12]}) than those of its run "
                    f"({', '.join(sorted(each[:12] for each in own))})"
                )
    if len(manifest.files) == 1 and manifest.files[0].precision == "int8":
        what = RULES[manifest.stage][0].what
        remarks.append(f"int8 is alone in this version: what it loses in {what} against float is not known")
    return remarks
