"""The options of ``facepipe detect`` in groups, beside those of the models that all commands share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from ..video.options import CLASSIFY_EVERY
from ._options import LARGEST_INPUT, MODELS, MOST_THREADS, SPEED, Precision

INPUT, OUTPUT, DRAWING, VIDEO, RAY = "Input", "Output", "Drawing", "Video", "With --engine ray"
"""Panels of ``--help``."""
HIDE_CONFIDENCE = 0.1
"""As ``drawing.second_look.CONFIDENCE``, which is loaded where something is hidden only."""


class Hidden(StrEnum):
    faces = "faces"
    heads = "heads"


class EngineName(StrEnum):
    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class Given:
    """What is looked at."""

    panel: ClassVar = INPUT

    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="Pictures, folders of them, globs, videos.", show_default=False),
    ] = None
    from_list: Annotated[
        str | None, typer.Option("--from", metavar="FILE|-", help="A list of sources, one a line; - is standard input.")
    ] = None
    allow_url: Annotated[bool, typer.Option(help="Sources may be http and https addresses.")] = False
    no_recursive: Annotated[bool, typer.Option(help="Of a folder take what lies in it, not in folders below.")] = False
    strict: Annotated[
        bool, typer.Option(help="A picture that is damaged within is an error, not a warning in its row.")
    ] = False


@dataclass(frozen=True)
class Written:
    """What is written, and from where a run goes on."""

    panel: ClassVar = OUTPUT

    json_target: Annotated[
        str | None, typer.Option("--json", metavar="FILE|-", help="Write one JSON object a line; - is standard output.")
    ] = None
    csv: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write a table, one row a face; - is standard output.")
    ] = None
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The same as Parquet, with types (extra 'parquet').")
    ] = None
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="Write COCO JSON, to correct the boxes.")] = None
    crops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Cut the faces out into this folder, with a CSV of labels.")
    ] = None
    features: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz|.parquet", help="Write each face's pooled numbers before the heads there."),
    ] = None
    resume: Annotated[bool, typer.Option(help="Go on with a run that was interrupted; what is done is skipped.")] = (
        False
    )
    retry_failed: Annotated[bool, typer.Option(help="With --resume: try pictures again that could not be read.")] = (
        False
    )
    restart: Annotated[bool, typer.Option(help="Begin anew, and drop what an interrupted run has done.")] = False


@dataclass(frozen=True)
class Drawn:
    """What is drawn into pictures, or hidden in them."""

    panel: ClassVar = DRAWING

    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE",
            help="Save annotated pictures and videos in this folder; of one picture or video, a file.",
        ),
    ] = None
    draw: Annotated[
        str | None,
        typer.Option(
            metavar="LAYERS",
            help="With --save or --show: draw these of boxes,labels,points,heads. Default: all.",
        ),
    ] = None
    label_fields: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="With --save or --show: attributes that labels name, as in age,gender.",
        ),
    ] = None
    blur: Annotated[
        Hidden | None, typer.Option(help="With --save: blur these, and draw nothing.", show_default=False)
    ] = None
    pixelate: Annotated[
        Hidden | None, typer.Option(help="With --save: pixelate these, and draw nothing.", show_default=False)
    ] = None
    hide_conf: Annotated[
        float, typer.Option(min=0, max=1, help="With --blur and --pixelate: least confidence of what is hidden.")
    ] = HIDE_CONFIDENCE
    review: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="With --blur and --pixelate: list there the pictures in which nothing was hidden."
        ),
    ] = None


@dataclass(frozen=True)
class Tuning:
    """How the models run, beside what all commands have."""

    panel: ClassVar = SPEED

    tiles: Annotated[
        bool,
        typer.Option(help="Look at pictures larger than that in tiles too, for small faces.", rich_help_panel=MODELS),
    ] = False
    tile_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=LARGEST_INPUT,
            help="Side of such a tile, in pixels; implies --tiles. Default: --imgsz.",
            rich_help_panel=MODELS,
        ),
    ] = None
    reduced_decode: Annotated[
        bool,
        typer.Option(help="Decode large JPEGs at a fraction of their size: quicker, and boxes move a little."),
    ] = False
    precision: Annotated[
        Precision, typer.Option(help="Of the models. auto: the fastest on this machine within the releases' bounds.")
    ] = Precision.auto
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_THREADS, help="Pictures that are worked on at once. Default: by the machine."),
    ] = None


@dataclass(frozen=True)
class Videos:
    """How videos are looked at."""

    panel: ClassVar = VIDEO

    every: Annotated[int, typer.Option(min=1, metavar="N", help="Look at every N-th frame only.")] = 1
    classify_every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Read a person's face in every N-th frame that has it.")
    ] = CLASSIFY_EVERY
    no_tracks: Annotated[bool, typer.Option(help="Do not follow persons; each frame's faces stand alone.")] = False
    tracks: Annotated[
        Path | None, typer.Option(metavar="FILE.csv|.parquet|.jsonl", help="Write one row a person there.")
    ] = None
    seconds: Annotated[
        float | None, typer.Option(min=0.001, max=31_536_000, metavar="S", help="Stop after S seconds.")
    ] = None
    show: Annotated[bool, typer.Option(help="Show videos and cameras in a window; q ends one.")] = False


@dataclass(frozen=True)
class Ray:
    """Many cores or machines."""

    panel: ClassVar = RAY

    engine: Annotated[
        EngineName,
        typer.Option(
            help="ray: workers on many cores or machines, sources in buckets, too (extra 'ray').", rich_help_panel=SPEED
        ),
    ] = EngineName.local
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER.parquet",
            help="Write rows as Parquet parts into this folder, on a disk or in a bucket; what is there is not done "
            "again.",
        ),
    ] = None
    address: Annotated[
        str | None, typer.Option(metavar="auto|HOST:PORT", help="Join this Ray cluster. Default: start Ray here.")
    ] = None
    actors: Annotated[int | None, typer.Option(min=1, help="Workers. Default: one a core, or one a GPU.")] = None
    block: Annotated[
        int | None, typer.Option(min=1, metavar="PICTURES", help="Pictures a part. Default: 25 to 500.")
    ] = None


@dataclass(frozen=True)
class Screen:
    """What the screen shows."""

    wide: Annotated[bool, typer.Option(help="Tables on the screen with points, too.", rich_help_panel=OUTPUT)] = False
    timing: Annotated[
        bool, typer.Option(help="Print where the time went, on standard error.", rich_help_panel=SPEED)
    ] = False
    quiet: Annotated[bool, typer.Option("-q", help="No notes, bars and summaries: only errors.")] = False
    verbose: Annotated[bool, typer.Option("-v", help="Say more: where the time went.")] = False
