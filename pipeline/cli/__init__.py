"""The command ``facepipe``: the app, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from ...core.errors import FacepipeError
from ...core.version import __version__
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
    serve,
    train_classifier,
    train_detector,
    verify,
    weights,
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


for register in (
    detect.register,
    weights.register,
    data.register,
    train_detector.register,
    train_detector.register_export,
    evaluate.register,
    doctor.register,
    doctor.register_schema,
    evaluate_detector.register,
    train_classifier.register,
    evaluate_classifier.register,
    compare.register_compare,
    train_classifier.register_recipes,
    benchmark.register,
    serve.register,
    verify.register,
):
    register(app)
