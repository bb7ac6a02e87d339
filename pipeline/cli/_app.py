"""The app, its own kind of command, and the one place where errors become exit codes.

A command's module is imported when the command is named: a tenth of a second less at each start.
Values are bounded, defaults come from settings, errors are one line.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import wraps
from importlib import import_module
from inspect import Parameter, Signature, signature
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, NoReturn, get_args, get_type_hints

import typer
from typer.core import TyperCommand

from ...core.errors import FacepipeError
from ...core.version import __version__
from ..console import DEBUG, ERROR, INFO, WARNING, Verbosity, exit_code, leave, report

_BASES: Any = typer.BadParameter.__mro__[1:3]
UsageError: type[Exception] = _BASES[0]
ClickException: type[Exception] = _BASES[1]
USAGE = 2
"""Exit code of a command that could not start or go on."""
INTERRUPTED = 128
"""Exit codes above it are of a signal."""
LARGEST = 2**53
"""Largest whole number that an option takes."""
NAME_BYTES, PATH_BYTES = 255, 4096
"""Of a file's name and of a whole path, where the system does not say less."""
SETTINGS_FILE = "facepipe.toml"
SETTABLE = ("detector", "classifier", "device", "threads", "workers", "conf", "imgsz", "precision", "log_level")
"""What settings may hold, by its name in the file; the variable is FACEPIPE_ and the name in capitals."""
COMMANDS = {
    "detect": "detect:detect",
    "weights": "weights:app",
    "data": "data:app",
    "train-detector": "train_detector:train_detector",
    "export-detector": "train_detector:export_detector",
    "evaluate": "evaluate:evaluate",
    "doctor": "doctor:doctor",
    "schema": "doctor:schema",
    "evaluate-detector": "evaluate_detector:evaluate_detector",
    "train-classifier": "train_classifier:train_classifier",
    "evaluate-classifier": "evaluate_classifier:evaluate_classifier",
    "compare": "compare:compare",
    "recipes": "train_classifier:app",
    "benchmark": "benchmark:benchmark",
    "serve": "serve:serve",
    "verify": "verify:verify",
}
"""Module and name of each command, or group of commands, in the order of the help."""
WITH_SETTINGS = ("detect", "serve", "benchmark", "evaluate")
"""Commands whose options take their defaults from settings."""


class Command(TyperCommand):
    """A command whose numbers are finite and whose file names can be names of files."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        paragraphs = (self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(each.split()) for each in paragraphs).replace("[", r"\[")

    def invoke(self, ctx: Any) -> Any:
        """Check the values, then run.

        Raises:
            typer.BadParameter: a value is out of every bound.
        """
        parameters: list[Any] = list(self.params)
        for parameter in parameters:
            value = ctx.params.get(parameter.name or "")
            for each in value if isinstance(value, list | tuple) else (value,):
                if problem := out_of_bounds(each):
                    raise typer.BadParameter(problem, ctx=ctx, param=parameter)
        return super().invoke(ctx)


class App(typer.Typer):
    """A group of such commands."""

    def __init__(self, **options: Any):
        usual: dict[str, Any] = {"no_args_is_help": True, "pretty_exceptions_enable": False, "add_completion": False}
        super().__init__(rich_markup_mode="rich", **usual | options)

    def command(self, name: str | None = None, **options: Any) -> Any:
        """Add a command, of the class :class:`Command`; a parameter that is a dataclass stands for its fields."""
        add = super().command(name, **{"cls": Command} | options)

        def added(function: Callable[..., Any]) -> Callable[..., Any]:
            add(with_options_of_groups(function))
            return function

        return added


def with_options_of_groups(function: Callable[..., Any]) -> Callable[..., Any]:
    """A command that takes the fields of its parameters that are dataclasses as options, and hands on the dataclasses.

    Typer reads a command's options from its signature, and knows no groups.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[Parameter] = []
    for name, parameter in signature(function).parameters.items():
        if name in groups:
            parameters += _options(groups[name])
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY, annotation=hints[name]))

    @wraps(function)
    def command(**values: Any) -> Any:
        for name, group in groups.items():
            values[name] = group(**{option.name: values.pop(option.name) for option in fields(group)})
        return function(**values)

    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def _options(group: Any) -> Iterator[Parameter]:
    """The fields of a group: in its ``panel`` of the help, if it has one, and flags without a ``--no-`` beside them."""
    types = get_type_hints(group, include_extras=True)
    for field in fields(group):
        kind, option = get_args(types[field.name])[:2]
        if getattr(group, "panel", None) and not option.rich_help_panel:
            option.rich_help_panel = group.panel
        if kind is bool and not option.param_decls:
            option.param_decls = (f"--{field.name.replace('_', '-')}",)
        default = Parameter.empty if field.default is MISSING else field.default
        yield Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=types[field.name])


