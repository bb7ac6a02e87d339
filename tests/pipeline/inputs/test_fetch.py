from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import pytest
from facepipe.core.errors import ImageError, ImageTooLargeError
from facepipe.pipeline.inputs import fetch as fetching
from facepipe.pipeline.inputs.fetch import fetch, is_public
from facepipe.pipeline.inputs.image_reader import Limits, read_frame


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the path; what was asked is kept."""

    picture = b"\x89PNG some picture"
    asked: ClassVar[list[tuple[str, dict[str, str]]]] = []

    def do_GET(self) -> None:
        self.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        path, _, rest = self.path.lstrip("/").partition("?")
        getattr(self, "answer_" + path.split("/")[0], self.answer_missing)(rest)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def answer_picture(self, _: str) -> None:
        self.reply(200, self.picture, Content_Length=str(len(self.picture)))

    def answer_untold(self, _: str) -> None:
        self.reply(200, self.picture)

    def answer_to(self, target: str) -> None:
        self.reply(302, Location=target)

    def answer_nowhere(self, _: str) -> None:
        self.reply(302)

    def answer_round(self, count: str) -> None:
        self.reply(301, Location=f"/round?{int(count) + 1}")

    def answer_modest(self, _: str) -> None:
        """Says 5 bytes and sends more."""
        self.reply(200, b"x" * 5000, Content_Length="5")

    def answer_boastful(self, _: str) -> None:
        self.reply(200, b"x" * 50, Content_Length="500")

    def answer_huge(self, _: str) -> None:
        self.reply(200, b"x", Content_Length=str(10**12))

    def answer_endless(self, _: str) -> None:
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            self.close_connection = True

    def answer_slow(self, _: str) -> None:
        """A byte at a time, each soon after the other."""
        self.send_response(200)
        self.end_headers()
        try:
            for _time in range(200):
                self.wfile.write(b"x")
                time.sleep(0.02)
        except OSError:
            self.close_connection = True

    def answer_slowheaders(self, _: str) -> None:
        try:
            for letter in b"HTTP/1.0 200 OK\r\n" + b"X-Header: y\r\n" * 20:
                self.wfile.write(bytes([letter]))
                time.sleep(0.02)
        except OSError:
            self.close_connection = True

    def answer_packed(self, _: str) -> None:
        self.reply(200, b"\x1f\x8b", Content_Encoding="gzip")

    def answer_nonsense(self, _: str) -> None:
        self.wfile.write(b"once upon a time\r\n\r\n")

    def answer_missing(self, _: str) -> None:
        self.reply(404, b"no such thing")

    def answer_empty(self, _: str) -> None:
        self.reply(204)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture
def get(port: int) -> Callable[..., bytes]:
    """``get("picture")``: fetch from the server of the tests, of which the loopback address counts as public."""

    def ask(path: str, most: int = 4096, seconds: float = 10.0) -> bytes:
        Handler.asked.clear()
        return fetch(f"http://pictures.example:{port}/{path}", most, seconds, _loopback, lambda *_: ["127.0.0.1"])

    return ask


def _loopback(address: str) -> bool:
    return address == "127.0.0.1"


def test_a_picture_is_fetched_as_it_is(get: Callable[..., bytes], port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert get("picture") == get("untold") == Handler.picture
    assert get("picture/größe%20名?a=ü b#part", len(Handler.picture)) == Handler.picture
    ((path, headers),) = Handler.asked
    assert path == "/picture/gr%C3%B6%C3%9Fe%20%E5%90%8D?a=%C3%BC%20b"
    assert headers["host"] == f"pictures.example:{port}"
    assert headers["accept-encoding"] == "identity"
    assert not {"cookie", "authorization", "referer"} & set(headers)


def test_it_leads_on_up_to_five_times(get: Callable[..., bytes], port: int) -> None:
    assert get("to?/picture") == Handler.picture
    assert get("to?" + "/to?" * 4 + "/picture") == Handler.picture
    assert get(f"to?http://elsewhere.example:{port}/picture") == Handler.picture
    assert Handler.asked[-1][1]["host"] == f"elsewhere.example:{port}"
    with pytest.raises(ImageError, match="more than 5 times"):
        get("round?0")
    assert len(Handler.asked) == 6
    with pytest.raises(ImageError, match="without saying where"):
        get("nowhere")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("http://10.0.0.1/a.jpg", "public internet"),
        ("http://169.254.169.254/latest/meta-data", "public internet"),
        ("http://[::1]/", "public internet"),
        ("//localhost/", "public internet"),
        ("file:///etc/passwd", "redirects to file:"),
        ("ftp://pictures.example/a.jpg", "redirects to ftp:"),
        ("http://ann:secret@pictures.example/", "user or password"),
        ("http://pictures.example:99999/", "not a URL"),
        ("http://[", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://pictures.example\\@elsewhere/", "user or password|not a URL|cannot be"),
    ],
)
def test_each_step_is_checked(port: int, target: str, message: str) -> None:
    """Only the first host is the tests' server; the others are looked up and judged as always."""

    def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "pictures.example" else fetching.resolve(host, port)

    def public(address: str) -> bool:
        return is_public(address) or (address == "127.0.0.1" and len(Handler.asked) == 0)

    Handler.asked.clear()
    with pytest.raises(ImageError, match=message) as caught:
        fetch(f"http://pictures.example:{port}/to?{target}", 99, 10.0, public, resolver)
    assert "secret" not in str(caught.value)
    assert len(Handler.asked) == 1


