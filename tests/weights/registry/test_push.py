"""Pushing to folders and to fsspec's store in memory, which stands for a bucket."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from facepipe.core.errors import FacepipeError, MissingExtraError, RemoteError, WeightsError
from facepipe.weights.registry.index import Index
from facepipe.weights.registry.pull import Wanted, fetch_index, pull
from facepipe.weights.registry.push import PushTarget, push
from facepipe.weights.registry.sources import choose_source
from facepipe.weights.release import Release


@pytest.fixture(params=["folder", "bucket"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Of an empty store."""
    if request.param == "folder":
        yield str(tmp_path / "store")
        return
    yield "memory://bucket/weights"
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def labels(index: Index) -> list[str]:
    return [f"{offer.stage} {offer.label}" for offer in index.releases]


def test_push_and_pull_again(
    address: str, tmp_path: Path, publish_detector: Callable, publish_colours: Callable
) -> None:
    detector = publish_detector(tmp_path / "a", version="98.0.0")
    shirt = publish_colours(tmp_path / "a", "shirt")
    told: list[tuple[int, int]] = []
    pushed = push(detector, PushTarget(address), progress=lambda done, total: told.append((done, total)))
    push(shirt, PushTarget(address))
    assert told[-1] == (pushed.offer.bytes, pushed.offer.bytes)
    assert not pushed.replaced
    source = choose_source(address)
    assert labels(fetch_index(source)) == ["classifier shirt@0.1.0", "detector 98.0.0"]
    found = pull(source, Wanted("detector"), root=tmp_path / "b")
    assert found.release.read() == detector.read()
    assert pull(source, Wanted("classifier", "shirt"), root=tmp_path / "b").release.read() == shirt.read()


def test_the_same_again_changes_nothing(address: str, tmp_path: Path, publish_detector: Callable) -> None:
    release = publish_detector(tmp_path / "a", version="98.0.0")
    first = push(release, PushTarget(address))
    again = push(release, PushTarget(address))
    assert (again.offer, again.replaced) == (first.offer, False)
    assert labels(PushTarget(address).read_index()) == ["detector 98.0.0"]


def test_another_content_needs_replace(address: str, tmp_path: Path, publish_detector: Callable) -> None:
    store = PushTarget(address)
    old = push(publish_detector(tmp_path / "a", version="98.0.0"), store).offer
    new = publish_detector(tmp_path / "b", version="98.0.0", seed=9)
    with pytest.raises(WeightsError, match=r"holds another detector 98\.0\.0 .*--replace"):
        push(new, store)
    assert store.read_index().releases == (old,)
    pushed = push(new, store, replace=True)
    assert pushed.replaced
    assert store.read_index().releases == (pushed.offer,)
    assert not store.system.exists(f"{store.folder}/{old.folder}")
    assert pull(choose_source(address), Wanted("detector"), root=tmp_path / "c").release.read() == new.read()


