"""The app's own kind of command: bounded values, defaults from settings, errors of one line."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from ...core.errors import FacepipeError

_BASES: Any = typer.BadParameter.__mro__[1:3]
UsageError: type[Exception] = _BASES[0]
ClickException: type[Exception] = _BASES[1]
LARGEST = 2**53
"""Largest whole number that an option takes."""
NAME_BYTES, PATH_BYTES = 255, 4096
"""Of a file's name and of a whole path, where the system does not say less."""
SETTINGS_FILE = "facepipe.toml"
SETTABLE = ("detector", "classifier", "device", "threads", "workers", "conf", "imgsz", "precision", "log_level")
"""What settings may hold, by its name in the file; the variable is FACEPIPE_ and the name in capitals."""
COMMANDS = ("detect", "serve", "benchmark", "evaluate")
"""Whose options take their defaults from settings."""


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
        """Add a command, of the class :class:`Command`."""
        return super().command(name, **{"cls": Command} | options)


def out_of_bounds(value: object) -> str | None:
    """Why a value cannot be meant: no finite number, a huge one, or a path that no file system takes."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number."
    if isinstance(value, int | float) and abs(value) > LARGEST:
        return f"{value:.3g} is too large."
    if isinstance(value, Path):
        sizes = [len(os.fsencode(part)) for part in value.parts]
        if max(sizes, default=0) > NAME_BYTES or len(os.fsencode(value)) >= PATH_BYTES:
            return f"{str(value)[:40]}… is too long for a file's name ({max(sizes):,} bytes, {NAME_BYTES} at most)."
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
    return {**level, **dict.fromkeys(COMMANDS, found)}


def use_utf8() -> None:
    """A letter that the terminal's encoding lacks must not end the run."""
    from io import TextIOWrapper

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
