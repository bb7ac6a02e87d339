"""What may be asked, over which way, and what no server may see."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import subprocess
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from facepipe.core.errors import RemoteError, WeightsError
from facepipe.weights.registry.http import HttpSource
from facepipe.weights.registry.index import offer_of
from facepipe.weights.registry.pull import Wanted, pull
from facepipe.weights.registry.sources import choose_source
from facepipe.weights.release import Release

from .lying_server import Handler, Service, serve
from .pulled import CALM, MODEL, VERSION, here, pulled

KEY = "Basic " + base64.b64encode(b"me:hush").decode()


def test_redirects_within_the_machine_are_followed_and_circles_are_not(
    service: Service, root: Path, release: Release
) -> None:
    place = f"/{offer_of(release.manifest, (release.folder / 'manifest.json').read_bytes()).folder}/{MODEL}"
    service.ways[MODEL] = [f"to {service.url}/moved/{MODEL}", f"to {place}"]  # whole and relative
    pulled(service)
    assert here() == [VERSION]
    service.ways["index.json"] = ["to /index.json"] * 20
    with pytest.raises(RemoteError, match="more than 5 redirects"):
        pulled(service)


def test_addresses_that_are_refused(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    for address, insecure, message in (
        ("http://127.0.0.1:9/x", False, "over https only; --insecure-localhost"),
        ("http://example.com/x", True, "over https only$"),
        ("http://127.0.0.1.example.com/x", True, "over https only$"),
        ("https:///x", False, "not a valid server address"),
        ("https://example.com:99999/x", False, "not a valid server address"),
        ("https://example.com:abc/x", False, "not a valid server address"),
        ("https://[::1/x", False, "not a valid server address"),
        ("file://host/x", False, "three slashes"),
        ("nonsense://x", False, "unknown kind of store"),
        ("hf://owner", False, "hf://owner/repo"),
    ):
        with pytest.raises(WeightsError, match=message):
            choose_source(address, insecure)
    monkeypatch.delenv("FACEPIPE_INDEX", raising=False)
    with pytest.raises(WeightsError, match="none built in"):
        choose_source(None)


def test_no_network(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(RemoteError, match=r"no connection to 127\.0\.0\.1 .*refused.*Is there a network"):
        pull(choose_source(address, True), Wanted("detector"), retry=CALM)

    def unknown(*asked: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(RemoteError, match=r"no connection to weights\.invalid .*Is there a network"):
        pull(choose_source("https://user:secret@weights.invalid/x?key=secret"), Wanted("detector"), retry=CALM)
    with pytest.raises(RemoteError) as told:
        pull(choose_source("https://user:secret@weights.invalid/x?key=secret"), Wanted("detector"), retry=CALM)
    assert "secret" not in str(told.value)


def test_keys_in_an_address_reach_the_server_and_no_message(service: Service, root: Path) -> None:
    source = HttpSource(service.url.replace("//", "//me:hush@") + "/?token=hush", insecure_localhost=True)
    assert pull(source, Wanted("detector", version=VERSION), retry=CALM).release.version == VERSION
    assert service.log[0].key is not None
    assert "hush" not in source.label


def test_https_is_checked_and_not_left(
    tmp_path: Path, release: Release, root: Path, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(
        [*command.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True, timeout=60
    )
    secure = Service(service.folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, secure))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr(server, "handle_error", lambda *told: None)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    source = HttpSource(f"https://me:hush@localhost:{server.server_address[1]}", True)
    try:
        monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
        monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
        with pytest.raises(RemoteError, match="invalid certificate"):
            pull(source, Wanted("detector", version=VERSION), retry=CALM)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        secure.ways[MODEL] = [f"to {service.url}/{MODEL}"]  # http, if only to this machine
        with pytest.raises(RemoteError, match="weights are downloaded over https only"):
            pull(source, Wanted("detector", version=VERSION), retry=CALM)
        assert not service.log
        assert pull(source, Wanted("detector", version=VERSION), retry=CALM).release.version == VERSION
        assert {each.key for each in secure.log} == {KEY}
    finally:
        server.shutdown()
        server.server_close()


def test_a_key_is_not_sent_to_another_host(service: Service, tmp_path: Path, root: Path) -> None:
    with serve(service.folder) as elsewhere:
        service.ways[MODEL] = [f"to {elsewhere.url}/{next(service.folder.rglob(MODEL)).relative_to(service.folder)}"]
        source = HttpSource(service.url.replace("//", "//me:hush@"), insecure_localhost=True)
        pull(source, Wanted("detector", version=VERSION), retry=CALM)
        assert {each.key for each in service.log} == {KEY}
        assert [each.key for each in elsewhere.log] == [None]
