"""The command ``facepipe``: the app, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from ... import __version__
from ...core.errors import FacepipeError
from ..console import report
from . import (
    benchmark,
    compare,
    data,
    detect,
    doctor,
    evaluate,
    evaluate_classifier,
    evaluate_detector,
    export_detector,
    recipes,
    schema,
    serve,
    weights,
)
from . import (
    train_classifier as classifier,
)
from . import (
    train_detector as detector,
)
from . import (
    verify_part as verify,
)

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
    detect,
    weights,
    data,
    detector,
    export_detector,
    evaluate,
    doctor,
    schema,
    evaluate_detector,
    classifier,
    evaluate_classifier,
    compare,
    recipes,
    benchmark,
    serve,
    verify,
):
    commands.register(app)
