"""The options of ``facepipe detect`` that are about videos, for the command to take up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
