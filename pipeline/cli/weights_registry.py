"""``facepipe weights pull | push | remove | gc | diff``, and what ``weights list --from`` shows."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import WeightsError
from ...weights.release import joined, split_name, split_release, when_used
from ...weights.store import find

if TYPE_CHECKING:
    from rich.table import Table

    from ...weights.comparison import Figure, SideBySide
    from ...weights.diff import Differences
    from ...weights.manifest import Stage
    from ...weights.release import Release


ModelArgument = Annotated[
    str, typer.Argument(metavar="STAGE[@VERSION]", help="detector@1.1.0, or classifier for its newest version.")
]
VersionArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[VERSION]", help="Version, if the first argument is only a stage: 1.1.0, NAME@1.1.0 or NAME."
    ),
]
OfflineOption = Annotated[
    bool, typer.Option("--offline", help="Refuse all sources except folders, as FACEPIPE_OFFLINE=1 does.")
]
LocalhostOption = Annotated[
    bool, typer.Option("--insecure-localhost", help="Allow http:// to this machine, for testing.")
]
MISSING = "-"
FEW = 24
"""Most figures of a measurement that are shown without ``--all``; those of single sources and groups stand last."""
FROM = r"https://, file://, hf://OWNER/REPO\[@REVISION], s3://, gs://, or a folder. Default: FACEPIPE_INDEX."


def pull(
    model: ModelArgument,
    version: VersionArgument = None,
    source: Annotated[str | None, typer.Option("--from", metavar="SOURCE", help=FROM)] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace that version if it is here with different content.")
    ] = False,
    use: Annotated[bool, typer.Option("--use", help="Use this version from now on when none is named.")] = False,
    sha256: Annotated[
        str | None, typer.Option("--sha256", metavar="HEX", help="Expected SHA-256 of the manifest.")
    ] = None,
    offline: OfflineOption = False,
    insecure_localhost: LocalhostOption = False,
) -> None:
    """Install a version from elsewhere: verified, and either completely or not at all."""
    from ...weights.registry.pull import Wanted
    from ...weights.registry.pull import pull as pull_release
    from ...weights.registry.sources import choose_source
    from ...weights.store import find
    from ...weights.store import use as use_version
    from ..console import progress

    stage, name, number = _wanted(model, version)
    chosen = choose_source(source, insecure_localhost, offline)
    with progress(f"{stage} {joined(name, number) if number else name}".strip(), "bytes") as bar:
        pulled = pull_release(chosen, Wanted(stage, name, number, sha256), replace=replace, progress=bar)
    release = pulled.release
    if pulled.bytes:
        print(f"{stage} {release.label} is installed ({pulled.bytes:,} bytes): {release.folder}")
    else:
        print(f"{stage} {release.label} is already installed and intact: {release.folder}")
    if use:
        use_version(stage, release.label)
    used = find(stage, release.name or None)
    if used.folder == release.folder:
        print(f"it is used {when_used(used.name)}")
    else:
        print(
            f"{stage} {used.label} is still used {when_used(used.name)}; to change that: "
            f"facepipe weights use {stage} {release.label}"
        )


def push(
    model: Annotated[
        str, typer.Argument(metavar="STAGE@VERSION", help="An installed version, such as detector@1.0.0.")
    ],
    version: VersionArgument = None,
    target: Annotated[
        str, typer.Option("--to", metavar="TARGET", help="A folder, file://, s3://BUCKET/FOLDER or gs://BUCKET/FOLDER.")
    ] = "",
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace that version if it is there with different content.")
    ] = False,
) -> None:
    """Copy a version to a folder or bucket from which others can pull it. The index there is written last."""
    from ...weights.registry.push import PushTarget
    from ...weights.registry.push import push as push_release
    from ...weights.store import find
    from ..console import progress

    stage, name, number = _wanted(model, version)
    if not target:
        raise WeightsError("name a target: --to FOLDER, --to s3://BUCKET/FOLDER, --to gs://BUCKET/FOLDER")
    release = find(stage, joined(name, number) if number else name or None)
    store = PushTarget(target)
    with progress(f"{stage} {release.label}", "bytes") as bar:
        pushed = push_release(release, store, replace, bar)
    print(f"{stage} {release.label} is {'replaced' if pushed.replaced else 'uploaded'}: {pushed.target}")
    print(f"SHA-256 of its manifest: {pushed.offer.manifest.sha256}")
    for left in pushed.left:
        print(f"note: {left} could not be removed; nothing refers to it any more")


def list_source(source: str, offline: bool, insecure_localhost: bool) -> None:
    """Print what a source offers.

    Args:
        source: a folder or an address.
        offline: take what is cached.
        insecure_localhost: allow plain http to this machine.
    """
    from rich.table import Table
    from rich.text import Text

    from ...weights.registry.pull import fetch_index
    from ...weights.registry.sources import choose_source
    from ...weights.store import installed
    from ..console import console

    chosen = choose_source(source, insecure_localhost, offline)
    index = fetch_index(chosen)
    here = {(each.stage, each.name, each.version) for each in installed()[0]}
    table = Table()
    for column in ("stage", "version", "MB", "released", "facepipe", "licence", "here"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for offer in index.releases:
        cells = offer.stage, offer.label, f"{offer.bytes / 1e6:.1f}", offer.date, offer.facepipe, offer.licence
        table.add_row(*map(Text, cells), "yes" if offer.key in here else "")
    console().print(table if table.row_count else f"{chosen.label}: the index lists no releases")


def _wanted(model: str, version: str | None) -> tuple[Stage, str, str | None]:
    """Stage, name and version (None: the newest) of what a command names."""
    stage, text = split_release(model, version)
    if text is None:
        return stage, "", None
    name, number = split_name(stage, text)
    return stage, name, number


def remove(
    model: Annotated[str, typer.Argument(metavar="STAGE@VERSION", help="Version to remove, such as detector@1.0.0.")],
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERSION]", help="Version, if the first argument is only a stage: 1.0.0 or NAME@1.0.0."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Remove it even if it is the version in use.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Remove a version. Asks first at a terminal, but not in a script. Versions that came with facepipe stay."""
    from ...weights.registry.prune import remove as remove_version
    from ...weights.store import find

    stage, number = split_release(model, version)
    if number is None:
        raise WeightsError(f"{stage}: name the version to remove, such as {stage}@1.0.0")
    if sys.stdin.isatty() and not yes and not typer.confirm(f"Remove {stage} {number} for good?", err=True):
        raise typer.Exit(1)
    removed = remove_version(stage, number, force)
    print(f"{stage} {removed.label} is removed: {removed.folder}")
    name = removed.label.rpartition("@")[0]
    try:
        used = find(stage, name or None)
    except WeightsError as error:
        print(f"note: {error}")
        return
    if force:
        print(f"{stage} {used.label} is used {when_used(used.name)}")


