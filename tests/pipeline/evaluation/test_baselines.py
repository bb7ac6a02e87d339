"""Publishing measures the version in use and the start on the run's rows; the measuring itself is stood in for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import DataError, WeightsError
from facepipe.pipeline.evaluation import baselines
from facepipe.pipeline.evaluation.baselines import measure_baselines
from facepipe.weights import store
from facepipe.weights.publish import Choices, compared, publish_run
from facepipe.weights.release import Release
from facepipe.weights.rivals import WorseError

from ...weights import conftest as runs

make_run = runs.make_run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user's root; the package's is emptied too."""
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "user"))
    monkeypatch.setattr(store, "PACKAGE_ROOT", tmp_path / "package")
    return tmp_path / "user"


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The releases that were measured, each with an AP50 of 0.95."""
    labels: list[str] = []

    def measure(run: Path, release: Release, folder: Path) -> None:
        labels.append(release.label)
        content = json.loads((run / "evaluation" / "float16" / "evaluation.json").read_text(encoding="utf-8"))
        content["metrics"]["file_sha256"] = release.entry().sha256
        content["metrics"]["values"][0]["value"] = 0.95
        folder.mkdir(parents=True)
        (folder / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")

    monkeypatch.setattr(baselines, "_measure_detector", measure)
    return labels


def started_from(run: Path, version: str) -> None:
    path = run / "export" / "manifest.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["training"]["start"] = version
    path.write_text(json.dumps(content), encoding="utf-8")


def test_both_are_measured_once(root: Path, make_run: Callable[..., Path], measured: list[str]) -> None:
    for number in range(3):
        choices = Choices(f"1.{number}.0", use=True, force=True)
        publish_run(make_run(name=f"n{number}", float16=0.9), choices)
    run = make_run(name="new", float16=0.9)
    started_from(run, "1.0.0")
    assert measure_baselines(run) == []
    assert measured == ["1.2.0", "1.0.0"]
    assert measure_baselines(run) == []
    assert len(measured) == 2
    assert [each.label for each in compared(run)] == ["1.2.0", "1.0.0"]
    with pytest.raises(WorseError, match=r"worse than detector 1\.2\.0 \(in use\)") as caught:
        publish_run(run, Choices("2.0.0"))
    assert [(each.role, each.label, len(each.figures)) for each in caught.value.baselines] == [
        ("in use", "1.2.0", 1),
        ("start", "1.0.0", 1),
    ]


def test_nothing_to_compare_with(root: Path, make_run: Callable[..., Path], measured: list[str]) -> None:
    run = make_run(float16=0.9)
    assert measure_baselines(run) == []
    publish_run(run, Choices("1.0.0"))
    assert measure_baselines(run) == []  # the one in use is this very file
    assert measured == []
    with pytest.raises(WeightsError, match="no such folder"):
        measure_baselines(run / "none")


def test_what_cannot_be_measured_is_said(
    root: Path, make_run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_run(make_run(float16=0.9), Choices("1.0.0"))
    run = make_run(name="new", float16=0.9)
    (remark,) = measure_baselines(run)  # the run has no settings
    assert "detector 1.0.0 (in use) was not measured on the run's rows" in remark

    def gone(*_: object) -> None:
        raise DataError("data.yaml: no such file")

    monkeypatch.setattr(baselines, "_measure_detector", gone)
    assert measure_baselines(run)[0].endswith("data.yaml: no such file")
