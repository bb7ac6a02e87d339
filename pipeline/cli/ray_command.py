"""Options of ``facepipe detect`` for more than one machine, and which options go with which engine."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import typer

PANEL = "With --engine ray"


class EngineName(StrEnum):
    local = "local"
    ray = "ray"


Engine = Annotated[
    EngineName,
    typer.Option(help="ray: workers on many cores or machines, sources in buckets, too (extra 'ray')."),
]
Out = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER.parquet",
        help="Write rows as Parquet parts into this folder, on a disk or in a bucket; what is there is not done again.",
        rich_help_panel=PANEL,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="auto|HOST:PORT", help="Join this Ray cluster. Default: start Ray here.", rich_help_panel=PANEL
    ),
]
Actors = Annotated[
    int | None, typer.Option(min=1, help="Workers. Default: one a core, or one a GPU.", rich_help_panel=PANEL)
]
Block = Annotated[
    int | None,
    typer.Option(min=1, metavar="PICTURES", help="Pictures a part. Default: 25 to 500.", rich_help_panel=PANEL),
]


def check_engine(engine: EngineName, local_only: Mapping[str, object], ray_only: Mapping[str, object]) -> None:
    """Refuse options of the other engine.

    Args:
        engine: that was chosen.
        local_only, ray_only: options by name; those that were given are true.

    Raises:
        typer.BadParameter: one was given that the engine has no use for, or Ray's output is missing.
    """
    others = local_only if engine is EngineName.ray else ray_only
    given = [option for option, value in others.items() if value]
    if given and engine is EngineName.ray:
        raise typer.BadParameter(
            f"{', '.join(given)}: not with --engine ray, which writes rows to --out FOLDER.parquet"
        )
    if given:
        raise typer.BadParameter(f"{', '.join(given)}: only with --engine ray")
    if engine is EngineName.ray and not ray_only["--out"]:
        raise typer.BadParameter("--engine ray needs --out FOLDER.parquet")
