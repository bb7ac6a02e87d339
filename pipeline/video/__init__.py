"""Videos: decoded, looked at, persons followed, written again. The names here load what they need on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["VideoOptions", "VideoRun", "stream_video"]

if TYPE_CHECKING:
    from .analysis import VideoRun, stream_video
    from .options import VideoOptions


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562): what only asks for ``options`` needs no more than that."""
    if name in __all__:
        from . import analysis as run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
