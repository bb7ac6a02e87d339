"""Atomic writing: a file is written completely or not at all."""

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
    """Yield an empty file beside ``path`` to write to; it replaces ``path`` if the block ends without an error.

    Missing folders are created. An existing file is replaced in one step and its mode is kept; if anything fails, it
    stays as it was. If ``path`` is a link, its target is replaced and the link stays.

    Raises:
        OSError: the file cannot be created, or cannot replace ``path``.
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
    """Write a file atomically, as :func:`replacing` does.

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
    """Whether a path must be written to but never replaced: ``-``, a device, a pipe, a terminal, an open file.

    ``/dev/stdout`` may link to a regular file if a shell redirects the output; it is a stream, too.
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
    """Whether a path is ``-`` or refers to the same file as standard output."""
    if os.fspath(target) == "-":
        return True
    try:
        return is_stream(target) and os.path.samestat(os.stat(target), os.fstat(1))
    except OSError:
        return False
