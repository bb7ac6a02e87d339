"""``facepipe data roboflow`` and ``data convert``: other people's data sets in the project's layout."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands to ``facepipe data``."""
