"""Results as lines of JSON: whole files from the journal, or at once to standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ...core.errors import FacepipeError
from ...core.files import replacing
from ..results import Result


def write_json(path: Path, lines: Iterable[bytes]) -> None:
    """Write results, each already JSON, as one line each; the file is there whole or as it was before.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as part, part.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)


@contextmanager
def json_stream(target: str) -> Iterator[BinaryIO]:
    """Open standard output (``-``), or a device or a pipe that is there, for :func:`write_line`.

    Raises:
        FacepipeError: it cannot be written.
    """
    if target == "-":
        yield sys.stdout.buffer
        return
    try:
        with open(target, "wb") as file:
            yield file
    except BrokenPipeError:  # of standard output, where tables go meanwhile
        raise
    except OSError as error:
        raise FacepipeError(f"{target}: cannot be written ({error.strerror})") from error


def write_line(result: Result, file: BinaryIO) -> None:
    """Write one result as one line of UTF-8 JSON, at once."""
    file.write(result.model_dump_json().encode() + b"\n")
    file.flush()
