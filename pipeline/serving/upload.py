"""Read uploads into memory chunk by chunk, never to disk and never beyond the limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from .problems import Refusal
from .settings import Settings

FIELD = "file"
"""The form's only field; it may be repeated up to ``Settings.max_files`` times."""
NAME = 255
"""File names are truncated to this many characters."""
TYPES = "multipart/form-data, image/* or application/octet-stream"


@dataclass(frozen=True)
class Upload:
    """One uploaded picture.

    Attributes:
        name: the file name given by the client, or None.
        content: the encoded picture.
    """

    name: str | None
    content: bytearray


class Memory:
    """Memory budget for all uploads together. Use it on the event loop only."""

    def __init__(self, limit: int):
        self.limit, self.held = limit, 0

    def lease(self) -> Lease:
        """A share for one request, returned when its ``with`` block ends."""
        return Lease(self)


class Lease:
    """What one request holds of the upload memory."""

    def __init__(self, memory: Memory):
        self._memory, self.held = memory, 0

    def take(self, count: int) -> None:
        """Reserve this many more bytes.

        Raises:
            Refusal: 503, all of it is in use.
        """
        if self._memory.held + count > self._memory.limit:
            raise Refusal(503, "too many uploads are in progress; try again", "memory-full")
        self._memory.held += count
        self.held += count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._memory.held -= self.held
        self.held = 0


async def read_upload(request: Request, settings: Settings, lease: Lease) -> list[Upload]:
    """Read the pictures of a request.

    Args:
        request: a form with the field ``file`` once or many times, or one picture as the whole body.
        settings: the limits; reading stops as soon as one is exceeded, whether or not the length was announced.
        lease: the memory budget.

    Raises:
        Refusal: 400 malformed, 408 too slow, 413 too large, 415 of another type, 503 no memory.
        ClientDisconnect: the client went away.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "compressed bodies are not supported; send the pictures as they are")
    kind, options = parse_options_header(request.headers.get("content-type"))
    try:
        async with asyncio.timeout(settings.upload_timeout):
            if kind == b"multipart/form-data":
                _announced(request, settings.max_request_bytes)
                return await _read_form(request, options.get(b"boundary", b""), settings, lease)
            if kind.startswith(b"image/") or kind == b"application/octet-stream":
                _announced(request, settings.max_bytes)
                return [await _read_raw(request, settings, lease)]
    except TimeoutError as error:
        raise Refusal(408, f"the upload took longer than {settings.upload_timeout:g} seconds") from error
    raise Refusal(415, f"the body's type must be {TYPES}")


def _announced(request: Request, limit: int) -> None:
    """Refuse by ``Content-Length`` before reading a byte. The server has checked that it is a number."""
    if int(request.headers.get("content-length", 0)) > limit:
        raise _too_large("the request", limit)


def _too_large(what: str, limit: int) -> Refusal:
    return Refusal(413, f"{what} is over the limit of {limit:,} bytes")


async def _read_raw(request: Request, settings: Settings, lease: Lease) -> Upload:
    content = bytearray()
    async for chunk in request.stream():
        if len(content) + len(chunk) > settings.max_bytes:
            raise _too_large("the picture", settings.max_bytes)
        lease.take(len(chunk))
        content += chunk
    return Upload(None, content)


async def _read_form(request: Request, boundary: bytes, settings: Settings, lease: Lease) -> list[Upload]:
    if not boundary:
        raise Refusal(400, "the form's type names no boundary")
    form, total = _Form(settings, lease), 0
    try:
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
        async for chunk in request.stream():
            total += len(chunk)
            if total > settings.max_request_bytes:
                raise _too_large("the request", settings.max_request_bytes)
            parser.write(chunk)
    except (FormParserError, UnicodeDecodeError) as error:
        raise Refusal(400, "the form is malformed") from error
    if not form.ended:
        raise Refusal(400, "the form is cut short: its closing boundary is missing")
    if not form.uploads:
        raise Refusal(400, f"the form has no picture; send it as the field {FIELD!r}")
    return form.uploads


class _Form:
    """Receives the parts of a form from the parser."""

    def __init__(self, settings: Settings, lease: Lease):
        self.settings, self.lease = settings, lease
        self.uploads: list[Upload] = []
        self.ended = False
        self._headers: dict[str, str] = {}
        self._header, self._value = bytearray(), bytearray()

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """Callbacks by the names that ``MultipartParser`` uses."""
        return {
            "on_part_begin": self._headers.clear,
            "on_part_data": self._part_data,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_end": self._end,
        }

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._header.clear()
        self._value.clear()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition"))
        if options.get(b"name") != FIELD.encode():
            raise Refusal(400, f"the form may have only the field {FIELD!r}")
        if len(self.uploads) == self.settings.max_files:
            raise Refusal(400, f"more than {self.settings.max_files} pictures in one request", "too-many-files")
        name = options.get(b"filename", b"").decode("utf-8", "replace")[:NAME]
        self.uploads.append(Upload(name or None, bytearray()))

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        content = self.uploads[-1].content
        if len(content) + end - start > self.settings.max_bytes:
            raise _too_large(f"picture {len(self.uploads)} of the form", self.settings.max_bytes)
        self.lease.take(end - start)
        content += memoryview(data)[start:end]

    def _end(self) -> None:
        self.ended = True
