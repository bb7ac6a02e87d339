"""The answer of ``POST /v1/detect``, and how it is described in the OpenAPI document."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..drawing.anonymize import How, What
from ..results import Result
from .upload import FIELD

JPEG = "image/jpeg"
EXAMPLE = Path(__file__).with_name("example.json")
"""A real answer: examples/astronaut.jpg, sent as a form, with the models of facepipe 0.3.0."""


class Answer(BaseModel):
    """The results of a request, in the order of its pictures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    results: tuple[Result, ...]


class Query(BaseModel):
    """How the pictures of a request are looked at."""

    model_config = ConfigDict(extra="forbid")

    conf: Annotated[
        float | None,
        Field(ge=0, le=1, description="Least confidence of a face or a head. Default: the server's.", examples=[0.5]),
    ] = None
    detector: Annotated[
        str | None, Field(max_length=100, description="A detector's version, of those that GET /v1/models lists.")
    ] = None
    classifier: Annotated[
        list[Annotated[str, Field(max_length=100)]],
        Field(max_length=16, description="A classifier's version, of those that GET /v1/models lists; repeatable."),
    ] = []
    render: Annotated[
        Literal["json", "image"],
        Field(
            description="`image` answers with the picture as JPEG, drawn upon, or with its faces hidden; one picture."
        ),
    ] = "json"
    hide: Annotated[How | None, Field(description="With `render=image`: hide what was found, and draw nothing.")] = None
    what: Annotated[What, Field(description="With `hide`: the faces alone, or whole heads.")] = "faces"


@cache
def example() -> dict[str, Any]:
    """The real answer that the OpenAPI document shows."""
    stored: dict[str, Any] = json.loads(EXAMPLE.read_text("utf-8"))
    return stored


def request_body() -> dict[str, Any]:
    """OpenAPI's description of what may be sent."""
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
    """OpenAPI's description of an answer."""
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
