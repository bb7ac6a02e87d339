"""The only way a picture becomes a frame: a path, bytes, URL, array or PIL image in, upright BGR out."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeAlias

import cv2
import numpy as np

from ...core.errors import FrameError, ImageError, ImageTooLargeError
from ...core.extras import optional
from .image_header import ImageHeader, check_whole, read_header, webp_exif
from .jpeg import decode_jpeg
from .orientation import exif_orientation, turned
from .pillow import as_frame, decode_by_pillow, is_pillow_image
from .sources import is_url, shown, without_credentials

if TYPE_CHECKING:
    from PIL.Image import Image

Frame: TypeAlias = np.ndarray
"""An upright picture: BGR, uint8, shape (height, width, 3), contiguous."""

Source: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | np.ndarray | Image"
"""What can be read as a frame."""


LONGEST_PATH = 4096
"""Maximum length of a path in characters, as PATH_MAX on Linux."""
BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]{256,}={0,2}\s*")
"""Text longer than any file name, of base64 characters only, so without a dot."""
BY_PILLOW = ("BMP", "GIF", "TIFF")
"""Formats of which Pillow reads variants that OpenCV does not; Pillow, if installed, is tried when OpenCV fails."""
PIP = "pip install 'facepipe[heif]'"
LIGHT = 9
"""Bytes per pixel that decoding may take at the full number of pixels, see ``ImageHeader.cost``."""


@dataclass
class Picture:
    """A picture that was read. A large JPEG may be decoded at a half, a quarter or an eighth of its rows and columns.

    Attributes:
        view: what was decoded: the whole picture, smaller by the factor ``reduction``.
        width, height: of the whole picture, upright, in pixels.
        reduction: 1, 2, 4 or 8.
        sha256: of the encoded picture, in hexadecimal; None if there is no encoding (arrays, PIL images).
        warning: ``damaged: …`` for a JPEG with damage inside, whose frame is partly grey or wrong; otherwise None.
        name: of the source, for messages.
        stored: the encoded picture, as long as some of its pixels are not decoded.
    """

    view: Frame
    width: int
    height: int
    reduction: int = 1
    sha256: str | None = None
    warning: str | None = None
    name: str = ""
    stored: bytes | None = field(default=None, repr=False)
    _frame: Frame | None = field(default=None, repr=False)

    @classmethod
    def of(cls, frame: Frame) -> Self:
        """Wrap a frame that is in memory."""
        return cls(frame, frame.shape[1], frame.shape[0])

    @property
    def frame(self) -> Frame:
        """The frame with every pixel. If the view has fewer, they are decoded now, once; ``view`` does not change.

        Raises:
            ImageError: decoding fails.
        """
        if self.reduction == 1:
            return self.view
        if self._frame is None and self.stored is not None:
            jpeg = decode_jpeg(self.stored, read_header(self.stored))
            if jpeg is None:
                raise ImageError(f"{self.name}: the JPEG cannot be decoded at its full size, only smaller")
            self._frame, self.stored = jpeg.frame, None
        assert self._frame is not None
        return self._frame


@dataclass(frozen=True)
class Limits:
    """Limits on stored pictures. The size is checked before any pixel is decoded.

    Attributes:
        bytes: of the file (64 MiB).
        pixels: width x height (100 megapixels; they take 300 MB decoded, and no more than 900 MB during decoding).
            Formats that need more memory per pixel get a lower limit: CMYK progressive JPEG, 16-bit TIFF, APNG, HEIC
            (75 megapixels), AVIF (45, with transparency 22).
        damaged: accept a JPEG with damage inside, with a warning; False makes it an error.
    """

    bytes: int = 64 * 2**20
    pixels: int = 100_000_000
    damaged: bool = True


DEFAULT_LIMITS = Limits()


def read_frame(
    source: Source,
    limits: Limits = DEFAULT_LIMITS,
    allow_url: bool = False,
    admit: Callable[[int], None] | None = None,
) -> Frame:
    """Read one picture.

    Stored pictures (JPEG, PNG, WebP, BMP, GIF's first frame, TIFF's first page, AVIF; HEIC with the extra ``heif``) are
    turned upright by their EXIF orientation, HEIC and AVIF by their own. Deeper channels (10, 12, 16 bits) keep their
    upper 8 bits; grey and CMYK become BGR; transparency is dropped and the colours under it are kept.

    >>> read_frame("examples/astronaut.jpg").shape
    (512, 512, 3)

    Args:
        source: a path; an http or https URL (as text); an encoded picture as bytes; a uint8 array of shape
            (height, width), (height, width, 1), (height, width, 3) in BGR or (height, width, 4) in BGRA; or a PIL
            image.
        limits: limits on the size of stored pictures and PIL images. Arrays are already in memory and have none.
        allow_url: fetch URLs, see ``fetch.fetch``; without it a URL is an error.
        admit: called with a stored picture's number of pixels before any is decoded. It may block to limit how many
            pictures are decoded at a time, and so bound memory.

    Returns:
        The frame; an array that is already a frame is not copied.

    Raises:
        FrameError: an array or object that is not a picture; the message says what was expected and what was given.
        ImageError: missing, a folder, unreadable, empty, not a picture, damaged or truncated; a URL that is not allowed
            or cannot be fetched; a HEIC without the extra.
        ImageTooLargeError: over a limit.
    """
    return _read(source, limits, allow_url, admit)[0].view


def read_picture(
    source: Source,
    limits: Limits = DEFAULT_LIMITS,
    allow_url: bool = False,
    admit: Callable[[int], None] | None = None,
    least: int | None = None,
) -> Picture:
    """Like :func:`read_frame`, with the encoded picture's SHA-256 (about 1 ms per MB) and a warning if it is damaged.

    Args:
        source: as for :func:`read_frame`.
        limits: limits on size, and whether a picture with damage inside is accepted.
        allow_url: fetch URLs.
        admit: called with the number of pixels before any is decoded.
        least: a JPEG may be decoded smaller if its longer side keeps at least this many pixels; None decodes it in
            full.

    Raises:
        FrameError, ImageError, ImageTooLargeError: as :func:`read_frame`.
    """
    picture, content = _read(source, limits, allow_url, admit, least)
    if content is not None:
        picture.sha256 = hashlib.sha256(content).hexdigest()
    return picture


def _read(
    source: Source,
    limits: Limits,
    allow_url: bool,
    admit: Callable[[int], None] | None,
    least: int | None = None,
) -> tuple[Picture, bytes | None]:
    """The picture, and its encoded bytes if there are any."""
    if isinstance(source, np.ndarray):
        return Picture.of(_from_array(source)), None
    if isinstance(source, str) and "://" in source and is_url(source):
        if not allow_url:
            raise ImageError(f"{shown(source)}: is a URL; allow_url=True or --allow-url fetches it")
        from .fetch import fetch

        content, name = fetch(source, limits.bytes), shown(source)
    elif isinstance(source, str | os.PathLike):
        content, name = _read_file(source, limits), str(source_name(source))
    elif isinstance(source, bytes | bytearray | memoryview):
        content, name = bytes(source[: limits.bytes + 1]), "bytes"
    elif is_pillow_image(source):
        return Picture.of(_from_pil(source, limits, admit)), None
    else:
        raise FrameError(f"expected a path, bytes, a uint8 array or a PIL image, got {type(source).__name__}")
    return _from_bytes(content, limits, name, admit, least), content


def source_name(source: object) -> str | None:
    """The path or URL of a source as valid Unicode, or None if it has none. A URL's user and password are removed."""
    if isinstance(source, str) and "://" in source and is_url(source):
        return without_credentials(source)
    if not isinstance(source, str | os.PathLike):
        return None
    name = os.fsencode(source).decode("utf-8", "replace")
    return name if _may_be_path(name) else f"{name[:40]}…"


