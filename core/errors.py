"""The one family of errors that facepipe raises on purpose. Each message says what, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class FacepipeError(Exception):
    """Base of every error that facepipe raises for bad input, bad files or a missing device."""


class FrameError(FacepipeError, TypeError):
    """An array that is not a frame: wrong type, shape or number of channels."""


class ImageError(FacepipeError):
    """A picture that cannot be read: missing, empty, not a picture, or damaged."""


class ImageTypeError(ImageError):
    """A file of no format that facepipe reads."""


class ImageTooLargeError(ImageError):
    """A picture over the limit on bytes or on pixels; it was refused before decoding."""


class VideoError(FacepipeError):
    """A video, camera or stream that cannot be read: missing, no video, not decodable, over a limit, or not there."""


class WeightsError(FacepipeError):
    """A released model that is missing, damaged (hash mismatch) or described by a bad manifest."""


class DeviceError(FacepipeError):
    """A device that was asked for and is not there. facepipe never falls back to another one silently."""


class DataError(FacepipeError):
    """A data set that does not follow its format; the message names the file and, where there is one, the line."""


class RemoteError(FacepipeError):
    """A service that data comes from or goes to: no key or a refused one, an unknown name, no answer, a bad answer."""


class TrainingError(FacepipeError):
    """A training run that cannot start, resume or be released."""


class MissingExtraError(FacepipeError, ImportError):
    """A command needs an optional part of facepipe; the message gives the pip line that installs it."""

    def __init__(self, package: str, extra: str):
        super().__init__(f"{package} is not installed; it comes with: pip install 'facepipe[{extra}]'")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean 'age'?`` where a known name is near a wrong one, else nothing; for the end of a message."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), list(known), 1, 0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


@contextmanager
def os_errors_as(kind: type[FacepipeError], message: str) -> Iterator[None]:
    """Raise what the operating system refuses in the block as an error of facepipe's, with the reason in brackets.

    Raises:
        FacepipeError: of that kind.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{message} ({error.strerror or error})") from error
