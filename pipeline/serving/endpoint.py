"""``POST /v1/detect``: handle an upload, answer it, and describe both in the OpenAPI document."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ..drawing.anonymize import How, What, hide
from ..drawing.draw import draw
from ..inputs.image_reader import Frame
from ..queues import Ticket
from ..results import Result
from .models import Choice, Served
from .problems import Refusal, unreadable
from .scheduler import Scheduler
from .settings import Settings
from .upload import FIELD, Memory, Upload, read_upload

JPEG = "image/jpeg"
EXAMPLE = Path(__file__).with_name("example.json")
"""A real answer: examples/astronaut.jpg, sent as a form, with the models of facepipe 0.3.0."""
QUALITY = 90
"""JPEG quality of returned pictures."""
CLIENT_CLOSED = 499
"""Status in the metrics and the log when the client disconnected; it is never sent."""


class Detection:
    """Answers detection requests.

    Args:
        served: the models.
        scheduler: runs the analysis.
        settings: the limits.
    """

    def __init__(self, served: Served, scheduler: Scheduler, settings: Settings):
        self._served, self._scheduler, self._settings = served, scheduler, settings
        self.memory = Memory(settings.max_memory)
        self.draining = False
        self.in_flight = 0
        self._artists = ThreadPoolExecutor(1, "facepipe-draw")

    def close(self) -> None:
        """Finish drawing the pictures in progress."""
        self._artists.shutdown()

    async def answer(self, request: Request, query: Query) -> Response:
        """Read the pictures of a request, analyse them, and answer.

        Raises:
            Refusal: the request or a single picture is refused; see ``problems.MEANINGS``.
        """
        if self.draining:
            raise Refusal(503, "the server is stopping", "stopping")
        if query.hide is not None and query.render != "image":
            raise Refusal(400, "hide: needs render=image")
        choice = self._served.choose(query.detector, query.classifier, query.conf)
        self._scheduler.check()
        self.in_flight += 1
        try:
            with self.memory.lease() as lease:
                uploads = await read_upload(request, self._settings, lease)
                if query.render == "image" and len(uploads) > 1:
                    raise Refusal(400, "render: image takes one picture per request")
                return await self._analyse(request, uploads, choice, query)
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED)
        finally:
            self.in_flight -= 1

    async def _analyse(self, request: Request, uploads: Sequence[Upload], choice: Choice, query: Query) -> Response:
        tickets = self._scheduler.submit(choice, [upload.content for upload in uploads], query.render == "image")
        work = asyncio.ensure_future(self._results(uploads, tickets, query))
        gone = asyncio.ensure_future(_gone(request))
        try:
            done, _ = await asyncio.wait(
                (work, gone), timeout=self._settings.timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if work in done:
                return await work
            if gone in done:
                return Response(status_code=CLIENT_CLOSED)
            raise Refusal(504, f"there was no answer within {self._settings.timeout:g} seconds")
        finally:
            work.cancel()
            gone.cancel()
            self._scheduler.drop(tickets)
            await asyncio.gather(work, gone, return_exceptions=True)

    async def _results(self, uploads: Sequence[Upload], tickets: Sequence[Ticket], query: Query) -> Response:
        found = await asyncio.gather(*(asyncio.wrap_future(ticket.future) for ticket in tickets))
        results = []
        for upload, ticket, result in zip(uploads, tickets, found, strict=True):
            update: dict[str, Any] = {"source": upload.name}
            if ticket.error is not None:
                refusal = unreadable(ticket.error)
                if len(tickets) == 1:
                    raise refusal
                update["error"] = refusal.detail
            results.append(result.model_copy(update=update))
        if query.render == "json":
            return Response(Answer(results=tuple(results)).model_dump_json(), media_type="application/json")
        kept = tickets[0].picture
        assert kept is not None  # its request is still in progress
        render = functools.partial(_render, kept.frame, results[0], query)
        picture = await asyncio.get_running_loop().run_in_executor(self._artists, render)
        return Response(picture, media_type=JPEG)


async def _gone(request: Request) -> None:
    """Wait until the client closes the connection. Its request body has been read already."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _render(frame: Frame, result: Result, query: Query) -> bytes:
    """The picture as JPEG, with the results drawn on it or the faces hidden."""
    shown = draw(frame, result) if query.hide is None else hide(frame, result, query.hide, query.what)
    encoded, content = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not encoded:
        raise RuntimeError("OpenCV could not encode a picture as JPEG")
    return content.tobytes()


class Answer(BaseModel):
    """The results of a request, in the order of its pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    results: tuple[Result, ...]


class Query(BaseModel):
    """How to analyse the pictures of a request."""

    model_config = ConfigDict(extra="forbid")

    conf: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            description="Minimum confidence of a face or head. Default: the server's, which is also the lowest.",
            examples=[0.5],
        ),
    ] = None
    detector: Annotated[
        str | None, Field(max_length=100, description="A detector's version, one of those in GET /v1/models.")
    ] = None
    classifier: Annotated[
        list[Annotated[str, Field(max_length=100)]],
        Field(max_length=16, description="A classifier's version, one of those in GET /v1/models; repeatable."),
    ] = []
    render: Annotated[
        Literal["json", "image"],
        Field(description="`image`: answer with one picture as JPEG, with the results drawn or the faces hidden."),
    ] = "json"
    hide: Annotated[How | None, Field(description="With `render=image`: hide what was found, and draw nothing.")] = None
    what: Annotated[What, Field(description="With `hide`: the faces alone, or whole heads.")] = "faces"


@cache
def example() -> dict[str, Any]:
    """The real answer shown in the OpenAPI document."""
    stored: dict[str, Any] = json.loads(EXAMPLE.read_text("utf-8"))
    return stored


def request_body() -> dict[str, Any]:
    """OpenAPI description of the request body."""
    picture = {"type": "string", "format": "binary"}
    form = {
        "type": "object",
        "required": [FIELD],
        "properties": {FIELD: {"type": "array", "items": picture, "minItems": 1}},
        "additionalProperties": False,
    }
    return {
        "required": True,
        "description": f"Pictures as a form with the field `{FIELD}` once or many times, or one picture as the body.",
        "content": {
            "multipart/form-data": {"schema": form},
            "image/*": {"schema": picture},
            "application/octet-stream": {"schema": picture},
        },
    }


def success() -> dict[int | str, dict[str, Any]]:
    """OpenAPI description of a successful response."""
    return {
        200: {
            "description": (
                "The results, one for each picture in the order sent. Of several pictures, one that cannot be read has "
                "a result whose `error` says why; a single one that cannot be read is answered with a problem. With "
                "`render=image` the picture."
            ),
            "content": {
                JPEG: {"schema": {"type": "string", "format": "binary"}},
            },
        }
    }
