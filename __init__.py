"""facepipe: find faces in photos, and read attributes of each."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.3.0"
__all__ = ["AttributeClassifier", "FaceDetector", "FacepipeError", "Pipeline", "__version__"]

if TYPE_CHECKING:
    from .classifier.runtime import AttributeClassifier
    from .detector.runtime import FaceDetector
    from .pipeline.connector import Pipeline
    from .weights.errors import FacepipeError

_HOMES = {
    "AttributeClassifier": ".classifier.runtime",
    "FaceDetector": ".detector.runtime",
    "FacepipeError": ".weights.errors",
    "Pipeline": ".pipeline.connector",
}


def __getattr__(name: str) -> Any:
    """Load the public objects on first use (PEP 562), so that ``import facepipe`` costs next to nothing."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
