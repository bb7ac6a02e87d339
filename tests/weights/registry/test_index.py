"""Indexes that lie: about names, versions, sizes and the manifest."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from facepipe.core.errors import RemoteError
from facepipe.weights.registry.http import HttpSource
from facepipe.weights.registry.index import index_bytes, offer_of, read_index
from facepipe.weights.registry.pull import Wanted, pull
from facepipe.weights.release import Release

from .lying_server import Service
from .pulled import CALM, here, pulled, rewritten


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
        ("version", "98.0.0\n"),
        ("version", "\u0669\u0668.0.0"),
        ("version", "98.0." + "1" * 5000),
        ("version", "98.0.0-" + "a" * 300),
        ("facepipe", "0.1.0\x1b]0;title\x07"),
        ("facepipe", "\u0660.\u0661"),
        ("facepipe", "9" * 5000),
        ("licence", "\x1b[2J\x9b1;1H"),
        ("licence", "CC0 \u202e"),
        ("date", "yesterday"),
        ("name", "x" * 300),
        ("files", []),
        ("stage", "../x"),
        ("name", "../x"),
        ("manifest", {"sha256": "x", "bytes": 1}),
    ],
)
def test_an_index_says_only_what_it_may(service: Service, root: Path, field: str, value: Any) -> None:
    rewritten(service, lambda entry: entry.update({field: value}))
    with pytest.raises(RemoteError, match="not an index") as caught:
        pulled(service)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>", "not valid JSON"),
        (b"[]", "not an index"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"format": 1' + b"0" * 5000 + b"}", "not valid JSON"),
        (b'{"format": NaN}', "not valid JSON"),
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


def test_the_manifest_must_be_the_one_that_the_index_names(service: Service, root: Path) -> None:
    def smaller(entry: dict[str, Any]) -> None:
        entry["files"].append({"name": "extra.onnx", "sha256": "0" * 64, "bytes": 5})

    rewritten(service, smaller)
    with pytest.raises(RemoteError, match=r"extra\.onnx differs between the manifest and the index"):
        pulled(service)
    assert here() == []
    assert not service.asked("extra.onnx")  # not even asked for


def test_the_index_must_be_of_the_release_it_lies_at(service: Service, root: Path) -> None:
    old = next(path for path in service.folder.rglob("manifest.json")).parent
    rewritten(service, lambda entry: entry.update(version="98.0.1"))
    shutil.copytree(old, service.folder / "detector" / "98.0.1" / old.name)
    source = HttpSource(service.url, insecure_localhost=True)
    with pytest.raises(RemoteError, match=r"the manifest is for detector 98\.0\.0"):
        pull(source, Wanted("detector", version="98.0.1"), retry=CALM)


def test_an_index_survives_its_own_writing(release: Release) -> None:
    content = (release.folder / "manifest.json").read_bytes()
    index = read_index(b'{"format": 1}', "empty").having(offer_of(release.manifest, content))
    assert read_index(index_bytes(index), "again") == index
    assert index.having(index.releases[0]) == index
