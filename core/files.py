"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError, os_errors_as


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside ``path`` for the block to write; it takes that place if the block ends without an error.

    Folders that are missing are made. A file that was there is replaced in one step and lends its mode; where anything
    fails, it stays as it was. Of a link, the file that it leads to is replaced and the link stays.

    Raises:
        OSError: it cannot be made, or cannot take that place.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        os.chmod(part, path.stat().st_mode & 0o777 if path.exists() else 0o644)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as :func:`replacing` says.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as part:
        part.write_bytes(content)


def write_figures(path: Path, content: object) -> None:
    """Write figures as JSON.

    Raises:
        DataError: it cannot be written.
    """
    with os_errors_as(DataError, f"{path}: the figures cannot be written"):
        write_whole(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace"))


def is_stream(target: str | os.PathLike[str]) -> bool:
    """Whether a path is one to write on to and never to replace: ``-``, a device, a pipe, a terminal, an open file.

    ``/dev/stdout`` is a link that may lead to an ordinary file, where a shell has sent the output; it is a stream too.
    """
    path = os.fspath(target)
    if path == "-":
        return True
    for _ in range(40):
        if os.path.abspath(path).startswith(("/dev/", "/proc/")) and not os.path.abspath(path).startswith("/dev/shm/"):
            return True
        if not os.path.islink(path):
            break
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def is_standard_output(target: str | os.PathLike[str]) -> bool:
    """Whether a path is ``-``, or leads to what standard output leads to."""
    if os.fspath(target) == "-":
        return True
    try:
        return is_stream(target) and os.path.samestat(os.stat(target), os.fstat(1))
    except OSError:
        return False
