"""``facepipe evaluate-detector``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("evaluate-detector")(evaluate_detector)


def evaluate_detector(
    data: Annotated[Path, typer.Option(help="DATA.yaml of the pictures to measure on.")],
    detector: Annotated[str | None, typer.Option(help="A version or a release folder; else the newest.")] = None,
    split: Annotated[str, typer.Option(help="train or val.")] = "val",
    precision: Annotated[str | None, typer.Option(help="float32, float16 or int8; else the release's default.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures there.")] = None,
) -> None:
    """Measure a released detector through the code that serves it."""
    from ..detector.description import read_description
    from ..detector.release import measure
    from ..weights.store import find

    metrics = measure(find("detector", detector), precision, read_description(data), split)
    if json_file:
        json_file.write_text(json.dumps(metrics.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8")
