"""Pulling a release from those who mean well."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import FacepipeError, RemoteError, WeightsError
from facepipe.weights.registry.http import HttpSource
from facepipe.weights.registry.index import offer_of
from facepipe.weights.registry.prune import clear, leftovers
from facepipe.weights.registry.pull import Wanted, pull
from facepipe.weights.registry.push import PushTarget, push
from facepipe.weights.registry.sources import choose_source
from facepipe.weights.release import Release, open_release

from .lying_server import Service
from .pulled import CALM, MODEL, VERSION, here, pulled, rewritten


def test_pull_brings_the_release_byte_for_byte(service: Service, release: Release, root: Path) -> None:
    told: list[tuple[int, int]] = []
    found = pulled(service, progress=lambda done, total: told.append((done, total)))
    folder = root / "detector" / VERSION
    assert found.release.folder == folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in release.folder.iterdir())
    assert all((folder / path.name).read_bytes() == path.read_bytes() for path in release.folder.iterdir())
    assert told[-1] == (found.bytes, found.bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert [path.name for path in folder.parent.iterdir()] == [VERSION]  # nothing is left beside it
    asked = len(service.log)
    assert pulled(service).bytes == 0  # is here already: only the index is asked for
    assert len(service.log) == asked + 1


def test_the_newest_final_version_is_meant_where_none_is_named(
    service: Service, publish_detector: Callable, tmp_path: Path, root: Path
) -> None:
    for version in ("98.1.0", "98.0.9", "98.2.0-try"):
        push(publish_detector(tmp_path / "more", version=version), PushTarget(str(service.folder)))
    source = HttpSource(service.url, insecure_localhost=True)
    assert pull(source, Wanted("detector"), retry=CALM).release.version == "98.1.0"
    with pytest.raises(RemoteError, match=r"holds no detector 1\.2\.3; it holds: detector 98\.0\.0, detector 98\.0\.9"):
        pull(source, Wanted("detector", version="1.2.3"), retry=CALM)
    with pytest.raises(RemoteError, match="holds no classifier shirt"):
        pull(source, Wanted("classifier", "shirt"), retry=CALM)


def test_a_named_classifier_goes_to_its_place(
    service: Service, publish_colours: Callable, tmp_path: Path, root: Path
) -> None:
    push(publish_colours(tmp_path / "more", "shirt"), PushTarget(str(service.folder)))
    source = HttpSource(service.url, insecure_localhost=True)
    found = pull(source, Wanted("classifier", "shirt", "0.1.0"), retry=CALM)
    assert found.release.folder == root / "classifier" / "shirt" / "0.1.0"
    assert found.release.label == "shirt@0.1.0"


def test_another_content_of_a_version_needs_replace(
    service: Service, tmp_path: Path, publish_detector: Callable, root: Path
) -> None:
    mine = publish_detector(root, version=VERSION, seed=99).read()
    with pytest.raises(WeightsError, match="this version already exists"):
        pulled(service)
    assert open_release(root / "detector" / VERSION).read() == mine
    service.ways[MODEL] = ["wrong"]
    with pytest.raises(RemoteError):
        pulled(service, replace=True)
    assert open_release(root / "detector" / VERSION).read() == mine
    pulled(service, replace=True)
    assert open_release(root / "detector" / VERSION).read() != mine


def test_a_pinned_hash(service: Service, root: Path, release: Release) -> None:
    right = offer_of(release.manifest, (release.folder / "manifest.json").read_bytes()).manifest.sha256
    with pytest.raises(RemoteError, match="was requested; nothing was installed"):
        pulled(service, sha256="0" * 64)
    assert here() == []
    assert pulled(service, sha256=right.upper()).release.version == VERSION


def test_a_full_disk_is_told_before(service: Service, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(service.folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10_001_000))
    with pytest.raises(WeightsError, match=r"are needed and 10\.0 MB are free"):
        pulled(service)
    assert not service.asked("manifest.json")


def test_two_pulls_at_once(service: Service, root: Path) -> None:
    """The second is done while the first is still at work: it stays, and nothing of the first is left."""
    failed: list[FacepipeError] = []

    def first() -> None:
        try:
            pulled(service)
        except FacepipeError as error:
            failed.append(error)

    service.ways[MODEL] = ["stall"]
    waiting = threading.Thread(target=first)
    waiting.start()
    while not service.asked(MODEL):
        time.sleep(0.01)
    pulled(service)
    service.go_on.set()
    waiting.join()
    assert len(failed) == 1
    assert "this version already exists" in str(failed[0])
    assert here() == [VERSION]
    assert [path.name for path in (root / "detector").iterdir()] == [VERSION]


PULL = (
    "import sys; from facepipe.pipeline.cli import main; "
    "main(['weights', 'pull', 'detector@98.0.0', '--insecure-localhost', '--from', sys.argv[1]])"
)


def test_a_killed_pull_is_not_seen(service: Service, root: Path) -> None:
    service.ways[MODEL] = ["stall"]
    command = [sys.executable, "-c", PULL, service.url]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not service.asked(MODEL):
            assert running.poll() is None
            time.sleep(0.02)
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert here() == []
    (leftover,) = leftovers(0)
    assert "an interrupted pull" in leftover.what
    clear(leftover)
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert here() == [VERSION]
    open_release(root / "detector" / VERSION).verify()


def test_a_folder_is_a_source(service: Service, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPIPE_OFFLINE", "1")
    for text in (str(service.folder), service.folder.as_uri(), f"{service.folder}/index.json"):
        shutil.rmtree(root, ignore_errors=True)
        assert pull(choose_source(text), Wanted("detector", version=VERSION)).release.version == VERSION
    monkeypatch.setenv("FACEPIPE_INDEX", str(service.folder))
    assert pull(choose_source(None), Wanted("detector", version=VERSION)).bytes == 0
    with pytest.raises(RemoteError, match="needs a network, which FACEPIPE_OFFLINE=1 forbids"):
        choose_source("https://weights.invalid/x")
    monkeypatch.delenv("FACEPIPE_OFFLINE")
    with pytest.raises(RemoteError, match="which --offline forbids"):
        choose_source("hf://owner/repo", no_network=True)


def test_links_and_pipes_in_a_folder_are_refused(service: Service, root: Path) -> None:
    source = choose_source(str(service.folder))
    file = next(service.folder.rglob(MODEL))
    kept = service.folder / "kept"
    file.rename(kept)
    file.symlink_to(kept)
    with pytest.raises(RemoteError, match=f"{MODEL}: a link"):
        pull(source, Wanted("detector", version=VERSION), retry=CALM)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(RemoteError, match="not a regular file"):
        pull(source, Wanted("detector", version=VERSION), retry=CALM)
    file.unlink()
    kept.rename(file)
    folder = file.parent
    folder.rename(service.folder / "away")
    folder.symlink_to(service.folder / "away")
    with pytest.raises(RemoteError, match=f"{folder.name}: a link"):
        pull(source, Wanted("detector", version=VERSION), retry=CALM)
    assert here() == []


def test_a_newer_facepipe_is_refused_in_clear_words(
    tmp_path: Path, publish_detector: Callable, root: Path, service: Service
) -> None:
    release = publish_detector(tmp_path / "newer", version="98.3.0")
    path = release.folder / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8")) | {"facepipe": "99.1.0", "a_field_of_later": 1}
    path.write_text(json.dumps(content), encoding="utf-8")
    rewritten(service, lambda entry: entry.update(facepipe="99.1.0"))
    with pytest.raises(WeightsError, match=r"was made with facepipe 99\.1\.0, and this is .* Upgrade first"):
        pulled(service)
    assert not service.asked("manifest.json")
