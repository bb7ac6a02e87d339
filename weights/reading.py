"""Reading files that may come from anybody: regular files of a known size only, and JSON within bounds."""

from __future__ import annotations

import logging
import math
import os
import stat
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from ..core.errors import WeightsError

LOG = logging.getLogger("facepipe.weights")
JSON_BYTES = 4_000_000
"""Most bytes of a manifest, an index or another JSON file."""
LINE_ENDS = "\n\t"
"""Control characters that text may hold."""
BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that reorder the text around them (Unicode UAX 9)."""
_warned: set[str] = set()


def read_regular(path: Path, most: int, exactly: bool = False) -> bytes:
    """The content of a regular file, whose kind and size are checked before a byte is read.

    A link to a regular file is followed; a device, pipe, socket or folder is refused without waiting for it.

    Args:
        path: the file.
        most: bytes that it may have.
        exactly: it must have that many.

    Raises:
        WeightsError: it is no regular file, or has another size.
        OSError: it cannot be read.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)  # opening a device may already do something
    except ValueError as error:  # a NUL in its name
        raise WeightsError(f"{str(path)!r}: no name of a file") from error
    if not regular:
        raise WeightsError(f"{path}: not a regular file")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise WeightsError(f"{path}: not a regular file")
        if found.st_size > most or (exactly and found.st_size != most):
            raise WeightsError(f"{path}: has {found.st_size:,} bytes, expected {'' if exactly else 'at most '}{most:,}")
        content = file.read(most + 1)
    if len(content) > most:
        raise WeightsError(f"{path}: grew while it was read")
    return content


def parse_json(content: bytes) -> Any:
    """Parse JSON strictly: in UTF-8, at most some 200 levels deep, no NaN or Infinity, no control characters in texts.

    Raises:
        ValueError: it is none of that; the message says what and where.
    """
    if len(content) > JSON_BYTES:
        raise ValueError(f"has {len(content):,} bytes, expected at most {JSON_BYTES:,}")
    parsed = from_json(content, allow_inf_nan=False)
    waiting = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and not is_plain(value):
            raise ValueError(f"a control character in {value[:40]!r}")
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a number beyond the largest there is")
    return parsed


def is_plain(text: str) -> bool:
    """Whether a text is free of control characters (line feeds and tabs aside), which could steer a terminal."""
    return text.isprintable() or all(
        letter in LINE_ENDS or not (letter < " " or "\x7f" <= letter <= "\x9f" or letter in BIDIRECTIONAL)
        for letter in text
    )


def warn_once(message: str) -> None:
    """Log a warning, once in a process, with control characters replaced."""
    if message not in _warned:
        _warned.add(message)
        LOG.warning("warning: %s", "".join(each if is_plain(each) and each != "\n" else "\ufffd" for each in message))
