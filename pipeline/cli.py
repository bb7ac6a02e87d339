"""The command ``facepipe``: the app, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from .. import __version__
from ..weights.errors import FacepipeError
from . import (
    cli_benchmark,
    cli_classifier,
    cli_compare,
    cli_data,
    cli_detect,
    cli_detector,
    cli_doctor,
    cli_evaluate,
    cli_evaluate_classifier,
    cli_evaluate_detector,
    cli_export_detector,
    cli_recipes,
    cli_schema,
    cli_serve,
    cli_verify,
    cli_weights,
)
from .error_line import report

USAGE = 2
"""Exit code of a command that could not start or go on."""

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 all done, 1 some input failed, 2 wrong usage or a set-up that does not work."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a letter that the terminal's encoding lacks must not end the run
            stream.reconfigure(errors="replace")
    try:
        app(args=arguments)
    except FacepipeError as error:
        report(str(error))
        sys.exit(USAGE)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"facepipe {__version__}")
        raise typer.Exit


@app.callback()
def facepipe(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Find faces in photos, and read attributes of each."""


for commands in (
    cli_detect,
    cli_weights,
    cli_data,
    cli_detector,
    cli_export_detector,
    cli_evaluate,
    cli_doctor,
    cli_schema,
    cli_evaluate_detector,
    cli_classifier,
    cli_evaluate_classifier,
    cli_compare,
    cli_recipes,
    cli_benchmark,
    cli_serve,
    cli_verify,
):
    commands.register(app)
