"""Removing releases, and what broken-off commands leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import WeightsError
from facepipe.weights.registry.prune import age_seconds, clear, leftovers, remove
from facepipe.weights.store import PACKAGE_ROOT, find, read_pins, use


@pytest.fixture
def root(
    tmp_path: Path, publish_detector: Callable, publish_colours: Callable, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Detectors 98.0.0 and 99.0.0 and the classifier shirt@0.1.0."""
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "root"))
    publish_detector(tmp_path / "root", version="98.0.0")
    publish_detector(tmp_path / "root", version="99.0.0")
    publish_colours(tmp_path / "root", "shirt")
    return tmp_path / "root"


def test_remove(root: Path) -> None:
    removed = remove("detector", "98.0.0")
    assert (removed.label, removed.unpinned) == ("98.0.0", False)
    assert [path.name for path in (root / "detector").iterdir()] == ["99.0.0"]
    with pytest.raises(WeightsError, match=r"no detector 98\.0\.0 in .*; there are: 99\.0\.0"):
        remove("detector", "98.0.0")


def test_the_one_in_use_stays_unless_forced(root: Path) -> None:
    with pytest.raises(WeightsError, match=r"version used by default.*--force"):
        remove("detector", "99.0.0")
    with pytest.raises(WeightsError, match=r"facepipe weights use classifier shirt@VERSION"):
        remove("classifier", "shirt@0.1.0")
    use("detector", "98.0.0")
    with pytest.raises(WeightsError, match="version used by default"):
        remove("detector", "98.0.0")
    assert remove("detector", "98.0.0", force=True).unpinned
    assert read_pins(root) == {}
    assert find("detector").version == "99.0.0"
    remove("classifier", "shirt@0.1.0", force=True)
    assert not list((root / "classifier" / "shirt").iterdir())


def test_what_came_with_facepipe_stays(root: Path) -> None:
    shipped = sorted(path.name for path in (PACKAGE_ROOT / "detector").iterdir())
    for version in shipped:
        for force in (False, True):
            with pytest.raises(WeightsError, match="came with facepipe itself"):
                remove("detector", version, force)
    assert sorted(path.name for path in (PACKAGE_ROOT / "detector").iterdir()) == shipped


def test_only_versions_can_be_removed(root: Path) -> None:
    before = sorted(root.rglob("*"))
    for text in ("..", ".", "../detector/98.0.0", "98.0.0/../99.0.0", ""):
        with pytest.raises(WeightsError):
            remove("detector", text, force=True)
    with pytest.raises(WeightsError, match="name the version"):
        remove("classifier", "shirt", force=True)
    assert sorted(root.rglob("*")) == before


def test_a_broken_release_can_be_removed(root: Path) -> None:
    (root / "detector" / "98.0.0" / "manifest.json").write_text("{", encoding="utf-8")
    remove("detector", "98.0.0")
    assert not (root / "detector" / "98.0.0").exists()


def test_leftovers_are_found_and_cleared_by_age(root: Path) -> None:
    pull = root / "detector" / ".pull-1.0.0-abcdef012345"
    publish = root / "classifier" / "shirt" / ".publish-x1y2"
    for folder in (pull / "parts", publish / "0.2.0"):
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(b"12345")
    (root / ".current.json-abc").write_bytes(b"1")
    (root / "detector" / "of-mine").mkdir()
    releases = sorted(root.glob("*/*/manifest.json"))
    assert leftovers(3600) == []
    found = leftovers(0)
    assert {leftover.path: leftover.bytes for leftover in found} == {
        pull: 5,
        publish: 5,
        root / ".current.json-abc": 1,
    }
    old = time.time() - 7200
    for path in (pull, *pull.rglob("*")):
        os.utime(path, (old, old))
    assert [leftover.path for leftover in leftovers(3600)] == [pull]
    for leftover in found:
        clear(leftover)
        clear(leftover)  # gone already: fine
    assert leftovers(0) == []
    assert (root / "detector" / "of-mine").is_dir()
    assert sorted(root.glob("*/*/manifest.json")) == releases


def test_a_link_is_removed_and_not_followed(root: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"1")
    (root / "detector" / ".pull-x").symlink_to(kept)
    for leftover in leftovers(0):
        clear(leftover)
    assert not (root / "detector" / ".pull-x").is_symlink()
    assert (kept / "file").is_file()


def test_a_choice_of_a_version_that_is_gone(root: Path) -> None:
    pins = {"detector": "1.2.3", "classifier/shirt": "0.1.0", "classifier/hat": "0.1.0"}
    (root / "current.json").write_text(json.dumps(pins), encoding="utf-8")
    found = leftovers(3600)
    assert [leftover.pin for leftover in found] == [("detector", ""), ("classifier", "hat")]
    for leftover in found:
        clear(leftover)
    assert read_pins(root) == {"classifier/shirt": "0.1.0"}
    assert find("detector").version == "99.0.0"


def test_what_a_killed_publishing_leaves_is_cleared(root: Path) -> None:
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from facepipe.weights import store\n"
        "from facepipe.weights.release import open_release\n"
        "def slow(*arguments):\n    print('staged', flush=True)\n    time.sleep(60)\n"
        "store.move_into_place = slow\n"
        "release = open_release(Path(sys.argv[1]))\n"
        "manifest = release.manifest.model_copy(update={'version': '97.0.0'})\n"
        "store.publish(manifest, [release.folder / 'model.onnx'])\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program, str(root / "detector" / "98.0.0")], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "staged\n"
    running.send_signal(signal.SIGKILL)
    running.wait()
    running.stdout.close()
    (leftover,) = leftovers(0)
    assert leftover.path is not None
    assert leftover.path.name.startswith(".publish-")
    clear(leftover)
    assert sorted(path.name for path in (root / "detector").iterdir()) == ["98.0.0", "99.0.0"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2", 7200), ("1.5h", 5400), ("1d", 86400), ("2W", 1209600), ("0", 0)],
)
def test_ages(text: str, seconds: float) -> None:
    assert age_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1d", "1y", "one day"])
def test_no_ages(text: str) -> None:
    with pytest.raises(WeightsError, match="an age looks like"):
        age_seconds(text)
