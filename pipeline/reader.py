"""The one way a picture becomes a frame: path, bytes, array or PIL image in; upright BGR out."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import cv2
import numpy as np

from ..weights.errors import FrameError, ImageError, ImageTooLargeError
from .image_header import check_whole, read_header

if TYPE_CHECKING:
    from PIL.Image import Image

Frame: TypeAlias = np.ndarray
"""An upright picture: BGR, uint8, shape (height, width, 3), contiguous."""

Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | np.ndarray | Image"
"""What can be read as a frame."""


@dataclass(frozen=True)
class Limits:
    """How large a stored picture may be; both are checked before any pixel is decoded.

    Attributes:
        bytes: of the file (64 MiB).
        pixels: width x height (100 megapixels; decoded they take 300 MB).
    """

    bytes: int = 64 * 2**20
    pixels: int = 100_000_000


DEFAULT_LIMITS = Limits()


def read_frame(source: Source, limits: Limits = DEFAULT_LIMITS) -> Frame:
    """Read one picture.

    Stored pictures (JPEG, PNG, WebP, BMP, GIF's first frame, TIFF's first page) are turned upright by their EXIF
    orientation; 16-bit channels keep their upper 8 bits; grey and CMYK become BGR; transparency is dropped and the
    colours under it are kept.

    Args:
        source: a path; an encoded picture as bytes; a uint8 array of shape (height, width), (height, width, 1),
            (height, width, 3) in BGR or (height, width, 4) in BGRA; or a PIL image.
        limits: caps on the size of stored pictures and PIL images. Arrays are in memory already and have none.

    Returns:
        The frame; an array that already is one is not copied.

    Raises:
        FrameError: an array or object that is not a picture; says what was expected and what came.
        ImageError: missing, a folder, unreadable, empty, not a picture, damaged or cut short.
        ImageTooLargeError: over a limit.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, str | os.PathLike):
        return _from_bytes(_read_file(source, limits), limits, str(source_name(source)))
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(bytes(source[: limits.bytes + 1]), limits, "bytes")
    if _is_pil(source):
        return _from_pil(source, limits)
    raise FrameError(f"expected a path, bytes, a uint8 array or a PIL image, got {type(source).__name__}")


def source_name(source: object) -> str | None:
    """The path of a source as valid Unicode, None for what has no path."""
    if not isinstance(source, str | os.PathLike):
        return None
    return os.fsencode(source).decode("utf-8", "replace")


def _read_file(source: str | os.PathLike[str], limits: Limits) -> bytes:
    path, name = Path(source), source_name(source)
    try:
        if path.is_dir():
            raise ImageError(f"{name}: is a folder; name the pictures in it")
        if path.exists() and not path.is_file():
            raise ImageError(f"{name}: is not a regular file")
        with path.open("rb") as file:
            return file.read(limits.bytes + 1)
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"{name}: cannot be read ({getattr(error, 'strerror', None) or error})") from error


def _from_bytes(content: bytes, limits: Limits, name: str) -> Frame:
    if not content:
        raise ImageError(f"{name}: is empty")
    if len(content) > limits.bytes:
        raise ImageTooLargeError(f"{name}: over the limit of {limits.bytes:,} bytes")
    try:
        header = read_header(content)
        _check_pixels(header.width, header.height, limits, name)
        check_whole(content, header)
    except ImageTooLargeError:
        raise
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error
    frame = _decode(content)
    if frame is None:
        raise ImageError(f"{name}: the {header.format} cannot be decoded: damaged or cut short")
    return frame


def _check_pixels(width: int, height: int, limits: Limits, name: str) -> None:
    if width * height > limits.pixels:
        raise ImageTooLargeError(f"{name}: {width} x {height} pixels, over the limit of {limits.pixels:,}")


def _decode(content: bytes) -> Frame | None:
    """Decode with EXIF applied (OpenCV's default); None where OpenCV cannot. Its own log lines are held back."""
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def _from_array(array: np.ndarray) -> Frame:
    expected = "expected uint8 of shape (height, width), (height, width, 3) BGR or (height, width, 4) BGRA"
    if array.dtype != np.uint8:
        raise FrameError(f"{expected}, got {array.dtype} of shape {array.shape}")
    if array.ndim not in (2, 3) or array.size == 0 or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        hint = "; pass several frames as a list" if array.ndim == 4 else ""
        raise FrameError(f"{expected}, got shape {array.shape}{hint}")
    if array.ndim == 2 or array.shape[2] == 1:
        return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array[..., :3])


def _is_pil(source: object) -> TypeGuard[Image]:
    """Whether an object is a PIL image; Pillow is no dependency, so whoever has an image has imported it."""
    module: Any = sys.modules.get("PIL.Image")
    return module is not None and isinstance(source, module.Image)


def _from_pil(image: Image, limits: Limits) -> Frame:
    from PIL import ImageOps

    _check_pixels(image.width, image.height, limits, "PIL image")
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            return _from_array((np.asarray(upright) >> 8).astype(np.uint8))
        if upright.mode in ("I", "F"):
            raise FrameError(
                f"a PIL image of mode {upright.mode} has no set range; scale it and convert it to L or RGB"
            )
        return _from_array(np.asarray(upright.convert("RGB"))[..., ::-1])
    except (OSError, SyntaxError) as error:  # Pillow decodes on first use
        raise ImageError(f"PIL image: cannot be decoded ({error})") from error
