"""Sources of weights: what every kind of them can do, and how one is named.

``https://host/folder``, ``file:///folder`` or a folder's path, ``hf://owner/repo[@revision][/folder]``, and every
bucket that fsspec knows (``s3://bucket/folder``, ``gs://bucket/folder``). facepipe has no source built in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from ...core.errors import RemoteError, WeightsError
from .index import INDEX

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


def choose_source(text: str | None, insecure_localhost: bool = False, no_network: bool = False) -> Source:
    """The source of that name.

    Args:
        text: as the module says; None for what ``FACEPIPE_INDEX`` names. It may name the ``index.json`` itself.
        insecure_localhost: allow ``http://`` to this very machine, for trying things out.
        no_network: refuse all sources but folders; ``FACEPIPE_OFFLINE`` does the same.

    Raises:
        WeightsError: no source is named, the text names none, or it needs a network that is forbidden.
        MissingExtraError: what this kind of source needs is not installed.
    """
    given = text or os.environ.get(DEFAULT_SOURCE)
    if not given:
        raise WeightsError(
            "no source of weights is named, and facepipe has none built in. Name one with --from (https://…, file://…, "
            f"hf://owner/repo, s3://…, or a folder) or with the environment variable {DEFAULT_SOURCE}"
        )
    scheme, separator, _ = given.partition("://")
    scheme = scheme.lower() if separator else "file"
    source = _source(scheme, given, insecure_localhost)
    if source.remote and (no_network or offline()):
        why = "--offline" if no_network else f"{OFFLINE}={os.environ.get(OFFLINE)}"
        raise RemoteError(
            f"{source.told}: needs a network, which {why} forbids; a folder can be a source without one "
            f"(--from FOLDER), and what is installed works without one (facepipe weights list)"
        )
    return source


def _source(scheme: str, given: str, insecure_localhost: bool) -> Source:
    if scheme == "file":
        from .sources import FileSource

        return FileSource(local_folder(given))
    if scheme in ("http", "https"):
        from .http import HttpSource

        return HttpSource(_without_index(given), insecure_localhost=insecure_localhost)
    if scheme == "hf":
        from .http import HubSource

        return HubSource(given, insecure_localhost)
    from .sources import BucketSource

    return BucketSource(_without_index(given))


def local_folder(given: str) -> Path:
    """The folder that a path or a ``file://`` address names; of an ``index.json`` the folder that it lies in.

    Raises:
        WeightsError: the address names another machine.
    """
    if given.lower().startswith("file://"):
        from urllib.request import url2pathname

        parts = urlsplit(given)
        if parts.netloc not in ("", "localhost"):
            raise WeightsError(f"{given}: file:// takes three slashes and a full path, such as file:///srv/weights")
        path = Path(url2pathname(parts.path))
    else:
        path = Path(given).expanduser()
    return path.parent if path.name == INDEX else path


def _without_index(address: str) -> str:
    """The folder's address, where the address is that of its index; what follows a ``?`` stays."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(path=parts.path.removesuffix(INDEX)))


def redacted(address: str) -> str:
    """An address for messages: without user, password, query and fragment, which may hold keys."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
