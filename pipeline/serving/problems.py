"""Errors as HTTP responses in one small JSON format (RFC 9457, ``application/problem+json``)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ...core.errors import FacepipeError, ImageTooLargeError, ImageTypeError, MissingExtraError
from ..inputs.image_header import FORMATS

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = 1
"""Default ``Retry-After`` in seconds for a refused client."""
MEANINGS = {
    400: "The query, the form or the request as a whole is wrong.",
    401: "The API key is missing or not one of this server's.",
    403: "The request comes from a page of another origin.",
    408: "The upload took too long.",
    413: "A picture has too many bytes or pixels, or the request too many bytes.",
    415: "The body's type is not one of those listed, or a picture's format is not supported.",
    421: "The server does not answer to the name in the header Host.",
    422: "The picture is empty, damaged or cut short.",
    500: "A server error.",
    503: "The server is at its capacity, or stopping; try again after `Retry-After` seconds.",
    504: "There was no answer in time; the work was dropped.",
}
CODES = {
    400: "bad-request",
    401: "unauthorised",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    408: "upload-timeout",
    413: "too-large",
    415: "unsupported-type",
    421: "wrong-host",
    422: "unreadable",
    500: "fault",
    503: "unavailable",
    504: "timeout",
}


class Problem(BaseModel):
    """Why a request was not answered."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Service Unavailable",
                    "status": 503,
                    "detail": "64 pictures are waiting already; try again",
                    "code": "queue-full",
                }
            ]
        },
    )

    type: str = "about:blank"
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What is wrong with this request, and what to do.")
    code: str = Field(description="The kind of problem, for programs.")


class Refusal(Exception):
    """A request that is answered with a problem.

    Args:
        status: the HTTP status.
        detail: what is wrong and what to do. It is sent to the client, so it reveals nothing about this machine.
        code: the kind of problem; None takes the status's own.
        headers: extra response headers.
    """

    def __init__(self, status: int, detail: str, code: str | None = None, headers: Mapping[str, str] | None = None):
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.code = code or CODES.get(status, "error")
        self.headers = dict(headers or {})
        if status == 503:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER))

    def answer(self) -> Response:
        """The HTTP response."""
        problem = Problem(title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail, code=self.code)
        return Response(problem.model_dump_json(), self.status, self.headers, MEDIA_TYPE)


def unreadable(error: FacepipeError) -> Refusal:
    """The refusal for a picture that ``read_frame`` could not read: 413, 415 or 422."""
    detail = str(error).removeprefix("bytes: ")
    if isinstance(error, ImageTooLargeError):
        return Refusal(413, detail)
    if isinstance(error, ImageTypeError):
        return Refusal(415, detail)
    if isinstance(error, MissingExtraError):
        return Refusal(415, f"this server does not read pictures of that format; it reads {FORMATS}")
    return Refusal(422, detail)


def install(app: FastAPI) -> None:
    """Answer errors as problems, both ours and the framework's. Unhandled exceptions are left to the guard."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return error.answer()

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return Refusal(400, "; ".join(_in_words(each) for each in error.errors())).answer()

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = {
            404: "there is nothing here; GET /openapi.json lists what there is",
            405: "this address does not take that method; the header Allow lists those it takes",
        }.get(error.status_code, str(error.detail))
        return Refusal(error.status_code, detail, headers=error.headers).answer()

    app.add_exception_handler(Refusal, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI description of the problems that an operation may return."""
    return {
        status: {
            "description": MEANINGS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def _in_words(error: Mapping[str, Any]) -> str:
    """One of the framework's validation errors, without the value that was sent."""
    place = ".".join(str(part) for part in error["loc"][1:]) or str(error["loc"][0])
    return f"{place}: {error['msg']}"
