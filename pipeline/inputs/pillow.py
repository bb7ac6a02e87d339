"""What is taken from Pillow, which is optional: kinds of pictures that OpenCV does not read, and Pillow's images."""

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
"""What Pillow and pillow-heif raise of damaged pictures."""


def is_pillow_image(source: object) -> TypeGuard[Image]:
    """Whether an object is a Pillow image. Whoever has one has imported Pillow, so this imports nothing."""
    kind: Any = getattr(sys.modules.get("PIL.Image"), "Image", None)  # not there yet while another thread imports it
    return kind is not None and isinstance(source, kind)


def open_by_pillow(module: Any, content: bytes, format: str) -> Any:
    """Pillow's image of a file, which is decoded on first use.

    The plugin is asked, not ``Image.open``: ultralytics, once loaded, has put a function of its own there, which prints
    of a damaged picture what it would like to have installed.

    Args:
        module: ``PIL.Image``.
        content: the file.
        format: as Pillow calls it, such as ``TIFF``.

    Raises:
        OSError, SyntaxError and others of ``FAULTS``: it is damaged, or of another format.
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
        most: pixels at most, by what the file says.

    Returns:
        uint8 BGR, shape (height, width, 3); None where Pillow cannot read it either, or is not installed.
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
    """A Pillow image upright, as BGR uint8 (height, width, 3); None of a mode whose numbers have no set range.

    Raises:
        OSError, SyntaxError: Pillow decodes on first use.
    """
    operations: Any = optional("PIL.ImageOps")
    upright = operations.exif_transpose(image)
    if upright.mode.startswith("I;16"):
        grey = (np.asarray(upright) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if upright.mode in ("I", "F"):
        return None
    if upright.mode == "RGBA":  # convert would be the same, and this says that what lies under transparency stays
        return np.ascontiguousarray(np.asarray(upright)[..., 2::-1])
    return np.ascontiguousarray(np.asarray(upright.convert("RGB"))[..., ::-1])
