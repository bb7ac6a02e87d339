"""The command ``facepipe``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._app import App, all_commands, main

if TYPE_CHECKING:
    app: App
    """With every command."""

__all__ = ["app", "main"]


def __getattr__(name: str) -> App:
    if name == "app":
        return all_commands()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
