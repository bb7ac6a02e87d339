"""benchmarks/soak.py judges memory as it says; benchmarks/speed_page.py writes between the marks and nowhere else."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from facepipe import Pipeline
from facepipe.core.errors import FacepipeError
from rich.console import Console
from study.machine import this_machine
from study.report import BOUND, PIPELINE, Comparison, Report, Series, paired

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def soak() -> ModuleType:
    return load("soak")


@pytest.fixture(scope="module")
def speed_page() -> ModuleType:
    return load("speed_page")


def test_a_leak_shows_through_the_ups_and_downs(soak: ModuleType) -> None:
    random = np.random.default_rng(0)
    busy = 300 + random.uniform(0, 200, 2000)
    assert abs(soak.rise(busy)) < 10
    leaking = busy + 0.05 * np.arange(2000)
    assert soak.rise(leaking) == pytest.approx(50, abs=10)


def test_what_is_taken_at_the_beginning_is_no_leak(soak: ModuleType) -> None:
    memory = np.concatenate([np.linspace(100, 500, 800), np.full(1200, 500)])
    assert soak.rise(memory) == pytest.approx(0, abs=1e-6)


def test_too_few_pictures_tell_nothing(soak: ModuleType) -> None:
    with pytest.raises(ValueError, match="too few"):
        soak.rise([100.0] * 100)


@pytest.mark.usefixtures("tiny_weights")
def test_every_picture_has_its_result(soak: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak, "KINDS", (("jpg", 0.05, 3), ("png", 0.02, 3), ("webp", 0.02, 2)))
    soak.draw_all(tmp_path, 1)
    paths = soak.order(tmp_path, 200, 2)
    assert {path.name for path in paths} >= set(soak.BROKEN)
    assert not (tmp_path / "missing.jpg").exists()
    with Pipeline() as pipeline:
        memory, wrong = soak.run(paths, pipeline, Console(quiet=True))
    assert len(memory) == 200
    assert wrong == []
    monkeypatch.setattr(soak, "BROKEN", ())
    with Pipeline() as pipeline:
        assert "empty" in soak.run([tmp_path / "empty.jpg"], pipeline, Console(quiet=True))[1][0]


@pytest.fixture
def report() -> Report:
    one, other = (
        Series(name=name, what="by a | of it", unit="pictures", items=4, seconds=spent)
        for name, spent in ((PIPELINE, (1.0, 2.0)), (BOUND, (0.5, 1.8)))
    )
    comparison = Comparison(
        label="ten", pictures=None, series=(one, other), ratios=(paired("a / b", one, other, 0.9),), notes=("a note",)
    )
    return Report(
        facepipe="1",
        command="facepipe benchmark",
        started="2026-01-02T03:04:05+00:00",
        seconds=60,
        machine=this_machine(),
        models={},
        comparisons={"main": (comparison,)},
        limits=(),
        notes=(),
    )


def test_the_page(speed_page: ModuleType, report: Report, tmp_path: Path) -> None:
    folder, docs = tmp_path / "run", tmp_path / "docs"
    folder.mkdir()
    docs.mkdir()
    (folder / "benchmark.json").write_text(report.model_dump_json())
    (folder / "benchmark.png").write_bytes(b"a chart")
    (docs / "speed.md").write_text("# Before\n<!-- figures -->\nold\n<!-- /figures -->\nafter\n")
    for _ in range(2):
        speed_page.main(folder, docs)
        page = (docs / "speed.md").read_text()
        assert page.startswith("# Before\n<!-- figures -->\n`facepipe benchmark`, facepipe 1, 2026-01-02")
        assert page.endswith("<!-- /figures -->\nafter\n")
        assert "old" not in page
        assert "| a / b | 0.70 | 0.50 – 0.90 | 2 | at least 0.90 | no |" in page
        assert "by a / of it" in page
        assert "- a note" in page
    assert Report.model_validate_json((docs / "speed.json").read_text()) == report
    assert (docs / "pictures" / "speed.png").read_bytes() == b"a chart"


def test_a_page_without_marks_is_left_alone(speed_page: ModuleType, report: Report, tmp_path: Path) -> None:
    (tmp_path / "benchmark.json").write_text(report.model_dump_json())
    (tmp_path / "speed.md").write_text("nothing marked")
    with pytest.raises(FacepipeError, match="no <!-- figures -->"):
        speed_page.main(tmp_path, tmp_path)
    assert (tmp_path / "speed.md").read_text() == "nothing marked"
    (tmp_path / "benchmark.json").write_text("{}")
    with pytest.raises(FacepipeError, match=r"benchmark\.json: is not a benchmark's report"):
        speed_page.main(tmp_path, tmp_path)
