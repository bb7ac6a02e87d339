"""The parts of the Ray engine that need no Ray: listing, blocks, the folder of results, reading ahead."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from facepipe.core.errors import (
    DeviceError,
    FacepipeError,
    ImageError,
    ImageTooLargeError,
    MissingExtraError,
    RemoteError,
    WeightsError,
)
from facepipe.pipeline.cli import app
from facepipe.pipeline.distributed.cluster import Workers, choose_models, cluster, fit, require_ray
from facepipe.pipeline.distributed.listing import Stores, address_of, block_size, cut_blocks, list_pictures
from facepipe.pipeline.distributed.output import (
    RECORD,
    SUCCESS,
    Counts,
    ResultsFolder,
    read_success,
    take_up,
    write_success,
)
from facepipe.pipeline.distributed.worker import ReadAhead
from facepipe.pipeline.inputs.image_reader import Limits
from facepipe.pipeline.inputs.url import is_store
from typer.testing import CliRunner

SETTINGS = {"detector": "1.0.0", "--confidence": None, "--tiles": False}
PART = "part-000000-0123456789ab.parquet"


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["detect", *map(str, arguments)])
    error = "" if result.exception is None else str(result.exception)
    return result.exit_code, result.output + error


# Addresses and listing


@pytest.mark.parametrize("text", ["s3://bucket/a.jpg", "gs://b/**", "file:///srv/a.jpg", "S3://b/a", "sftp://host/a"])
def test_addresses_of_stores(text: str) -> None:
    assert is_store(text)


@pytest.mark.parametrize("text", ["a.jpg", "/srv/a.jpg", "https://a.org/a.jpg", "rtsp://cam", "camera:0", "C:\\a.jpg"])
def test_others_are_none(text: str) -> None:
    assert not is_store(text)


@pytest.mark.parametrize("path", ["/srv/pictures/a.jpg", "/a b/ü#1?.jpg"])
def test_a_listed_path_gets_an_address_that_leads_back(path: str) -> None:
    system, _ = Stores().open("file:///srv")
    address = address_of(system, "file", "", path)
    assert Stores().open(address)[1] == path


def test_no_address_with_a_password_or_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="holds a password") as caught:
        Stores().open("sftp://ann:secret@host/a.jpg")
    assert "secret" not in str(caught.value)
    with pytest.raises(WeightsError, match="memory:// lies in one process"):
        Stores().open("memory://a.jpg")
    monkeypatch.setenv("FACEPIPE_OFFLINE", "1")
    with pytest.raises(RemoteError, match="FACEPIPE_OFFLINE"):
        Stores().open("s3://bucket/a.jpg")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Pictures, hidden ones, another file and a video in folders."""
    for name in ("b.jpg", "a.png", "deep/er/c.webp", ".hidden.jpg", "notes.txt", "clip.mp4", "deep/odd.name"):
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    return tmp_path / "tree"


def named(listing: Any, tree: Path) -> list[str]:
    return [source.removeprefix(f"file://{tree}/") for source in listing.sizes]


def test_a_folder_of_a_store(tree: Path) -> None:
    listing = list_pictures([f"file://{tree}"])
    assert named(listing, tree) == ["a.png", "b.jpg", "deep/er/c.webp"]
    assert list(listing.sizes.values()) == [5, 5, 14]
    assert (listing.passed_over, listing.videos) == (3, 1)
    assert named(list_pictures([f"file://{tree}/"], recursive=False), tree) == ["a.png", "b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**", ["a.png", "b.jpg", "deep/er/c.webp"]),
        ("**/*.webp", ["deep/er/c.webp"]),
        ("*", ["a.png", "b.jpg", "deep/er/c.webp"]),
        ("?.jpg", ["b.jpg"]),
    ],
)
def test_globs_of_a_store(tree: Path, pattern: str, found: list[str]) -> None:
    assert named(list_pictures([f"file://{tree}/{pattern}"]), tree) == found


def test_what_is_named_itself_is_taken_and_each_once(tree: Path) -> None:
    (tree / "odd[1].jpg").write_bytes(b"1")
    texts = [f"file://{tree}/{name}" for name in ("deep/odd.name", "gone.jpg", "odd[1].jpg", "b.jpg", "*.jpg")]
    listing = list_pictures([*texts, str(tree / "a.png")])
    assert named(listing, tree) == [str(tree / "a.png"), "deep/odd.name", "gone.jpg", "odd[1].jpg", "b.jpg"]
    assert listing.sizes[f"file://{tree}/gone.jpg"] is None