def gc(
    older_than: Annotated[
        str,
        typer.Option(metavar="AGE", help="Remove only what has not been written to for this long: 30m, 12h, 1d, 2w."),
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove leftovers of interrupted pulls and publishes, and selections of versions that are gone."""
    from ...weights.registry.prune import age_seconds, clear, leftovers

    found = leftovers(age_seconds(older_than))
    for leftover in found:
        if not dry_run:
            clear(leftover)
        where = "" if leftover.path is None else f"{leftover.path}: "
        size = "" if leftover.path is None else f" ({leftover.bytes / 1e6:,.1f} MB)"
        print(f"{'would remove' if dry_run else 'removed'} {where}{leftover.what}{size}")
    freed = sum(leftover.bytes for leftover in found)
    if not found:
        print(f"nothing to remove that is older than {older_than}")
    elif len(found) > 1:
        print(f"{len(found)} leftovers, {freed / 1e6:,.1f} MB")


def diff(
    versions: Annotated[
        list[str],
        typer.Argument(metavar="A B", help="Two versions: detector@1.0.0 detector@1.1.0, or detector 1.0.0 1.1.0."),
    ],
    everything: Annotated[bool, typer.Option("--all", help="Show every figure and every training setting.")] = False,
) -> None:
    """Compare two versions of a stage: what changed in their manifests, and the figures measured in the same way."""
    from rich.text import Text

    from ...weights.diff import differences
    from ..console import console

    first, second = _both(versions)
    found = differences(first, second)
    screen = console()
    screen.print(_changes(found, first, second, everything))
    if found.same:
        screen.print(Text(f"the same in both: {', '.join(found.same)}"))
    for measured in found.figures:
        screen.print()
        screen.print(Text(f"measured alike: {measured.protocol}"))
        if not everything and all(figure.difference == 0 for figure in measured.figures):
            of = f"{measured.first}, {measured.second}"
            screen.print(Text(f"{of}: {len(measured.figures)} figures, every one the same"))
            continue
        screen.print(_figures(measured, everything))
        hidden = 0 if everything else max(0, len(measured.figures) - FEW)
        if hidden:
            screen.print(Text(f"{hidden} more figures with --all"))
    if found.apart:
        screen.print()
        screen.print(Text("not compared, because the other version was not measured that way:"))
        for apart in found.apart:
            screen.print(Text(f"  {apart.of}, {apart.figures} figures: {apart.protocol}"))
    if not found.figures:
        screen.print(Text("no figures are comparable: measure both with the same command to see which is better"))


def _both(versions: list[str]) -> tuple[Release, Release]:
    """The two releases that are meant."""
    if len(versions) == 3 and "@" not in versions[0]:
        versions = [f"{versions[0]}@{versions[1]}", f"{versions[0]}@{versions[2]}"]
    if len(versions) != 2:
        raise WeightsError("name two versions, such as: facepipe weights diff detector@1.0.0 detector@1.1.0")
    (stage, one), (other_stage, other) = (split_release(text) for text in versions)
    return find(stage, one), find(other_stage, other)


def _changes(found: Differences, first: Release, second: Release, everything: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("", f"{first.stage} {first.label}", f"{second.stage} {second.label}"):
        table.add_column(Text(heading), overflow="fold")
    hidden = 0
    for change in found.changes:
        if change.what.startswith("training ") and None in (change.first, change.second) and not everything:
            hidden += 1
            continue
        table.add_row(*(Text(MISSING if text is None else text) for text in (change.what, change.first, change.second)))
    if hidden:
        table.add_row(Text("training, other settings"), Text(f"{hidden} that only one of them has: --all"), Text(""))
    return table


def _figures(measured: SideBySide, everything: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("", measured.first, measured.second, "difference", ""):
        table.add_column(Text(heading), justify="left" if heading == "" else "right")
    for figure in measured.figures if everything else measured.figures[:FEW]:
        table.add_row(*map(Text, (figure.name, *values(figure), verdict(figure))))
    return table


def values(figure: Figure) -> tuple[str, str, str]:
    """Both values of a figure, and their difference, to four decimals."""
    first, second = (MISSING if each.value is None else f"{each.value:.4f}" for each in (figure.first, figure.second))
    return first, second, MISSING if figure.difference is None else f"{figure.difference:+.4f}"


def verdict(figure: Figure) -> str:
    """In words whether the second version is better."""
    if figure.difference is None:
        if figure.first.count != figure.second.count:
            return f"different rows: {figure.first.count} and {figure.second.count}"
        return "not measured"
    if figure.better is None:
        return ""
    return ("better" if figure.better else "worse") + (", within the interval" if figure.significant is False else "")
