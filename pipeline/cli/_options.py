"""Options that every command has which runs both models: which versions, where, and how they look at a picture.

How the options of a command were given.

Options of ``facepipe detect`` for more than one machine, and which options go with which engine.

The options of ``facepipe detect`` that are about videos, for the command to take up.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Detector = Annotated[
    str | None,
    typer.Option(metavar="VERSION", help="Detector: a version or a release's folder. Default: that in use."),
]
Classifier = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VERSION",
        help="Classifier: a version, NAME@VERSION or a release's folder; may be repeated. Default: that in use.",
    ),
]
Confidence = Annotated[
    float | None, typer.Option(min=0, max=1, help="Least confidence of a box. Default: the detector's own.")
]
InputSize = Annotated[
    int | None,
    typer.Option(min=32, help="Longer side of a picture for the detector, in pixels. Default: the detector's own."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, tensorrt, coreml or directml.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads. Default: one a core.")]


class Precision(StrEnum):
    auto = "auto"
    int8 = "int8"
    float16 = "float16"
    float32 = "float32"


class Hidden(StrEnum):
    faces = "faces"
    heads = "heads"


def typed(context: typer.Context, option: str) -> bool:
    """Whether an option stood on the command line, rather than being left to its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


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


Every = Annotated[int, typer.Option("--every", min=1, metavar="N", help="Video: look at every N-th frame only.")]
ClassifyEvery = Annotated[
    int,
    typer.Option(
        "--classify-every", min=1, metavar="N", help="Video: read a person's face in every N-th frame that has it."
    ),
]
NoTracks = Annotated[
    bool, typer.Option("--no-tracks", help="Video: do not follow persons; each frame's faces stand alone.")
]
Tracks = Annotated[
    Path | None,
    typer.Option("--tracks", metavar="FILE.csv|.parquet|.jsonl", help="Video: write one row a person there."),
]
Seconds = Annotated[
    float | None, typer.Option("--seconds", min=0.001, metavar="S", help="Video: stop after S seconds.")
]


class Region(StrEnum):
    face = "face"
    head = "head"
    torso = "torso"


def read_terms(given: list[str]) -> dict[str, str]:
    """``source=text`` by source; a text whose part before ``=`` is no single word holds for all."""
    found = {}
    for text in given:
        source, equals, rest = text.partition("=")
        one = bool(equals) and source.replace("_", "").replace("-", "").isalnum()
        found[source if one else ""] = rest if one else text
    return found
