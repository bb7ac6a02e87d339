"""A training from start to end, without the training: what is stored, resumed, refused and announced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.classifier.config.recipe import read_recipe
from facepipe.classifier.config.schema import read_schema
from facepipe.classifier.data.table import read_faces
from facepipe.classifier.train import (
    Ending,
    NewRun,
    RunOptions,
    _forget_unbegun,
    _is_released,
    _new_run,
    _next_steps,
    _resumed,
    train_classifier,
)
from facepipe.classifier.training.run_folder import ReleaseOptions, Settings
from facepipe.core.errors import DataError, TrainingError


@pytest.fixture
def settings(faces: Path, tiny_recipe: Path, tmp_path: Path) -> Settings:
    """Of a new run on the drawn faces, written to ``tmp_path / "run"``."""
    lines: list[str] = []
    new = NewRun(read_schema(), read_recipe(str(tiny_recipe)), "none", seed=4)
    release = ReleaseOptions(version="1.2.0", exports=("float16", "int8"), terms={"": "mine"})
    made, _ = _new_run(tmp_path / "run", new, RunOptions((str(faces),), minutes=5), release, lines.append)
    assert [line for line in lines if line.startswith("left out")] == [
        f"left out: {name}: no training row is labelled; label rows for it, or remove it from the schema"
        for name in ("smile", "mask")
    ]
    (tmp_path / "run").mkdir()
    made.write(tmp_path / "run")
    return made


def test_a_new_run_learns_what_its_data_can_teach(settings: Settings) -> None:
    assert [attribute.name for attribute in settings.attributes] == ["age", "gender", "glasses", "eyes"]
    assert (settings.seed, settings.minutes, settings.workers) == (4, 5, 2)


def test_data_that_teach_nothing_are_refused(make_csv: Callable[..., Path], tiny_recipe: Path, tmp_path: Path) -> None:
    path = make_csv("file,gender,split,framing", "a.png,male,train,tight", "a.png,female,val,tight")
    new = NewRun(read_schema(), read_recipe(str(tiny_recipe)), "none")
    lines: list[str] = []
    with pytest.raises(DataError, match="no attribute of the schema can be learnt"):
        _new_run(tmp_path / "run", new, RunOptions((str(path),)), ReleaseOptions(), lines.append)
    assert any(line.startswith("left out: gender: every labelled training row is 'male'") for line in lines)


def test_a_resumed_run_ends_as_it_was_asked_to(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert _resumed(folder, RunOptions(), Ending()).release == settings.release
    changed = _resumed(folder, RunOptions(workers=1), Ending(exports=("float32",)))
    assert (changed.workers, changed.release.exports, changed.release.version) == (1, ("float32",), "1.2.0")
    with pytest.raises(TrainingError, match=r"--export: the files to ship must differ, got int8, int8"):
        _resumed(folder, RunOptions(), Ending(exports=("int8", "int8")))
    with pytest.raises(TrainingError, match="no run to resume"):
        train_classifier(tmp_path / "none", RunOptions())
    with pytest.raises(TrainingError, match="already holds a run"):
        train_classifier(folder, RunOptions(), NewRun(settings.attributes, settings.recipe))


def test_a_run_is_released_when_all_that_was_asked_for_is_there(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    folder = tmp_path / "run"
    for name in ("weights.npz", "export/manifest.json"):
        assert not _is_released(folder, settings)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    assert not _is_released(folder, settings), "exported, and killed before it was published"
    (tmp_path / "weights" / "classifier" / "1.2.0").mkdir(parents=True)
    assert _is_released(folder, settings)
    assert not _is_released(folder, _resumed(folder, RunOptions(), Ending(exports=("float32",))))
    lines: list[str] = []
    assert train_classifier(folder, RunOptions(), report=lines.append) is None
    assert "nothing is left to do" in lines[0]


def test_it_says_what_comes_after_the_training(settings: Settings, faces: Path) -> None:
    table = read_faces(faces, settings.attributes)
    # 16 val rows through 2 files, 600 training rows, and 16 rows at 12, 16, 24, 32 and 48 px and whole
    assert _next_steps(settings, table, 0.0) == (
        "next: export to ONNX (float16, int8), calibration and measurement of 728 crops"
    )
    assert _next_steps(settings, table, 0.25).endswith("728 crops, about 4 min")
    fewer = settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"sized_rows": 4})})
    assert "656 crops" in _next_steps(fewer, table, 0.0)


def test_a_run_that_never_began_leaves_no_trace(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "checkpoint.npz").write_bytes(b"")
    _forget_unbegun(folder)
    assert (folder / "settings.json").is_file()
    (folder / "checkpoint.npz").unlink()
    _forget_unbegun(folder)
    assert not folder.exists()
