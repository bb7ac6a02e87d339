"""The commands of README.md, CONTRIBUTING.md and docs/: their options exist, and what can be typed here is typed.

Every ``facepipe …`` of a shell block, of an indented block and of a line's code is parsed by the command line's own
parser. Those that need no network, no training and no file of the reader's own are typed as well, in a folder with the
pictures and tables that the pages speak of, in a shell that inherits nothing but the PATH.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from facepipe.pipeline.cli import app
from typer.main import get_command

ROOT = Path(__file__).parents[1]
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
COMMAND = get_command(app)
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
INDENTED = re.compile(r"(?:^    \S.*\n)+", re.M)
CODE = re.compile(r"(?<!`)`(facepipe (?!serves at)[a-z][^`]*)`(?!`)")
NOT_TYPED = {
    r"s3://|gs://|https?://|hf://|rtsp://|ray start|docker|--engine ray": "needs a network or a cluster",
    r"camera:": "needs a camera",
    r"\bpip install\b|git clone|npm ": "installs",
    r"facepipe (train-|export-detector|evaluate|compare\b|data (roboflow|upload|augmented))": "needs a run or its data",
    r"facepipe (data|recipes show|weights (push|pull|publish|remove|gc))": "needs files of the reader's own",
    r"facepipe serve|curl ": "a server, see tests/pipeline/serving",
    r"facepipe (benchmark|verify|--install|--show)|benchmarks/|tests/run.sh|pytest|pre-commit|mkdocs": "takes minutes",
    r"shirt|beard|others|missing|broken\.jpg|one\.heic|clip\.mp4|cut\.mp4|--from -|list\.txt|\.heic": "not here",
    r"--tiles": "needs the extra tiles",
    r"/srv/|runs/": "a folder of the reader's own",
    r"--show|--restart|--resume|\^C": "a run that was interrupted, see tests/pipeline/batch",
    r"[A-Z]{3,}(?!S)|…|<|\bSOURCE\b": "a placeholder",
}
"""Commands that are parsed only, and why."""
PLACEHOLDER = re.compile(r"\b[A-Z]+\b|…|\.\.\.|<")
"""What stands for a value of the reader's own, as in ``--minutes N``."""


