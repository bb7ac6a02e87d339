"""``facepipe weights diff``: two versions of a stage side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ...core.errors import WeightsError
from ...weights.names import split_release
from ...weights.store import find

if TYPE_CHECKING:
    from rich.table import Table

    from ...weights.diff import Differences, Figure, SideBySide
    from ...weights.release import Release

MISSING = "-"
FEW = 24
"""Most figures of a measurement that are shown without ``--all``; those of single sources and groups stand last."""


def register(app: typer.Typer) -> None:
    """Add the command to ``facepipe weights``."""
    app.command()(diff)


def diff(
    versions: Annotated[
        list[str],
        typer.Argument(metavar="A B", help="detector@0.1.0 detector@1.0.0; or: detector 0.1.0 1.0.0."),
    ],
    everything: Annotated[bool, typer.Option("--all", help="Every figure, and every line of the training.")] = False,
) -> None:
    """Compare two versions of a stage: what changed in their manifests, and the figures that were measured alike."""
    from rich.text import Text

    from ...weights.diff import differences
    from ..table import console

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
        screen.print(Text("not compared, for the other version was not measured so:"))
        for apart in found.apart:
            screen.print(Text(f"  {apart.of}, {apart.figures} figures: {apart.protocol}"))
    if not found.figures:
        screen.print(Text("no figure of the two compares: measure both with the same command to see which is better"))


def _both(versions: list[str]) -> tuple[Release, Release]:
    """The two releases that are meant."""
    if len(versions) == 3 and "@" not in versions[0]:
        versions = [f"{versions[0]}@{versions[1]}", f"{versions[0]}@{versions[2]}"]
    if len(versions) != 2:
        raise WeightsError("name two versions, such as: facepipe weights diff detector@0.1.0 detector@1.0.0")
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
        table.add_row(Text("training, other settings"), Text(f"{hidden} that only one of them names: --all"), Text(""))
    return table


def _figures(measured: SideBySide, everything: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in ("", measured.first, measured.second, "difference", ""):
        table.add_column(Text(heading), justify="left" if heading == "" else "right")
    for figure in measured.figures if everything else measured.figures[:FEW]:
        table.add_row(*map(Text, (figure.name, *_values(figure), _verdict(figure))))
    return table


def _values(figure: Figure) -> tuple[str, str, str]:
    first, second = (MISSING if each.value is None else f"{each.value:.4f}" for each in (figure.first, figure.second))
    return first, second, MISSING if figure.difference is None else f"{figure.difference:+.4f}"


def _verdict(figure: Figure) -> str:
    """In words whether the second version is better."""
    if figure.difference is None:
        if figure.first.count != figure.second.count:
            return f"other rows: {figure.first.count} and {figure.second.count}"
        return "not measured"
    if figure.better is None:
        return ""
    return ("better" if figure.better else "worse") + (", within the intervals" if figure.told_apart is False else "")
