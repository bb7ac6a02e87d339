"""Sources of weights: the interface of every kind.

``https://host/folder``, ``file:///folder`` or a folder's path, ``hf://owner/repo[@revision][/folder]``, and every
bucket that fsspec supports (``s3://bucket/folder``, ``gs://bucket/folder``). facepipe has no built-in source.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from ...core.errors import RemoteError

DEFAULT_SOURCE = "FACEPIPE_INDEX"
"""Environment variable that names the source if a command does not."""
OFFLINE = "FACEPIPE_OFFLINE"
"""Environment variable that forbids the network: 1, true, yes or on."""
CHUNK = 1 << 18
"""Maximum number of bytes that a source yields at once."""
SHOWN = 200
"""Maximum number of characters of a server's text in a message."""


class PassingError(RemoteError):
    """A temporary failure, where a retry may succeed: no answer, a dropped connection, a busy server."""


@dataclass(frozen=True)
class Stream:
    """The content of a file, as it arrives.

    Attributes:
        total: size of the file in bytes, if the source reports it.
        chunks: at most ``CHUNK`` bytes each.
        close: closes the stream.
    """

    total: int | None
    chunks: Iterator[bytes]
    close: Callable[[], None]


class Source(Protocol):
    """A place that holds an index and releases."""

    @property
    def label(self) -> str:
        """Its name in messages, without passwords."""

    @property
    def remote(self) -> bool:
        """Whether it needs a network."""

    def open(self, place: str) -> Stream:
        """Open a file for reading.

        Args:
            place: the file's path below the source, with slashes.

        Raises:
            PassingError: it failed, but a retry may succeed.
            RemoteError: it failed, and a retry will not help.
        """


def offline() -> bool:
    """Whether ``FACEPIPE_OFFLINE`` forbids the network."""
    return os.environ.get(OFFLINE, "").strip().lower() in ("1", "true", "yes", "on")


def redacted(address: str) -> str:
    """An address for messages: truncated, and without user, password, query and fragment, which may hold keys."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address[:SHOWN]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))[:SHOWN]


def described(error: BaseException) -> str:
    """A library's error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
