"""Sources of weights: what every kind of them can do.

``https://host/folder``, ``file:///folder`` or a folder's path, ``hf://owner/repo[@revision][/folder]``, and every
bucket that fsspec knows (``s3://bucket/folder``, ``gs://bucket/folder``). facepipe has no source built in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from ...core.errors import RemoteError

DEFAULT_SOURCE = "FACEPIPE_INDEX"
"""Environment variable that names the source where a command names none."""
OFFLINE = "FACEPIPE_OFFLINE"
"""Environment variable that forbids the network: 1, true, yes or on."""
CHUNK = 1 << 18
"""Most bytes that a source gives at once."""
SHOWN = 200
"""Most characters of what a server says that stand in a message."""


class PassingError(RemoteError):
    """Something that may go well when it is tried again: no answer, a cut connection, a busy server."""


@dataclass(frozen=True)
class Stream:
    """The content of a file, as it comes.

    Attributes:
        total: bytes of the file, where the source says so.
        chunks: at most ``CHUNK`` bytes each.
        close: ends it.
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
        """Whether a network is needed."""

    def open(self, place: str) -> Stream:
        """Begin to read a file.

        Args:
            place: the file's path below the source, with slashes.

        Raises:
            PassingError: it may go well when it is tried again.
            RemoteError: it will not.
        """


def offline() -> bool:
    """Whether ``FACEPIPE_OFFLINE`` forbids the network."""
    return os.environ.get(OFFLINE, "").strip().lower() in ("1", "true", "yes", "on")


def redacted(address: str) -> str:
    """An address for messages: without user, password, query and fragment, which may hold keys; not too long."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return address[:SHOWN]
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))[:SHOWN]


def described(error: BaseException) -> str:
    """An error of a library in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
