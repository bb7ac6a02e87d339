"""``facepipe weights pull | push``, and what ``weights list --from`` shows: releases from afar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import WeightsError
from ...weights.names import joined, split_name, split_release

if TYPE_CHECKING:
    from ...weights.manifest import Stage

ModelArgument = Annotated[
    str, typer.Argument(metavar="STAGE[@VERSION]", help="detector@1.1.0, or classifier for its newest.")
]
VersionArgument = Annotated[
    str | None, typer.Argument(metavar="[VERSION]", help="Where the stage stands alone; 1.1.0, NAME@1.1.0 or NAME.")
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Refuse all sources but folders, as FACEPIPE_OFFLINE=1 does.")
]
LocalhostOption = Annotated[
    bool, typer.Option("--insecure-localhost", help="Allow http:// to this machine, to try things out.")
]
FROM = "https://, file://, hf://OWNER/REPO[@REVISION], s3://, gs://, or a folder. Default: FACEPIPE_INDEX."


def register(app: typer.Typer) -> None:
    """Add the commands to ``facepipe weights``."""
    app.command()(pull)
    app.command()(push)


def pull(
    model: ModelArgument,
    version: VersionArgument = None,
    source: Annotated[str | None, typer.Option("--from", metavar="SOURCE", help=FROM)] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace another content of that version.")] = False,
    use: Annotated[bool, typer.Option("--use", help="Use it where no version is named, from now on.")] = False,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="What the manifest's SHA-256 must be.")
    ] = None,
    offline: OfflineOption = False,
    insecure_localhost: LocalhostOption = False,
) -> None:
    """Install a version from elsewhere, checked and as a whole. A pull that broke off goes on where it was."""
    from ...weights.registry.pull import pull as pull_release
    from ...weights.registry.source import choose_source
    from ...weights.store import find
    from ...weights.store import use as use_version
    from ..transfer_progress import transfer_progress

    stage, name, number = _wanted(model, version)
    chosen = choose_source(source, insecure_localhost, offline)
    with transfer_progress(f"{stage} {joined(name, number) if number else name}".strip()) as bar:
        pulled = pull_release(chosen, stage, name, number, None, replace, sha256, progress=bar)
    release = pulled.release
    if not pulled.missing and pulled.kept:
        print(f"{stage} {release.label} is here already, and right: {release.folder}")
    else:
        kept = f", {pulled.kept:,} of them from an earlier try" if pulled.kept else ""
        print(f"{stage} {release.label} is installed ({pulled.missing + pulled.kept:,} bytes{kept}): {release.folder}")
    if use:
        use_version(stage, release.label)
    used = find(stage, release.name or None)
    if used.folder == release.folder:
        print("it is the one that is used where none is named")
    else:
        print(
            f"{stage} {used.label} stays the one that is used where none is named; to change that: "
            f"facepipe weights use {stage} {release.label}"
        )


def push(
    model: Annotated[str, typer.Argument(metavar="STAGE@VERSION", help="An installed version: detector@1.0.0.")],
    version: VersionArgument = None,
    target: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="A folder, file://, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER.")
    ] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace another content of that version there.")] = False,
) -> None:
    """Take a version to a folder or bucket, from where others can pull it. Its index is written last."""
    from ...weights.registry.push import push as push_release
    from ...weights.registry.push_target import PushTarget
    from ...weights.store import find
    from ..transfer_progress import transfer_progress

    stage, name, number = _wanted(model, version)
    if not target:
        raise WeightsError("say where to: --to FOLDER, --to s3://BUCKET/FOLDER, --to gs://BUCKET/FOLDER")
    release = find(stage, joined(name, number) if number else name or None)
    store = PushTarget(target)
    with transfer_progress(f"{stage} {release.label}") as bar:
        pushed = push_release(release, store, replace, bar)
    print(f"{stage} {release.label} is {'replaced' if pushed.replaced else 'there'}: {pushed.target}")
    print(f"SHA-256 of its manifest: {pushed.offer.manifest.sha256}")
    for left in pushed.left:
        print(f"note: {left} could not be removed; nothing names it any more")


def list_source(source: str, offline: bool, insecure_localhost: bool) -> None:
    """Print what a source offers."""
    from rich.table import Table
    from rich.text import Text

    from ...weights.registry.pull import fetch_index
    from ...weights.registry.source import choose_source
    from ...weights.store import installed
    from ..table import console

    chosen = choose_source(source, insecure_localhost, offline)
    index = fetch_index(chosen)
    here = {(each.stage, each.name, each.version) for each in installed()[0]}
    table = Table()
    for column in ("stage", "version", "MB", "released", "facepipe", "licence", "here"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for offer in index.releases:
        cells = offer.stage, offer.label, f"{offer.bytes / 1e6:.1f}", offer.date, offer.facepipe, offer.licence
        table.add_row(*map(Text, cells), "yes" if offer.key in here else "")
    console().print(table if table.row_count else f"{chosen.told}: an index of no releases")


def _wanted(model: str, version: str | None) -> tuple[Stage, str, str | None]:
    """Stage, name and version (None: the newest) of what a command names."""
    stage, text = split_release(model, version)
    if text is None:
        return stage, "", None
    name, number = split_name(stage, text)
    return stage, name, number
