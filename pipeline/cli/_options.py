"""Options and choices that commands share, each written once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

MODELS, SPEED = "Models", "Speed"
"""Panels of ``--help``."""
LARGEST_INPUT, MOST_THREADS = 4096, 1024
"""Pixels of the detector's input, whose memory grows with their square; threads, each of which takes memory."""
Detector = Annotated[
    str | None,
    typer.Option(
        metavar="VERSION",
        help="Detector: a version or a release folder. Default: the version in use.",
        rich_help_panel=MODELS,
    ),
]
Classifier = Annotated[
    list[str] | None,
    typer.Option(
        metavar="VERSION",
        help="Classifier: a version, NAME@VERSION or a release folder; may be repeated. Default: the version in use.",
        rich_help_panel=MODELS,
    ),
]
Confidence = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Minimum confidence of a box. Default: the detector's own.", rich_help_panel=MODELS
    ),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        min=32,
        max=LARGEST_INPUT,
        help="Longer side of a picture as the detector sees it, in pixels. Default: the detector's own.",
        rich_help_panel=MODELS,
    ),
]
Device = Annotated[
    str, typer.Option(help="Device to run on: cpu, cuda, cuda:1, tensorrt, coreml or directml.", rich_help_panel=SPEED)
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_THREADS, help="Number of threads. Default: one per core.", rich_help_panel=SPEED),
]

PrecisionName = Annotated[
    str, typer.Option(help="Which file of each release to run: auto (as in detect), int8, float16 or float32.")
]
FaceCheckSwitch = Annotated[
    bool,
    typer.Option("--face-check/--no-face-check", help="Leave out boxes that the classifier takes for something else."),
]
FiguresFile = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures to this file.")]

ReportFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the report to this folder: figures and plots.")
]


class Precision(StrEnum):
    auto = "auto"
    int8 = "int8"
    float16 = "float16"
    float32 = "float32"


class Region(StrEnum):
    face = "face"
    head = "head"
    torso = "torso"


@dataclass(frozen=True)
class ModelChoice:
    """Which models run, and how."""

    detector: Detector = None
    classifier: Classifier = None
    conf: Confidence = None
    imgsz: InputSize = None
    device: Device = "cpu"
    threads: Threads = None


def typed(context: typer.Context, option: str) -> bool:
    """Whether an option stood on the command line, rather than being left to its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


def report_folders(out: Path, names: Sequence[str]) -> list[Path]:
    """One model's report goes to the folder itself, those of several into folders of their names."""
    if len(names) == 1:
        return [out]
    return [out / "".join(c if c.isalnum() or c in "._-" else "-" for c in name) for name in names]


def read_terms(given: list[str]) -> dict[str, str]:
    """``source=text`` by source; a text whose part before ``=`` is no single word holds for all."""
    found = {}
    for text in given:
        source, equals, rest = text.partition("=")
        one = bool(equals) and source.replace("_", "").replace("-", "").isalnum()
        found[source if one else ""] = rest if one else text
    return found
