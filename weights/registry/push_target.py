"""A folder or bucket that releases are pushed to: its index, its files, and the lock on its index."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.errors import FacepipeError, MissingExtraError, RemoteError, WeightsError
from ...core.files import write_whole
from .bucket_source import open_store, told_of
from .index import INDEX, Index, index_bytes, read_index
from .source import local_folder, offline, redacted

LOCK = "index.lock"
STALE = 600.0
"""Seconds after which a bucket's lock counts as left behind."""
FLAT = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Stores without folders, where making one may make a bucket: a name that was mistyped must not."""
WAIT = 60.0
"""Seconds for another push to end."""


class PushTarget:
    """A folder or bucket that releases are pushed to.

    Args:
        address: a path, ``file://``, ``s3://``, ``gs://`` or another of fsspec's.

    Raises:
        WeightsError: it is none that can be written to, or a network is forbidden.
        MissingExtraError: what it needs is not installed.
    """

    def __init__(self, address: str):
        scheme, separator, _ = address.partition("://")
        scheme = scheme.lower() if separator else "file"
        if scheme in ("http", "https", "hf"):
            raise WeightsError(
                f"{redacted(address)}: nothing can be pushed there; push to a folder or bucket that this address "
                f"serves (for the Hugging Face hub: push to a folder, then hf upload OWNER/REPO FOLDER)"
            )
        self.local: Path | None = local_folder(address) if scheme == "file" else None
        if self.local is None and scheme != "memory" and offline():
            raise RemoteError(f"{redacted(address)}: needs a network, which FACEPIPE_OFFLINE forbids")
        self.system, self.folder = open_store(str(self.local.absolute()) if self.local else address)
        self._flat = scheme in FLAT
        self.told = str(self.local) if self.local else redacted(address)

    def read_index(self) -> Index:
        """The index as it is now; empty where there is none yet.

        Raises:
            RemoteError: it cannot be read, or is no index.
        """
        with self._asking(INDEX):
            self.system.invalidate_cache()
            try:
                content = self.system.cat_file(self._path(INDEX))
            except FileNotFoundError:
                return Index()
        return read_index(content, f"{self.told}/{INDEX}")

    def write_index(self, index: Index) -> None:
        """Replace the index in one step.

        Raises:
            RemoteError: it cannot be written.
        """
        with self._asking(INDEX):
            if self.local is not None:
                write_whole(self.local / INDEX, index_bytes(index))
            else:
                self.system.pipe_file(self._path(INDEX), index_bytes(index))

    def put(self, file: Path, place: str, size: int, progress: Callable[[int], None]) -> None:
        """Copy a file there, and see that all of it arrived.

        Raises:
            RemoteError: it did not.
        """
        with self._asking(place):
            path = self._path(place)
            if not self._flat:
                self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.system.put_file(str(file), path)
            self.system.invalidate_cache()
            arrived = int(self.system.info(path)["size"])
        if arrived != size:
            raise RemoteError(f"{self.told}/{place}: {arrived:,} of {size:,} bytes arrived")
        progress(size)

    def remove(self, place: str) -> bool:
        """Remove a folder with what is in it; False where that cannot be."""
        try:
            self.system.rm(self._path(place), recursive=True)
        except FileNotFoundError:
            return True
        except Exception:  # each store's library has errors of its own; the caller says what is left
            return False
        return True

    @contextmanager
    def locked(self, wait: float = WAIT) -> Iterator[None]:
        """Hold the index against other pushes.

        Raises:
            RemoteError: another push holds it for longer than ``wait`` seconds.
        """
        if self.local is not None:
            with self._asking(LOCK):
                self.local.mkdir(parents=True, exist_ok=True)
            with _file_locked(self.local / f".{LOCK}", wait):
                yield
            return
        self._lock_object(wait)
        try:
            yield
        finally:
            self.remove(LOCK)

    def _lock_object(self, wait: float) -> None:
        end = time.monotonic() + wait
        while True:
            mine = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "since": time.time()})
            with self._asking(LOCK):
                try:
                    self.system.pipe_file(self._path(LOCK), mine.encode(), mode="create")
                    return
                except FileExistsError:
                    self._refuse_or_wait(end)

    def _refuse_or_wait(self, end: float) -> None:
        try:
            holder = json.loads(self.system.cat_file(self._path(LOCK)))
            since = float(holder["since"])
        except FileNotFoundError:
            return  # it was let go of this moment
        except (ValueError, KeyError, TypeError):
            holder, since = {"host": "?"}, 0.0
        if time.time() - since > STALE:
            self.remove(LOCK)
        elif time.monotonic() > end:
            raise RemoteError(
                f"{self.told}/{LOCK}: another push holds the index (on {holder.get('host')}); try again when it is "
                f"done, or remove that object if it is dead"
            )
        else:
            time.sleep(random.uniform(0.1, 0.5))

    def _path(self, place: str) -> str:
        return f"{self.folder}/{place}"

    @contextmanager
    def _asking(self, place: str) -> Iterator[None]:
        """Errors of the store's library as ours."""
        try:
            yield
        except FacepipeError:
            raise
        except PermissionError as error:
            raise RemoteError(f"{self.told}/{place}: may not be written or read ({error})") from error
        except Exception as error:  # each store's library has errors of its own
            raise RemoteError(f"{self.told}/{place}: {told_of(error)}") from error


@contextmanager
def _file_locked(path: Path, wait: float) -> Iterator[None]:
    try:
        from filelock import FileLock, Timeout
    except ImportError as error:
        raise MissingExtraError("filelock", "remote") from error
    lock: Any = FileLock(path, timeout=wait)
    try:
        lock.acquire()
    except Timeout as error:
        raise RemoteError(f"{path}: another push has held the index for {wait:g} seconds; try again") from error
    try:
        yield
    finally:
        lock.release()
