"""Upload a release to a folder or bucket from which others can pull it.

A release's files go to a folder named after its manifest's hash, which nothing reads before the index names it. The
index is written last, in one replacement. So a pull sees the source either before or after the push, and an interrupted
push leaves files that nothing refers to.

In a folder on disk, a file lock (``filelock``) makes a second push wait for the first. A bucket has no lock: push to it
from one place at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import FacepipeError, RemoteError, WeightsError
from ...core.extras import require
from ...core.files import write_whole
from ..release import MANIFEST, Release
from .index import INDEX, Index, Offer, index_bytes, offer_of, read_index
from .source import described, offline, redacted
from .sources import local_folder, open_store

LOCK = ".index.lock"
FLAT = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""Stores without folders: creating one there may create a bucket, which a mistyped name must not do."""
WAIT = 60.0
"""Seconds to wait for another push to end."""


@dataclass(frozen=True)
class Pushed:
    """The result of a push.

    Attributes:
        offer: the release's entry in the index.
        target: where it went, for messages.
        replaced: whether the same version was there before with other content.
        left: folders of that content that could not be removed.
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
    """Upload a release to a store, and add it to the store's index once it is complete.

    Args:
        release: verified against its manifest before anything is sent.
        store: where it goes.
        replace: allow the same version with other content to be replaced.
        progress: called with the number of bytes uploaded so far, and the total.

    Raises:
        WeightsError: the release is damaged, or the store holds this version with other content.
        RemoteError: the store cannot be read or written.
    """
    release.verify()
    content = (release.folder / MANIFEST).read_bytes()
    offer = offer_of(release.manifest, content)
    _refuse_other(store.read_index(), offer, store.label, replace)
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
        left = (f"{store.label}/{before.folder}",)
    return Pushed(offer, f"{store.label}/{offer.folder}", before is not None, left)


def _enter(store: PushTarget, offer: Offer, replace: bool) -> Offer | None:
    """Add the release to the index; return the entry of its version with other content that it replaced, if any."""
    index = store.read_index()
    before = _refuse_other(index, offer, store.label, replace)
    store.write_index(index.having(offer))
    if offer not in store.read_index().releases:
        raise RemoteError(f"{store.label}/{INDEX}: another push wrote it at the same time; push this version again")
    return before


def _refuse_other(index: Index, offer: Offer, label: str, replace: bool) -> Offer | None:
    """The index entry of the same version with other content; an error unless ``replace`` allows replacing it."""
    for other in index.releases:
        if other.key == offer.key and other.manifest != offer.manifest:
            if not replace:
                raise WeightsError(
                    f"{label}: holds another {offer.stage} {offer.label} (manifest {other.manifest.sha256[:12]}, this "
                    f"one {offer.manifest.sha256[:12]}); choose another version, or --replace it"
                )
            return other
    return None


class PushTarget:
    """A folder or bucket that releases are pushed to.

    Args:
        address: a path, ``file://``, ``s3://``, ``gs://`` or another of fsspec's.

    Raises:
        WeightsError: nothing can be pushed to such an address.
        RemoteError: it needs a network, which is forbidden.
        MissingExtraError: a library that it needs is not installed.
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
        self.label = str(self.local) if self.local else redacted(address)

    def read_index(self) -> Index:
        """Read the current index; empty if there is none yet.

        Raises:
            RemoteError: it cannot be read, or is not an index.
        """
        with self._asking(INDEX):
            self.system.invalidate_cache()
            try:
                content = self.system.cat_file(self._path(INDEX))
            except FileNotFoundError:
                return Index()
        return read_index(content, f"{self.label}/{INDEX}")

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
        """Copy a file to the target, and check that it arrived completely.

        Args:
            file: on this machine.
            place: path below the target.
            size: of the file, in bytes.
            progress: called with ``size`` once the file has arrived.

        Raises:
            RemoteError: the file cannot be written, or did not arrive completely.
        """
        with self._asking(place):
            path = self._path(place)
            if not self._flat:
                self.system.makedirs(path.rpartition("/")[0], exist_ok=True)
            self.system.put_file(str(file), path)
            self.system.invalidate_cache()
            arrived = int(self.system.info(path)["size"])
        if arrived != size:
            raise RemoteError(f"{self.label}/{place}: {arrived:,} of {size:,} bytes arrived")
        progress(size)

    def remove(self, place: str) -> bool:
        """Remove a folder and its contents; False if that fails."""
        try:
            self.system.rm(self._path(place), recursive=True)
        except FileNotFoundError:
            return True
        except Exception:  # each store's library has its own errors; the caller reports what is left
            return False
        return True

    @contextmanager
    def locked(self, wait: float = WAIT) -> Iterator[None]:
        """Lock the index of a folder against other pushes; that of a bucket cannot be locked.

        Args:
            wait: seconds to wait for another push to end.

        Raises:
            RemoteError: another push holds the lock for longer.
        """
        if self.local is None:
            yield
            return
        locks = require("filelock")
        with self._asking(LOCK):
            self.local.mkdir(parents=True, exist_ok=True)
        lock = locks.FileLock(self.local / LOCK, timeout=wait)
        try:
            lock.acquire()
        except locks.Timeout as error:
            raise RemoteError(
                f"{self.label}/{LOCK}: another push has held the index for {wait:g} seconds; try again"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def _path(self, place: str) -> str:
        return f"{self.folder}/{place}"

    @contextmanager
    def _asking(self, place: str) -> Iterator[None]:
        """Convert errors of the store's library to ours."""
        try:
            yield
        except FacepipeError:
            raise
        except PermissionError as error:
            raise RemoteError(f"{self.label}/{place}: access denied ({described(error)})") from error
        except Exception as error:  # each store's library has its own errors
            raise RemoteError(f"{self.label}/{place}: {described(error)}") from error
