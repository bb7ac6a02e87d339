"""pyproject.toml, the workflows and the tools around them say the same: versions, markers, files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from facepipe import __version__

ROOT = Path(__file__).parents[1]
WORKFLOWS = ROOT / ".github" / "workflows"


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def supported(project: dict[str, Any]) -> list[str]:
    """The Python versions that the package takes."""
    found = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["project"]["requires-python"])
    assert found is not None
    return [f"3.{minor}" for minor in range(int(found[1]), int(found[2]))]


def test_the_version_stands_in_one_place() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in [ROOT / "pyproject.toml", *ROOT.glob("*.py"), *ROOT.glob("[a-z]*/**/*.py")]
        if re.search(
            rf"^\s*(__version__|version) *= *[\"']{re.escape(__version__)}[\"']", path.read_text("utf-8"), re.M
        )
        and "tests" not in path.parts
    ]
    assert found == ["core/version.py"]


def test_the_changelog_has_the_version() -> None:
    assert f"\n## {__version__}\n" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.slow
def test_the_metadata_has_the_version(tmp_path: Path) -> None:
    setuptools = pytest.importorskip("setuptools", minversion="77")
    assert setuptools
    code = f"from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (file,) = tmp_path.glob("*.dist-info/METADATA")
    metadata = HeaderParser().parsestr(file.read_text("utf-8"))
    assert metadata["Version"] == __version__
    assert {url.split(",")[0] for url in metadata.get_all("Project-URL", [])} >= {"Homepage", "Documentation", "Issues"}


def test_every_supported_python_is_named_and_tested(project: dict[str, Any]) -> None:
    prefix = "Programming Language :: Python :: "
    named = [entry.removeprefix(prefix) for entry in project["project"]["classifiers"] if entry.startswith(prefix)]
    assert named == supported(project)
    jobs = yaml.safe_load((WORKFLOWS / "test.yml").read_text("utf-8"))["jobs"]
    assert {name: job["strategy"]["matrix"]["python"] for name, job in jobs.items()} == {
        "quick": supported(project),
        "whole": supported(project),
    }


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.yml")), ids=lambda path: path.stem)
def test_workflows_run_what_is_there(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text("utf-8"))
    for job in workflow["jobs"].values():
        for step in job.get("steps", ()):
            for script in re.findall(r"\bbash (\S+)", step.get("run", "")):
                assert (ROOT / script).is_file()
            for extra in re.findall(r"pip install (?:-e )?'\.\[(\w+)\]'", step.get("run", "")):
                assert (
                    extra
                    in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
                )


def test_a_release_compares_tag_and_version() -> None:
    steps = yaml.safe_load((WORKFLOWS / "release.yml").read_text("utf-8"))["jobs"]["build"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("name") == "The tag names the version of the package"]
    for tag, code in ((f"v{__version__}", 0), ("v0.0.1", 1)):
        done = subprocess.run(
            ["bash", "-ec", script.replace("python ", f"{sys.executable} ")],
            cwd=ROOT,
            env={"GITHUB_REF_NAME": tag},
            capture_output=True,
        )
        assert done.returncode == code


def test_contributing_names_every_marker(project: dict[str, Any]) -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    markers = [marker.split(":")[0] for marker in project["tool"]["pytest"]["ini_options"]["markers"]]
    assert [marker for marker in markers if f"| `{marker}` |" not in text] == []


def test_the_tools_of_pre_commit_come_with_dev(project: dict[str, Any]) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"][0]["hooks"]
    dev = {re.split(r"[<>=\[]", name)[0] for name in project["project"]["optional-dependencies"]["dev"]}
    assert {hook["id"].split("-")[0] for hook in hooks} <= dev


@pytest.mark.slow
def test_nothing_is_dead() -> None:
    pytest.importorskip("vulture")
    done = subprocess.run([sys.executable, "-m", "vulture"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
