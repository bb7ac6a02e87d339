"""Strict records, and reading them from files that may come from anybody.

Values are bounded, finite, and ASCII where they become names of folders. Only regular files of a known size are read,
and JSON within bounds.
"""

from __future__ import annotations

import logging
import math
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
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
VERSION_PATTERN = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}([-.][A-Za-z0-9.]{1,60})?")
"""Of a whole version (``fullmatch``)."""
SHA256 = r"^[0-9a-f]{64}$"
LARGEST = 1e6
"""Most that a number of the preprocessing may be, and the inverse of the least."""
ONNX_BYTES = 2**31 - 1
"""Most bytes of a model in one file: protobuf's limit."""
DOCUMENT_BYTES = 100_000_000
MadeWith = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){1,3}([A-Za-z.+-][A-Za-z0-9.+-]{0,40})?$")]
"""A version of facepipe."""
Level = Annotated[int, Field(ge=0, le=255)]
"""Of one colour of a pixel."""
Offset = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Factor = Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)]
Label = Annotated[str, Field(min_length=1, max_length=100)]
Line = Annotated[str, Field(max_length=10_000)]


def is_version(text: str) -> bool:
    """Whether a text reads like ``1.2.3`` or ``1.2.3-name``, in ASCII and with nothing after it."""
    return VERSION_PATTERN.fullmatch(text) is not None


def shortened(text: str) -> str:
    """A text as messages quote it: its beginning, where it is long."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _named_like_a_version(text: str) -> str:
    if not is_version(text):
        raise ValueError(f"a version reads like 1.2.3 or 1.2.3-name, got {shortened(text)}")
    return text


def _measured(value: Any) -> Any:
    """None in place of a figure that could not be worked out (the mean of nothing is NaN)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Version = Annotated[str, AfterValidator(_named_like_a_version)]
Figure = Annotated[float | None, BeforeValidator(_measured)]


class Record(BaseModel):
    """A strict, frozen pydantic model: unknown fields, silent conversions, NaN and Infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def first_error(error: ValidationError) -> str:
    """The first field that a record refuses, and why, in one line of bounded length."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return " ".join(f"{where[:200]}: {first['msg'][:300]}".split())


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
