"""How an error is told on the command line."""

from __future__ import annotations

import sys


def report(message: str) -> None:
    """Print one error line on standard error."""
    from .table import printable

    print(f"error: {printable(message)}", file=sys.stderr, flush=True)
