"""Publish a finished run as a released version with a card.

A run folder (``runs/<stage>/NAME``) holds ``export/``, a working release, and ``evaluation/``, the measurements of its
files and of other models (``metrics.read_evaluations``), including plots. Publishing copies, names and describes; it
measures nothing and leaves the run folder unchanged. Unless the publisher says otherwise, a model that is worse than
its start or than the version in use is refused, and the version in use stays in use.
"""

from __future__ import annotations

import datetime as dt
import io
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import WeightsError
from ..core.extras import require
from .card import CARD, PLOT_TITLES, model_card
from .comparison import Baseline
from .manifest import FileEntry, Manifest, Stage
from .metrics import EVALUATION, read_evaluations
from .records import is_version, shortened
from .release import (
    FACE,
    MANIFEST,
    RULES,
    Loss,
    Release,
    document,
    joined,
    label,
    losses,
    metrics_of,
    open_release,
    place,
    split_name,
)
from .rivals import Resampled, baselines, refuse_worse
from .store import (
    check_target,
    find,
    pin_key,
    publish,
    read_pins,
    use,
    user_root,
    version_key,
    writable_root,
    write_pin,
)

EXPORT = "export"
PLOT_BYTES = 400_000
"""Size limit in bytes for all plots of a release together, as far as ``PLOT_WIDTHS`` allow."""
PLOT_WIDTHS = (1200, 900, 640, 480)
"""Widths in pixels to which plots are shrunk, in turn, until they fit; wider ones are always shrunk to the first."""
EVALUATED_BY: dict[Stage, str] = {
    "detector": "facepipe export-detector {run}",
    "classifier": "facepipe train-classifier --resume --name {name} --data FACES.csv",
}
"""Commands that export a run's weights and measure the files."""
DATA: dict[Stage, str] = {"detector": "DATA.yaml", "classifier": "FACES.csv"}


@dataclass(frozen=True)
class Choices:
    """What the publisher decides.

    Attributes:
        version: name of the version, such as ``1.0.0``; ``shirt@0.1.0`` names a classifier ``shirt``.
        notes: Markdown for the card.
        replace: allow an existing version to be replaced.
        most_loss: what int8 may lose, instead of the stage's own limit (``release.RULES``).
        force: publish a model that is worse than its start or than the version in use.
        use: make it the version in use.
    """

    version: str
    notes: str = ""
    replace: bool = False
    most_loss: float | None = None
    force: bool = False
    use: bool = False


@dataclass(frozen=True)
class Published:
    """The result of publishing.

    Attributes:
        release: the new version.
        losses: what the smaller files lose against the most exact one.
        remarks: what the publisher should know, as sentences.
        baselines: the models that it was compared with.
    """

    release: Release
    losses: tuple[Loss, ...]
    remarks: tuple[str, ...]
    baselines: tuple[Baseline, ...] = ()


def publish_run(run: Path, choices: Choices, root: Path | None = None) -> Published:
    """Publish a run's export as a version of its stage, with a card, atomically.

    The version in use stays in use: it is pinned if it was used only for being the newest. The first version under a
    name is in use at once.

    Args:
        run: the run's folder.
        choices: what the publisher decides.
        root: the folder of releases; None means the user's.

    Raises:
        WorseError: the model is worse than its start or than the version in use.
        WeightsError: the folder is not a run, has not been exported or evaluated, or was evaluated with other files;
            int8 loses too much; or the version exists or has a bad name.
        MissingExtraError: Jinja2, which renders the card, or Pillow, which compresses the plots, is not installed.
    """
    exported = exported_release(run)
    name, number = _named(exported, choices.version)
    check_target(place(root or writable_root(), exported.stage, name, number), choices.replace)
    manifest, resampled = _described(run, exported, name, number, choices.notes)
    found = _losses(run, manifest, choices.most_loss)
    used = _in_use(exported.stage, name)
    compared = baselines(Release(exported.folder, manifest), name, resampled)
    if not choices.force:
        refuse_worse(run, manifest, compared)
    plots = _plots(run, exported.manifest.files[0])
    documents = {CARD: model_card(manifest, [*plots], choices.most_loss).encode(), **plots}
    listed = tuple(document(name, content) for name, content in documents.items())
    manifest = Manifest.model_validate(manifest.model_copy(update={"documents": listed}).model_dump())
    files = [exported.folder / entry.name for entry in manifest.files]
    with _kept_in_use(used, manifest, None if choices.use else root or user_root()):
        release = publish(manifest, files, root, choices.replace, documents)
    if choices.use:
        use(release.stage, release.label)
    return Published(release, found, tuple(_remarks(run, manifest, compared)), compared)


def _named(exported: Release, version: str) -> tuple[str, str]:
    """The name and number of the new version; the name defaults to the run's."""
    name, number = split_name(exported.stage, version)
    if number is None or not is_version(number):
        raise WeightsError(f"a version looks like 1.2.3 or 1.2.3-name, got {shortened(version)}")
    return (name if "@" in version else exported.name), number


