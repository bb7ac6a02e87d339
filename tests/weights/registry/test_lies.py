"""Pulling from those who lie, break off and stall."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from facepipe.core.errors import RemoteError
from facepipe.weights.registry.http import HttpSource
from facepipe.weights.registry.index import index_bytes, offer_of, read_index
from facepipe.weights.registry.pull import pull
from facepipe.weights.release import Release

from .lying_server import Service
from .pulled import CALM, MODEL, QUICK, STALLING, VERSION, here, pulled, rewritten


@pytest.mark.parametrize(
    ("ways", "message"),
    [
        (["wrong"], "not the file that the index names"),
        (["longer"], "the index says"),
        (["shorter"], "the index says"),
        (["endless"], "sends more than"),
        (["packed"], "came packed"),
        (["404"], "not there"),
        (["403"], "refuses it"),
        (["418"], "answers 418"),
        (["500", "502", "503"], r"answers 503 .*tried 3 times"),
        (["cut", "cut", "cut"], r"ended after|broke.*tried 3 times.*are kept"),
        (["silent", "silent", "silent"], r"nothing came for 0\.5 seconds \(tried 3 times\)"),
        (["stall", "stall", "stall"], r"nothing came for 0\.5 seconds"),
        (["drip", "drip", "drip"], "slower than 1,000 bytes a second"),
        (["slow head", "slow head", "slow head"], "nothing came for"),
        (
            ["to http://weights.invalid/x"],
            "redirects to http://weights.invalid/x, and weights are taken over https only",
        ),
        (["to ftp://127.0.0.1/x"], "over https only"),
        (["to file:///etc/passwd"], "over https only"),
    ],
)
def test_a_lie_or_a_stall_is_an_error_and_nothing_is_seen(
    service: Service, root: Path, ways: list[str], message: str
) -> None:
    service.ways[MODEL] = list(ways)
    with pytest.raises(RemoteError, match=message):
        pulled(service, patience=QUICK if ways[0] in STALLING else CALM)
    assert here() == []
    assert not (root / "detector" / VERSION).exists()
    service.go_on.set()
    assert pulled(service).release.version == VERSION  # and the next try goes well
    assert here() == [VERSION]


def test_another_file_than_named_is_refused(service: Service, root: Path) -> None:
    folder = next(service.folder.rglob(MODEL)).parent
    (folder / "other.onnx").write_bytes(b"\x01" * (folder / MODEL).stat().st_size)
    service.ways[MODEL] = [f"to {service.url}/{(folder / 'other.onnx').relative_to(service.folder)}"]
    with pytest.raises(RemoteError, match="SHA-256 differs"):
        pulled(service)
    assert here() == []


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/passwd",
        "..",
        "a/b",
        "card/../../evil",
        "card/..",
        "..\\evil",
        "C:evil",
        ".pull",
        "manifest.json",
        "a\n",
    ],
)
def test_an_index_cannot_name_a_place(service: Service, root: Path, tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    rewritten(service, lambda entry: entry["files"][0].update(name=name))
    with pytest.raises(RemoteError, match="not an index"):
        pulled(service)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "../98.0.0"),
        ("version", "1"),
        ("stage", "../x"),
        ("name", "../x"),
        ("manifest", {"sha256": "x", "bytes": 1}),
    ],
)
def test_an_index_says_only_what_it_may(service: Service, root: Path, field: str, value: Any) -> None:
    rewritten(service, lambda entry: entry.update({field: value}))
    with pytest.raises(RemoteError, match="not an index"):
        pulled(service)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "not JSON"),
        (b"[]", "not an index"),
        (b"[" * 100_000, "not JSON"),
        (b'{"format": 2, "releases": "of some other form"}', "format 2, made by a newer facepipe"),
        (b'{"format": 1, "releases": [], "more": 1}', "not an index"),
        (b'{"format": "1", "releases": []}', "not an index"),
        (b" " * 4_000_001, "4,000,000"),
    ],
)
def test_a_bad_index(service: Service, root: Path, content: bytes, message: str) -> None:
    (service.folder / "index.json").write_bytes(content)
    with pytest.raises(RemoteError, match=message):
        pulled(service)


@pytest.mark.parametrize("way", ["endless", "stall", "silent", "drip", "cut", "500"])
def test_an_index_that_does_not_come(service: Service, root: Path, way: str) -> None:
    service.ways["index.json"] = [way] * 3
    with pytest.raises(RemoteError, match=r"tried 3 times|sends more than 4,000,000"):
        pulled(service, patience=QUICK if way in STALLING else CALM)


def test_the_manifest_must_be_the_one_that_the_index_names(service: Service, root: Path) -> None:
    def smaller(entry: dict[str, Any]) -> None:
        entry["files"].append({"name": "extra.onnx", "sha256": "0" * 64, "bytes": 5})

    rewritten(service, smaller)
    with pytest.raises(RemoteError, match=r"extra\.onnx is not the same in the manifest and in the index"):
        pulled(service)
    assert here() == []
    assert not service.asked("extra.onnx")  # not even asked for


def test_the_index_must_be_of_the_release_it_lies_at(service: Service, root: Path) -> None:
    old = next(path for path in service.folder.rglob("manifest.json")).parent
    rewritten(service, lambda entry: entry.update(version="98.0.1"))
    shutil.copytree(old, service.folder / "detector" / "98.0.1" / old.name)
    source = HttpSource(service.url, insecure_localhost=True)
    with pytest.raises(RemoteError, match=r"the manifest is of detector 98\.0\.0"):
        pull(source, "detector", version="98.0.1", patience=CALM)


def test_an_index_survives_its_own_writing(release: Release) -> None:
    content = (release.folder / "manifest.json").read_bytes()
    index = read_index(b'{"format": 1}', "empty").having(offer_of(release.manifest, content))
    assert read_index(index_bytes(index), "again") == index
    assert index.having(index.releases[0]) == index
