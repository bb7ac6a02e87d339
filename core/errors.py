"""The exceptions that facepipe raises on purpose. Each message says what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class FacepipeError(Exception):
    """Base class of the errors that facepipe raises for bad input, bad files or a missing device."""


class FrameError(FacepipeError, TypeError):
    """An array that is not a frame: wrong type, shape or number of channels."""


class ImageError(FacepipeError):
    """A picture that cannot be read: missing, empty, not a picture, or damaged."""


class ImageTypeError(ImageError):
    """A file in a format that facepipe does not read."""


class ImageTooLargeError(ImageError):
    """A picture over the byte or pixel limit, refused before decoding."""


class VideoError(FacepipeError):
    """A video, camera or stream that cannot be read: missing, not a video, not decodable or over a limit."""


class WeightsError(FacepipeError):
    """A released model that is missing, damaged (hash mismatch) or has a bad manifest."""


class DeviceError(FacepipeError):
    """A requested device that is not available. facepipe never silently falls back to another one."""


class DataError(FacepipeError):
    """A data set that does not follow its format; the message names the file and, if there is one, the line."""


class RemoteError(FacepipeError):
    """A remote service that fails: missing or rejected key, unknown name, no answer, or a bad answer."""


class TrainingError(FacepipeError):
    """A training run that cannot start, resume or be released."""


class MissingExtraError(FacepipeError, ImportError):
    """A command needs an optional dependency; the message gives the pip command that installs it."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; it comes with: pip install 'facepipe[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'age'?`` if a known name is close to a wrong one, else ""; for the end of a message."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


@contextmanager
def os_errors_as(kind: type[FacepipeError], message: str) -> Iterator[None]:
    """Convert an ``OSError`` raised in the block to a facepipe error, with the reason in brackets.

    Raises:
        FacepipeError: of type ``kind``.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{message} ({error.strerror or error})") from error
