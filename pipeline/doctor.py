"""What ``facepipe doctor`` looks at. Everything here must run where half of facepipe does not.

So nothing but the standard library is imported before it is known to work, and what may crash (a wheel built for
another processor) is imported in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Level = Literal["ok", "absent", "note", "wrong"]
"""``absent``: an optional part that is not installed. ``note``: works, yet not as it should. ``wrong``: is needed and
does not work."""
SECONDS = 120
"""Longest that a process of its own may take."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        section: heading it stands under.
        what: its name.
        level: how it is.
        told: what was found, in words.
        remedy: the command that mends it, or what to do; "" where there is nothing to mend.
    """

    section: str
    what: str
    level: Level
    told: str
    remedy: str = ""


@dataclass(frozen=True)
class Child:
    """What came of a Python process: its JSON, or None and why there is none."""

    content: Any
    error: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, in the order in which one thing needs the other."""
    from .machine import look_at_machine
    from .packages import look_at_extras, look_at_imports, look_at_packages

    yield from look_at_packages()
    imports = list(look_at_imports())
    yield from imports
    yield from look_at_machine()
    from .models import look_at_models

    yield from look_at_models(runs=all(each.level != "wrong" for each in imports))
    yield from look_at_extras()


def in_a_process(code: str) -> Child:
    """Run Python code that prints one JSON value as its last line, in a process of its own.

    A crash, an error or a hang of it is told in one line and harms nobody. Modules in the working folder (a user's own
    ``numpy.py``) do not stand in for installed ones.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Child(None, f"did not end within {SECONDS} s")
    except OSError as error:
        return Child(None, f"Python cannot be started: {error}")
    if done.returncode < 0:
        return Child(None, f"the process was ended by signal {-done.returncode} (4: a wheel for another processor)")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return Child(None, lines[-1] if lines else f"exit code {done.returncode}")
    try:
        return Child(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        return Child(None, f"said {done.stdout[-200:]!r}")