def _described(run: Path, exported: Release, name: str, number: str, notes: str) -> tuple[Manifest, Resampled]:
    """The manifest of the new version with the run's figures, and their resampled values."""
    before = exported.manifest
    evaluations = read_evaluations(run, before.files, f"measure it with: {_evaluated_by(run, before.stage)}")
    described = before.model_copy(
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
    return described, evaluations.resampled


def _losses(run: Path, manifest: Manifest, most_loss: float | None) -> tuple[Loss, ...]:
    """What the smaller files lose.

    Raises:
        WeightsError: one loses too much.
    """
    found = tuple(losses(manifest, most_loss))
    if bad := [loss for loss in found if loss.too_great]:
        raise WeightsError(
            f"{run}: the {bad[0].small.precision} file loses too much: {'; '.join(map(str, bad))}. Export the run "
            f"without it, or allow the loss with --most-loss"
        )
    return found


def _in_use(stage: Stage, name: str) -> Release | None:
    try:
        return find(stage, name or None)
    except WeightsError:  # there is none yet
        return None


def compared(run: Path) -> tuple[Baseline, ...]:
    """The models that publishing would compare a run's model with, and the figures on the same rows.

    Raises:
        WeightsError: the folder is not a run, or was not exported or measured.
    """
    exported = exported_release(run)
    manifest, resampled = _described(run, exported, exported.name, exported.version, "")
    return baselines(Release(exported.folder, manifest), exported.name, resampled)


def _rank(version: str) -> tuple[bool, tuple[int, int, int, bool, str]]:
    """Sort key for the version used when none is named: final versions rank above others."""
    return version_key(version)[3], version_key(version)


@contextmanager
def _kept_in_use(used: Release | None, new: Manifest, root: Path | None) -> Iterator[None]:
    """Pin the version in use if publishing a newer one would displace it; unpin it if the block fails.

    Args:
        used: the version in use.
        new: manifest of the version being published.
        root: the folder published to; None pins nothing.
    """
    if (
        used is None
        or root is None
        or root != user_root()
        or read_pins(root).get(pin_key(used.stage, used.name))
        or _rank(new.version) <= _rank(used.version)
    ):
        yield
        return
    write_pin(root, used.stage, used.version, used.name)
    try:
        yield
    except BaseException:
        write_pin(root, used.stage, None, used.name)
        raise


def exported_release(run: Path) -> Release:
    """The working release in a run's folder, with its files verified.

    Raises:
        WeightsError: the folder is not a run, was not exported, or its files are not those that were exported.
    """
    if not os.path.isdir(run):  # unlike Path.is_dir, does not raise for long or forbidden names
        raise WeightsError(f"{run}: no such folder; give the folder of a run, such as runs/detector/NAME")
    if os.path.isfile(run / MANIFEST):
        raise WeightsError(f"{run}: this is a release, not a run; give the folder of the run that made it")
    if not os.path.isfile(run / EXPORT / MANIFEST):
        stages = [stage for stage in EVALUATED_BY if stage in run.resolve().parts]
        how = f"; make it with: {_evaluated_by(run, stages[0])}" if stages else ""
        raise WeightsError(f"{run}: not the folder of a run that was exported (no {EXPORT}/{MANIFEST}){how}")
    release = open_release(run / EXPORT)
    release.verify()
    return release


def _evaluated_by(run: Path, stage: Stage) -> str:
    return EVALUATED_BY[stage].format(run=shlex.quote(str(run)), name=shlex.quote(run.resolve().name))


def _renamed(command: str, manifest: Manifest, version: str) -> str:
    """A measuring command in which the version replaces the files' earlier label."""
    words = command.split(" ")
    for number, word in enumerate(words[1:], 1):
        for before in (label(manifest), f"{FACE}@{manifest.version}"):
            if words[number - 1] == f"--{manifest.stage}" and f"{word}@".startswith(f"{before}@"):
                words[number] = version + word.removeprefix(before)
                break
    return " ".join(words)


def _plots(run: Path, default: FileEntry) -> dict[str, bytes]:
    """The compressed plots for the card, by their names in the release.

    Only those in ``PLOT_TITLES``: a report also holds sheets of pictures, which belong to their data sets.
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
    """A plot as a 64-colour PNG, at most this wide."""
    require("PIL")
    from PIL import Image
    from PIL.PngImagePlugin import PngImageFile

    try:
        with PngImageFile(path) as opened:  # not Image.open, which ultralytics patches on import
            plot = opened.convert("RGB")
    except (OSError, SyntaxError) as error:
        raise WeightsError(f"{path}: cannot be read as a picture ({error})") from error
    if plot.width > width:
        plot = plot.resize((width, max(1, round(plot.height * width / plot.width))), Image.Resampling.LANCZOS)
    target = io.BytesIO()
    plot.quantize(64, dither=Image.Dither.NONE).save(target, "PNG", optimize=True)
    return target.getvalue()


def _remarks(run: Path, manifest: Manifest, compared: tuple[Baseline, ...]) -> list[str]:
    remarks = [
        f"not compared with {manifest.stage} {each.label} ({each.role}), which was not measured on the same rows; "
        f"to do so: facepipe evaluate-{manifest.stage} --data {DATA[manifest.stage]} --{manifest.stage} {each.label} "
        f"--out {shlex.quote(str(run / EVALUATION / each.label))}"
        for each in compared
        if not each.figures
    ]
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
