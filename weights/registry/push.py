"""Taking a release to a folder or bucket from where others can pull it.

A release's files go to a folder named after its manifest's hash, which nothing reads before the index names it; the
index is written last, by one replacement. So who pulls sees the source as it was or as it is, and a push that breaks
off leaves files that nothing names.

Two pushes at once: both must be in the index in the end.

* In a folder of a disk a file lock holds the second until the first is done (``filelock``; the system frees it when a
  program is killed). Network disks must support locks for that.
* In a bucket the lock is an object, ``index.lock``, made only if it is not there: S3 and Google's store do that in
  one step (conditional writes), and fsspec's s3fs and gcsfs ask for it; with others two pushes within the same moment
  may both pass. Therefore the index is read again after it was written, and written anew if the release is not in it.
  What remains: with a store without conditional writes, two pushes that write the index in turn between the other's
  writing and reading again. A lock older than ``push_target.STALE`` seconds was left by a push that died; it is
  removed.

A folder or bucket that releases are pushed to: its index, its files, and the lock on its index.
"""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import FacepipeError, RemoteError, WeightsError
from ...core.extras import require
from ...core.files import write_whole
from ..release import MANIFEST, Release
from .index import INDEX, Index, Offer, index_bytes, offer_of, read_index
from .source import offline, redacted
from .sources import local_folder, open_store, told_of

ATTEMPTS = 5
"""How often the index is written until the release is found in it."""


@dataclass(frozen=True)
class Pushed:
    """What a push did.

    Attributes:
        offer: the release's entry in the index.
        target: where it went, for messages.
        replaced: another content of the same version was there before.
        left: files of that content that could not be removed.
    """

    offer: Offer
    target: str
    replaced: bool
    left: tuple[str, ...]


def push(
    release: Release,
    store: PushTarget,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Pushed:
    """Take a release to a store, and name it in the store's index once all of it is there.

    Args:
        release: checked against its manifest before anything is sent.
        store: where it goes.
        replace: allow another content of the same version to be replaced.
        progress: is told the bytes that are there, and all that there are.

    Raises:
        WeightsError: the release is damaged, or the store holds another content of this version.
        RemoteError: the store cannot be read or written.
    """
    release.verify()
    content = (release.folder / MANIFEST).read_bytes()
    offer = offer_of(release.manifest, content)
    _refuse_other(store.read_index(), offer, store.told, replace)
    done = 0

    def more(number: int) -> None:
        nonlocal done
        done += number
        progress(done, offer.bytes)

    for file in offer.files:
        store.put(release.folder / file.name, str(offer.folder / file.name), file.bytes, more)
    store.put(release.folder / MANIFEST, str(offer.folder / MANIFEST), offer.manifest.bytes, more)
    with store.locked():
        before = _enter(store, offer, replace)
    left: tuple[str, ...] = ()
    if before is not None and not store.remove(str(before.folder)):
        left = (f"{store.told}/{before.folder}",)
    return Pushed(offer, f"{store.told}/{offer.folder}", before is not None, left)


def _enter(store: PushTarget, offer: Offer, replace: bool) -> Offer | None:
    """Write the index with the release in it; gives back the other content of its version that the index named."""
    before: Offer | None = None
    for attempt in range(ATTEMPTS):
        index = store.read_index()
        if attempt and offer in index.releases:
            break
        before = _refuse_other(index, offer, store.told, replace) or before
        store.write_index(index.having(offer))
        if store.local is not None:
            break  # the lock is enough
    else:
        if offer not in store.read_index().releases:
            raise RemoteError(f"{store.told}/{INDEX}: other pushes overwrite it again and again; try again later")
    return before


def _refuse_other(index: Index, offer: Offer, told: str, replace: bool) -> Offer | None:
    """Another content of the same version in an index, which only ``replace`` allows to be replaced."""
    for other in index.releases:
        if other.key == offer.key and other.manifest != offer.manifest:
            if not replace:
                raise WeightsError(
                    f"{told}: holds another {offer.stage} {offer.label} (manifest {other.manifest.sha256[:12]}, this "
                    f"one {offer.manifest.sha256[:12]}); choose another version, or --replace it"
                )
            return other
    return None


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
    filelock = require("filelock")
    lock: Any = filelock.FileLock(path, timeout=wait)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise RemoteError(f"{path}: another push has held the index for {wait:g} seconds; try again") from error
    try:
        yield
    finally:
        lock.release()
