"""``facepipe weights list | show | verify | use | publish``: the released models that can be used here.

The other commands of ``facepipe weights`` are in ``weights_registry``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...core.errors import FacepipeError, WeightsError
from ...weights.manifest import Manifest, Metric, Stage
from ...weights.release import MANIFEST, Release, split_name, split_release, when_used
from ...weights.store import Broken, find, installed
from ...weights.store import use as use_version
from ._app import App
from .weights_registry import (
    FROM,
    LocalhostOption,
    OfflineOption,
    diff,
    gc,
    list_source,
    pull,
    push,
    remove,
    values,
    verdict,
)

if TYPE_CHECKING:
    from ...weights.comparison import Baseline
    from ...weights.publish import Published

app = App(help="Released models, here and elsewhere.")
for command in (pull, push, diff, remove, gc):
    app.command()(command)
HEADLINE = 6
"""Most metrics of a release that ``list`` shows; ``show`` shows all."""
LISTED = ("mae", "accuracy", "eye_error")
"""Ends of the names of a classifier's metrics that ``list`` shows."""
MISMATCH = 1
"""Exit code of ``verify`` when a file is not the one that was released."""
NEWEST = "newest"
"""In place of a version: no pin."""

StageArgument = Annotated[
    str, typer.Argument(metavar="STAGE[@VERSION]", help="detector or classifier, or with a version: detector@1.0.0.")
]


