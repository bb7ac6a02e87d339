"""``facepipe data augmented``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to ``facepipe data``."""
    app.command("augmented")(augmented)


def augmented(
    data: Annotated[Path, typer.Argument(metavar="DATA.yaml", help="The data set.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The picture to write, .png or .jpg.", show_default=False)],
    augmentation: Annotated[str, typer.Option(help="A recipe's name, or its FILE.yaml.")] = "ultralytics",
    count: Annotated[int, typer.Option(min=1, max=600, help="Pictures to show.")] = 24,
    columns: Annotated[int, typer.Option(min=1, max=24, help="Pictures in a row.")] = 6,
    imgsz: Annotated[int, typer.Option(min=32, help="Side of training pictures in pixels.")] = 640,
    rect: Annotated[bool, typer.Option(help="Pictures in batches of like aspect ratio, as train-detector has it.")] = (
        False
    ),
    seed: Annotated[int, typer.Option(help="Of the pictures drawn and of what is done to them.")] = 0,
) -> None:
    """Show what an augmentation recipe makes of training pictures, with boxes and ignore regions."""
    from ...core.contact_sheet import write_sheet
    from ...detector.data.dataset import read_description
    from ...detector.training.augmentation import read_recipe
    from ...detector.training.preview import augmented_sheet

    recipe = read_recipe(augmentation)
    sheet = augmented_sheet(recipe, read_description(data), imgsz, count, rect, seed, columns)
    write_sheet(out, sheet)
    print(f"{out}: {count} training pictures after augmentation {recipe.name}, {sheet.shape[1]} x {sheet.shape[0]}")
