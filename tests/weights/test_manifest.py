"""Manifests: what is read, and that all else is refused in one line."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from facepipe.core.errors import WeightsError
from facepipe.weights.manifest import CropRecipe, Manifest, Metric, read_manifest, write_manifest
from facepipe.weights.release import Release
from facepipe.weights.store import PACKAGE_ROOT

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MUTATIONS = 300


def test_manifest_survives_writing_and_reading(
    detector_release: Release, classifier_release: Release, tmp_path: Path
) -> None:
    for release in (detector_release, classifier_release):
        write_manifest(release.manifest, tmp_path / "manifest.json")
        assert read_manifest(tmp_path / "manifest.json") == release.manifest


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("surprise",), 1, "surprise"),
        (("version",), "one", r"looks like 1\.2\.3"),
        (("date",), "yesterday", "date"),
        (("stage",), "nose", "stage"),
        (("files",), [], "files"),
        (("files", 0, "sha256"), "AB" * 32, "sha256"),
        (("files", 0, "bytes"), "12", "bytes"),
        (("files", 0, "name"), "../model.onnx", "name"),
        (("input", "colour"), "GBR", "colour"),
        (("input", "size"), 64.5, "size"),
        (("attributes",), [], "attributes"),
        (("attributes", 1, "classes"), ["male", "male"], "must differ"),
        (("attributes", 0, "high"), -5.0, "above low"),
        (("attributes", 5, "mirror"), [["left_eye", "tail"]], "tail"),
        (("crop",), None, "crop"),
        (("crop", "margin"), -1.0, "margin"),
        (("licence",), None, "licence"),
        (("input", "size"), 10**6, "size"),
        (("input", "scale"), 0.0, "scale"),
        (("input", "std"), [1.0, 0.0, 1.0], "std"),
        (("input", "std"), [1.0, -1.0, 1.0], "std"),
        (("input", "std"), [1.0, 1e-300, 1.0], "std"),
        (("input", "mean"), [1e300, 0.0, 0.0], "mean"),
        (("input", "padding"), [256, 0, 0], "padding"),
        (("crop", "size"), 10**6, "size"),
        (("crop", "min_side"), 1e9, "min_side"),
        (("crop", "border"), [0, 0, -1], "border"),
        (("attributes", 0, "bins"), 10**9, "bins"),
        (("attributes", 0, "widen"), 1e6, "widen"),
        (("attributes", 0, "high"), 1e300, "high"),
        (("attributes", 1, "temperature"), 0.0, "temperature"),
        (("attributes", 1, "temperature"), 1e-300, "temperature"),
        (("attributes", 1, "name"), "age", "two attributes have the same name"),
        (("attributes", 1, "classes"), ["", "male"], "classes"),
        (("files", 0, "bytes"), 10**12, "bytes"),
        (("files", 0, "name"), "x" * 300, "name"),
        (("features",), 10**12, "features"),
        (("version",), "1.0.0\n", "control character|looks like"),
        (("version",), "1.0.0 ", "looks like"),
        (("version",), "\u0661.\u0660.\u0660", "looks like"),
        (("version",), f"1.0.{'9' * 5000}", "looks like"),
        (("version",), "1.0.0-" + "a" * 300, "looks like"),
        (("facepipe",), "\u0661.\u0660", "facepipe"),
        (("facepipe",), "9" * 5000, "facepipe"),
        (("date",), "\u0662026-01-01", "date"),
        (("licence",), "CC0\x1b]0;title\x07", "control character"),
        (("licence",), "CC0\x9b2J", "control character"),
        (("training",), {"note": "\u202e"}, "control character"),
    ],
)
def test_bad_manifests_name_the_field(
    place: tuple, value: object, message: str, classifier_release: Release, tmp_path: Path
) -> None:
    record = json.loads((classifier_release.folder / "manifest.json").read_text(encoding="utf-8"))
    inner = record
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(WeightsError, match=message) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 5000])
@pytest.mark.parametrize("place", [("input", "scale"), ("attributes", 0, "high"), ("training", "lr")])
def test_numbers_that_are_none(place: tuple, number: str, classifier_release: Release, tmp_path: Path) -> None:
    record: Any = json.loads((classifier_release.folder / "manifest.json").read_text(encoding="utf-8"))
    inner = record
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = "HERE"
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(record).replace('"HERE"', number), encoding="utf-8")
    with pytest.raises(WeightsError, match="bad manifest"):
        read_manifest(path)


def test_a_figure_that_could_not_be_worked_out_is_none() -> None:
    assert Metric(name="mean of nothing", value=float("nan")).value is None
    with pytest.raises(ValueError, match="finite"):
        CropRecipe(margin=0.2, size=32, min_side=float("inf"))


def test_shipped_manifests_are_read(tmp_path: Path) -> None:
    for path in sorted(PACKAGE_ROOT.glob("*/*/manifest.json")):
        manifest = read_manifest(path)
        write_manifest(manifest, tmp_path / "manifest.json")
        assert Manifest.model_validate_json((tmp_path / "manifest.json").read_bytes()) == manifest


@pytest.fixture(scope="module")
def fuzz_manifest() -> Iterator[ModuleType]:
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("fuzz_manifest")
    sys.path.remove(str(BENCHMARKS))


def test_damaged_manifests_give_one_line_or_a_manifest(fuzz_manifest: ModuleType, tmp_path: Path) -> None:
    originals = [path.read_bytes() for path in sorted(PACKAGE_ROOT.glob("*/*/manifest.json"))]
    wrong = [
        told
        for content in fuzz_manifest.mutations(originals, MUTATIONS, seed=7)
        if (told := fuzz_manifest.check(content, tmp_path / "manifest.json")) is not None
    ]
    assert wrong == []


def test_manifest_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    for content in (b"", b"{", b"\xff\xfe", b"[]", b"[" * 1_000_000, b'{"a":' * 100_000):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="bad manifest"):
            read_manifest(path)