def _may_be_path(text: str) -> bool:
    """Whether a string may name a file. Data URLs and base64 text, which may be megabytes long, do not."""
    if len(text) > LONGEST_PATH or text.startswith("data:"):
        return False
    return BASE64.fullmatch(text) is None or os.path.lexists(text)


def _read_file(source: str | os.PathLike[str], limits: Limits) -> bytes:
    path, name = Path(source), source_name(source)
    if isinstance(source, str) and not _may_be_path(source):
        raise ImageError(
            f"{name}: a text of {len(source):,} characters is not a path; decode base64 first: base64.b64decode(text)"
        )
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


def _from_bytes(
    content: bytes, limits: Limits, name: str, admit: Callable[[int], None] | None, least: int | None
) -> Picture:
    if not content:
        raise ImageError(f"{name}: is empty")
    if len(content) > limits.bytes:
        raise ImageTooLargeError(f"{name}: over the limit of {limits.bytes:,} bytes")
    try:
        header = read_header(content)
        most = limits.pixels * LIGHT // max(header.cost, LIGHT)
        _check_pixels(header.width, header.height, most, name, _heavy(header))
        check_whole(content, header)
        if admit is not None:
            admit(header.width * header.height)
        jpeg = decode_jpeg(content, header, least) if header.format == "JPEG" else None
        frame = _decode(content, header, most) if jpeg is None else jpeg.frame
        if frame is not None:  # check again: decoders may give more pixels than the header said
            _check_pixels(frame.shape[1], frame.shape[0], limits.pixels, name)
    except ImageError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise type(error)(f"{name}: {error}") from error
    if frame is None:
        raise ImageError(f"{name}: the {header.format} cannot be decoded: {_why_not(header)}")
    if jpeg is None:
        return Picture.of(frame)
    if jpeg.damage is not None and not limits.damaged:
        raise ImageError(f"{name}: {jpeg.damage}")
    part = content if jpeg.reduction > 1 else None
    return Picture(frame, jpeg.width, jpeg.height, jpeg.reduction, None, jpeg.damage, name, part)


