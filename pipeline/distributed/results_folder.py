"""The folder that the results go to, on a disk or in a bucket. What is in it is whole: files appear in one step."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.errors import FacepipeError, RemoteError
from ...core.files import write_whole
from ...weights.registry.bucket_source import told_of
from ...weights.registry.push_target import FLAT
from ...weights.registry.source import redacted
from ..inputs.urls import is_store
from .addresses import Stores, scheme_of

SUFFIX = ".parquet"


class ResultsFolder:
    """A folder of files.

    Args:
        address: a path, or an address such as ``s3://bucket/results.parquet``; ends in ``.parquet``.

    Attributes:
        told: the address for messages.

    Raises:
        FacepipeError: another ending, a store that cannot be used, or a password in the address.
    """

    def __init__(self, address: str):
        address = address.rstrip("/")
        self.told = redacted(address) if is_store(address) else address
        if not address.lower().endswith(SUFFIX):
            raise FacepipeError(f"{self.told}: --out takes a name that ends in {SUFFIX}; it becomes a folder of parts")
        self._local: Path | None = None
        self._system: Any = None
        if is_store(address) and scheme_of(address) != "file":
            self._system, self._path = Stores().open(address)
            self._flat = scheme_of(address) in FLAT
        elif is_store(address):
            self._local = Path(Stores().open(address)[1])
        else:
            self._local = Path(address).expanduser()

    def names(self) -> set[str]:
        """The names of the files in it; none where it is not there.

        Raises:
            FacepipeError: it cannot be listed, or is a file.
        """
        if self._local is not None:
            with self._asking("listed"):
                try:
                    return set(os.listdir(self._local))
                except FileNotFoundError:
                    return set()
                except NotADirectoryError as error:
                    raise FacepipeError(
                        f"{self.told}: is a file; --out makes a folder of that name, so give another one"
                    ) from error
        with self._asking("listed"):
            self._system.invalidate_cache()
            try:
                listed = self._system.ls(self._path, detail=False)
            except FileNotFoundError:
                return set()
        names = {str(each).rstrip("/").rpartition("/")[2] for each in listed if str(each).rstrip("/") != self._path}
        if names == {self._path.rpartition("/")[2]} and self._system.isfile(self._path):
            raise FacepipeError(f"{self.told}: is a file; --out makes a folder of that name, so give another one")
        return names

    def read(self, name: str) -> bytes:
        """A file's content.

        Raises:
            FacepipeError: it cannot be read.
        """
        with self._asking("read", name):
            if self._local is not None:
                return (self._local / name).read_bytes()
            content: bytes = self._system.cat_file(f"{self._path}/{name}")
            return content

    @contextmanager
    def open(self, name: str) -> Iterator[Any]:
        """A file to be read in places.

        Raises:
            FacepipeError: it cannot be read.
        """
        with self._asking("read", name):
            if self._local is not None:
                with (self._local / name).open("rb") as file:
                    yield file
            else:
                with self._system.open(f"{self._path}/{name}", "rb", cache_type="none") as file:
                    yield file

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one step: in a bucket a put is one, elsewhere it is renamed when it is whole.

        Raises:
            FacepipeError: it cannot be written.
        """
        with self._asking("written", name):
            if self._local is not None:
                write_whole(self._local / name, content)
                return
            place = f"{self._path}/{name}"
            if self._flat:
                self._system.pipe_file(place, content)
                return
            self._system.makedirs(self._path, exist_ok=True)
            part = f"{self._path}/.{name}-{uuid.uuid4().hex[:8]}"
            self._system.pipe_file(part, content)
            self._system.mv(part, place)

    def remove(self, name: str) -> None:
        """Remove a file.

        Raises:
            FacepipeError: it cannot be removed.
        """
        with self._asking("removed", name):
            if self._local is not None:
                (self._local / name).unlink()
            else:
                self._system.rm_file(f"{self._path}/{name}")

    @contextmanager
    def _asking(self, what: str, name: str = "") -> Iterator[None]:
        """Errors of the disk and of the store's library as ours."""
        place = f"{self.told}/{name}" if name else self.told
        try:
            yield
        except FacepipeError:
            raise
        except OSError as error:
            kind = FacepipeError if self._local is not None else RemoteError
            raise kind(f"{place}: cannot be {what} ({error.strerror or error})") from error
        except Exception as error:  # each store's library has errors of its own
            raise RemoteError(f"{place}: cannot be {what}: {told_of(error)}") from error
