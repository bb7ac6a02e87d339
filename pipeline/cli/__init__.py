"""The command ``facepipe``. A command's module is imported when it is named: a tenth of a second less at each start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import takewhile
from typing import TYPE_CHECKING, NoReturn

from ._app import App, facepipe, run

if TYPE_CHECKING:
    app: App
    """With every command."""

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


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit: 0 all done, 1 some input failed, 2 wrong usage or a set-up that does not work."""
    run(lambda given: app_of(named(given)), arguments)


def named(arguments: Sequence[str]) -> Iterable[str]:
    """The command that the arguments name; every one where they name none, or ask for the help of them all."""
    before = [*takewhile(lambda each: each not in COMMANDS, arguments)]
    if len(before) == len(arguments) or "--help" in before:
        return COMMANDS
    return [arguments[len(before)]]


def app_of(names: Iterable[str]) -> App:
    """The app with some of the ``COMMANDS``."""
    made = App(add_completion=True)
    made.callback()(facepipe)
    for name in names:
        module, attribute = COMMANDS[name].split(":")
        found = getattr(import_module(f".{module}", __name__), attribute)
        if isinstance(found, App):
            made.add_typer(found, name=name)
        else:
            made.command(name)(found)
    return made


def __getattr__(name: str) -> App:
    if name == "app":
        return app_of(COMMANDS)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