class LogLevel(StrEnum):
    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


LEVELS = {LogLevel.debug: DEBUG, LogLevel.info: INFO, LogLevel.warning: WARNING, LogLevel.error: ERROR}


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 all done, 1 some input failed, 2 wrong usage or a set-up that does not work."""
    use_utf8()
    given = sys.argv[1:] if arguments is None else arguments
    try:
        app, defaults = app_of(named(given)), settings_map(given)
        code = app(args=given, prog_name="facepipe", standalone_mode=False, default_map=defaults) or 0
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


def named(arguments: Sequence[str]) -> Iterable[str]:
    """The command that the arguments name; every one where they name none, or ask for the help of them all."""
    before = [*takewhile(lambda each: each not in COMMANDS, arguments)]
    if len(before) == len(arguments) or "--help" in before:
        return COMMANDS
    return [arguments[len(before)]]


def all_commands() -> App:
    """The app with every command."""
    return app_of(COMMANDS)


def app_of(names: Iterable[str]) -> App:
    """The app with some of the ``COMMANDS``."""
    made = App(add_completion=True)
    made.callback()(facepipe)
    for name in names:
        module, attribute = COMMANDS[name].split(":")
        found = getattr(import_module(f".{module}", __package__), attribute)
        if isinstance(found, App):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"facepipe {__version__}")
        raise typer.Exit


def facepipe(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors only: no notes, progress bars or summaries.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print more: where the time went.")] = False,
    log_level: Annotated[
        LogLevel, typer.Option(help="The output level by name, instead of --quiet or --verbose. Default: info.")
    ] = LogLevel.info,
) -> None:
    """Find faces in photos and read the attributes of each face."""
    if quiet and verbose:
        raise typer.BadParameter("--quiet and --verbose: choose one of them")
    Verbosity.level = WARNING if quiet else DEBUG if verbose else LEVELS[log_level]


def out_of_bounds(value: object) -> str | None:
    """Why a value cannot be meant: no finite number, a huge one, or a path that no file system takes."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number."
    if isinstance(value, int | float) and abs(value) > LARGEST:
        return f"{value:.3g} is too large."
    if isinstance(value, Path):
        sizes = [len(os.fsencode(part)) for part in value.parts]
        if max(sizes, default=0) > NAME_BYTES or len(os.fsencode(value)) >= PATH_BYTES:
            return f"{str(value)[:40]}… is too long for a file name ({max(sizes):,} bytes, {NAME_BYTES} at most)."
    return None


def explain(error: Exception) -> str:
    """A usage error in one line, with the help that tells more."""
    message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message} ({context.command_path} --help)"


def settings_sources() -> tuple[list[Path], list[str]]:
    """The settings files and variables that are there, without reading them: the user's file, this folder's."""
    import platformdirs

    places = [Path(platformdirs.user_config_dir("facepipe", appauthor=False)) / SETTINGS_FILE, Path(SETTINGS_FILE)]
    variables = [f"FACEPIPE_{name.upper()}" for name in SETTABLE]
    return [path for path in places if os.path.isfile(path)], [name for name in variables if name in os.environ]


def settings_map(arguments: Sequence[str]) -> dict[str, Any]:
    """Defaults of the commands' options from settings, as click's ``default_map``; empty where there are none.

    Raises:
        FacepipeError: a settings file or variable is wrong, and the command is not the doctor, who tells of it.
    """
    files, variables = settings_sources()
    if not files and not variables:
        return {}
    from .settings import read_settings

    try:
        found = read_settings(files)
    except FacepipeError:
        if "doctor" in arguments or "--help" in arguments:
            return {}
        raise
    level = {"log_level": found.pop("log_level")} if "log_level" in found else {}
    return {**level, **dict.fromkeys(WITH_SETTINGS, found)}


def use_utf8() -> None:
    """A letter that the terminal's encoding lacks must not end the run."""
    from io import TextIOWrapper

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
