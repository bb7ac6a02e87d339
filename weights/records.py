"""Strict records, and the kinds of values in them: bounded, finite, ASCII where they become names of folders."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

VERSION_PATTERN = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}([-.][A-Za-z0-9.]{1,60})?")
"""Of a whole version (``fullmatch``)."""
SHA256 = r"^[0-9a-f]{64}$"
LARGEST = 1e6
"""Most that a number of the preprocessing may be, and the inverse of the least."""
ONNX_BYTES = 2**31 - 1
"""Most bytes of a model in one file: protobuf's limit."""
DOCUMENT_BYTES = 100_000_000


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
MadeWith = Annotated[str, Field(pattern=r"^[0-9]{1,6}(\.[0-9]{1,6}){1,3}([A-Za-z.+-][A-Za-z0-9.+-]{0,40})?$")]
"""A version of facepipe."""
Figure = Annotated[float | None, BeforeValidator(_measured)]
Level = Annotated[int, Field(ge=0, le=255)]
"""Of one colour of a pixel."""
Offset = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Factor = Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)]
Label = Annotated[str, Field(min_length=1, max_length=100)]
Line = Annotated[str, Field(max_length=10_000)]


class Record(BaseModel):
    """A strict, frozen pydantic model: unknown fields, silent conversions, NaN and Infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def first_error(error: ValidationError) -> str:
    """The first field that a record refuses, and why, in one line of bounded length."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "file"
    return " ".join(f"{where[:200]}: {first['msg'][:300]}".split())
