"""Pulling that goes on where it was broken off."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from facepipe.core.errors import RemoteError
from facepipe.weights.registry.download import Part, Patience
from facepipe.weights.registry.index import Stamp
from facepipe.weights.release import Release, open_release

from .lying_server import Service
from .pulled import MODEL, VERSION, here, pulled, size


@pytest.mark.parametrize("ways", [["500", "503"], ["429", "cut"], ["cut", "cut"], ["stall"]])
def test_what_passes_is_tried_again(service: Service, root: Path, release: Release, ways: list[str]) -> None:
    service.ways[MODEL] = list(ways)
    pulled(service, patience=Patience(silence=3, attempts=3, pause=0.01))
    assert here() == [VERSION]
    asked = service.asked(MODEL)
    assert len(asked) == len(ways) + 1
    if "cut" in ways or "stall" in ways:
        assert asked[-1].status == 206  # the rest alone
        assert sum(each.sent for each in asked if each.status in (200, 206)) <= size(release) + 2


def test_the_rest_is_asked_for_with_the_tag_of_what_is_here(service: Service, root: Path, release: Release) -> None:
    service.ways[MODEL] = ["cut"]
    with pytest.raises(RemoteError, match="kept, and the same command goes on from there"):
        pulled(service, patience=Patience(silence=20, attempts=1))
    found = pulled(service)
    first, second = service.asked(MODEL)
    assert (first.range, first.status) == (None, 200)
    assert second.range == f"bytes={first.sent}-"
    assert second.if_range is not None
    assert second.status == 206
    assert first.sent + second.sent == size(release)
    assert found.kept >= first.sent


@pytest.mark.parametrize("how", ["ignores", "says nothing", "another part"])
def test_a_server_that_cannot_go_on_sends_it_anew(service: Service, root: Path, release: Release, how: str) -> None:
    service.validator = "" if how == "says nothing" else "ETag"
    service.ranges = how != "ignores"
    service.ways[MODEL] = ["cut", *(["wrong rest"] if how == "another part" else [])]
    pulled(service)
    assert here() == [VERSION]
    last = service.asked(MODEL)[-1]
    if how == "says nothing":  # then the hash alone tells, and it is right
        assert (last.status, last.if_range) == (206, None)
    else:
        assert (last.status, last.sent) == (200, size(release))


@pytest.mark.parametrize("validator", ["ETag", ""])
def test_a_file_that_changes_between_two_tries_is_never_mixed(service: Service, root: Path, validator: str) -> None:
    service.validator = validator
    file = next(service.folder.rglob(MODEL))
    right = file.read_bytes()
    file.write_bytes(bytes(len(right)))  # another content of the same size
    service.ways[MODEL] = ["cut"]
    with pytest.raises(RemoteError):
        pulled(service, patience=Patience(silence=20, attempts=1))
    assert list(root.rglob(f"parts/{MODEL}"))
    file.write_bytes(right)
    pulled(service)
    assert here() == [VERSION]
    assert open_release(root / "detector" / VERSION).read() == right
    # With a tag the server sees that the rest would not fit; without one the hash does.
    assert [each.status for each in service.asked(MODEL)] == ([200, 200] if validator else [200, 206, 200])


def test_a_part_of_another_content_is_dropped(tmp_path: Path) -> None:
    wanted, path = Stamp(sha256="ab" * 32, bytes=10), tmp_path / "model.onnx"
    part = Part(path, wanted)
    part.begin('"tag"')
    path.write_bytes(b"01234")
    same = Part(path, wanted)
    assert (same.here, same.validator) == (5, '"tag"')
    other = Part(path, Stamp(sha256="cd" * 32, bytes=10))
    assert (other.here, other.validator) == (0, None)
    assert list(tmp_path.iterdir()) == []
    path.write_bytes(b"of nobody knows what")
    assert Part(path, wanted).here == 0


PULL = (
    "import sys; from facepipe.pipeline.cli import main; "
    "main(['weights', 'pull', 'detector@98.0.0', '--insecure-localhost', '--from', sys.argv[1]])"
)


def test_a_killed_pull_is_not_seen_and_goes_on(service: Service, root: Path, release: Release) -> None:
    service.ways[MODEL] = ["stall"]
    command = [sys.executable, "-c", PULL, service.url]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        part = root / "detector"
        end = time.monotonic() + 60
        while not any(path.stat().st_size >= size(release) // 2 for path in part.rglob(f"parts/{MODEL}")):
            assert time.monotonic() < end
            assert running.poll() is None
            time.sleep(0.02)
        assert here() == []
    finally:
        running.send_signal(signal.SIGKILL)
        running.wait()
    assert here() == []
    before = {each.path for each in service.log}
    service.log.clear()
    again = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert "from an earlier try" in again.stdout
    asked = service.asked(MODEL)
    assert [each.range for each in asked] == [f"bytes={size(release) // 2}-"]
    assert asked[0].sent == size(release) - size(release) // 2
    assert not service.asked("manifest.json")  # whole since the first time
    assert any(path.endswith("manifest.json") for path in before)
    assert here() == [VERSION]
    open_release(root / "detector" / VERSION).verify()
