"""The examples are run: those in docstrings, and the Python blocks of README.md and of the pages in docs/.

A block that cannot run on the base install stands below a line that says why, ``<!-- not run: why -->``; one that needs
an optional package below ``<!-- needs: package -->``. Blocks of one page are run one after the other, in one namespace,
in a folder with ``photo.jpg``, ``a.jpg``, ``b.jpg``, ``photos/`` and ``examples/``, and with what the page's commands
wrote or take: tables of ``photos/``, a video.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shutil
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from facepipe.pipeline.cli import main
from facepipe.pipeline.inputs.image_reader import read_frame

ROOT = Path(__file__).parents[1]
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"
PAGES = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>not run|needs): (?P<why>.+?) -->\n+)?^ *```python\n(?P<code>.*?)^ *```$", re.M | re.S
)
ROOMS = ("weights", "detector", "classifier", "pipeline")
NOT_RUN = {
    "facepipe.pipeline.video.analysis": "needs PyAV and a video",
    "facepipe.pipeline.video.reader": "needs PyAV and a video",
    "facepipe.pipeline.outputs.features": "shows how parts of the command line go together",
    "facepipe.pipeline.batch.images": "shows how parts of the command line go together",
}
"""Modules whose examples are not run, and why."""


def modules() -> list[str]:
    """Every module with an example in a docstring."""
    files = [ROOT / "__init__.py", *(path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))]
    found = []
    for path in files:
        if ">>> " in path.read_text(encoding="utf-8"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(["facepipe", *(part for part in parts if part != "__init__")]))
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that examples are run in; the releases are those of the package."""
    (tmp_path / "examples").mkdir()
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for name in ("examples/astronaut.jpg", "photo.jpg", "a.jpg", "b.jpg", "photos/a.jpg", "photos/more/b.jpg"):
        shutil.copyfile(ASTRONAUT, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path


def test_every_reason_is_of_a_module() -> None:
    assert set(NOT_RUN) <= set(modules())
    assert {"facepipe", "facepipe.pipeline.pipeline", "facepipe.pipeline.results"} <= set(modules())


@pytest.mark.parametrize("name", [name for name in modules() if name not in NOT_RUN])
def test_docstrings(folder: Path, name: str) -> None:
    module = importlib.import_module(name)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, tried = doctest.testmod(module, optionflags=options, verbose=False)
    assert tried > 0
    assert failed == 0


def write_tables() -> None:
    """Write what ``facepipe detect photos --csv found.csv --parquet faces.parquet`` writes, the CSV twice."""
    parquet = ["--parquet", "faces.parquet"] if find_spec("pyarrow") else []
    with pytest.raises(SystemExit) as stopped:
        main(["detect", "photos", "--csv", "found.csv", *parquet])
    assert stopped.value.code == 0
    shutil.copyfile("found.csv", "faces.csv")


def write_clip() -> None:
    """Write ``clip.mp4``: the photo, and again a little to the left."""
    from facepipe.pipeline.video.writer import VideoWriter

    picture = cv2.resize(read_frame("photo.jpg"), (256, 256))
    with VideoWriter(Path("clip.mp4")) as video:
        for index in range(4):
            video.add(np.roll(picture, -2 * index, axis=1), index / 25)


@pytest.mark.parametrize("page", PAGES)
def test_blocks(folder: Path, page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = list(FENCE.finditer(text))
    assert len(blocks) == text.count("```python\n"), "a block that begins and does not end"
    if "read_csv(" in text or "read_parquet(" in text:
        write_tables()
    if '"clip.mp4"' in text and find_spec("av"):
        write_clip()
    names: dict[str, Any] = {"__name__": page}
    for block in blocks:
        place = f"{page}, line {text[: block.start('code')].count(chr(10)) + 1}"
        tree = ast.parse(textwrap.dedent(block["code"]), place)
        if block["mark"] == "not run":
            continue
        if block["mark"] == "needs" and any(find_spec(name.strip()) is None for name in block["why"].split(",")):
            continue
        exec(compile(tree, place, "exec"), names)


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    lost = [target for target in targets if not ((ROOT / page).parent / target).exists()]
    assert not lost


def test_the_index_names_every_page() -> None:
    text = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert [page for page in PAGES if page.startswith("docs/") and f"({page.removeprefix('docs/')})" not in text] == [
        "docs/index.md"
    ]