@app.command("list")
def list_releases(
    source: Annotated[
        str | None, typer.Option("--from", metavar="SOURCE", help=f"List what this source offers: {FROM}")
    ] = None,
    offline: OfflineOption = False,
    insecure_localhost: LocalhostOption = False,
) -> None:
    """List the models that can be used; * marks the one used when no version is named."""
    if source is not None:
        list_source(source, offline, insecure_localhost)
        return
    from rich.table import Table
    from rich.text import Text

    from ..console import console, printable, report

    good, broken = installed()
    current: set[Path] = set()
    wrong: dict[str, None] = {}
    all_of = [(release.stage, release.name) for release in good] + [(bad.stage, bad.name) for bad in broken]
    for stage, name in dict.fromkeys(all_of):
        try:
            current.add(find(stage, name or None).folder)
        except WeightsError as error:
            wrong[str(error)] = None
    table = Table()
    for column in ("stage", "version", "", "precision", "MB", "metrics", "where"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for release in good:
        manifest, entry = release.manifest, release.entry()
        headline = [_value(metric) for metric in _headline(manifest)]
        table.add_row(
            release.stage,
            release.label,
            "*" if release.folder in current else "",
            ", ".join(file.precision for file in manifest.files),
            f"{entry.bytes / 1e6:.1f}",
            Text("\n".join(headline)),
            Text(str(release.folder)),
        )
    for bad in broken:
        reason, where = printable(f"BROKEN {bad.reason}"), printable(str(bad.folder))
        table.add_row(bad.stage, Text(printable(bad.label)), "", "", "", Text(reason), Text(where))
    console().print(table if table.row_count else "no released model here; see: facepipe train-detector --help")
    for message in wrong:
        report(message)


@app.command()
def show(
    stage: StageArgument,
    version: Annotated[
        str | None, typer.Argument(help="A version, NAME@VERSION or a release folder. Default: the version in use.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest itself.")] = False,
) -> None:
    """Show the details of a model: files, input, outputs, training data, metrics, licence."""
    release = find(*split_release(stage, version))
    if as_json:
        print(release.manifest.model_dump_json(indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    from ..console import console

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in _rows(release):
        table.add_row(Text(name, style="bold"), Text(text))
    console().print(table)


@app.command()
def verify(
    stage: Annotated[Stage | None, typer.Argument(metavar="[STAGE]", help="Check only this stage.")] = None,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Check only this version, or NAME@VERSION.")
    ] = None,
) -> None:
    """Check every model file against the size and SHA-256 in its manifest. Exit code 1: at least one is wrong."""
    from ..console import printable

    chosen: list[Release] = []
    broken: list[Broken] = []
    if stage is not None and version is not None:
        chosen.append(find(stage, version))
    else:
        chosen, broken = installed(stage)
    for bad in broken:
        print(f"WRONG {printable(bad.reason)}")
    wrong = len(broken)
    for release in chosen:
        try:
            release.verify()
        except WeightsError as error:
            wrong += 1
            print(f"WRONG {printable(str(error))}")
        else:
            print(f"ok    {release.stage} {release.label}  {release.folder}")
    if not chosen and not broken:
        raise WeightsError("there is no released model to verify")
    if wrong:
        raise typer.Exit(MISMATCH)


@app.command()
def use(
    stage: StageArgument,
    version: Annotated[
        str | None,
        typer.Argument(help="An installed version, or newest. For a named one: NAME@VERSION."),
    ] = None,
) -> None:
    """Set which version is used when none is named; `newest` goes back to the newest one."""
    of, wanted = split_release(stage, version)
    if wanted is None:
        raise WeightsError(f"{of}: name a version: {of} 1.0.0, or {of} {NEWEST}")
    name, _, number = wanted.rpartition("@")
    newest = number == NEWEST
    release = use_version(of, (name or None) if newest else wanted)
    until = "the newest, whichever that is" if newest else "until another is chosen"
    print(f"{of} {release.label} is used from now on ({until}): {release.folder}")


@app.command()
def publish(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/detector/NAME.")],
    version: Annotated[str, typer.Option(help="Name of the version, such as 1.0.0 or shirt@0.1.0.")],
    notes: Annotated[
        str, typer.Option(metavar="TEXT|FILE", help="Additional text for the model card: Markdown, or a file of it.")
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing version of that name.")] = False,
    most_loss: Annotated[
        float | None,
        typer.Option(
            min=0, help="Maximum loss of int8 against float, in AP50 or accuracy. Default: 0.01 (classifier: 0.003)."
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Publish the run even if it is worse than its start or the version in use.")
    ] = False,
    use: Annotated[bool, typer.Option("--use", help="Use this version from now on when none is named.")] = False,
) -> None:
    """Release a run that has been exported and evaluated: its files, a manifest and a model card.

    The version in use, and the released one that the run started from, are measured on the run's rows if they have not
    been yet. The version in use stays in use unless --use is given.
    """
    from ...weights.publish import Choices, exported_release, publish_run
    from ..evaluation.baselines import measure_baselines

    stage = exported_release(run).stage
    for remark in measure_baselines(run, split_name(stage, version)[0] if "@" in version else None):
        print(f"note: {remark}")
    choices = Choices(version, _notes(notes), replace, most_loss, force, use)
    with reporting_worse():
        print_published(publish_run(run, choices))


def _notes(given: str) -> str:
    """The text itself, or the content of the file that it names."""
    path = Path(given)
    if "\n" in given or not (path.suffix in (".md", ".txt") or (given and os.path.isfile(path))):
        return given
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"--notes {given}: cannot be read ({error})") from error


def print_published(published: Published) -> None:
    """Print what was published, what it is compared with, what int8 loses, and which version is used now."""
    from ...weights.card import CARD

    release = published.release
    _print_baselines(published.baselines)
    for loss in published.losses:
        print(loss)
    for remark in published.remarks:
        print(f"note: {remark}")
    print(f"{release.stage} {release.label} is published: {release.folder}")
    print(f"its card: {release.folder / CARD}")
    try:
        used = find(release.stage, release.name or None)
    except WeightsError as error:
        print(f"note: {error}")
        return
    if used.folder == release.folder:
        print(f"{release.stage} {release.label} is used {when_used(release.name)}")
    else:
        print(
            f"{release.stage} {used.label} is still used {when_used(used.name)}; "
            f"to change that: facepipe weights use {release.stage} {release.label}"
        )


@contextmanager
def reporting_worse() -> Iterator[None]:
    """Within it, a model that is refused for being worse is shown beside those that it is measured against."""
    from ...weights.rivals import WorseError

    try:
        yield
    except WorseError as error:
        _print_baselines(error.baselines)
        raise


def exported_at(run: Path) -> int | None:
    """When a run was exported, in nanoseconds; None where it was not yet."""
    from ...weights.publish import EXPORT

    manifest = run / EXPORT / MANIFEST
    return manifest.stat().st_mtime_ns if manifest.is_file() else None


def print_comparison(run: Path, before: int | None = None) -> None:
    """Measure the version in use and the start of a run on its rows, and print their figures beside the run's.

    The run is over and whole: where this fails, a note says so.

    Args:
        run: its folder.
        before: what :func:`exported_at` said before; a run that was not exported since is left as it is.
    """
    if exported_at(run) == before:
        return
    from ...weights.publish import compared
    from ..evaluation.baselines import measure_baselines

    try:
        for remark in measure_baselines(run):
            print(f"note: {remark}")
        _print_baselines(compared(run))
    except FacepipeError as error:
        print(f"note: not compared with the version in use: {error}")


def _print_baselines(baselines: tuple[Baseline, ...]) -> None:
    """Print a new model's figures beside those of its start and of the version in use, with differences."""
    from rich.table import Table
    from rich.text import Text

    from ..console import console

    rows = [(baseline, figure) for baseline in baselines for figure in baseline.figures]
    if not rows:
        return
    table = Table()
    for heading in ("", "against", "then", "now", "difference", "95 % interval", ""):
        table.add_column(heading, justify="left" if heading in ("", "against") else "right")
    for baseline, figure in rows:
        low_high = "-" if figure.interval is None else f"{figure.interval[0]:+.4f} to {figure.interval[1]:+.4f}"
        cells = (figure.name, f"{baseline.label} ({baseline.role})", *values(figure), low_high, verdict(figure))
        table.add_row(*map(Text, cells))
    console().print(table)


def _headline(manifest: Manifest) -> list[Metric]:
    """The metrics that ``list`` shows: of all rows, with the file that runs."""
    values = [metric for metrics in manifest.metrics[:1] for metric in metrics.values]
    if manifest.stage == "classifier":
        values = [metric for metric in values if metric.name.rpartition(".")[2] in LISTED]
    return values[:HEADLINE]


def _value(metric: Metric) -> str:
    return f"{metric.name} {'not measured' if metric.value is None else f'{metric.value:.4g}'}"


def _rows(release: Release) -> list[tuple[str, str]]:
    """The manifest as pairs of a heading and a text."""
    manifest: Manifest = release.manifest
    entries = [f"{file.name}  {file.precision}  {file.bytes:,} bytes\nSHA-256 {file.sha256}" for file in manifest.files]
    rows = [
        ("model", f"{release.stage} {release.label}, {manifest.architecture}"),
        ("folder", str(release.folder)),
        ("released", f"{manifest.date} with facepipe {manifest.facepipe}"),
        ("licence", manifest.licence),
        ("files", "\n".join(entries)),
        ("input", _fields(manifest.input)),
        ("output", manifest.output),
    ]
    if manifest.documents:
        rows.insert(2, ("card", ", ".join(each.name for each in manifest.documents)))
    if manifest.notes:
        rows.append(("notes", manifest.notes))
    if manifest.classes:
        rows.append(("classes", ", ".join(manifest.classes)))
    if manifest.thresholds is not None:
        rows.append(("thresholds", _fields(manifest.thresholds)))
    if manifest.attributes:
        rows.append(("attributes", "\n".join(f"{a.name}: {_fields(a, skip=('name',))}" for a in manifest.attributes)))
    if manifest.crop is not None:
        rows.append(("crop", _fields(manifest.crop)))
    if manifest.features is not None:
        rows.append(("features", f"{manifest.features} numbers per face"))
    rows.append(("training data", "\n".join(f"{d.name}: {d.count:,} pictures; {d.terms}" for d in manifest.data)))
    rows.append(("training", "\n".join(f"{key}: {value}" for key, value in manifest.training.items())))
    for metrics in manifest.metrics:
        values = [
            f"  {_value(metric)}" + ("" if metric.count is None else f"  (of {metric.count:,})")
            for metric in metrics.values
        ]
        rows.append(("metrics", "\n".join([metrics.protocol, metrics.command, *values])))
    return rows


def _fields(record: Any, skip: tuple[str, ...] = ()) -> str:
    return ", ".join(
        f"{name} {_plain(value)}" for name, value in record if name not in skip and value is not None and value != ()
    )


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(_plain(each) for each in value) + ")"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