def test_a_push_that_breaks_off_is_not_seen(
    address: str, tmp_path: Path, publish_detector: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PushTarget(address)
    first = push(publish_detector(tmp_path / "a", version="98.0.0"), store).offer
    release = publish_detector(tmp_path / "a", version="98.1.0")

    def broken(self: PushTarget, *arguments: Any) -> None:
        if arguments[1].endswith("manifest.json"):
            raise RemoteError("cut")
        put(self, *arguments)

    put = PushTarget.put
    monkeypatch.setattr(PushTarget, "put", broken)
    with pytest.raises(RemoteError, match="cut"):
        push(release, store)
    assert store.read_index().releases == (first,)
    monkeypatch.undo()
    push(release, store)
    assert labels(store.read_index()) == ["detector 98.0.0", "detector 98.1.0"]


def test_what_arrives_in_part_is_noticed(
    address: str, tmp_path: Path, publish_detector: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PushTarget(address)
    monkeypatch.setattr(
        type(store.system),
        "put_file",
        lambda self, file, path, **more: self.pipe_file(path, Path(file).read_bytes()[:-1]),
    )
    with pytest.raises(RemoteError, match="bytes arrived"):
        push(publish_detector(tmp_path / "a", version="98.0.0"), store)
    assert store.read_index().releases == ()


def test_pushes_to_a_folder_at_once_lose_nothing(
    tmp_path: Path, publish_detector: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PushTarget.write_index

    def slowly(self: PushTarget, index: Index) -> None:
        time.sleep(0.02)  # without a lock the others would read the index meanwhile
        write(self, index)

    monkeypatch.setattr(PushTarget, "write_index", slowly)
    releases = [publish_detector(tmp_path / "a", version=f"98.0.{number}", seed=number) for number in range(6)]
    errors: list[FacepipeError] = []

    def one(release: Release) -> None:
        try:
            push(release, PushTarget(str(tmp_path / "store")))
        except FacepipeError as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(release,)) for release in releases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert labels(PushTarget(str(tmp_path / "store")).read_index()) == [
        f"detector 98.0.{number}" for number in range(6)
    ]


PUSH = "import sys; from facepipe.pipeline.cli import main; main(['weights', 'push', sys.argv[1], '--to', sys.argv[2]])"


def test_pushes_of_several_programs_lose_nothing(
    tmp_path: Path, publish_detector: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "a"))
    running = []
    for number in range(3):
        publish_detector(tmp_path / "a", version=f"98.0.{number}")
        command = [sys.executable, "-c", PUSH, f"detector@98.0.{number}", str(tmp_path / "store")]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    assert [process.wait(100) for process in running] == [0, 0, 0]
    assert all("is uploaded: " in process.communicate()[0] for process in running)
    assert labels(PushTarget(str(tmp_path / "store")).read_index()) == [
        f"detector 98.0.{number}" for number in range(3)
    ]


def test_an_index_that_another_push_overwrites_is_an_error(
    tmp_path: Path, publish_detector: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PushTarget("memory://bucket/overwritten")
    other = push(publish_detector(tmp_path / "a", version="98.0.0"), store).offer
    write = PushTarget.write_index

    def overwritten(self: PushTarget, index: Index) -> None:
        write(self, index)
        write(self, Index(releases=(other,)))

    monkeypatch.setattr(PushTarget, "write_index", overwritten)
    release = publish_detector(tmp_path / "a", version="98.1.0")
    with pytest.raises(RemoteError, match="push this version again"):
        push(release, store)
    monkeypatch.undo()
    push(release, store)
    assert labels(store.read_index()) == ["detector 98.0.0", "detector 98.1.0"]


def test_a_folder_s_index_is_held(tmp_path: Path) -> None:
    store = PushTarget(str(tmp_path / "store"))
    with (
        store.locked(),
        pytest.raises(RemoteError, match="another push has held the index for 0 seconds"),
        PushTarget(store.label).locked(wait=0),
    ):
        pass
    with store.locked(wait=0):
        pass


def test_a_damaged_release_or_index_is_not_pushed(tmp_path: Path, publish_detector: Callable) -> None:
    release = publish_detector(tmp_path / "a", version="98.0.0")
    store = PushTarget(str(tmp_path / "store"))
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "index.json").write_text("{}x", encoding="utf-8")
    with pytest.raises(RemoteError, match="not an index"):
        push(release, store)
    assert (tmp_path / "store" / "index.json").read_text(encoding="utf-8") == "{}x"
    (release.folder / "model.onnx").write_bytes(b"x")
    with pytest.raises(WeightsError, match="not the file that was released"):
        push(release, store)


def test_targets_that_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for target in ("https://example.com/x", "hf://owner/repo"):
        with pytest.raises(WeightsError, match="nothing can be pushed there"):
            PushTarget(target)
    with pytest.raises(WeightsError, match="unknown kind of store"):
        PushTarget("nonsense://x")
    monkeypatch.setenv("FACEPIPE_OFFLINE", "1")
    with pytest.raises(RemoteError, match="FACEPIPE_OFFLINE forbids"):
        PushTarget("s3://bucket/x")
    monkeypatch.delenv("FACEPIPE_OFFLINE")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)  # where a test used it already
    with pytest.raises(MissingExtraError, match=r"s3fs is not installed; .*facepipe\[s3\]"):
        PushTarget("s3://bucket/x")


def test_a_file_in_a_bucket() -> None:
    fsspec.filesystem("memory").pipe_file("/bucket/rest/file", b"0123456789")
    source = choose_source("memory://bucket/rest")
    whole = source.open("file")
    assert (whole.total, b"".join(whole.chunks)) == (10, b"0123456789")
    whole.close()
    with pytest.raises(RemoteError, match="not found"):
        source.open("none")


def test_no_bucket_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, publish_detector: Callable) -> None:
    """s3fs makes a bucket where a folder is made in one that is not there."""

    def made(self: object, path: str, **more: object) -> None:
        raise AssertionError(path)

    def put(self: Any, file: str, path: str) -> None:
        self.pipe_file(path, Path(file).read_bytes())

    system = type(fsspec.filesystem("memory"))
    monkeypatch.setattr(system, "makedirs", made)
    monkeypatch.setattr(system, "put_file", put)  # which makes folders of its own accord, as s3fs's does not
    push(publish_detector(tmp_path / "a", version="98.0.0"), PushTarget("memory://bucket/none"))


def test_a_folder_that_cannot_be_written(tmp_path: Path, publish_detector: Callable) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(RemoteError):
        push(publish_detector(tmp_path / "a", version="98.0.0"), PushTarget(str(tmp_path / "file" / "store")))