@dataclass(frozen=True)
class Command:
    """One line of a page, as a reader would type it."""

    page: str
    line: int
    text: str
    mentioned: bool = False
    """Whether it is a part of a sentence, which may leave out what follows."""

    @property
    def place(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def calls(self) -> list[list[str]]:
        """The words behind ``facepipe`` of each call in it; brackets of what may be left out are dropped."""
        found = []
        for part in re.split(r"\s(?:\|\|?|&&|;)\s|\$\(", re.sub(r"\[(-[^\]]*)\]", r"\1", self.text)):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:
                words = part.split()
            while words and ("=" in words[0] or words[0] == "$"):
                words.pop(0)
            if words and Path(words[0]).name == "facepipe":
                found.append([word for word in words[1:] if word not in ("…", ">", "&") and not word.startswith("$")])
        return found


def commands(page: str) -> Iterator[Command]:
    """Every line of a page that a shell would be given, and the calls within its sentences."""
    text = (ROOT / page).read_text("utf-8")
    prose = FENCE.sub(lambda each: "\n" * each[0].count("\n"), text)
    for found in FENCE.finditer(text):
        if found[1] in ("sh", "bash", "console"):
            prompt = "$ " if found[1] == "console" else ""
            yield from _lines(page, text.count("\n", 0, found.start(2)), found[2], prompt)
    for found in INDENTED.finditer(prose):
        if "facepipe " in found[0] or "curl " in found[0]:
            yield from _lines(page, prose.count("\n", 0, found.start()), found[0], "")
    for found in CODE.finditer(prose):
        yield Command(page, prose.count("\n", 0, found.start()) + 1, " ".join(found[1].split()), mentioned=True)


def _lines(page: str, before: int, body: str, prompt: str) -> Iterator[Command]:
    """The lines behind the prompt, those that end in a backslash joined with the next."""
    begun = ""
    for number, line in enumerate(body.splitlines(), before + 1):
        whole = f"{begun} {line.strip()}".strip()
        begun = whole.removesuffix("\\").strip() if whole.endswith("\\") else ""
        if not begun and whole.startswith(prompt) and not whole.startswith(("#", "--", "<!--")):
            yield Command(page, number, whole.removeprefix(prompt))


def check(words: list[str]) -> None:
    """Parse a call as far as its words go: subcommands, options, and that each value is of the option's type.

    Raises:
        click.UsageError: there is no such command or option, or it does not take that value.
    """
    command = COMMAND
    context = typer.Context(command, info_name="facepipe")
    while hasattr(command, "commands"):
        if not words or words[0].startswith("-") or words[0] not in command.commands:
            break
        command = command.commands[words[0]]
        context = typer.Context(command, info_name=words[0], parent=context)
        words = words[1:]
    if hasattr(command, "commands") and words and not words[0].startswith("-"):
        raise AssertionError(f"no command {words[0]!r}")
    given = command.make_parser(context).parse_args(list(words))[0]
    for parameter in command.params:
        value = given.get(parameter.name)
        if not isinstance(value, str | list | tuple) or None in list(value) or PLACEHOLDER.search(str(value)):
            continue
        for each in value.split("|") if isinstance(value, str) else [value]:
            parameter.handle_parse_result(context, {parameter.name: each}, [])


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_exist(page: str) -> None:
    wrong = []
    for command in commands(page):
        for words in command.calls:
            if any(mark in words for mark in ("|", "...")) or not words:
                continue
            try:
                check([*words, "1"] if command.mentioned and words[-1].startswith("--") else words)
            except Exception as error:  # of the parser's library, which is typer's own business
                wrong.append(f"{command.place}: {command.text}: {getattr(error, 'message', error)}")
    assert wrong == []


def test_commands_are_found() -> None:
    found = [command for page in PAGES for command in commands(page) if command.calls]
    assert len(found) > 100
    with pytest.raises(Exception, match="--outt"):
        check(["detect", "a.jpg", "--outt", "b"])
    with pytest.raises(AssertionError, match="detekt"):
        check(["detekt", "a.jpg"])
    for option, value, message in (
        ("--workers", "many", "valid integer"),
        ("--conf", "1.5", "less than or equal to 1"),
        ("--engine", "spark", "spark"),
    ):
        with pytest.raises(Exception, match=message):
            check(["detect", "a.jpg", option, value])
    check(["detect", "a.jpg", "--workers", "N"])


@pytest.mark.parametrize("page", PAGES)
def test_extras_and_scripts_exist(page: str) -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    text = (ROOT / page).read_text("utf-8")
    named = {name for group in re.findall(r"(?:\.|facepipe)\[([a-z0-9,]+)\]'", text) for name in group.split(",")}
    assert named <= set(extras)
    scripts = re.findall(r"\b(?:python|bash|pytest) ((?:benchmarks|tests|examples)/[\w/.]+)", text)
    assert [script for script in scripts if not (ROOT / script).exists()] == []


def typed(page: str) -> list[Command]:
    """The commands of a page that are typed here, each once."""
    chosen: dict[str, Command] = {}
    for command in commands(page):
        if command.mentioned and page != "README.md":
            continue
        if command.calls and not any(re.search(pattern, command.text) for pattern in NOT_TYPED):
            chosen.setdefault(command.text, command)
    return list(chosen.values())


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """The environment of a clean shell in which facepipe is installed, standing in a folder of pictures."""
    for name in (
        "photo.jpg",
        "a.jpg",
        "b.jpg",
        "examples/astronaut.jpg",
        "photos/a.jpg",
        "photos/2024/b.jpg",
        "more/c.png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ASTRONAUT, tmp_path / name)
    programs = tmp_path / "bin"
    programs.mkdir()
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), ""])).rstrip(os.pathsep)
    (programs / "facepipe").write_text(
        f"#!/bin/sh\nPYTHONPATH={shlex.quote(path)} exec {sys.executable} -c "
        "'from facepipe.pipeline.cli import main; main()' \"$@\"\n"
    )
    (programs / "facepipe").chmod(0o755)
    return {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(tmp_path / "home"), "LANG": "C.UTF-8"}


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if typed(page)])
def test_commands_as_typed(page: str, shell: dict[str, str], tmp_path: Path) -> None:
    failed = []
    for command in typed(page):
        if ".parquet" in command.text and find_spec("pyarrow") is None:
            continue
        done = subprocess.run(
            ["bash", "-ec", command.text], cwd=tmp_path, env=shell, capture_output=True, text=True, timeout=300
        )
        if done.returncode != 0:
            failed.append(f"{command.place}: {command.text}: {done.returncode}: {done.stderr[-500:]}")
    assert failed == []


def test_enough_is_typed() -> None:
    assert sum(len(typed(page)) for page in PAGES) >= 15


@pytest.mark.slow
def test_setting_up_as_typed(tmp_path: Path) -> None:
    """README's first block, in a shell of its own. What pip would fetch is taken from the environment of the tests."""
    pytest.importorskip("setuptools", minversion="77")
    (block,) = [
        found[2] for found in FENCE.finditer((ROOT / "README.md").read_text("utf-8")) if "git clone" in found[2]
    ]
    made, *rest = block.replace("git clone <this repository> facepipe && cd facepipe\n", "").splitlines()
    assert made == "python3 -m venv .venv && source .venv/bin/activate"
    shutil.copytree(
        ROOT,
        tmp_path / "facepipe",
        ignore=shutil.ignore_patterns(
            ".*", "runs", "build", "dist", "*.egg-info", "__pycache__", "tests", "benchmarks"
        ),
    )
    script = "\n".join([made.replace("python3", shlex.quote(sys.executable)), "python share.py", *rest])
    shared = f"import sys; sys.path.insert(0, {sysconfig.get_path('purelib')!r})"
    (tmp_path / "facepipe" / "share.py").write_text(
        f"import site\nfrom pathlib import Path\nPath(site.getsitepackages()[0], 'shared.pth').write_text({shared!r})\n"
    )
    done = subprocess.run(
        ["bash", "-ec", script],
        cwd=tmp_path / "facepipe",
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "LANG": "C.UTF-8",
            "COLUMNS": "80",
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    readme = (ROOT / "README.md").read_text("utf-8")
    shown = readme[readme.index("```\nexamples/astronaut.jpg  512 x 512") :].split("```")[1].strip().splitlines()
    printed = [line.rstrip() for line in done.stdout.splitlines()]
    assert [line for line in shown if line not in printed] == []
    assert max(map(len, shown)) <= 80
    installed = list((tmp_path / "facepipe" / ".venv").glob("lib/*/site-packages/facepipe/pipeline/pipeline.py"))
    assert len(installed) == 1
