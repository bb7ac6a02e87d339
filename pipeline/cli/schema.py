"""``facepipe schema``: the JSON Schema of results."""

from __future__ import annotations

import json

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command()(schema)


def schema() -> None:
    """Print the JSON Schema of one result, a line of `facepipe detect --json`."""
    from ..published_schema import schema as published

    print(json.dumps(published(), indent=2))
