"""A server that stops: what is in flight is answered, what is new is not taken."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from facepipe.pipeline.cli import main

from .conftest import Gated, Live
from .test_scheduler import figure, until

JPEG = {"content-type": "image/jpeg"}
SERVE = [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", "serve", "--port", "0"]


def test_what_is_in_flight_is_answered(live: Callable[..., Live], gated: Gated, encode: Any) -> None:
    here = live(gated, batch=1)
    with ThreadPoolExecutor(3) as clients, httpx2.Client(base_url=here.url) as kept:
        asked = [
            clients.submit(httpx2.post, f"{here.url}/v1/detect", content=encode(".jpg"), headers=JPEG) for _ in range(3)
        ]
        until(lambda: gated.entered.is_set() and figure(here, "facepipe_queue_pictures") == 2)
        assert kept.get("/readyz").status_code == 200
        here.server.stop()
        for client in (kept, httpx2):  # over a connection that is open, and over a new one
            path = "" if client is kept else here.url
            refused = client.post(f"{path}/v1/detect", content=encode(".jpg"), headers=JPEG)
            assert (refused.status_code, refused.json()["code"]) == (503, "stopping")
            assert "retry-after" in refused.headers
            assert client.get(f"{path}/readyz").status_code == 503
            assert client.get(f"{path}/healthz").status_code == 200
        gated.gate.set()
        assert [each.result().status_code for each in asked] == [200] * 3
    here.thread.join(10)
    assert not here.thread.is_alive()
    with pytest.raises(OSError, match="refused"):
        here.connect()


def test_an_answer_does_not_wait_for_the_client_to_acknowledge_its_headers(live: Callable[..., Live]) -> None:
    here = live()
    with httpx2.Client(base_url=here.url) as kept:
        assert kept.get("/healthz").status_code == 200
        [connection] = here.server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_stop_does_not_wait_for_ever(live: Callable[..., Live], gated: Gated, encode: Any) -> None:
    here = live(gated, drain_timeout=0.2)
    with here.connect() as connection:
        connection.sendall(
            b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 9\r\n\r\n"
        )
        until(lambda: here.app.state.detection.in_flight == 1)
        here.server.stop()
        here.thread.join(15)
        assert not here.thread.is_alive()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_the_command(tiny_weights: Path, encode: Any, sign: signal.Signals) -> None:
    environment = os.environ | {"FACEPIPE_API_KEY": "0123456789abcdef"}
    with subprocess.Popen(SERVE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.fullmatch(r"facepipe serves at (http://127\.0\.0\.1:\d+); Ctrl\+C stops\n", line)[1]  # type: ignore[index]
        assert httpx2.post(f"{url}/v1/detect", content=encode(".jpg"), headers=JPEG).status_code == 401
        with_key = JPEG | {"x-api-key": "0123456789abcdef"}
        assert httpx2.post(f"{url}/v1/detect", content=encode(".jpg"), headers=with_key).status_code == 200
        process.send_signal(sign)
        rest, told = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "")
    assert "POST /v1/detect 200" in told
    assert "Traceback" not in told
    assert "0123456789abcdef" not in told


def test_heic_among_jpegs_in_the_first_requests(tiny_weights: Path, encode: Any, photo: Any) -> None:
    """In a fresh process, whose threads all meet the modules that HEIC needs for the first time."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="it comes with the extra heif")
    content = io.BytesIO()
    pillow_heif.from_bytes("BGR", (160, 120), photo(0).tobytes()).save(content)
    pictures = [content.getvalue(), encode(".jpg")] * 8
    with subprocess.Popen([*SERVE, "--decoders", "8"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = process.stdout.readline().decode().split(";")[0].rsplit(" ", 1)[1]

        def ask(picture: bytes) -> tuple[int, int]:
            answer = httpx2.post(f"{url}/v1/detect", content=picture, headers=JPEG)
            return answer.status_code, answer.json()["results"][0]["width"]

        with ThreadPoolExecutor(16) as clients:
            assert list(clients.map(ask, pictures)) == [(200, 160)] * 16
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=20)
    assert b"Traceback" not in told


def test_the_command_cannot_listen(
    live: Callable[..., Live], tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = live().address[1]
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", str(port)])
    assert ended.value.code == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "cannot be read"), (b"\xff", "not UTF-8"), (b"\n \n", "contains no key"), (b"short\n", "16 or more")],
)
def test_a_file_of_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, told: str) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--key-file", str(file)])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "facepipe.pipeline.serving.server")
    with pytest.raises(SystemExit) as ended:
        main(["serve"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "error: uvicorn is not installed; it comes with: pip install 'facepipe[serve]'\n"
    )
