"""Video analysis: decode, detect, track people, and write annotated video. The names here are imported lazily."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["VideoOptions", "VideoRun", "stream_video"]

if TYPE_CHECKING:
    from .analysis import VideoRun, stream_video
    from .options import VideoOptions


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562), so that importing ``options`` alone stays cheap."""
    if name in __all__:
        from . import analysis as run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