@pytest.mark.parametrize(
    ("path", "kind", "message"),
    [
        ("boastful", ImageError, "ended before the whole"),
        ("huge", ImageTooLargeError, "4,096 bytes"),
        ("endless", ImageTooLargeError, "4,096 bytes"),
        ("packed", ImageError, "compressed"),
        ("gone?key=secret", ImageError, r"/gone\?…: the server answered 404 Not Found$"),
        ("empty", ImageError, "204"),
        ("nonsense", ImageError, "BadStatusLine"),
    ],
)
def test_bad_answers(get: Callable[..., bytes], path: str, kind: type[ImageError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        get(path)
    assert type(caught.value) is kind
    assert "secret" not in str(caught.value)


def test_no_more_is_taken_than_was_said_or_is_allowed(get: Callable[..., bytes]) -> None:
    assert get("modest") == b"x" * 5
    with pytest.raises(ImageTooLargeError):
        get("untold", most=len(Handler.picture) - 1)


@pytest.mark.parametrize("path", ["slow", "slowheaders"])
def test_a_drip_gains_no_time(get: Callable[..., bytes], path: str) -> None:
    with pytest.raises(ImageError, match=r"took longer than 0\.3 s"):
        get(path, seconds=0.3)


def test_the_connection_goes_to_the_address_that_was_checked(port: int) -> None:
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    content = fetch(f"http://rebound.example:{port}/picture", 99, 10.0, _loopback, lambda *_: next(answers))
    assert content == Handler.picture
    assert next(answers) == ["127.0.0.2"], "the name was looked up once"


def test_one_private_address_among_public_ones_is_enough() -> None:
    with pytest.raises(ImageError, match="public internet"):
        fetch("http://mixed.example/a.jpg", 99, resolver=lambda *_: ["93.184.215.14", "10.0.0.1"])
    for url in ("http:///a.jpg", "http://", "http://a b/", "http://[::1/", "https://?x"):
        with pytest.raises(ImageError, match="not a URL"):
            fetch(url, 99)
    with pytest.raises(ImageError, match="public internet"):
        fetch("http://none.example/a.jpg", 99, resolver=lambda *_: [])


def test_an_address_that_does_not_answer_is_followed_by_the_next(port: int) -> None:
    with socket.socket() as closed:  # bound and not listening: it refuses
        closed.bind(("127.0.0.1", 0))
        refusing = closed.getsockname()[1]
        with pytest.raises(ImageError, match="refused"):
            fetch(f"http://a.example:{refusing}/", 99, 10.0, _loopback, lambda *_: ["127.0.0.1"])
    content = fetch(f"http://a.example:{port}/picture", 99, 10.0, lambda _: True, lambda *_: ["127.0.0.3", "127.0.0.1"])
    assert content == Handler.picture


def test_tls_to_what_speaks_none_is_an_error(port: int) -> None:
    with pytest.raises(ImageError, match="cannot be fetched"):
        fetch(f"https://pictures.example:{port}/picture", 99, 10.0, _loopback, lambda *_: ["127.0.0.1"])


def test_no_such_host() -> None:
    def unknown(*_: object) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(ImageError, match=r"http://nowhere\.example/a\.jpg: cannot be fetched \(Name or"):
        fetch("http://nowhere.example/a.jpg", 99, resolver=unknown)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/a.jpg",
        "http://127.0.0.1/a.jpg",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://0/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::]/",
    ],
)
def test_this_machine_is_refused_however_it_is_written(url: str) -> None:
    with pytest.raises(ImageError, match=r"public internet|cannot be fetched"):
        fetch(url, 99)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.254",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.9",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "2606:4700::1%eth0",
        "",
        "localhost",
        "1.1.1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "100.128.0.1", "172.32.0.1", "2606:4700::1111"])
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)


def test_the_reader_takes_urls_with_leave_only(
    port: int, monkeypatch: pytest.MonkeyPatch, encode: Callable[..., bytes]
) -> None:
    url = f"http://ann:secret@pictures.example:{port}/picture?key=hush"
    with pytest.raises(ImageError, match=r"/picture\?…: is a URL.*--allow-url"):
        read_frame(url)
    with pytest.raises(ImageError, match="user or password"):
        read_frame(url, allow_url=True)
    url = url.replace("ann:secret@", "")
    monkeypatch.setattr(fetching.fetch, "__defaults__", (10.0, _loopback, lambda *_: ["127.0.0.1"]))
    with pytest.raises(ImageError, match=r"/picture\?…: not a picture"):
        read_frame(url, allow_url=True)
    monkeypatch.setattr(Handler, "picture", encode(".png", np.full((3, 5, 3), 9, np.uint8)))
    assert read_frame(url, allow_url=True).shape == (3, 5, 3)
    with pytest.raises(ImageTooLargeError, match="20 bytes"):
        read_frame(url, Limits(bytes=20), allow_url=True)
