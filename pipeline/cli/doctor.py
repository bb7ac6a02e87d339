"""``facepipe doctor``: what is installed, what works, and the commands that mend the rest.

``facepipe schema``: the JSON Schema of results.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from itertools import chain
from typing import Annotated

import typer

from ...core.errors import FacepipeError
from ..doctor import Finding, examine
from ._app import SETTINGS_FILE, settings_sources

BROKEN = 1
"""Exit code where something that is needed does not work."""
MARKS = {"ok": "ok", "absent": "–", "note": "note", "wrong": "WRONG"}
STYLES = {"ok": "green", "absent": "dim", "note": "yellow", "wrong": "bold red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check packages, machine and models, run one frame, and report what is missing and how to fix it.

    Exit codes: 0 healthy, 1 something required is broken.
    """
    findings: list[Finding] = []
    for finding in chain(examine(), settings_findings()):
        if not as_json:
            _print(finding, new=not findings or findings[-1].section != finding.section)
        findings.append(finding)
    wrong = [finding.what for finding in findings if finding.level == "wrong"]
    if as_json:
        print(json.dumps({"healthy": not wrong, "findings": [asdict(each) for each in findings]}, indent=2))
    elif wrong:
        print(f"\nbroken: {', '.join(wrong)}")
    else:
        notes = sum(finding.level == "note" for finding in findings)
        print("\nhealthy" + (f", with {notes} note{'s' * (notes > 1)}" if notes else ""))
    if wrong:
        raise typer.Exit(BROKEN)


def settings_findings() -> Iterator[Finding]:
    """Which settings files and variables there are, and what they set."""
    section = "settings"
    files, variables = settings_sources()
    if not files and not variables:
        yield Finding(section, SETTINGS_FILE, "ok", "no such file, no variables: options have their own defaults")
        return
    from .settings import read_settings

    for path in files:
        yield Finding(section, "file", "ok", str(path.absolute()))
    for name in variables:
        yield Finding(section, name, "ok", os.environ[name])
    try:
        found = read_settings(files)
    except FacepipeError as error:
        yield Finding(section, SETTINGS_FILE, "wrong", str(error), "correct that line, or remove it")
        return
    detail = ", ".join(f"{name} = {value}" for name, value in found.items())
    yield Finding(section, "in use", "ok", detail or "nothing")


def _print(finding: Finding, new: bool) -> None:
    """Print a finding as soon as it is known, below its section's heading."""
    from rich.console import Console
    from rich.text import Text

    screen = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    if new:
        screen.print(Text(finding.section, style="bold"))
    line = Text("  ").append(f"{MARKS[finding.level]:5}", STYLES[finding.level])
    screen.print(line.append(f"  {finding.what}: {finding.detail}"))
    if finding.remedy:
        screen.print(Text(f"         → {finding.remedy}", style="cyan"))


def schema() -> None:
    """Print the JSON Schema of one result, that is, one line of `facepipe detect --json`."""
    from ..result_schema import schema as published

    print(json.dumps(published(), indent=2))
