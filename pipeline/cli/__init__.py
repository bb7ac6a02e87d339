"""The command ``facepipe``: the app, and the one place where errors become exit codes."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from ...core.errors import FacepipeError
from ...core.version import __version__
from ..console import DEBUG, ERROR, INFO, WARNING, Verbosity, exit_code, leave, report
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
from ._app import App, ClickException, explain, settings_map, use_utf8

USAGE = 2
"""Exit code of a command that could not start or go on."""
INTERRUPTED = 128
"""Exit codes above it are of a signal."""

app = App(add_completion=True)


class LogLevel(StrEnum):
    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


LEVELS = {LogLevel.debug: DEBUG, LogLevel.info: INFO, LogLevel.warning: WARNING, LogLevel.error: ERROR}


def main(arguments: list[str] | None = None) -> None:
    """Run a command and exit: 0 all done, 1 some input failed, 2 wrong usage or a set-up that does not work."""
    use_utf8()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(args=given, prog_name="facepipe", standalone_mode=False, default_map=settings_map(given)) or 0
        if arguments is None and code > INTERRUPTED:
            leave(code)
        sys.exit(code)
    except FacepipeError as error:
        report(str(error))
        sys.exit(USAGE)
    except ClickException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()  # type: ignore[attr-defined]
        else:
            report(explain(error))
        sys.exit(USAGE)
    except typer.Abort:
        report("aborted")
        sys.exit(1)
    except KeyboardInterrupt as interruption:
        sys.exit(exit_code(interruption))


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"facepipe {__version__}")
        raise typer.Exit


@app.callback()
def facepipe(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes, bars and summaries: only errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more: where the time went.")] = False,
    log_level: Annotated[LogLevel, typer.Option(help="The same by name; info is the default.")] = LogLevel.info,
) -> None:
    """Find faces in photos, and read attributes of each."""
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose: choose one of them")
    Verbosity.level = WARNING if quiet else DEBUG if verbose else LEVELS[log_level]


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
