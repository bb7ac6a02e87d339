"""``facepipe data …``: what makes, changes or checks training data; the commands live in modules of their own.

``facepipe data augmented``.

``facepipe data crop``: labelled photos in, labelled crops out.

``facepipe data closeups``: an attribute data set as training pictures of the detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ._app import App
from ._options import Region, read_terms
from .data_check import check, prelabel, upload
from .data_convert import convert, roboflow
from .data_export import export

app = App(help="Training data: get, convert, check, crop, label.")


def augmented(
    data: Annotated[Path, typer.Argument(metavar="DATA.yaml", help="The data set.", show_default=False)],
    out: Annotated[Path, typer.Option(help="Picture to write, .png or .jpg.", show_default=False)],
    augmentation: Annotated[str, typer.Option(help="Name of a recipe, or a recipe's FILE.yaml.")] = "ultralytics",
    count: Annotated[int, typer.Option(min=1, max=600, help="Number of pictures to show.")] = 24,
    columns: Annotated[int, typer.Option(min=1, max=24, help="Pictures per row.")] = 6,
    imgsz: Annotated[int, typer.Option(min=32, help="Side of the training pictures, in pixels.")] = 640,
    rect: Annotated[bool, typer.Option(help="Batch pictures of similar aspect ratio, as in train-detector.")] = False,
    seed: Annotated[int, typer.Option(help="Random seed for the choice of pictures and for their augmentation.")] = 0,
) -> None:
    """Show what an augmentation recipe does to training pictures, with boxes and ignore regions."""
    from ...core.contact_sheet import write_sheet
    from ...detector.data.dataset import read_description
    from ...detector.training.augmentation import read_recipe
    from ...detector.training.preview import augmented_sheet

    recipe = read_recipe(augmentation)
    sheet = augmented_sheet(recipe, read_description(data), imgsz, count, rect, seed, columns)
    write_sheet(out, sheet)
    print(f"{out}: {count} training pictures after augmentation {recipe.name}, {sheet.shape[1]} x {sheet.shape[0]}")


class Missed(StrEnum):
    drop = "drop"
    whole = "whole"


@dataclass(frozen=True)
class Crops:
    """How a crop is cut and stored."""

    region: Annotated[Region, typer.Option(help="What to crop: the face, its head, or the torso below it.")] = (
        Region.face
    )
    margin: Annotated[
        float, typer.Option(min=0, max=2, help="Margin on each side, as a fraction of the longer side of the box.")
    ] = 0.05
    size: Annotated[int, typer.Option(min=16, max=512, help="Side of the recipe's crop, in pixels.")] = 224
    context: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Real picture to keep around each crop, as room for jitter in training."),
    ] = 0.15
    image_format: Annotated[str, typer.Option("--format", help="Format of the crops: jpg, webp or png.")] = "jpg"


@dataclass(frozen=True)
class Found:
    """How faces are found, and what becomes of pictures in which none is."""

    detector: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Detector that finds the faces. Default: the version in use.")
    ] = None
    confidence: Annotated[float, typer.Option(min=0, max=1, help="Minimum confidence of a face.")] = 0.25
    pad: Annotated[
        float, typer.Option(min=0, max=2, help="Border to add around pictures without a face, for a second pass.")
    ] = 0.5
    missed: Annotated[Missed, typer.Option(help="What to do with pictures in which no face is found.")] = Missed.drop
    tight: Annotated[
        list[str] | None, typer.Option(metavar="SOURCE", help="A source whose pictures are already tight crops.")
    ] = None
    across: Annotated[int, typer.Option(min=1, max=8, help="Detect small pictures in grids of ACROSS x ACROSS.")] = 3


def crop(
    source: Annotated[Path, typer.Argument(metavar="SOURCE.csv", help="CSV of labelled photos.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the crops and their CSV.")],
    crops: Crops,
    found: Found,
    schema: Annotated[
        Path | None, typer.Option(help="Schema of the attributes (YAML). Default: the shipped one.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1)] = 2,
) -> None:
    """Crop labelled faces, or their heads or torsos, from photos as serving does, and move labelled points along."""
    from ...classifier.config.schema import DEFAULT, read_schema
    from ...classifier.data.table import CropSet, read_faces
    from ...detector.inference.detector import FaceDetector
    from ...weights.manifest import CropRecipe
    from ..datasets.crops import CropOptions, crop_table

    if crops.image_format not in ("jpg", "webp", "png"):
        raise typer.BadParameter(f"--format must be jpg, webp or png, got {crops.image_format!r}")
    recipe = CropRecipe(region=crops.region.value, margin=crops.margin, size=crops.size)
    result = crop_table(
        read_faces(source, read_schema(schema or DEFAULT), must_exist=False),
        out,
        CropSet(recipe=recipe, context=crops.context),
        lambda: FaceDetector(found.detector, confidence=found.confidence),
        CropOptions(found.pad, found.missed.value, tuple(found.tight or ()), found.across, crops.image_format, workers),
        lambda line: print(line, flush=True),
    )
    for file, reason in result.missed:
        print(f"left out: {file}: {reason}")
    print(
        f"{result.csv}: {result.cut} cut ({result.retried} found in the second pass), {result.tight} tight, "
        f"{result.whole} kept whole, {len(result.missed)} left out (see {out / 'missed.csv'})"
    )


def closeups(
    faces: Annotated[Path, typer.Argument(metavar="FACES.csv", help="CSV of pictures with one face each.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the new data set.")],
    source: Annotated[list[str] | None, typer.Option(help="A source to use; may be repeated. Default: all.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of pictures per source and split.")] = None,
    detector: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Detector that finds the boxes. Default: the version in use.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Schema of the attributes (YAML). Default: the shipped one.")
    ] = None,
    train_only: Annotated[
        bool,
        typer.Option("--train-only", help="Leave out the validation rows, for a set that will be joined to another."),
    ] = False,
    terms: Annotated[
        list[str] | None,
        typer.Option(metavar="[SOURCE=]TEXT", help="Terms of use of the pictures, for one source or for all."),
    ] = None,
    across: Annotated[
        int, typer.Option(min=1, max=12, help="Arrange faces on sheets of ACROSS x ACROSS; 1: no sheets.")
    ] = 1,
    seed: Annotated[
        int, typer.Option(help="Random seed for the selection, and for sizes and positions on sheets.")
    ] = 0,
) -> None:
    """Make detector training pictures of frame-filling faces from attribute data, with boxes found by the detector."""
    from ...classifier.config.schema import DEFAULT, read_schema
    from ...classifier.data.table import read_faces
    from ...detector.data.closeups import SEEN
    from ...detector.inference.detector import FaceDetector
    from ..datasets.closeups import draw_rows, write_close_ups

    table = read_faces(faces, read_schema(schema or DEFAULT), must_exist=False)
    rows = draw_rows(table, source or (), limit, ("train",) if train_only else ("train", "val"), seed)
    counts = write_close_ups(
        table, rows, FaceDetector(detector, confidence=SEEN), out, read_terms(terms or []), across, seed
    )
    print(f"{out / 'data.yaml'}: " + ", ".join(f"{count} {what}" for what, count in counts.items() if count))


for command in (crop, convert, roboflow, closeups, check, prelabel, upload, export, augmented):
    app.command()(command)
