"""facepipe: find faces in photos, and read attributes of each.

>>> from facepipe import Pipeline
>>> with Pipeline() as pipeline:
...     result = pipeline.run("examples/astronaut.jpg")
>>> len(result.faces), result.faces[0].attributes["smile"].value
(1, 'yes')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.4.0"
__all__ = [
    "AttributeClassifier",
    "Box",
    "ClassValue",
    "DataError",
    "DeviceError",
    "Face",
    "FaceDetector",
    "FacepipeError",
    "FrameError",
    "Head",
    "ImageError",
    "ImageTooLargeError",
    "Limits",
    "MissingExtraError",
    "NumericValue",
    "Pipeline",
    "PointsValue",
    "RemoteError",
    "Result",
    "TrainingError",
    "WeightsError",
    "__version__",
    "read_frame",
    "schema",
]

if TYPE_CHECKING:
    from .classifier.runtime import AttributeClassifier
    from .classifier.values import ClassValue, NumericValue, PointsValue
    from .detector.runtime import FaceDetector
    from .pipeline.connector import Pipeline
    from .pipeline.inputs.reader import Limits, read_frame
    from .pipeline.published_schema import schema
    from .pipeline.results import Box, Face, Head, Result
    from .weights.errors import (
        DataError,
        DeviceError,
        FacepipeError,
        FrameError,
        ImageError,
        ImageTooLargeError,
        MissingExtraError,
        RemoteError,
        TrainingError,
        WeightsError,
    )

_HOMES = {
    ".classifier.runtime": ("AttributeClassifier",),
    ".classifier.values": ("ClassValue", "NumericValue", "PointsValue"),
    ".detector.runtime": ("FaceDetector",),
    ".pipeline.connector": ("Pipeline",),
    ".pipeline.published_schema": ("schema",),
    ".pipeline.inputs.reader": ("Limits", "read_frame"),
    ".pipeline.results": ("Box", "Face", "Head", "Result"),
    ".weights.errors": (
        "DataError",
        "DeviceError",
        "FacepipeError",
        "FrameError",
        "ImageError",
        "ImageTooLargeError",
        "MissingExtraError",
        "RemoteError",
        "TrainingError",
        "WeightsError",
    ),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load the public objects on first use (PEP 562), so that ``import facepipe`` costs next to nothing."""
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is there, for ``dir`` and completion; naming it loads nothing."""
    return sorted({*globals(), *__all__})
