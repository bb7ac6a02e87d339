"""Plots of reports, identical each time they are drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG with the Agg canvas, the default of ``Figure``, without matplotlib's version in its metadata."""
    figure.savefig(path, format="png", metadata={"Software": None})
