"""The options of ``facepipe detect`` in groups, beside those of the models that all commands share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from ..video.options import CLASSIFY_EVERY
from ._options import LARGEST_INPUT, MODELS, MOST_THREADS, SPEED, FaceCheckSwitch, Precision

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
        typer.Argument(metavar="SOURCE", help="Pictures, folders of pictures, globs or videos.", show_default=False),
    ] = None
    from_list: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE|-", help="Read a list of sources, one per line; - is standard input."),
    ] = None
    allow_url: Annotated[bool, typer.Option(help="Allow http and https URLs as sources.")] = False
    no_recursive: Annotated[bool, typer.Option(help="Do not search the subfolders of a folder.")] = False
    strict: Annotated[
        bool, typer.Option(help="Treat a partly damaged picture as an error, not as a warning in its row.")
    ] = False


@dataclass(frozen=True)
class Written:
    """What is written, and from where a run goes on."""

    panel: ClassVar = OUTPUT

    json_target: Annotated[
        str | None,
        typer.Option("--json", metavar="FILE|-", help="Write one JSON object per line; - is standard output."),
    ] = None
    csv: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="Write a table with one row per face; - is standard output.")
    ] = None
    parquet: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the same table as Parquet, with typed columns (extra 'parquet')."),
    ] = None
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="Write COCO JSON, for correcting the boxes.")] = None
    crops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Save the cropped faces to this folder, with a CSV of labels.")
    ] = None
    features: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz|.parquet",
            help="Write each face's feature vector, the pooled values before the heads, to this file.",
        ),
    ] = None
    resume: Annotated[bool, typer.Option(help="Continue an interrupted run and skip what is already done.")] = False
    retry_failed: Annotated[bool, typer.Option(help="With --resume: retry pictures that could not be read.")] = False
    restart: Annotated[bool, typer.Option(help="Start over and discard what an interrupted run has done.")] = False


@dataclass(frozen=True)
class Drawn:
    """What is drawn into pictures, or hidden in them."""

    panel: ClassVar = DRAWING

    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE",
            help="Save annotated pictures and videos to this folder, or a single picture or video to this file.",
        ),
    ] = None
    draw: Annotated[
        str | None,
        typer.Option(
            metavar="LAYERS",
            help="With --save or --show: which of boxes,labels,points,heads to draw. Default: all.",
        ),
    ] = None
    label_fields: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="With --save or --show: attributes to show in the labels, such as age,gender.",
        ),
    ] = None
    blur: Annotated[
        Hidden | None, typer.Option(help="With --save: blur these, and draw nothing.", show_default=False)
    ] = None
    pixelate: Annotated[
        Hidden | None, typer.Option(help="With --save: pixelate these, and draw nothing.", show_default=False)
    ] = None
    hide_conf: Annotated[
        float, typer.Option(min=0, max=1, help="With --blur or --pixelate: minimum confidence of what is hidden.")
    ] = HIDE_CONFIDENCE
    review: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="With --blur or --pixelate: write a list of the pictures in which nothing was hidden to this file.",
        ),
    ] = None


@dataclass(frozen=True)
class Tuning:
    """How the models run, beside what all commands have."""

    panel: ClassVar = SPEED

    tiles: Annotated[
        bool,
        typer.Option(
            help="Also scan pictures larger than --tile-size in tiles, for small faces.", rich_help_panel=MODELS
        ),
    ] = False
    tile_size: Annotated[
        int | None,
        typer.Option(
            min=32,
            max=LARGEST_INPUT,
            help="Side of a tile, in pixels; implies --tiles. Default: --imgsz.",
            rich_help_panel=MODELS,
        ),
    ] = None
    reduced_decode: Annotated[
        bool,
        typer.Option(help="Decode large JPEGs at a fraction of their size: faster, but boxes shift slightly."),
    ] = False
    face_check: FaceCheckSwitch = True
    precision: Annotated[
        Precision,
        typer.Option(
            help="Precision of the models. auto: the fastest on this machine within the releases' accuracy limits."
        ),
    ] = Precision.auto
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_THREADS, help="Number of pictures to process at once. Default: depends on the machine."
        ),
    ] = None


@dataclass(frozen=True)
class Videos:
    """How videos are looked at."""

    panel: ClassVar = VIDEO

    every: Annotated[int, typer.Option(min=1, metavar="N", help="Process only every N-th frame.")] = 1
    classify_every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Classify a person's face in every N-th frame that shows it.")
    ] = CLASSIFY_EVERY
    no_tracks: Annotated[bool, typer.Option(help="Do not track persons; treat each frame's faces on their own.")] = (
        False
    )
    tracks: Annotated[
        Path | None, typer.Option(metavar="FILE.csv|.parquet|.jsonl", help="Write one row per person to this file.")
    ] = None
    seconds: Annotated[
        float | None, typer.Option(min=0.001, max=31_536_000, metavar="S", help="Stop after S seconds.")
    ] = None
    show: Annotated[bool, typer.Option(help="Show videos and cameras in a window; q ends the current one.")] = False


@dataclass(frozen=True)
class Ray:
    """Many cores or machines."""

    panel: ClassVar = RAY

    engine: Annotated[
        EngineName,
        typer.Option(
            help="ray: run workers on many cores or machines; sources in buckets are allowed too (extra 'ray').",
            rich_help_panel=SPEED,
        ),
    ] = EngineName.local
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER.parquet",
            help="Write the rows as Parquet parts to this folder, on a disk or in a bucket; parts already there "
            "are skipped.",
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(metavar="auto|HOST:PORT", help="Join this Ray cluster. Default: start Ray on this machine."),
    ] = None
    actors: Annotated[
        int | None, typer.Option(min=1, help="Number of workers. Default: one per core, or one per GPU.")
    ] = None
    block: Annotated[
        int | None, typer.Option(min=1, metavar="PICTURES", help="Pictures per part. Default: 25 to 500.")
    ] = None


@dataclass(frozen=True)
class Screen:
    """What the screen shows."""

    wide: Annotated[bool, typer.Option(help="Include the points in the tables on screen.", rich_help_panel=OUTPUT)] = (
        False
    )
    timing: Annotated[
        bool, typer.Option(help="Print where the time went to standard error.", rich_help_panel=SPEED)
    ] = False
    quiet: Annotated[bool, typer.Option("-q", help="Print errors only: no notes, progress bars or summaries.")] = False
    verbose: Annotated[bool, typer.Option("-v", help="Print more: where the time went.")] = False
