"""Options and choices that commands share, each written once: models, speed, videos, many machines."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

INPUT, OUTPUT, MODELS, SPEED, DRAWING, VIDEO, RAY = (
    "Input",
    "Output",
    "Models",
    "Speed",
    "Drawing",
    "Video",
    "With --engine ray",
)
"""Panels of ``detect --help``."""
LARGEST_INPUT, MOST_THREADS = 4096, 1024
"""Pixels of the detector's input, whose memory grows with their square; threads, each of which takes memory."""

HIDE_CONFIDENCE = 0.1
"""As ``drawing.second_look.CONFIDENCE``, which is loaded where something is hidden only."""
Detector = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION",
        help="Detector: a version or a release's folder. Default: that in use.",
        rich_help_panel=MODELS,
    ),
]
Classifier = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VERSION",
        help="Classifier: a version, NAME@VERSION or a release's folder; may be repeated. Default: that in use.",
        rich_help_panel=MODELS,
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Least confidence of a box. Default: the detector's own.", rich_help_panel=MODELS),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        min=32,
        max=LARGEST_INPUT,
        help="Longer side of a picture for the detector, in pixels. Default: the detector's own.",
        rich_help_panel=MODELS,
    ),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, tensorrt, coreml or directml.", rich_help_panel=SPEED)]
Threads = Annotated[
    int | None, typer.Option(min=1, max=MOST_THREADS, help="Threads. Default: one a core.", rich_help_panel=SPEED)
]


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


class EngineName(StrEnum):
    local = "local"
    ray = "ray"


Engine = Annotated[
    EngineName,
    typer.Option(
        help="ray: workers on many cores or machines, sources in buckets, too (extra 'ray').", rich_help_panel=SPEED
    ),
]
Out = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER.parquet",
        help="Write rows as Parquet parts into this folder, on a disk or in a bucket; what is there is not done again.",
        rich_help_panel=RAY,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(metavar="auto|HOST:PORT", help="Join this Ray cluster. Default: start Ray here.", rich_help_panel=RAY),
]
Actors = Annotated[
    int | None, typer.Option(min=1, help="Workers. Default: one a core, or one a GPU.", rich_help_panel=RAY)
]
Block = Annotated[
    int | None,
    typer.Option(min=1, metavar="PICTURES", help="Pictures a part. Default: 25 to 500.", rich_help_panel=RAY),
]


Every = Annotated[
    int,
    typer.Option("--every", min=1, metavar="N", help="Look at every N-th frame only.", rich_help_panel=VIDEO),
]
ClassifyEvery = Annotated[
    int,
    typer.Option(
        "--classify-every",
        min=1,
        metavar="N",
        help="Read a person's face in every N-th frame that has it.",
        rich_help_panel=VIDEO,
    ),
]
NoTracks = Annotated[
    bool,
    typer.Option("--no-tracks", help="Do not follow persons; each frame's faces stand alone.", rich_help_panel=VIDEO),
]
Tracks = Annotated[
    Path | None,
    typer.Option(
        "--tracks", metavar="FILE.csv|.parquet|.jsonl", help="Write one row a person there.", rich_help_panel=VIDEO
    ),
]
Seconds = Annotated[
    float | None,
    typer.Option(
        "--seconds", min=0.001, max=31_536_000, metavar="S", help="Stop after S seconds.", rich_help_panel=VIDEO
    ),
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
