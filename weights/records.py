"""Strict records, and reading them from untrusted files.

Values are bounded, finite, and ASCII where they become folder names. Only regular files of limited size are read, and
JSON within limits.
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
"""Maximum size in bytes of a manifest, an index or another JSON file."""
LINE_ENDS = "\n\t"
"""Control characters allowed in text."""
BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that reorder the text around them (Unicode UAX 9)."""
_warned: set[str] = set()
VERSION_PATTERN = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}([-.][A-Za-z0-9.]{1,60})?")
"""A whole version; use with ``fullmatch``."""
SHA256 = r"^[0-9a-f]{64}$"
LARGEST = 1e6
"""Largest number allowed in the preprocessing; its inverse is the smallest factor."""
ONNX_BYTES = 2**31 - 1
"""Maximum size in bytes of a single-file model: protobuf's limit."""
DOCUMENT_BYTES = 100_000_000
MadeWith = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){1,3}([A-Za-z.+-][A-Za-z0-9.+-]{0,40})?$")]
"""A version of facepipe."""
Level = Annotated[int, Field(ge=0, le=255)]
"""Value of one colour channel of a pixel."""
Offset = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Factor = Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)]
Label = Annotated[str, Field(min_length=1, max_length=100)]
Line = Annotated[str, Field(max_length=10_000)]


def is_version(text: str) -> bool:
    """Whether a text is a version such as ``1.2.3`` or ``1.2.3-name``, in ASCII and with nothing after it."""
    return VERSION_PATTERN.fullmatch(text) is not None


def shortened(text: str) -> str:
    """Quote a text for a message, truncated if long."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")


def _named_like_a_version(text: str) -> str:
    if not is_version(text):
        raise ValueError(f"a version looks like 1.2.3 or 1.2.3-name, got {shortened(text)}")
    return text


def _measured(value: Any) -> Any:
    """Replace a figure that could not be computed with None (the mean of nothing is NaN)."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Version = Annotated[str, AfterValidator(_named_like_a_version)]
Figure = Annotated[float | None, BeforeValidator(_measured)]


class Record(BaseModel):
    """A strict, frozen pydantic model: unknown fields, implicit conversions, NaN and Infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def first_error(error: ValidationError) -> str:
    """The first field that a record rejects, and why, in one line of limited length."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return " ".join(f"{where[:200]}: {first['msg'][:300]}".split())


def read_regular(path: Path, most: int, exactly: bool = False) -> bytes:
    """Read a regular file, after checking its type and size.

    A link to a regular file is followed; a device, pipe, socket or folder is refused without blocking.

    Args:
        path: the file.
        most: maximum size in bytes.
        exactly: require exactly that size.

    Raises:
        WeightsError: it is not a regular file, or has the wrong size.
        OSError: it cannot be read.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)  # merely opening a device may have side effects
    except ValueError as error:  # a NUL in its name
        raise WeightsError(f"{str(path)!r}: not a valid file name") from error
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
        raise WeightsError(f"{path}: grew while being read")
    return content


def parse_json(content: bytes) -> Any:
    """Parse JSON strictly: UTF-8, about 200 levels at most, no NaN or Infinity, no control characters in strings.

    Raises:
        ValueError: it breaks one of these rules; the message says what and where.
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
            raise ValueError("a number too large for a float")
    return parsed


def is_plain(text: str) -> bool:
    """Whether a text has no control characters, which could manipulate a terminal; line feeds and tabs are allowed."""
    return text.isprintable() or all(
        letter in LINE_ENDS or not (letter < " " or "\x7f" <= letter <= "\x9f" or letter in BIDIRECTIONAL)
        for letter in text
    )


def warn_once(message: str) -> None:
    """Log a warning once per process, with control characters replaced."""
    if message not in _warned:
        _warned.add(message)
        LOG.warning("warning: %s", "".join(each if is_plain(each) and each != "\n" else "\ufffd" for each in message))
