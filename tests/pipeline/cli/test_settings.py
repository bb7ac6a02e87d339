"""Settings of facepipe.toml and FACEPIPE_* variables become defaults of options; python -m facepipe; completion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from facepipe.core.errors import FacepipeError
from facepipe.pipeline.cli._app import SETTABLE, settings_map, settings_sources
from facepipe.pipeline.cli.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(platformdirs, "user_config_dir", lambda *_, **__: str(tmp_path / "config"))
    for name in SETTABLE:
        monkeypatch.delenv(f"FACEPIPE_{name.upper()}", raising=False)
    return tmp_path


def test_nothing_set_imports_nothing(here: Path) -> None:
    assert settings_map([]) == {}
    code = "import sys; from facepipe.pipeline.cli._app import settings_map; settings_map([]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=here)
    assert "pydantic_settings" not in done.stdout.split()


def test_files_and_variables(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "config").mkdir()
    (here / "config" / "facepipe.toml").write_text('threads = 2\nconf = 0.3\nclassifier = ["face", "shirt"]\n')
    (here / "facepipe.toml").write_text('conf = 0.4\nlog_level = "warning"\n')
    monkeypatch.setenv("FACEPIPE_THREADS", "3")
    files, variables = settings_sources()
    assert variables == ["FACEPIPE_THREADS"]
    found: dict[str, Any] = read_settings(files)
    assert found == {"threads": 3, "conf": 0.4, "classifier": ["face", "shirt"], "log_level": "warning"}
    defaults = settings_map(["detect"])
    assert defaults["log_level"] == "warning"
    assert defaults["detect"] == defaults["serve"] == {key: found[key] for key in ("threads", "conf", "classifier")}
    monkeypatch.setenv("FACEPIPE_CLASSIFIER", "face, shirt@1.0.0")
    assert read_settings(files)["classifier"] == ["face", "shirt@1.0.0"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("conf = \n", "not TOML: .*line 1"),
        ("conf = 3\n", "conf: Input should be less than or equal to 1"),
        ("tresholds = 1\n", "there is no setting 'tresholds'"),
        ("thread = 1\n", "there is no setting 'thread'; did you mean 'threads'?"),
        ("a = " + "[" * 5000 + "]" * 5000, "facepipe.toml"),
    ],
)
def test_wrong_files_are_one_line(here: Path, content: str, told: str) -> None:
    (here / "facepipe.toml").write_text(content)
    with pytest.raises(FacepipeError, match=told) as raised:
        settings_map(["detect"])
    assert len(str(raised.value).splitlines()) == 1
    assert settings_map(["doctor"]) == {}


def test_a_wrong_variable_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEPIPE_THREADS", "many")
    with pytest.raises(FacepipeError, match=r"FACEPIPE_.*threads: "):
        settings_map(["detect"])


def test_every_setting_has_its_field() -> None:
    assert set(Settings.model_fields) == set(SETTABLE)


def test_the_module_runs_and_offers_completion(here: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "facepipe", "--help"], capture_output=True, text=True, check=True)
    assert "--install-completion" in done.stdout
    wrong = subprocess.run([sys.executable, "-m", "facepipe", "detect"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: ")
    assert len(wrong.stderr.splitlines()) == 1


def test_settings_reach_the_command(here: Path) -> None:
    (here / "facepipe.toml").write_text('device = "nowhere"\n')
    done = subprocess.run(
        [sys.executable, "-m", "facepipe", "detect", "a.jpg"], capture_output=True, text=True, check=False, cwd=here
    )
    assert done.returncode == 2
    assert "nowhere" in done.stderr
