"""Pulling from a stand-in for the Hugging Face hub, by the real huggingface_hub in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from facepipe.weights.registry.hub import HubSource
from facepipe.weights.registry.push import PushTarget, push
from facepipe.weights.release import Release

from .lying_server import Handler, Service

pytest.importorskip("huggingface_hub")

COMMIT = "c0ffee" + "0" * 34
PULL = "import sys; from facepipe.pipeline.cli import main; main(['weights', 'pull', *sys.argv[1:]])"


class Hub(Handler):
    """Knows one repository, owner/weights, whose folder is that of the service."""

    def do_GET(self) -> None:
        place = self.path.lstrip("/")
        for revision in ("main", COMMIT):
            before = f"owner/weights/resolve/{revision}/"
            if place.startswith(before):
                self.path = "/" + place.removeprefix(before)
                self.revision = revision
                if self._content(self.path) is None:
                    self._refuse("EntryNotFound")
                else:
                    super().do_GET()
                return
        known = place.startswith("owner/weights/")
        self.revision = ""
        self._refuse("RevisionNotFound" if known else "RepoNotFound")

    def _refuse(self, code: str) -> None:
        self.close_connection = True
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def end_headers(self) -> None:
        if self.revision:
            self.send_header("X-Repo-Commit", COMMIT)
        super().end_headers()


@pytest.fixture
def hub(tmp_path: Path, publish_detector: Callable[..., Release]) -> Iterator[Service]:
    push(publish_detector(tmp_path / "publisher", version="98.0.0"), PushTarget(str(tmp_path / "source" / "models")))
    service = Service(tmp_path / "source")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, service))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield service
    server.shutdown()
    server.server_close()


def pull(hub: Service, root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": "hf_hush",
        "FACEPIPE_WEIGHTS": str(root),
        "HF_HOME": str(root / "hf"),
    }
    return subprocess.run(
        [sys.executable, "-c", PULL, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **settings},
    )


def test_pull_from_a_commit_of_the_hub(hub: Service, tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = pull(hub, root, "detector", "--from", "hf://owner/weights/models", "--insecure-localhost")
    assert done.returncode == 0, done.stderr
    assert "detector 98.0.0 is installed" in done.stdout
    assert (root / "detector" / "98.0.0" / "model.onnx").is_file()
    assert hub.asked("model.onnx")[0].key == "Bearer hf_hush"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("hf://owner/weights", "has no index.json"),
        ("hf://owner/weights@v9/models", "there is no revision 'v9'"),
        ("hf://owner/nothing", "there is no such repository"),
    ],
)
def test_what_the_hub_does_not_have(hub: Service, tmp_path: Path, source: str, message: str) -> None:
    done = pull(hub, tmp_path / "root", "detector", "--from", source, "--insecure-localhost")
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_endpoint_without_https_is_refused(hub: Service, tmp_path: Path) -> None:
    done = pull(hub, tmp_path / "root", "detector", "--from", "hf://owner/weights/models")
    assert done.returncode == 2
    assert "over https only" in done.stderr
    assert not hub.log


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("hf://owner/repo", ("owner/repo", "main", "")),
        ("hf://owner/repo@v1", ("owner/repo", "v1", "")),
        ("hf://owner/repo@refs%2Fpr%2F1/a/b/index.json", ("owner/repo", "refs/pr/1", "a/b")),
    ],
)
def test_addresses(address: str, parts: tuple[str, str, str]) -> None:
    source = HubSource(address)
    assert (source.repo, source.revision, source.folder) == parts
