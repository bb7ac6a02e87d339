"""Plots of reports: files that are the same each time they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG through the Agg canvas, which ``Figure`` has of itself; it names no version of matplotlib."""
    figure.savefig(path, format="png", metadata={"Software": None})