def _why_not(header: ImageHeader) -> str:
    """The reason to give for a picture that no decoder accepts."""
    if header.format in BY_PILLOW and optional("PIL.Image") is None:
        return f"damaged, or of a kind that is read with Pillow only ({PIP})"
    return "damaged, cut short, or of an unsupported kind"


def _check_pixels(width: int, height: int, most: int, name: str, kind: str = "") -> None:
    if width * height > most:
        heavy = f" for {kind}" if kind else ""
        raise ImageTooLargeError(f"{name}: {width} x {height} pixels, over the limit of {most:,}{heavy}")


def _heavy(header: ImageHeader) -> str:
    return f"{header.format} of this kind, which takes more memory than others" if header.cost > LIGHT else ""


def _decode(content: bytes, header: ImageHeader, most: int) -> Frame | None:
    """Decode a picture and turn it upright; None if that fails. OpenCV's log output is suppressed.

    OpenCV applies EXIF, except in a WebP whose block begins with ``Exif\\0\\0``, as some programs write it.
    """
    if header.format == "HEIC":
        from .heif import decode_heic

        stored = decode_heic(content)
        return None if stored is None else _from_array(stored)
    if header.pillow_first and (frame := decode_by_pillow(content, header.format, most)) is not None:
        return frame
    with opencv_quiet:
        try:
            if header.format == "AVIF":
                from .heif import decode_avif

                return decode_avif(content, most)
            frame = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            frame = None
    if frame is None and header.format in BY_PILLOW:
        return decode_by_pillow(content, header.format, most)
    if frame is not None and header.format == "WebP" and (exif := webp_exif(content)).startswith(b"Exif\0\0"):
        return turned(frame, exif_orientation(exif))
    return frame


class _Quiet:
    """Suppresses OpenCV's log output while any thread is inside the block."""

    def __init__(self) -> None:
        self._lock, self._within, self._level = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            self._within += 1
            if self._within == 1:
                self._level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0:
                cv2.utils.logging.setLogLevel(self._level)


opencv_quiet = _Quiet()
"""For ``with``: suppresses OpenCV's log output, for all threads, during the block."""


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


def _from_pil(image: Image, limits: Limits, admit: Callable[[int], None] | None) -> Frame:
    _check_pixels(image.width, image.height, limits.pixels, "PIL image")
    if admit is not None:
        admit(image.width * image.height)
    try:
        frame = as_frame(image)
    except (OSError, SyntaxError) as error:  # Pillow decodes on first use
        raise ImageError(f"PIL image: cannot be decoded ({error})") from error
    if frame is None:
        raise FrameError(f"a PIL image of mode {image.mode} has no set range; scale it and convert it to L or RGB")
    return frame
