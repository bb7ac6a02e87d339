"""Requests that are refused: each status, in one form."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.cli.serve import allowed_hosts
from facepipe.pipeline.serving.settings import Settings
from starlette.testclient import TestClient

from .conftest import Gated

JPEG = {"content-type": "image/jpeg"}
KEY = "0123456789abcdef"


def refused(answer: Any) -> tuple[int, str]:
    """Status and code of a problem, once its form is checked."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "code"}
    assert problem["status"] == answer.status_code
    assert answer.headers["x-content-type-options"] == "nosniff"
    return answer.status_code, problem["code"]


def form(*parts: bytes, boundary: bytes = b"b") -> bytes:
    """The parts of a form, each with its headers, and its end."""
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts) + b"--%b--\r\n" % boundary


GOOD = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\nx'
OTHER = b'Content-Disposition: form-data; name="url"\r\n\r\nhttp://localhost/'


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "cut short"),
        (b"--b\r\n", "cut short"),
        (b"nonsense", "malformed"),
        (form(GOOD)[:-8], "cut short"),
        (form(), "no picture"),
        (form(OTHER), "only the field"),
        (form(GOOD, OTHER), "only the field"),
        (form(b"\r\nno headers"), "only the field"),
        (form(b"X: " + b"y" * 9000 + b"\r\n\r\nx"), "malformed"),
        (form(b"".join(b"X%d: y\r\n" % n for n in range(50)) + b"\r\nx"), "malformed"),
        (form(*[GOOD] * 3), "more than 2 pictures"),
    ],
)
def test_a_malformed_form(client: Callable[..., TestClient], body: bytes, told: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=b"}
    answer = client(max_files=2).post("/v1/detect", content=body, headers=headers)
    assert refused(answer)[0] == 400
    assert told in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["multipart/form-data", 'multipart/form-data; boundary=""', "multipart/form-data; x"])
def test_a_form_without_a_boundary(client: Callable[..., TestClient], kind: str) -> None:
    assert refused(client().post("/v1/detect", content=b"x", headers={"content-type": kind}))[0] == 400


