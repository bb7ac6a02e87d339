"""A folder as a source of weights."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ...core.errors import RemoteError
from .source import CHUNK, Stream


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
