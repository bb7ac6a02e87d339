"""The uses of Pillow, which is optional: formats that OpenCV does not read, and Pillow's own images."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from ...core.extras import optional

if TYPE_CHECKING:
    from PIL.Image import Image

PLUGINS = {"BMP": "BmpImagePlugin", "GIF": "GifImagePlugin", "TIFF": "TiffImagePlugin"}
FAULTS = (OSError, ValueError, SyntaxError, MemoryError, EOFError, IndexError, KeyError, TypeError, RuntimeError)
"""What Pillow and pillow-heif raise for damaged pictures."""


def is_pillow_image(source: object) -> TypeGuard[Image]:
    """Whether an object is a Pillow image. If it is, Pillow has been imported, so this imports nothing."""
    kind: Any = getattr(sys.modules.get("PIL.Image"), "Image", None)  # absent while another thread is importing it
    return kind is not None and isinstance(source, kind)


def open_by_pillow(module: Any, content: bytes, format: str) -> Any:
    """Open a file as a Pillow image, which is decoded on first use.

    This calls the plugin, not ``Image.open``: ultralytics, once loaded, replaces that with a function that prints, for
    a damaged picture, which package it would like to install.

    Args:
        module: ``PIL.Image``.
        content: the file.
        format: Pillow's name for it, such as ``TIFF``.

    Raises:
        OSError, SyntaxError and others in ``FAULTS``: it is damaged, or of another format.
    """
    if format in PLUGINS:
        optional(f"PIL.{PLUGINS[format]}")
    if format not in module.OPEN:
        module.init()
    factory, _ = module.OPEN[format]
    return factory(io.BytesIO(content), "")


def decode_by_pillow(content: bytes, format: str, most: int) -> np.ndarray | None:
    """Decode the first picture of a file that OpenCV does not read, and turn it upright.

    Args:
        content: the file.
        format: ``BMP``, ``GIF``, ``TIFF`` or ``AVIF``.
        most: maximum number of pixels that the file may declare.

    Returns:
        uint8 BGR, shape (height, width, 3); None if Pillow cannot read it either, or is not installed.
    """
    module: Any = optional("PIL.Image")
    if module is None:
        return None
    try:
        with open_by_pillow(module, content, format) as image:
            if image.width * image.height > most:
                return None
            if image.mode == "F" or (image.mode == "I" and format != "PNG"):
                return None
            if format == "AVIF":
                return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
            return as_frame(image)
    except FAULTS:
        return None


def as_frame(image: Image) -> np.ndarray | None:
    """Convert a Pillow image to upright BGR uint8 (height, width, 3); None if its mode has no fixed value range.

    Raises:
        OSError, SyntaxError: decoding fails; Pillow decodes on first use.
    """
    operations: Any = optional("PIL.ImageOps")
    upright = operations.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        grey = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if upright.mode in ("I", "F"):
        return None
    if upright.mode == "RGBA":  # the same as convert, but makes clear that colours under transparency are kept
        return np.ascontiguousarray(np.asarray(upright)[..., 2::-1])
    return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])
