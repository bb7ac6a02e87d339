"""The notebooks of examples/ run from top to bottom, and the scripts beside them do what they say."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
TRAINING = {"own-attribute", "train-and-compare"}
NEEDS = {"folder-to-table": ("pandas",), "video": ("av", "trackers", "pandas")}
SECONDS = 900


def marked(path: Path) -> Any:
    marks = [pytest.mark.slow, *([pytest.mark.train] if path.stem in TRAINING else [])]
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of examples/ to run in, with ``facepipe`` on the PATH as an activated environment has it."""
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    programs = tmp_path / "bin"
    programs.mkdir()
    command = programs / "facepipe"
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from facepipe.pipeline.cli import main; main()' \"$@\"\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path / "examples")
    return tmp_path / "examples"


@pytest.mark.parametrize("path", [marked(path) for path in NOTEBOOKS])
def test_notebooks(folder: Path, path: Path) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    for name in NEEDS.get(path.stem, ()):
        pytest.importorskip(name)
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    printed = "".join(
        output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
    # A shell line that fails does not end a notebook; facepipe says so in a line of its own.
    failed = [line for line in printed.splitlines() if line.startswith(("error:", "Usage:")) and "broken" not in line]
    assert failed == [], printed[-3000:]
    assert path.stem not in TRAINING or "accuracy" in printed


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in NOTEBOOKS])
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert [cell["source"] for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


def test_the_page_names_every_example() -> None:
    text = (EXAMPLES / "README.md").read_text("utf-8")
    assert [
        path.name for path in EXAMPLES.iterdir() if path.suffix in (".ipynb", ".py") and path.name not in text
    ] == []


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("tiny_weights")
@pytest.mark.parametrize(("script", "written"), [("label_studio", "tasks.json"), ("fiftyone_app", "labels.json")])
def test_scripts_of_labelling_tools(folder: Path, script: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "photos").mkdir()
    shutil.copy(folder / "astronaut.jpg", folder / "photos")
    module = load(script)
    if script == "label_studio":
        module.main("photos")
        assert len(json.loads((folder / written).read_text())) == 1
    else:
        module.labels(folder / "photos", folder / written)
        assert list(json.loads((folder / written).read_text())["labels"]) == ["astronaut"]


@pytest.fixture
def server(tiny_weights: Path) -> Iterator[str]:
    """The address of a running server of the random models."""
    pytest.importorskip("fastapi")
    import socket
    import subprocess
    import time
    from urllib.error import URLError
    from urllib.request import urlopen

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", "serve", "--port", str(port)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for _ in range(300):
            try:
                urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
                break
            except (URLError, OSError):
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def test_the_client(server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FACEPIPE_URL", server)
    client = load("client")
    text = Path(__file__)
    failed = client.main([str(EXAMPLES / "astronaut.jpg"), str(text)])
    out, err = capsys.readouterr()
    result = client.detect((EXAMPLES / "astronaut.jpg").read_bytes(), server)
    assert failed == 1
    assert text.name in err
    assert len(out.splitlines()) == len(result["faces"])


@pytest.mark.skipif(find_spec("av") is None or find_spec("trackers") is None, reason="needs the extra video")
def test_the_webcam_script_reads_a_video(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2
    import numpy as np
    from facepipe import read_frame
    from facepipe.pipeline.video.writer import VideoWriter

    photo = cv2.resize(read_frame(EXAMPLES / "astronaut.jpg"), (128, 128))
    with VideoWriter(tmp_path / "clip.mp4") as video:
        for index in range(3):
            video.add(np.roll(photo, index, axis=1), index / 25)
    shown: list[np.ndarray] = []
    monkeypatch.setattr(cv2, "imshow", lambda name, frame: shown.append(frame))
    monkeypatch.setattr(cv2, "waitKey", lambda milliseconds: -1)
    monkeypatch.setattr(cv2, "destroyAllWindows", lambda: None)
    load("webcam").main(str(tmp_path / "clip.mp4"))
    assert len(shown) == 3
    assert capsys.readouterr().err == ""
