"""facepipe: find faces in photos, and read attributes of each.

>>> from facepipe import Pipeline
>>> with Pipeline() as pipeline:
...     result = pipeline.run("examples/astronaut.jpg")
>>> len(result.faces), result.faces[0].attributes["smile"].value
(1, 'yes')
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.version import __version__

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
    "anonymize",
    "draw",
    "read_frame",
    "schema",
    "to_df",
]

if TYPE_CHECKING:
    from .classifier.inference.attributes import ClassValue, NumericValue, PointsValue
    from .classifier.inference.classifier import AttributeClassifier
    from .core.errors import (
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
    from .detector.inference.detector import FaceDetector
    from .pipeline.adapters import to_df
    from .pipeline.drawing.anonymize import hide as anonymize
    from .pipeline.drawing.draw import draw
    from .pipeline.inputs.image_reader import Limits, read_frame
    from .pipeline.pipeline import Pipeline
    from .pipeline.result_schema import schema
    from .pipeline.results import Box, Face, Head, Result

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read when ONNX Runtime is imported, which every module of ours comes before

_HOMES = {
    ".classifier.inference.classifier": ("AttributeClassifier",),
    ".classifier.inference.attributes": ("ClassValue", "NumericValue", "PointsValue"),
    ".detector.inference.detector": ("FaceDetector",),
    ".pipeline.pipeline": ("Pipeline",),
    ".pipeline.inputs.image_reader": ("Limits", "read_frame"),
    ".pipeline.results": ("Box", "Face", "Head", "Result"),
    ".pipeline.result_schema": ("schema",),
    ".pipeline.adapters": ("to_df",),
    ".pipeline.drawing.draw": ("draw",),
    ".pipeline.drawing.anonymize": ("anonymize",),
    ".core.errors": (
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
_CALLED = {"anonymize": "hide"}
"""What has another name in its module."""


def __getattr__(name: str) -> Any:
    """Load the public objects on first use (PEP 562), so that ``import facepipe`` costs next to nothing."""
    if name in _HOME:
        return getattr(import_module(_HOME[name], __name__), _CALLED.get(name, name))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is there, for ``dir`` and completion; naming it loads nothing."""
    return sorted({*globals(), *__all__})