def test_nothing_found_and_videos(tree: Path) -> None:
    with pytest.raises(ImageError, match=r"no picture found; .*gone: not there"):
        list_pictures([f"file://{tree}/gone"])
    with pytest.raises(ImageError, match=r"no picture found \(1 other files there\)"):
        list_pictures([f"file://{tree}/*.mp4"])
    for video in (f"file://{tree}/clip.mp4", str(tree / "clip.mp4")):
        with pytest.raises(FacepipeError, match=r"clip\.mp4: is a video; --engine local"):
            list_pictures([video])


# Blocks


def test_blocks_follow_from_list_and_settings() -> None:
    sizes = {f"{number}.jpg": number for number in range(10)}
    blocks = cut_blocks(sizes, 4, SETTINGS)
    assert [len(block.sources) for block in blocks] == [4, 4, 2]
    assert blocks[2].sizes == (8, 9)
    assert [block.name for block in blocks] == sorted(block.name for block in blocks)
    assert blocks == cut_blocks(sizes, 4, dict(reversed(SETTINGS.items())))
    others = [cut_blocks(sizes, 4, {**SETTINGS, "--confidence": 0.5}), cut_blocks({"x.jpg": 1, **sizes}, 4, SETTINGS)]
    for other in others:
        assert not {block.name for block in blocks} & {block.name for block in other}


def test_block_sizes() -> None:
    assert [block_size(number) for number in (1, 500, 20_000, 10**6, 10**9)] == [25, 25, 79, 500, 500]


# The folder of results


@pytest.mark.parametrize("form", ["{}/results.parquet", "file://{}/results.parquet", "{}/deep/results.parquet/"])
def test_a_folder_on_a_disk(tmp_path: Path, form: str) -> None:
    folder = ResultsFolder(form.format(tmp_path))
    assert folder.names() == set()
    folder.write("b", b"1")
    folder.write("b", b"2")
    folder.write("a", b"3")
    assert folder.names() == {"a", "b"}
    assert folder.read("b") == b"2"
    with folder.open("a") as file:
        assert file.read() == b"3"
    folder.remove("a")
    assert folder.names() == {"b"}
    with pytest.raises(FacepipeError, match=r"results\.parquet/a: cannot be read"):
        folder.read("a")


