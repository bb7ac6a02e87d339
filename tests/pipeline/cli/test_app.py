"""Options in groups: a parameter that is a dataclass stands for its fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from facepipe.pipeline.cli._app import COMMANDS, App, named
from typer.testing import CliRunner


@dataclass(frozen=True)
class Group:
    panel: ClassVar = "Panel of the group"

    number: Annotated[int, typer.Option(min=1, help="A number.")] = 3
    some_flag: Annotated[bool, typer.Option(help="A flag.")] = False
    words: Annotated[list[str] | None, typer.Option(help="Words.")] = None


app = App()
seen: list[tuple[str, Group, bool]] = []


@app.command()
def go(
    place: Annotated[str, typer.Argument()],
    group: Group,
    both: Annotated[bool, typer.Option("--both/--not-both")] = True,
) -> None:
    """Go."""
    seen.append((place, group, both))


@app.command()
def stay() -> None:
    """Stay."""


def test_the_command_gets_the_group() -> None:
    seen.clear()
    runner = CliRunner()
    assert runner.invoke(app, ["go", "here"]).exit_code == 0
    words = ["go", "--number", "5", "--some-flag", "there", "--words", "a", "--words", "b", "--not-both"]
    assert runner.invoke(app, words).exit_code == 0
    assert seen == [("here", Group(), True), ("there", Group(5, True, ["a", "b"]), False)]


@pytest.mark.parametrize("words", [["--number", "0"], ["--no-some-flag"], ["--group", "1"]])
def test_bounds_hold_and_flags_have_no_opposite(words: list[str]) -> None:
    assert CliRunner().invoke(app, ["go", "here", *words]).exit_code == 2


def test_the_help_has_the_panel() -> None:
    told = CliRunner().invoke(app, ["go", "--help"]).output
    assert "Panel of the group" in told
    assert "--some-flag" in told
    assert "--no-some-flag" not in told


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["detect", "photo.jpg"], ["detect"]),
        (["--log-level", "error", "weights", "verify"], ["weights"]),
        (["detect", "--help"], ["detect"]),
        (["--help", "detect"], [*COMMANDS]),
        (["detekt"], [*COMMANDS]),
        ([], [*COMMANDS]),
    ],
)
def test_only_the_module_of_the_named_command_is_loaded(arguments: list[str], names: list[str]) -> None:
    assert [*named(arguments)] == names
