"""Clients that break off, dawdle, lie or send too much; over real connections."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from .conftest import Gated, Live
from .test_scheduler import figure, until

HEAD = b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


def closed_after(connection: socket.socket) -> float:
    """Seconds until the server closes, having said nothing."""
    started = time.monotonic()
    assert read_all(connection) == b""
    return time.monotonic() - started


def test_a_client_dies_while_it_uploads(live: Callable[..., Live], encode: Any) -> None:
    here = live()
    for _ in range(5):
        connection = here.connect()
        connection.sendall(HEAD + b"Content-Length: 100000\r\n\r\n" + b"x" * 5000)
        connection.close()
    until(lambda: figure(here, 'facepipe_requests_total{method="POST",path="/v1/detect",status="499"}') == 5)
    assert figure(here, "facepipe_upload_bytes") == 0
    answer = httpx2.post(f"{here.url}/v1/detect", content=encode(".jpg"), headers={"content-type": "image/jpeg"})
    assert answer.status_code == 200


def test_a_client_dies_while_it_waits(live: Callable[..., Live], gated: Gated, encode: Any) -> None:
    here, picture = live(gated, batch=1), encode(".jpg")
    request = HEAD + b"Content-Length: %d\r\n\r\n" % len(picture) + picture
    first = here.connect()
    first.sendall(request)
    until(gated.entered.is_set)
    waiting = [here.connect() for _ in range(3)]
    for connection in waiting:
        connection.sendall(request)
    until(lambda: figure(here, "facepipe_queue_pictures") == 3)
    for connection in waiting:
        connection.close()
    until(lambda: figure(here, "facepipe_queue_pictures") == 0)
    assert figure(here, "facepipe_upload_bytes") == len(picture)
    gated.gate.set()
    assert first.recv(15) == b"HTTP/1.1 200 OK"
    first.close()
    assert gated.sizes == [1]  # nothing was done for those that left


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_client_that_ends_its_side_gets_its_answer(
    live: Callable[..., Live], gated: Gated, encode: Any, version: bytes
) -> None:
    here, picture = live(gated), encode(".jpg")
    with here.connect() as connection:
        head = HEAD.replace(b"1.1", version) + b"Content-Length: %d\r\n\r\n" % len(picture)
        connection.sendall(head + picture)
        connection.shutdown(socket.SHUT_WR)
        until(gated.entered.is_set)
        time.sleep(0.3)  # longer than it takes to find a client gone
        gated.gate.set()
        interim, _, answer = read_all(connection).rpartition(b"HTTP/1.1 200 OK\r\n")
    assert interim == (b"HTTP/1.1 100 Continue\r\n\r\n" if version == b"1.1" else b"")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["results"][0]["width"] == 160


def test_an_oversized_body_without_a_length(live: Callable[..., Live]) -> None:
    here = live(max_bytes=200_000, max_request_bytes=200_000)
    with here.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        chunk = b"%x\r\n" % 10_000 + b"x" * 10_000 + b"\r\n"
        try:
            while sent < 2**30:
                sent += connection.send(chunk)
        except OSError:
            pass
    assert sent < 100 * 2**20  # it was cut off
    assert figure(here, "facepipe_upload_bytes") == 0
    assert figure(here, 'facepipe_requests_total{method="POST",path="/v1/detect",status="413"}') == 1


def test_the_answer_to_an_oversized_body_arrives(live: Callable[..., Live]) -> None:
    here = live(max_bytes=200_000, max_request_bytes=200_000)
    for body in (b"x" * 5_000_000, iter([b"x" * 10_000] * 500)):
        answer = httpx2.post(f"{here.url}/v1/detect", content=body, headers={"content-type": "image/jpeg"})
        assert (answer.status_code, answer.json()["code"]) == (413, "too-large")
        assert answer.headers["connection"] == "close"


def test_a_body_that_lies_about_its_length(live: Callable[..., Live]) -> None:
    here = live(upload_timeout=0.3)
    with here.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n" + b"x" * 10)
        answer = read_all(connection)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "upload-timeout"


def test_a_body_that_drips(live: Callable[..., Live]) -> None:
    here = live(upload_timeout=0.5)
    with here.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        connection.settimeout(0.02)
        answer = b""
        for _ in range(500):
            try:
                connection.sendall(b"x")
                answer += connection.recv(65536)
            except TimeoutError:
                continue
            break
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_headers_that_never_end(live: Callable[..., Live]) -> None:
    here = live(header_timeout=0.4)
    with here.connect() as silent, here.connect() as half, here.connect() as dripping:
        half.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        dripping.settimeout(0.05)
        gone = False
        for _ in range(200):
            try:
                dripping.sendall(b"G")
                gone = dripping.recv(1) == b""
            except TimeoutError:
                continue
            except OSError:
                gone = True
            break
        assert gone
        assert closed_after(silent) < 5
        assert closed_after(half) < 5


def test_the_second_request_of_a_connection_has_a_clock_too(live: Callable[..., Live]) -> None:
    here = live(header_timeout=1.0)
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    with here.connect() as connection:
        for _ in range(2):
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b'{"status":"ok"}'):
                part = connection.recv(65536)
                assert part, "closed"
                answer += part
            assert answer.startswith(b"HTTP/1.1 200 OK")
            time.sleep(1.2)  # a connection that is kept has the keep-alive's clock, not this
        connection.sendall(request[:20])
        assert closed_after(connection) < 5


def test_a_client_that_does_not_read_its_answer(live: Callable[..., Live]) -> None:
    here = live(header_timeout=0.4)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(here.address)
        connection.settimeout(10)
        request = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        try:
            for _ in range(2000):
                connection.sendall(request * 10)
        except OSError:
            pass
        until(lambda: len(here.server.server_state.connections) <= 1)


def test_more_connections_than_there_may_be(live: Callable[..., Live]) -> None:
    here = live(max_connections=3)
    held = [here.connect() for _ in range(3)]
    until(lambda: len(here.server.server_state.connections) == 3)
    with here.connect() as one_more:
        answer = read_all(one_more)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "connections-full"
    for connection in held:
        connection.close()
    until(lambda: len(here.server.server_state.connections) == 0)
    assert httpx2.get(f"{here.url}/healthz").status_code == 200


def test_nonsense_in_place_of_a_request(live: Callable[..., Live]) -> None:
    here = live()
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        b"\0" * 99999,
    ):
        with here.connect() as connection:
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection)[:12] in (b"HTTP/1.1 400", b"")
    assert httpx2.get(f"{here.url}/healthz").status_code == 200
