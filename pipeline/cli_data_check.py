"""``facepipe data check`` and ``data prelabel``: what is wrong with a data set, and boxes to start labelling from."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to ``facepipe data``."""
