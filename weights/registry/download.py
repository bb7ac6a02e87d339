"""Download one file from a source, verify it, and retry where that may help."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from ...core.errors import RemoteError
from .index import Stamp
from .source import PassingError, Source

T = TypeVar("T")
Progress = Callable[[int], None]
"""Called with the number of bytes received since the last call; negative when a file is restarted."""


@dataclass(frozen=True)
class RetryPolicy:
    """How often a download is tried, and how slow it may be.

    Attributes:
        attempts: maximum number of attempts.
        pause: seconds before the second attempt; doubled before each further one.
        grace: seconds that every attempt gets, whatever the file's size.
        slowest: minimum rate in bytes per second; an attempt gets size / ``slowest`` seconds on top of ``grace``.
    """

    attempts: int = 4
    pause: float = 1.0
    grace: float = 60.0
    slowest: float = 1000.0


USUAL = RetryPolicy()


def fetch_file(
    source: Source,
    place: str,
    wanted: Stamp,
    target: Path,
    retry: RetryPolicy = USUAL,
    progress: Progress = lambda more: None,
) -> None:
    """Download a file from a source, and verify it.

    Args:
        source: where the file comes from.
        place: its path below the source.
        wanted: its expected SHA-256 and size.
        target: the file to write.
        retry: how often it is tried.
        progress: called with the number of bytes received.

    Raises:
        RemoteError: the file cannot be downloaded, or is not the expected one.
        OSError: it cannot be written.
    """

    def attempt() -> None:
        name, done = f"{source.label}/{place}", 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            progress(more)

        try:
            with target.open("wb") as file:
                sha256 = _copy(source, place, file, (wanted.bytes, True), retry, advance)
        except PassingError:
            progress(-done)
            raise
        if sha256 != wanted.sha256:
            raise RemoteError(
                f"{name}: not the file listed in the index (SHA-256 differs); report it to its publisher; nothing was "
                f"installed"
            )

    _tried(attempt, retry)


def fetch_small(source: Source, place: str, most: int, retry: RetryPolicy = USUAL) -> bytes:
    """Download a small file whose size is not known in advance, such as an index.

    Args:
        source: where the file comes from.
        place: its path below the source.
        most: maximum size in bytes.
        retry: how often it is tried.

    Raises:
        RemoteError: the file cannot be downloaded, or is too large.
    """
    import io

    def attempt() -> bytes:
        content = io.BytesIO()
        _copy(source, place, content, (most, False), retry, lambda more: None)
        return content.getvalue()

    return _tried(attempt, retry)


def _tried(attempt: Callable[[], T], retry: RetryPolicy) -> T:
    """Return an attempt's result, retrying on PassingError while attempts are left."""
    for number in range(1, retry.attempts):
        try:
            return attempt()
        except PassingError:
            time.sleep(retry.pause * 2 ** (number - 1))
    try:
        return attempt()
    except PassingError as error:
        raise RemoteError(f"{error} (tried {retry.attempts} times)") from error


def _copy(
    source: Source, place: str, target: BinaryIO, size: tuple[int, bool], retry: RetryPolicy, progress: Progress
) -> str:
    """Copy a file from a source and return its SHA-256; abort if it is too large or too slow.

    Args:
        size: maximum bytes, and whether it must be exactly that many.
    """
    name = f"{source.label}/{place}"
    most, exactly = size
    says = f"the index says {most:,}" if exactly else f"such a file may have at most {most:,}"
    end = time.monotonic() + retry.grace + most / retry.slowest
    stream = source.open(place)
    digest, here = hashlib.sha256(), 0
    try:
        if stream.total is not None and (stream.total > most or (exactly and stream.total != most)):
            raise RemoteError(f"{name}: has {stream.total:,} bytes, but {says}; nothing was installed")
        for chunk in stream.chunks:
            here += len(chunk)
            if here > most:
                raise RemoteError(f"{name}: sends more than {most:,} bytes, but {says}; nothing was installed")
            if time.monotonic() > end:
                raise PassingError(f"{name}: slower than {retry.slowest:,.0f} bytes a second")
            digest.update(chunk)
            target.write(chunk)
            progress(len(chunk))
    finally:
        stream.close()
    whole = most if exactly else stream.total
    if whole is not None and here < whole:
        raise PassingError(f"{name}: the connection ended after {here:,} of {whole:,} bytes")
    return digest.hexdigest()
