"""How the options of a command were given."""

from __future__ import annotations

import typer


def typed(context: typer.Context, option: str) -> bool:
    """Whether an option stood on the command line, rather than being left to its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"
