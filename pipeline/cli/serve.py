"""``facepipe serve``: the pipeline as an HTTP server."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from ...core.extras import require
from ._options import FaceCheckSwitch, ModelChoice, PrecisionName

KEY_VARIABLE = "FACEPIPE_API_KEY"
LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""By which a server is called from its own machine."""
MIB = 2**20


@dataclass(frozen=True)
class Access:
    """Who may call."""

    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"API keys, one per line; requests must send one. Alternatively, set a single key in ${KEY_VARIABLE}.",
        ),
    ] = None
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Web origin whose pages may call the API; may be repeated. Default: none."),
    ] = None
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name that the server answers to besides localhost; may be repeated. Default: any, but none "
            "on loopback.",
        ),
    ] = None


@dataclass(frozen=True)
class Limits:
    """The fields of the server's settings that are numbers; ``window`` in milliseconds."""

    batch: Annotated[int, typer.Option(min=1, max=128, help="Maximum pictures per detector call on a GPU.")] = 8
    window: Annotated[
        float,
        typer.Option(
            min=0, max=1000, help="Milliseconds that such a call waits for more pictures; 0 takes what is there."
        ),
    ] = 5
    queue: Annotated[int, typer.Option(min=1, help="Maximum pictures waiting; more are answered with 503.")] = 64
    decoders: Annotated[int, typer.Option(min=1, max=64, help="Number of threads that decode pictures.")] = 2
    max_bytes: Annotated[int, typer.Option(min=1, help="Maximum bytes per picture.")] = 20 * MIB
    max_pixels: Annotated[int, typer.Option(min=1, help="Maximum pixels per picture.")] = 50_000_000
    max_files: Annotated[int, typer.Option(min=1, help="Maximum pictures per request.")] = 32
    max_faces: Annotated[int, typer.Option(min=1, help="Maximum faces classified per picture.")] = 200
    max_request_faces: Annotated[int, typer.Option(min=1, help="Maximum faces classified per request.")] = 800
    max_request_bytes: Annotated[int, typer.Option(min=1, help="Maximum bytes per request.")] = 64 * MIB
    max_memory: Annotated[int, typer.Option(min=1, help="Maximum bytes of all uploads held at one time.")] = 512 * MIB
    max_connections: Annotated[int, typer.Option(min=1, help="Maximum open connections.")] = 512
    timeout: Annotated[
        float, typer.Option(min=0.1, help="Maximum seconds from the end of an upload to its answer.")
    ] = 30
    upload_timeout: Annotated[float, typer.Option(min=0.1, help="Maximum seconds for an upload.")] = 30
    header_timeout: Annotated[float, typer.Option(min=0.1, help="Maximum seconds for a request's headers.")] = 10
    drain_timeout: Annotated[
        float, typer.Option(min=0, help="Seconds allowed for requests in flight when the server stops.")
    ] = 30


def serve(
    access: Access,
    limits: Limits,
    models: ModelChoice,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all networks.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")] = 8000,
    allow_version: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE@VERSION",
            help="Another version that requests may name: detector@0.1.0, classifier@0.1.0, shirt@0.1.0; may be "
            "repeated.",
        ),
    ] = None,
    precision: PrecisionName = "auto",
    face_check: FaceCheckSwitch = True,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not log each request to standard error.")] = False,
) -> None:
    """Serve the pipeline over HTTP: POST /v1/detect takes pictures and returns results.

    Pictures from many clients are analysed together. GET /v1/models, /v1/schema, /openapi.json, /healthz, /readyz and
    /metrics describe the server. Nothing that is sent is stored or logged. On Ctrl+C or SIGTERM, requests in flight
    are finished.

    Exit codes: 0 stopped, 2 wrong usage or set-up.
    """
    for module in ("fastapi", "prometheus_client", "python_multipart", "uvicorn"):
        require(module)
    from prometheus_client import disable_created_metrics

    from ..serving.app import create_app
    from ..serving.models import load
    from ..serving.server import Server, address, listen
    from ..serving.settings import Settings

    settings = Settings(
        **{**vars(limits), "window": limits.window / 1000},
        keys=read_keys(access.key_file),
        origins=tuple(access.cors or ()),
        hosts=allowed_hosts(host, access.allow_host or ()),
    )
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("facepipe.serve").setLevel(logging.WARNING if quiet else logging.INFO)
    disable_created_metrics()
    with listen(host, port) as socket:
        served = load(
            models.detector,
            models.classifier or (),
            allow_version or (),
            models.device,
            models.threads,
            models.conf,
            models.imgsz,
            precision,
            face_check,
        )
        server = Server(create_app(served, settings), settings)
        print(f"facepipe serves at {address(socket)}; Ctrl+C stops", flush=True)
        if not is_loopback(host) and not settings.keys:
            typer.echo(f"note: open to the network without an API key; see ${KEY_VARIABLE} and --key-file", err=True)
        server.run([socket])


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is one of this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def allowed_hosts(host: str, named: Sequence[str]) -> tuple[str, ...]:
    """Names that the header ``Host`` may have; none take any.

    Args:
        host: the address that the server listens at.
        named: further names, without a port.
    """
    if not is_loopback(host) and not named:
        return ()
    return (*LOCAL_NAMES, *(name.lower() for name in named))


def read_keys(file: Path | None) -> tuple[str, ...]:
    """The API keys of a file, one a line, or that of the environment.

    Raises:
        FacepipeError: the file cannot be read or holds none, or a key is too short to be one.
    """
    from ...core.errors import FacepipeError

    if file is None:
        value = os.environ.get(KEY_VARIABLE)
        keys, place = [] if value is None else [value.strip()], f"${KEY_VARIABLE}"
    else:
        try:
            lines = file.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise FacepipeError(
                f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})"
            ) from error
        keys, place = [line.strip() for line in lines if line.strip()], str(file)
        if not keys:
            raise FacepipeError(f"{file}: contains no key; write one per line; to make one: openssl rand -hex 32")
    for key in keys:
        if len(key) < 16 or not key.isascii():
            raise FacepipeError(f"{place}: a key needs 16 or more ASCII characters; to make one: openssl rand -hex 32")
    return tuple(keys)
