"""Sources of weights: what every kind of them can do, and how one is named.

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


class PassingError(RemoteError):
    """Something that may go well when it is tried again: no answer, a cut connection, a busy server."""


@dataclass(frozen=True)
class Stream:
    """An answer of a source: the bytes of a file from some place on."""

    start: int
    """Offset in the file of the first byte that comes. 0 where the rest alone was asked for and the whole is sent."""
    total: int | None
    """Bytes of the whole file, where the source tells."""
    validator: str | None
    """Tells this content of the file from later ones (an ETag, a date); None where the source has nothing like it."""
    chunks: Iterator[bytes]
    """At most ``CHUNK`` bytes each, given out as they come."""
    close: Callable[[], None]


class Source(Protocol):
    """A place that holds an index and releases."""

    @property
    def told(self) -> str:
        """Its name in messages, without passwords."""

    @property
    def remote(self) -> bool:
        """Whether a network is needed."""

    def open(self, place: str, start: int = 0, validator: str | None = None) -> Stream:
        """Begin to read a file.

        Args:
            place: the file's path below the source, with slashes.
            start: offset of the first byte that is wanted.
            validator: of the content whose rest is wanted; a source that has another content now sends it all.

        Raises:
            PassingError: it may go well when it is tried again.
            RemoteError: it will not.
        """


def offline() -> bool:
    """Whether ``FACEPIPE_OFFLINE`` forbids the network."""
    return os.environ.get(OFFLINE, "").strip().lower() in ("1", "true", "yes", "on")


def redacted(address: str) -> str:
    """An address for messages: without user, password, query and fragment, which may hold keys."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
