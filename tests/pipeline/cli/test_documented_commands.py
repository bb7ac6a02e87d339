"""Every ``facepipe …`` line that the product prints or documents names a command and options that the app has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from facepipe.pipeline.cli import app
from facepipe.pipeline.doctor import USES

ROOT = Path(__file__).parents[3]
ROOT_COMMAND: Any = typer.main.get_command(app)
LINE = re.compile(r"(?:^|[\s`\"'(>])facepipe (?P<rest>[^`\n\"]*)")
WORD = re.compile(r"[a-z][a-z-]*")
OPTION = re.compile(r"(?<![\w/=-])(--[a-z][a-z0-9-]*)")
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md"]
SOURCES = [
    path for room in ("core", "weights", "detector", "classifier", "pipeline") for path in (ROOT / room).rglob("*.py")
]


def problem(rest: str) -> str | None:
    """What is wrong with the words after ``facepipe``; None of prose, and of what the app has."""
    words = re.split(r" \| | && | ; |;|#|\)|, ", rest)[0].split()
    command = ROOT_COMMAND
    path: list[str] = []
    while words and words[0].startswith("--") and words[0] in {"--log-level", "--quiet", "--verbose", "--version"}:
        words = words[2 if words[0] == "--log-level" else 1 :]
    for word in (each.strip("'\"") for each in words):
        if "X" in word or word == "…":  # a placeholder, which stands for a command
            return None
        commands = getattr(command, "commands", None)
        if commands is None:
            break
        if word not in commands:
            # prose ("facepipe reads …") has no option after its first word
            options = len(words) > 1 and words[1].startswith("--") and WORD.fullmatch(word)
            return f"no command {word!r}" if path or options else None
        command = commands[word]
        path.append(word)
    if not path:
        return None
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    unknown = [name for name in OPTION.findall(" ".join(words)) if name not in known | {"--help"}]
    return f"facepipe {' '.join(path)} has no {', '.join(unknown)}" if unknown else None


def lines(path: Path) -> list[str]:
    text = re.sub(r"\\\\?\n\s*", " ", path.read_text(encoding="utf-8"))  # a command that goes on in the next line
    return [found["rest"] for found in LINE.finditer(text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_documented(path: Path) -> None:
    assert [(rest, wrong) for rest in lines(path) if (wrong := problem(rest))] == []


def test_printed() -> None:
    found = {
        f"{path.relative_to(ROOT)}: {rest}": wrong
        for path in SOURCES
        for rest in lines(path)
        if (wrong := problem(re.sub(r"\{[^}]*\}", "X", rest)))
    }
    assert found == {}


@pytest.mark.parametrize("extra", USES)
def test_what_the_doctor_says_an_extra_is_for(extra: str) -> None:
    for part in USES[extra].split(", "):
        name = part.split()[0]
        if name in ROOT_COMMAND.commands and " at " not in part and " in " not in part:
            assert problem(part) is None


def test_wrong_lines_are_found() -> None:
    assert problem("weights outdated") == "no command 'outdated'"
    assert problem("train-detector --tensorboard") == "facepipe train-detector has no --tensorboard"
    assert problem("detect photos --jsn x") == "facepipe detect has no --jsn"
    assert problem("reads pictures") is None
