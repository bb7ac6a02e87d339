"""``facepipe data …``: what makes, changes or checks training data; the commands live in modules of their own."""

from __future__ import annotations

import typer

from . import cli_augmentation, cli_crop, cli_data_check, cli_data_closeups, cli_data_in

app = typer.Typer(no_args_is_help=True, help="Training data: get, convert, check, cut, label.", rich_markup_mode=None)


def register(parent: typer.Typer) -> None:
    """Add the commands to the app."""
    cli_crop.register(app)
    cli_data_in.register(app)
    cli_data_closeups.register(app)
    cli_data_check.register(app)
    cli_augmentation.register(app)
    parent.add_typer(app, name="data")