def test_a_store_that_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose put is not one step, such as sftp; here a disk through fsspec."""
    folder = ResultsFolder(f"file://{tmp_path}/results.parquet")
    folder._system, folder._path = Stores().open(f"file://{tmp_path}/results.parquet")
    folder._local, folder._flat = None, False
    assert folder.names() == set()
    folder.write("a", b"whole")
    assert folder.names() == {"a"}

    def torn(path: str, content: bytes) -> None:
        Path(path).write_bytes(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder._system, "pipe_file", torn)
    with pytest.raises(RemoteError, match="No space left"):
        folder.write("b", b"whole")
    assert "b" not in folder.names()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "results.parquet").write_bytes(b"")
    with pytest.raises(FacepipeError, match="is a file; --out makes a folder"):
        ResultsFolder(str(tmp_path / "results.parquet")).names()
    with pytest.raises(FacepipeError, match=r"ends in \.parquet"):
        ResultsFolder("s3://bucket/results")


def test_a_run_is_taken_up_with_the_same_settings_only(tmp_path: Path) -> None:
    folder = ResultsFolder(str(tmp_path / "results.parquet"))
    assert take_up(folder, SETTINGS, None, 25, False) == 25
    assert take_up(folder, {**SETTINGS, "--tiles": True}, 7, 25, False) == 7  # nothing was done yet
    folder.write(PART, b"")
    assert take_up(folder, {**SETTINGS, "--tiles": True}, None, 99, False) == 7
    with pytest.raises(FacepipeError, match=r"begun with --block 7; .*--restart"):
        take_up(folder, {**SETTINGS, "--tiles": True}, 8, 25, False)
    with pytest.raises(
        FacepipeError, match=r"--confidence was not given and is now 0\.5; --tiles was on and is now off\..*--restart"
    ):
        take_up(folder, {**SETTINGS, "--confidence": 0.5}, None, 25, False)
    write_success(folder, Counts(3, 2, 1), 1)
    assert read_success(folder) == Counts(3, 2, 1)
    assert take_up(folder, SETTINGS, None, 25, True) == 25
    assert folder.names() == {RECORD}


@pytest.mark.parametrize("content", [b"", b"{}", b'{"form": 2, "block": 1, "settings": {}}', b"[1]"])
def test_a_record_of_another_making(tmp_path: Path, content: bytes) -> None:
    folder = ResultsFolder(str(tmp_path / "results.parquet"))
    folder.write(RECORD, content)
    folder.write(PART, b"")
    with pytest.raises(FacepipeError, match=r"_facepipe\.json: is none that this version"):
        take_up(folder, SETTINGS, None, 25, False)


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    folder = ResultsFolder(str(tmp_path / "results.parquet"))
    folder.write("mine.parquet", b"mine")
    for restart in (False, True):
        with pytest.raises(FacepipeError, match="is not empty"):
            take_up(folder, SETTINGS, None, 25, restart)
    assert folder.read("mine.parquet") == b"mine"
    folder.write(RECORD, json.dumps({"form": 1, "block": 1, "settings": SETTINGS}).encode())
    folder.write(SUCCESS, b"")
    take_up(folder, SETTINGS, None, 25, True)
    assert folder.names() == {RECORD, "mine.parquet"}


# Reading ahead


class Shop:
    """In place of ``Stores``: gives what ``answers`` say, and counts the requests."""

    def __init__(self, answers: dict[str, Any]):
        self.answers = answers
        self.asked: list[str] = []

    def open(self, address: str) -> tuple[Any, str]:
        return self, address

    def cat_file(self, path: str) -> bytes:
        self.asked.append(path)
        answer = self.answers[path]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def read_ahead(shop: Shop, sizes: dict[str, int | None], most: int = 1000) -> ReadAhead:
    return ReadAhead(shop, sizes.items(), Limits(bytes=most))  # type: ignore[arg-type]


def test_each_picture_is_fetched_once_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facepipe.pipeline.distributed.worker.BYTES", 25)
    names = [f"s3://b/{number:02}" for number in range(40)]
    shop = Shop({name: name.encode() for name in names})
    ahead = read_ahead(shop, dict.fromkeys(names, 10))
    for name in [names[1], names[0], *names[2:]]:
        assert ahead.take(name) == name.encode()
        assert ahead._held <= 30  # what is asked for comes whether there is room or not
    ahead.close()
    assert sorted(shop.asked) == names
    assert ahead.refused == 0
    assert "s3://b/00" in ahead
    assert "c.jpg" not in ahead


def test_what_a_store_says_becomes_the_pictures_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facepipe.pipeline.distributed.worker.PAUSE", 0)
    answers = {
        "s3://b/gone": FileNotFoundError("gone"),
        "s3://b/mine": PermissionError("Access Denied"),
        "s3://b/down": [OSError("reset"), OSError("reset"), OSError("reset")],
        "s3://b/back": [OSError("reset"), b"fine"],
        "s3://b/large": b"never asked for",
    }
    shop = Shop(answers)
    ahead = read_ahead(shop, {**dict.fromkeys(answers), "s3://b/large": 1001})
    expected: list[tuple[str, type[ImageError], str]] = [
        ("gone", ImageError, "s3://b/gone: no such file"),
        ("mine", ImageError, r"s3://b/mine: cannot be read \(Access Denied\)"),
        ("down", ImageError, r"s3://b/down: cannot be read \(OSError: reset\)"),
        ("large", ImageTooLargeError, "s3://b/large: over the limit of 1,000 bytes"),
    ]
    assert ahead.take("s3://b/back") == b"fine"
    for name, kind, told in expected:
        with pytest.raises(kind, match=told):
            ahead.take(f"s3://b/{name}")
    ahead.close()
    assert ahead.refused == 2  # not what is not there, nor what is too large
    assert ahead.why in ("Access Denied", "OSError: reset")
    assert "s3://b/large" not in shop.asked


# Models and workers


def test_models_are_named_so_that_any_machine_finds_them(
    tiny_weights: Path, classifier_release: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(classifier_release.folder.parent)
    chosen = choose_models(None, [f".{os.sep}{classifier_release.folder.name}"], "auto", "cpu")
    assert (chosen.detector.version, chosen.detector.name) == ("99.0.0", "face")
    assert Path(chosen.classifiers[0].version).samefile(classifier_release.folder)
    assert list(chosen.attributes) == ["face"]
    detector, classifiers = chosen.open("cpu", 1, None, None, False)
    assert (detector.release.version, len(classifiers)) == ("99.0.0", 1)


def test_another_model_of_that_version_is_refused(
    tmp_path: Path,
    publish_detector: Callable[..., Any],
    publish_classifier: Callable[..., Any],
    tiny_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chosen = choose_models(None, None, "auto", "cpu")
    publish_detector(tmp_path, seed=12)
    publish_classifier(tmp_path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"detector 99\.0\.0: is another model there"):
        chosen.open("cpu", 1, None, None, False)


class Resources:
    """In place of ``ray``."""

    def __init__(self, **has: float):
        self._has = has

    def cluster_resources(self) -> dict[str, float]:
        return self._has


@pytest.mark.parametrize(
    ("has", "device", "actors", "threads", "workers"),
    [
        ({"CPU": 8}, "cpu", None, None, Workers(8, 1, 0)),
        ({"CPU": 8}, "cpu", 3, None, Workers(3, 2, 0)),
        ({"CPU": 8}, "cpu", None, 4, Workers(2, 4, 0)),
        ({"CPU": 8}, "cpu", 1, 3, Workers(1, 3, 0)),
        ({"CPU": 16, "GPU": 4}, "cuda", None, None, Workers(4, 4, 1)),
        ({"CPU": 16, "GPU": 4}, "cuda", 2, 2, Workers(2, 2, 1)),
    ],
)
def test_how_many_workers_fit(
    has: dict[str, float], device: str, actors: int | None, threads: int | None, workers: Workers
) -> None:
    assert fit(Resources(**has), device, actors, threads, True) == workers  # type: ignore[arg-type]


def test_workers_that_do_not_fit() -> None:
    with pytest.raises(DeviceError, match=r"3 workers of 1 CPU do not fit this machine \(2 CPUs, 0 GPUs\)"):
        fit(Resources(CPU=2), "cpu", 3, None, True)  # type: ignore[arg-type]
    assert fit(Resources(CPU=2), "cpu", 3, None, False) == Workers(3, 1, 0)  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match="Ray knows of no GPU"):
        fit(Resources(CPU=2), "cuda", None, None, True)  # type: ignore[arg-type]


def test_no_cluster_at_the_address() -> None:
    pytest.importorskip("ray", reason="needs the extra 'ray'")
    with (
        pytest.raises(FacepipeError, match=r"127\.0\.0\.1:1: no Ray cluster answers there"),
        cluster("127.0.0.1:1"),
    ):
        raise AssertionError("not reached")


# The command


@pytest.mark.parametrize("missing", ["ray", "fsspec"])
def test_without_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=rf"{missing} is not installed; .*facepipe\[ray\]"):
        require_ray()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "ray"], "--engine ray needs --out"),
        (["--engine", "ray", "--out", "o.parquet", "--save", "d"], "--save: not with --engine ray"),
        (["--engine", "ray", "--out", "o.parquet", "--save", "d", "--blur", "faces"], "not with --engine ray"),
        (["--engine", "ray", "--out", "o.parquet", "--every", "2"], "--every: not with --engine ray"),
        (["--engine", "ray", "--out", "o.parquet", "--json", "-"], "--json: not with --engine ray"),
        (["--out", "o.parquet"], "--out: only with --engine ray"),
        (["--address", "auto", "--actors", "2"], "--address, --actors: only with --engine ray"),
    ],
)
def test_options_of_the_other_engine(options: list[str], told: str) -> None:
    code, output = invoke("a.jpg", *options)
    assert code == 2
    assert told in " ".join(output.replace("│", " ").split())


def test_the_local_engine_says_who_reads_buckets() -> None:
    code, output = invoke("s3://bucket/a.jpg")
    assert code == 1
    assert "s3://bucket/a.jpg: lies in a bucket; --engine ray reads it" in output
