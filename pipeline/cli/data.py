"""``facepipe data …``: what makes, changes or checks training data; the commands live in modules of their own."""

from __future__ import annotations

import typer

from . import augmentation, crop, data_check, data_closeups
from . import data_convert as data_in

app = typer.Typer(no_args_is_help=True, help="Training data: get, convert, check, cut, label.", rich_markup_mode=None)


def register(parent: typer.Typer) -> None:
    """Add the commands to the app."""
    crop.register(app)
    data_in.register(app)
    data_closeups.register(app)
    data_check.register(app)
    augmentation.register(app)
    parent.add_typer(app, name="data")
