"""``facepipe data closeups``: an attribute data set as training pictures of the detector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to ``facepipe data``."""
    app.command("closeups")(closeups)


def closeups(
    faces: Annotated[Path, typer.Argument(metavar="FACES.csv", help="CSV of pictures of one face each.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="The new data set's folder.")],
    source: Annotated[list[str] | None, typer.Option(help="A source to take; may be repeated. Default: all.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most pictures of a source in a split.")] = None,
    detector: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Finds the boxes. Default: that in use.")
    ] = None,
    schema: Annotated[Path | None, typer.Option(help="YAML of the attributes. Default: the shipped one.")] = None,
    train_only: Annotated[
        bool, typer.Option("--train-only", help="Leave the validation rows out: the set is to be joined to another.")
    ] = False,
    terms: Annotated[
        list[str] | None, typer.Option(metavar="[SOURCE=]TEXT", help="Terms of the pictures, of a source or of all.")
    ] = None,
    across: Annotated[int, typer.Option(min=1, max=12, help="Lay ACROSS x ACROSS faces on a sheet; 1: none.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the draw, and of sizes and places on sheets.")] = 0,
) -> None:
    """Make detector training pictures of faces that fill the frame from attribute data; boxes by the detector."""
    from ...classifier.config.schema import DEFAULT, read_schema
    from ...classifier.data.table import read_faces
    from ...detector.data.closeups import SEEN
    from ...detector.inference.detector import FaceDetector
    from ..datasets.closeups import draw_rows, write_close_ups
    from .train_classifier import read_terms

    table = read_faces(faces, read_schema(schema or DEFAULT), must_exist=False)
    rows = draw_rows(table, source or (), limit, ("train",) if train_only else ("train", "val"), seed)
    counts = write_close_ups(
        table, rows, FaceDetector(detector, confidence=SEEN), out, read_terms(terms or []), across, seed
    )
    print(f"{out / 'data.yaml'}: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))
