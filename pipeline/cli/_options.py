"""Options that every command has which runs both models: which versions, where, and how they look at a picture."""

from __future__ import annotations

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
