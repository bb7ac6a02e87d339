"""The FastAPI application and its routes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, FastAPI, Request
from fastapi import Query as InQuery
from pydantic import BaseModel
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from ...core.version import __version__
from ..result_schema import schema as result_schema
from .endpoint import Answer, Detection, Query, example, request_body, success
from .metrics import CONTENT_TYPE, Metrics
from .middleware import Guard, key_check
from .models import Served, ServedModels
from .problems import Problem, Refusal, install, responses
from .scheduler import Scheduler
from .settings import Settings
from .web import FOLDER, add_page

DESCRIPTION = (
    "Finds faces and heads in photos and reads attributes of each face. Pictures are sent as bytes; nothing that is "
    "sent is stored or logged. Errors are `application/problem+json` (RFC 9457)."
)


class Access(NamedTuple):
    """Access control: the dependencies to check first, and the status codes they may refuse with."""

    checks: list[Any]
    refusals: tuple[int, ...]


class Health(BaseModel):
    """Whether the server is up."""

    status: str


def create_app(served: Served, settings: Settings | None = None, page: Path = FOLDER) -> FastAPI:
    """Create the application.

    Args:
        served: the loaded models.
        settings: limits and timeouts; None takes the defaults.
        page: folder of the web page's files, see ``add_page``.

    Returns:
        The ASGI application; ``app.state.detection`` knows what is in flight.
    """
    settings = settings or Settings()
    metrics = Metrics(settings.batch)
    scheduler = Scheduler(served, settings, metrics)
    detection = Detection(served, scheduler, settings)
    metrics.watch("facepipe_queue_pictures", "Pictures that wait.", lambda: scheduler.waiting)
    metrics.watch("facepipe_upload_bytes", "Bytes of uploads held.", lambda: detection.memory.held)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        scheduler.start()
        yield
        scheduler.close()
        detection.close()

    app = FastAPI(
        title="facepipe",
        version=__version__,
        description=DESCRIPTION,
        docs_url=None,  # that page loads its scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # such a redirect would go to whatever Host the request names
        lifespan=lifespan,
    )
    app.state.detection = detection
    app.state.metrics = metrics
    install(app)
    access = Access([Depends(key_check(settings.keys))], (401, 403, 421) if settings.keys else (403, 421))
    _add_detect(app, detection, metrics, access)
    _add_about(app, served, access)
    _add_health(app, detection, scheduler, metrics, access)
    _describe(app, served)
    paths = [route.path for route in app.routes if hasattr(route, "path")]
    paths += add_page(app, page)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key"],
            expose_headers=["Retry-After"],
            max_age=600,
        )
    app.add_middleware(Guard, metrics=metrics, paths=paths, hosts=settings.hosts, origins=settings.origins)
    return app


def _add_detect(app: FastAPI, detection: Detection, metrics: Metrics, access: Access) -> None:
    @app.post(
        "/v1/detect",
        tags=["detect"],
        dependencies=access.checks,
        response_model=Answer,
        responses={**success(), **responses(400, *access.refusals, 408, 413, 415, 422, 500, 503, 504)},
        openapi_extra={"requestBody": request_body()},
    )
    async def detect(request: Request, query: Annotated[Query, InQuery()]) -> Response:
        """Find the faces in pictures and read the attributes of each."""
        try:
            return await detection.answer(request, query)
        except Refusal as refusal:
            metrics.refused.labels(refusal.code).inc()
            raise


def _add_about(app: FastAPI, served: Served, access: Access) -> None:
    described, published = served.describe(), result_schema()

    @app.get("/v1/models", tags=["about"], dependencies=access.checks, responses=responses(*access.refusals))
    async def models() -> ServedModels:
        """List the models of this server and the attributes they read."""
        return described

    @app.get("/v1/schema", tags=["about"], dependencies=access.checks, responses=responses(*access.refusals))
    async def schema() -> dict[str, Any]:
        """Return the JSON Schema of one result."""
        return published


def _add_health(app: FastAPI, detection: Detection, scheduler: Scheduler, metrics: Metrics, access: Access) -> None:
    @app.get("/healthz", tags=["health"])
    async def health() -> Health:
        """Check that the process is alive."""
        return Health(status="ok")

    @app.get("/readyz", tags=["health"], responses=responses(503))
    async def ready() -> Health:
        """Check that new requests are accepted; fails while the server is stopping."""
        if detection.draining:
            raise Refusal(503, "the server is stopping", "stopping")
        if not scheduler.alive:
            raise Refusal(503, "a worker thread has ended; restart the server", "fault")
        return Health(status="ready")

    @app.get(
        "/metrics",
        tags=["health"],
        dependencies=access.checks,
        response_class=Response,
        responses={
            200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
            **responses(*access.refusals),
        },
    )
    async def figures() -> Response:
        """Counters and timings for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)


def _describe(app: FastAPI, served: Served) -> None:
    """Patch the OpenAPI document.

    Replace the framework's own errors with ``Problem``, add the example with its nulls, and list the served versions.
    """
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            detect = document["paths"]["/v1/detect"]["post"]
            detect["responses"]["200"]["content"]["application/json"]["example"] = example()
            labels = {"type": "string", "enum": [*served.classifiers]}
            versions = {
                "detector": {"type": "string", "enum": [*served.detectors]},
                "classifier": {"type": "array", "items": labels, "maxItems": 16, "uniqueItems": True},
            }
            for parameter in detect["parameters"]:
                parameter["schema"] = versions.get(parameter["name"], parameter["schema"])
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
