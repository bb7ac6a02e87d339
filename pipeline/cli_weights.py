"""``facepipe weights list | show | verify``: the released models that can be used here."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..weights.errors import WeightsError
from ..weights.manifest import Manifest, Metric, Stage
from ..weights.store import Release, find, releases

app = typer.Typer(no_args_is_help=True, help="Released models: list, show, verify.", rich_markup_mode=None)
HEADLINE = 6
"""Metrics of a release that ``list`` tells; ``show`` tells all."""
MISMATCH = 1
"""Exit code of ``verify`` when a file is not the one that was released."""

StageArgument = Annotated[Stage, typer.Argument(metavar="STAGE", help="detector or classifier")]


def register(parent: typer.Typer) -> None:
    """Add the commands to the app."""
    parent.add_typer(app, name="weights")


@app.command("list")
def list_releases() -> None:
    """List the models that can be used; * marks the one that is used when no version is named."""
    from rich.table import Table
    from rich.text import Text

    from .table import console

    table = Table()
    for column in ("stage", "version", "", "precision", "MB", "metrics", "where"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for release in releases():
        manifest, entry = release.manifest, release.entry()
        headline = [_value(metric) for metrics in manifest.metrics[:1] for metric in metrics.values[:HEADLINE]]
        table.add_row(
            release.stage,
            release.version,
            "*" if find(release.stage).folder == release.folder else "",
            ", ".join(file.precision for file in manifest.files),
            f"{entry.bytes / 1e6:.1f}",
            Text("\n".join(headline)),
            Text(str(release.folder)),
        )
    console().print(table if table.row_count else "no released model here; see: facepipe train-detector --help")


@app.command()
def show(
    stage: StageArgument,
    version: Annotated[str, typer.Argument(help="A version, or a release's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest itself.")] = False,
) -> None:
    """Show what a model is: files, input, outputs, training data, metrics, licence."""
    release = find(stage, version)
    if as_json:
        print(release.manifest.model_dump_json(indent=2))
        return
    from rich.table import Table
    from rich.text import Text

    from .table import console

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, text in _rows(release):
        table.add_row(Text(name, style="bold"), Text(text))
    console().print(table)


@app.command()
def verify(
    stage: Annotated[Stage | None, typer.Argument(metavar="[STAGE]", help="Only this stage.")] = None,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Only this version.")] = None,
) -> None:
    """Check every file of the models against size and SHA-256 in their manifests. Exit code 1: one is not right."""
    chosen = [find(stage, version)] if stage is not None and version is not None else releases(stage)
    wrong = 0
    for release in chosen:
        try:
            release.verify()
        except WeightsError as error:
            wrong += 1
            print(f"WRONG {error}")
        else:
            print(f"ok    {release.stage} {release.version}  {release.folder}")
    if not chosen:
        raise WeightsError("there is no released model to verify")
    if wrong:
        raise typer.Exit(MISMATCH)


def _value(metric: Metric) -> str:
    return f"{metric.name} {'not measured' if metric.value is None else f'{metric.value:.4g}'}"


def _rows(release: Release) -> list[tuple[str, str]]:
    """The manifest as pairs of a heading and a text."""
    manifest: Manifest = release.manifest
    entries = [f"{file.name}  {file.precision}  {file.bytes:,} bytes\nSHA-256 {file.sha256}" for file in manifest.files]
    rows = [
        ("model", f"{manifest.stage} {manifest.version}, {manifest.architecture}"),
        ("folder", str(release.folder)),
        ("released", f"{manifest.date} with facepipe {manifest.facepipe}"),
        ("licence", manifest.licence),
        ("files", "\n".join(entries)),
        ("input", _fields(manifest.input)),
        ("output", manifest.output),
    ]
    if manifest.classes:
        rows.append(("classes", ", ".join(manifest.classes)))
    if manifest.thresholds is not None:
        rows.append(("thresholds", _fields(manifest.thresholds)))
    if manifest.attributes:
        rows.append(("attributes", "\n".join(f"{a.name}: {_fields(a, skip=('name',))}" for a in manifest.attributes)))
    if manifest.crop is not None:
        rows.append(("crop", _fields(manifest.crop)))
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