@pytest.mark.parametrize("query", ["conf=2", "conf=x", "conf=nan", "render=pdf", "confidence=0.5", "hide=no", "what=x"])
def test_a_wrong_query(client: Callable[..., TestClient], query: str) -> None:
    answer = client().post(f"/v1/detect?{query}", content=b"x", headers=JPEG)
    assert refused(answer) == (400, "bad-request")
    assert query.partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_of_another_type(client: Callable[..., TestClient], kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert refused(client().post("/v1/detect", content=b"x", headers=headers))[0] == 415


def test_a_compressed_body(client: Callable[..., TestClient]) -> None:
    assert refused(client().post("/v1/detect", content=b"x", headers={**JPEG, "content-encoding": "gzip"}))[0] == 415


def test_single_pictures_that_cannot_be_read(
    client: Callable[..., TestClient], encode: Callable[..., bytes], bomb: bytes
) -> None:
    anyone = client(max_bytes=150_000, max_pixels=1_000_000)
    for content, status in (
        (b"", 422),
        (b"once upon a time" * 20, 415),
        (encode(".jpg")[:-400], 422),
        (bomb, 413),
        (b"x" * 150_001, 413),
    ):
        assert refused(anyone.post("/v1/detect", content=content, headers=JPEG))[0] == status
        assert refused(anyone.post("/v1/detect", files={"file": content}))[0] == status


def test_a_request_over_the_limit_of_bytes(client: Callable[..., TestClient]) -> None:
    anyone = client(max_bytes=1000, max_request_bytes=1500)
    assert refused(anyone.post("/v1/detect", files=[("file", b"x" * 600)] * 3)) == (413, "too-large")

    def pieces() -> Any:
        for _ in range(100):
            yield b"x" * 100

    assert refused(anyone.post("/v1/detect", content=pieces(), headers=JPEG)) == (413, "too-large")


def test_no_memory_for_uploads(client: Callable[..., TestClient], gated: Gated, encode: Callable[..., bytes]) -> None:
    anyone = client(gated, max_bytes=1500, max_request_bytes=1500, max_memory=1500, timeout=0.3)
    gated.gate.set()
    picture = encode(".jpg")[:1400]  # cut short, so it is refused itself, and its memory is given back
    for _ in range(3):
        assert refused(anyone.post("/v1/detect", content=picture, headers=JPEG))[0] == 422
    figures = anyone.get("/metrics").text
    assert "\nfacepipe_upload_bytes 0.0" in figures


def test_an_answer_that_takes_too_long(
    client: Callable[..., TestClient], gated: Gated, encode: Callable[..., bytes]
) -> None:
    anyone = client(gated, timeout=0.2)
    answer = anyone.post("/v1/detect", content=encode(".jpg"), headers=JPEG)
    assert refused(answer) == (504, "timeout")
    assert refused(anyone.post("/v1/detect", content=encode(".jpg"), headers=JPEG))[0] == 504  # waits, and is dropped
    gated.gate.set()
    assert anyone.post("/v1/detect", content=encode(".jpg"), headers=JPEG).status_code == 200
    assert gated.sizes == [1, 1]


def test_a_fault_of_the_server(
    client: Callable[..., TestClient],
    gated: Gated,
    encode: Callable[..., bytes],
    caplog: pytest.LogCaptureFixture,
) -> None:
    gated.gate.set()
    gated.faulty = lambda frames: True
    anyone = client(gated)
    answer = anyone.post("/v1/detect", content=encode(".jpg"), headers=JPEG)
    assert refused(answer) == (500, "fault")
    assert "model's" not in answer.text
    assert "a fault of the model's" in caplog.text
    gated.faulty = lambda frames: False
    assert anyone.post("/v1/detect", content=encode(".jpg"), headers=JPEG).status_code == 200


def test_addresses_and_methods(client: Callable[..., TestClient]) -> None:
    anyone = client()
    assert refused(anyone.get("/nothing")) == (404, "not-found")
    answer = anyone.put("/v1/detect")
    assert refused(answer) == (405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    assert anyone.get("/docs").status_code == 404


@pytest.mark.parametrize("path", ["/v1/models", "/v1/schema", "/metrics"])
def test_a_key(client: Callable[..., TestClient], path: str) -> None:
    anyone = client(keys=(KEY, "another key, 16+"))
    for headers in ({}, {"X-API-Key": KEY[:-1]}, {"X-API-Key": ""}, {"Authorization": "Bearer x"}):
        answer = anyone.get(path, headers=headers)
        assert refused(answer) == (401, "unauthorised")
        assert answer.headers["www-authenticate"] == "Bearer"
    assert anyone.get(path, headers={"Authorization": f"Basic {KEY}"}).status_code == 401
    for headers in ({"X-API-Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"X-API-Key": "another key, 16+"}):
        assert anyone.get(path, headers=headers).status_code == 200
    assert anyone.get("/healthz").status_code == 200
    assert anyone.post("/v1/detect?conf=2", content=b"x", headers=JPEG).status_code == 401


def test_other_origins(client: Callable[..., TestClient]) -> None:
    asked = {"origin": "https://a.example", "access-control-request-method": "POST"}
    closed = client()
    for answer in (closed.get("/v1/models", headers=asked), closed.options("/v1/detect", headers=asked)):
        assert refused(answer) == (403, "wrong-origin")
        assert "access-control-allow-origin" not in answer.headers
    assert closed.post("/v1/detect", content=b"x", headers=JPEG | {"origin": "null"}).status_code == 403
    assert closed.get("/v1/models", headers={"origin": "http://testserver"}).status_code == 200
    opened = client(origins=("https://a.example",))
    allowed = opened.options("/v1/detect", headers=asked)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "https://a.example")
    assert refused(opened.get("/v1/models", headers={"origin": "https://b.example"}))[0] == 403
    failed = opened.post("/v1/detect", headers={"origin": "https://a.example"})
    assert failed.headers["access-control-allow-origin"] == "https://a.example"
    assert client(origins=("*",)).get("/v1/models", headers=asked).status_code == 200


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("faces.example", "https://faces.example", 200),
        ("faces.example", "https://faces.example:443", 200),
        ("faces.example:80", "http://faces.example", 200),
        ("FACES.example:8000", "http://faces.example:8000", 200),
        ("faces.example:8000", "http://faces.example:9000", 403),
        ("faces.example:8000", "http://other.example:8000", 403),
        ("faces.example", "http://faces.example.other.example", 403),
    ],
)
def test_a_page_of_the_server_itself_may_call_it(
    client: Callable[..., TestClient], host: str, origin: str, status: int
) -> None:
    assert client().get("/v1/models", headers={"host": host, "origin": origin}).status_code == status


@pytest.mark.parametrize("path", ["/", "/v1/models", "/healthz", "/page/main.js", "/nothing"])
def test_a_host_that_is_not_the_servers(client: Callable[..., TestClient], path: str) -> None:
    """A page elsewhere whose name is made to lead to this machine reads nothing."""
    anyone = client(hosts=allowed_hosts("127.0.0.1", ["Faces.example"]))
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "[::2]:80"):
        assert refused(anyone.get(path, headers={"host": host})) == (421, "wrong-host")
    for host in ("localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "faces.example:1"):
        assert anyone.get(path, headers={"host": host}).status_code in (200, 404)


@pytest.mark.parametrize(
    ("address", "named", "hosts"),
    [
        ("127.0.0.1", (), ("localhost", "127.0.0.1", "[::1]")),
        ("127.0.0.9", (), ("localhost", "127.0.0.1", "[::1]")),
        ("::1", (), ("localhost", "127.0.0.1", "[::1]")),
        ("localhost", (), ("localhost", "127.0.0.1", "[::1]")),
        ("0.0.0.0", (), ()),
        ("0.0.0.0", ("a.example",), ("localhost", "127.0.0.1", "[::1]", "a.example")),
    ],
)
def test_the_hosts_that_are_allowed(address: str, named: tuple[str, ...], hosts: tuple[str, ...]) -> None:
    assert allowed_hosts(address, named) == hosts


def test_no_redirect_follows_the_host(client: Callable[..., TestClient]) -> None:
    for path in ("/v1/models/", "/page", "/healthz/"):
        assert client().get(path, follow_redirects=False, headers={"host": "evil.example"}).status_code == 404


def test_nothing_that_is_sent_is_told(client: Callable[..., TestClient], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "facepipe.serve")
    anyone = client()
    anyone.post("/v1/detect?conf=0.723", files={"file": ("secret-name.jpg", b"secret-content")})
    anyone.get("/secret-place?secret=1")
    told = caplog.text + anyone.get("/metrics").text
    assert "POST /v1/detect 415" in told
    for word in ("secret", "0.723", "testclient"):
        assert word not in "\n".join(record.message for record in caplog.records if record.name == "facepipe.serve")
        assert word not in anyone.get("/metrics").text


def test_limits_that_contradict_each_other() -> None:
    with pytest.raises(FacepipeError, match="--queue 8 is less than --max-files 32"):
        Settings(queue=8)
    with pytest.raises(FacepipeError, match="max-request-bytes"):
        Settings(max_bytes=2**30)
