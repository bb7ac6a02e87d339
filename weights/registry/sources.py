"""Choose the source of weights that an address names: folder or bucket (here), web server (``http``), hub (``hub``)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

from ...core.errors import FacepipeError, MissingExtraError, RemoteError, WeightsError, os_errors_as
from ...core.extras import require
from .http import HttpSource
from .hub import HubSource
from .index import INDEX
from .source import CHUNK, DEFAULT_SOURCE, OFFLINE, PassingError, Source, Stream, described, offline, redacted

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""The extra of facepipe that installs a store's library, by URL scheme."""


class FileSource:
    """Releases below a folder on this machine, or on a mounted disk."""

    remote = False

    def __init__(self, folder: Path):
        self.folder = folder
        self.label = str(folder)

    def open(self, place: str) -> Stream:
        """Open a file for reading; links, devices and pipes are refused.

        Args:
            place: the file's path below the source, with slashes.

        Raises:
            RemoteError: the file does not exist, is not a plain file, or cannot be read.
        """
        path = self.folder.joinpath(*PurePosixPath(place).parts)
        try:
            self._refuse_links(path)
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as error:
            raise RemoteError(f"{path}: no such file") from error
        except OSError as error:
            raise RemoteError(f"{path}: cannot be read ({error.strerror})") from error
        file = os.fdopen(handle, "rb")
        return Stream(os.fstat(handle).st_size, _chunks(file, path), file.close)

    def _refuse_links(self, path: Path) -> None:
        """Raise RemoteError if a part of the path below the folder is a link, or the path is not a plain file."""
        within = path
        while within != self.folder:
            kind = within.lstat().st_mode
            if stat.S_ISLNK(kind):
                raise RemoteError(f"{within}: a link; a source may contain only files and folders")
            if within == path and not stat.S_ISREG(kind):
                raise RemoteError(f"{within}: not a regular file")
            within = within.parent


def _chunks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    with os_errors_as(RemoteError, f"{path}: cannot be read"):
        while chunk := file.read(CHUNK):
            yield chunk


def open_store(address: str) -> tuple[Any, str]:
    """The file system of an address, and the folder in it.

    Keys come from where the store's own tools look for them (``~/.aws``, ``gcloud auth``, the environment).

    Raises:
        MissingExtraError: fsspec, or the library that it needs for this store, is not installed.
        WeightsError: fsspec does not support this kind of store.
    """
    url_to_fs = require("fsspec.core").url_to_fs
    scheme = address.partition("://")[0].lower()
    try:
        system, path = url_to_fs(address)
    except ImportError as error:
        if scheme in EXTRAS:
            raise MissingExtraError({"s3": "s3fs", "gcs": "gcsfs"}[EXTRAS[scheme]], EXTRAS[scheme]) from error
        raise WeightsError(f"{redacted(address)}: {error}") from error
    except ValueError as error:
        raise WeightsError(f"{redacted(address)}: unknown kind of store ({error})") from error
    return system, str(path).rstrip("/")


class BucketSource:
    """Releases below an address in a bucket.

    Raises:
        MissingExtraError, WeightsError: as :func:`open_store`.
    """

    def __init__(self, address: str):
        self.label = redacted(address)
        self.system, self.folder = open_store(address)
        self.remote = not address.lower().startswith("memory://")

    def open(self, place: str) -> Stream:
        """Open a file for reading.

        Args:
            place: the file's path below the source, with slashes.

        Raises:
            PassingError: the store's library failed.
            RemoteError: the file does not exist, or the store denies access.
        """
        path = f"{self.folder}/{place}"
        try:
            self.system.invalidate_cache()
            total = int(self.system.info(path)["size"])
            file = self.system.open(path, "rb")
        except (FileNotFoundError, IsADirectoryError) as error:
            raise RemoteError(f"{self.label}/{place}: not found") from error
        except PermissionError as error:
            raise RemoteError(f"{self.label}/{place}: the store denied access ({described(error)})") from error
        except Exception as error:  # each store's library has its own errors
            raise PassingError(f"{self.label}/{place}: {described(error)}") from error
        return Stream(total, self._chunks(file, place), file.close)

    def _chunks(self, file: Any, place: str) -> Iterator[bytes]:
        try:
            while chunk := file.read(CHUNK):
                yield chunk
        except FacepipeError:
            raise
        except Exception as error:  # as above
            raise PassingError(f"{self.label}/{place}: {described(error)}") from error


def choose_source(text: str | None, insecure_localhost: bool = False, no_network: bool = False) -> Source:
    """Choose the source that a text names.

    Args:
        text: an address as listed in ``source``; None for that in ``FACEPIPE_INDEX``. It may name the ``index.json``
            itself.
        insecure_localhost: allow ``http://`` to this machine, for testing.
        no_network: refuse sources that need a network; ``FACEPIPE_OFFLINE`` does the same.

    Raises:
        WeightsError: no source is named, or the text does not name one.
        RemoteError: the source needs a network, which is forbidden.
        MissingExtraError: a library that this kind of source needs is not installed.
    """
    given = text or os.environ.get(DEFAULT_SOURCE)
    if not given:
        raise WeightsError(
            "no source of weights is given, and facepipe has none built in. Give one with --from (https://…, file://…, "
            f"hf://owner/repo, s3://…, or a folder) or with the environment variable {DEFAULT_SOURCE}"
        )
    scheme, separator, _ = given.partition("://")
    scheme = scheme.lower() if separator else "file"
    source = _source(scheme, given, insecure_localhost)
    if source.remote and (no_network or offline()):
        why = "--offline" if no_network else f"{OFFLINE}={os.environ.get(OFFLINE)}"
        raise RemoteError(
            f"{source.label}: needs a network, which {why} forbids; a folder can be a source without one "
            f"(--from FOLDER), and installed models work without one (facepipe weights list)"
        )
    return source


def _source(scheme: str, given: str, insecure_localhost: bool) -> Source:
    if scheme == "file":
        return FileSource(local_folder(given))
    if scheme in ("http", "https"):
        return HttpSource(_without_index(given), insecure_localhost=insecure_localhost)
    if scheme == "hf":
        return HubSource(given, insecure_localhost)
    return BucketSource(_without_index(given))


def local_folder(given: str) -> Path:
    """The folder that a path or a ``file://`` address names; for an ``index.json``, the folder that contains it.

    Raises:
        WeightsError: the address names another machine.
    """
    if given.lower().startswith("file://"):
        from urllib.request import url2pathname

        parts = urlsplit(given)
        if parts.netloc not in ("", "localhost"):
            raise WeightsError(f"{given}: file:// needs three slashes and a full path, such as file:///srv/weights")
        path = Path(url2pathname(parts.path))
    else:
        path = Path(given).expanduser()
    return path.parent if path.name == INDEX else path


def _without_index(address: str) -> str:
    """An address without the ``index.json`` at its end; a query is kept."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise WeightsError(f"{redacted(address)}: not a valid server address ({error})") from error
    return urlunsplit(parts._replace(path=parts.path.removesuffix(INDEX)))
