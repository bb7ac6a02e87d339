"""The web page at ``/``. It serves files of the package and nothing else from this machine."""

from __future__ import annotations

from os import PathLike, stat_result
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""MIME types of the page's files. The system's table may lack one or, on Windows, have another."""
POLICY = (
    "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""Content-Security-Policy: the browser itself blocks requests to other servers, and scripts, styles and markup that are
not files of this one. ``blob:`` allows the pictures that the page holds."""


class _Files(StaticFiles):
    """The page's files, with their MIME types. Browsers revalidate them each time."""

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        if "content-type" in response.headers:
            response.headers["Content-Type"] = TYPES[Path(full_path).suffix]
        return response


def add_page(app: FastAPI, folder: Path = FOLDER) -> list[str]:
    """Serve the page: ``/`` is its index, ``/page/NAME`` its other files. No API key is required.

    Args:
        app: the application.
        folder: of the page's files.

    Returns:
        The paths; empty if the folder has no index.
    """
    if not (folder / INDEX).is_file():
        return []
    files = _Files(directory=folder)

    async def index(request: Request) -> Response:
        return await files.get_response(INDEX, request.scope)

    app.add_route("/", index, methods=["GET"], include_in_schema=False)
    app.mount("/page", files, name="page")
    return ["/", *(f"/page/{path.name}" for path in sorted(folder.iterdir()))]
