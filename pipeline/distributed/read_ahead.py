"""Pictures of buckets, read ahead of the models by several threads; no more bytes are held than are allowed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from ...core.errors import FacepipeError, ImageError, ImageTooLargeError
from ...weights.registry.bucket_source import told_of
from ...weights.registry.source import redacted
from ..inputs.image_reader import Limits
from .addresses import Stores

THREADS = 16
"""Requests at a time. One takes some 30 to 100 ms of a bucket; a core needs one picture in that time, a GPU many."""
BYTES = 64 * 2**20
"""Held at a time, or one picture, if it alone has more."""
GUESS = 2**20
"""Bytes of a picture whose size nobody told."""
TRIES = 3
PAUSE = 0.5
"""Seconds before the second try; twice that before the third."""


class ReadAhead:
    """The pictures of one block, fetched in their order while others are worked on.

    Args:
        stores: opened ones.
        sizes: bytes of each picture by its address, None where unknown; in the order in which they will be asked for.
        limits: pictures over the limit on bytes are not fetched.

    Attributes:
        refused: pictures that the store did not give although it did not say that they are not there.
        why: what it said of the first of them.
    """

    def __init__(self, stores: Stores, sizes: Iterable[tuple[str, int | None]], limits: Limits):
        self._stores, self._limits = stores, limits
        self._waiting = deque(sizes)
        self._sizes = dict(self._waiting)
        self._coming: dict[str, Future[bytes]] = {}
        self._held = 0
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(THREADS, "facepipe-fetch")
        self.refused = 0
        self.why = ""

    def __contains__(self, source: object) -> bool:
        return source in self._sizes

    def take(self, source: str) -> bytes:
        """The encoded picture; each is given once.

        Raises:
            ImageError: it is not there, or the store does not give it.
            ImageTooLargeError: over the limit on bytes.
        """
        with self._lock:
            while self._waiting and (source not in self._coming or self._room()):
                self._fetch_next()
            future = self._coming[source]
        try:
            return future.result()
        finally:
            with self._lock:
                del self._coming[source]
                self._held -= self._weight(source)

    def close(self) -> None:
        """Fetch no more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _room(self) -> bool:
        return len(self._coming) < 2 * THREADS and self._held + self._weight(self._waiting[0][0]) <= BYTES

    def _weight(self, source: str) -> int:
        size = self._sizes[source]
        return GUESS if size is None else min(size, self._limits.bytes)

    def _fetch_next(self) -> None:
        source = self._waiting.popleft()[0]
        self._held += self._weight(source)
        self._coming[source] = self._threads.submit(self._fetch, source)

    def _fetch(self, source: str) -> bytes:
        name, size = redacted(source), self._sizes[source]
        if size is not None and size > self._limits.bytes:
            raise ImageTooLargeError(f"{name}: over the limit of {self._limits.bytes:,} bytes")
        for number in range(1, TRIES + 1):
            try:
                system, path = self._stores.open(source)
                content: bytes = system.cat_file(path)
                return content
            except FacepipeError:
                raise
            except FileNotFoundError as error:
                raise ImageError(f"{name}: no such file") from error
            except IsADirectoryError as error:
                raise ImageError(f"{name}: is a folder; name the pictures in it") from error
            except PermissionError as error:
                self._count(str(error) or "refused")
                raise ImageError(f"{name}: cannot be read ({' '.join(str(error).split()) or 'refused'})") from error
            except Exception as error:  # each store's library has errors of its own, and it may have been the network
                if number == TRIES:
                    self._count(told_of(error))
                    raise ImageError(f"{name}: cannot be read ({told_of(error)})") from error
                time.sleep(PAUSE * number)
        raise AssertionError("the last try returns or raises")

    def _count(self, why: str) -> None:
        with self._lock:
            self.refused += 1
            self.why = self.why or why
