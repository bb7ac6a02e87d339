"""``facepipe weights remove | gc``: releases and leftovers that are no longer wanted."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ...core.errors import WeightsError
from ...weights.names import split_release


def register(app: typer.Typer) -> None:
    """Add the commands to ``facepipe weights``."""
    app.command()(remove)
    app.command()(gc)


def remove(
    model: Annotated[str, typer.Argument(metavar="STAGE@VERSION", help="Such as detector@1.0.0.")],
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Where the stage stands alone; 1.0.0 or NAME@1.0.0.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Even the one that is used.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a version. At a terminal it asks first; from a script it does not. What came with facepipe stays."""
    from ...weights.registry.prune import remove as remove_version
    from ...weights.store import find

    stage, number = split_release(model, version)
    if number is None:
        raise WeightsError(f"{stage}: name the version that is to go, such as {stage}@1.0.0")
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
        print(f"{stage} {used.label} is used where none is named")


def gc(
    older_than: Annotated[
        str, typer.Option(metavar="AGE", help="Only what nobody has written to for so long: 30m, 12h, 1d, 2w.")
    ] = "1d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
) -> None:
    """Remove what broken-off pulls and publishings left, and choices of versions that are gone."""
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
