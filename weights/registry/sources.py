"""A folder as a source of weights.

A bucket, or whatever else fsspec opens, as a source of weights.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from ...core.errors import FacepipeError, MissingExtraError, RemoteError, WeightsError
from .source import CHUNK, PassingError, Stream, redacted


class FileSource:
    """Releases below a folder of this machine, or of a disk that it has mounted."""

    remote = False

    def __init__(self, folder: Path):
        self.folder = folder
        self.told = str(folder)

    def open(self, place: str, start: int = 0, validator: str | None = None) -> Stream:
        """As :meth:`source.Source.open`; only plain files are read: no link, device or pipe."""
        path = self.folder.joinpath(*PurePosixPath(place).parts)
        try:
            self._refuse_links(path)
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        except FileNotFoundError as error:
            raise RemoteError(f"{path}: no such file") from error
        except OSError as error:
            raise RemoteError(f"{path}: cannot be read ({error.strerror})") from error
        file = os.fdopen(handle, "rb")
        found = os.fstat(file.fileno())
        now = f"{found.st_mtime_ns}-{found.st_size}"
        begin = start if validator == now and start < found.st_size else 0
        file.seek(begin)
        return Stream(begin, found.st_size, now, _chunks(file, path), file.close)

    def _refuse_links(self, path: Path) -> None:
        """Raise RemoteError where a part of the path below the folder is a link, or its end is no plain file."""
        within = path
        while within != self.folder:
            kind = within.lstat().st_mode
            if stat.S_ISLNK(kind):
                raise RemoteError(f"{within}: a link; a source holds plain files and folders only")
            if within == path and not stat.S_ISREG(kind):
                raise RemoteError(f"{within}: not a plain file")
            within = within.parent


def _chunks(file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    except OSError as error:
        raise RemoteError(f"{path}: cannot be read ({error.strerror})") from error


EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
"""The extra of facepipe that brings a store's library, by the scheme of its addresses."""


def open_store(address: str) -> tuple[Any, str]:
    """The file system of an address, and the folder in it.

    Keys come from where the store's own tools look for them (``~/.aws``, ``gcloud auth``, the environment).

    Raises:
        MissingExtraError: fsspec, or what it needs for this store, is not installed.
        WeightsError: fsspec knows no such store.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingExtraError("fsspec", "remote") from error
    scheme = address.partition("://")[0].lower()
    try:
        system, path = url_to_fs(address)
    except ImportError as error:
        if scheme in EXTRAS:
            raise MissingExtraError({"s3": "s3fs", "gcs": "gcsfs"}[EXTRAS[scheme]], EXTRAS[scheme]) from error
        raise WeightsError(f"{redacted(address)}: {error}") from error
    except ValueError as error:
        raise WeightsError(f"{redacted(address)}: no kind of store that is known ({error})") from error
    return system, str(path).rstrip("/")


def told_of(error: Exception) -> str:
    """An error of a store's library in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


class BucketSource:
    """Releases below an address of a bucket.

    Raises:
        MissingExtraError, WeightsError: as :func:`open_store`.
    """

    def __init__(self, address: str):
        self.told = redacted(address)
        self.system, self.folder = open_store(address)
        self.remote = not address.lower().startswith("memory://")

    def open(self, place: str, start: int = 0, validator: str | None = None) -> Stream:
        """As :meth:`facepipe.weights.registry.source.Source.open`."""
        path = f"{self.folder}/{place}"
        try:
            self.system.invalidate_cache()
            total = int(self.system.info(path)["size"])
            now = str(self.system.ukey(path))
            file = self.system.open(path, "rb")
            begin = start if validator == now and start < total else 0
            file.seek(begin)
        except (FileNotFoundError, IsADirectoryError) as error:
            raise RemoteError(f"{self.told}/{place}: not there") from error
        except PermissionError as error:
            raise RemoteError(f"{self.told}/{place}: the store refuses it ({error})") from error
        except Exception as error:  # each store's library has errors of its own
            raise PassingError(f"{self.told}/{place}: {told_of(error)}") from error
        return Stream(begin, total, now, self._chunks(file, place), file.close)

    def _chunks(self, file: Any, place: str) -> Iterator[bytes]:
        try:
            while chunk := file.read(CHUNK):
                yield chunk
        except FacepipeError:
            raise
        except Exception as error:  # as above
            raise PassingError(f"{self.told}/{place}: {told_of(error)}") from error
