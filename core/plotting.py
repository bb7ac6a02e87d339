"""What every plot of a report needs: matplotlib without its global state, and a file that is the same each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import MissingExtraError


def require_matplotlib() -> Any:
    """matplotlib's figure module, without pyplot's state or a screen.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib import figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train") from error
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a PNG through the Agg canvas, which ``Figure`` has of itself; it names no version of matplotlib."""
    figure.savefig(path, format="png", metadata={"Software": None})
