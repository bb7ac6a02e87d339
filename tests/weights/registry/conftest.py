"""A server with a release, and a folder to pull it to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from facepipe.weights.registry.push import PushTarget, push
from facepipe.weights.release import Release

from .lying_server import Service, serve
from .pulled import VERSION


@pytest.fixture
def service(tmp_path: Path, release: Release) -> Iterator[Service]:
    """A server with that detector."""
    push(release, PushTarget(str(tmp_path / "source")))
    with serve(tmp_path / "source") as running:
        yield running


@pytest.fixture
def release(tmp_path: Path, publish_detector: Callable[..., Release]) -> Release:
    """A detector of about 20 kB with a card, in a root of its own."""
    return publish_detector(tmp_path / "publisher", version=VERSION)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of releases, empty."""
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "root"))
    return tmp_path / "root"
