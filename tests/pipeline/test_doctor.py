"""``facepipe doctor``: well, and with one thing at a time broken on purpose."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path

import pytest
from facepipe.pipeline import doctor
from facepipe.pipeline.cli import main
from facepipe.pipeline.doctor import Child, Finding, check_models, in_a_process

HEALTHY = {
    "facepipe": "0.3.0", "numpy": "2.4.0", "opencv-python": "5.0.0", "simplejpeg": "1.9.0",
    "onnxruntime": "1.30.0", "pydantic": "2.14.0", "typer": "0.20.0", "rich": "14.0.0", "platformdirs": "4.3.0",
}  # fmt: skip
REQUIRES = [
    "numpy>=2.0", "opencv-python>=5.0", "simplejpeg>=1.8", "onnxruntime>=1.20", "pydantic (>=2.9)", "typer>=0.12",
    "rich>=13.7", "platformdirs>=4.2", 'pyarrow>=15; extra == "parquet"', "torch<2.15,>=2.8; extra == 'train'",
    "keras>=3.10; extra == 'train'", 'pytest>=8; extra == "dev"', 'wmi; sys_platform == "win32" and extra == "tiles"',
]  # fmt: skip

EDITABLE = "pip install .  (for an editable installation: -e .)"

Packages = Callable[..., None]


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Packages:
    """``packages(torch="2.9", numpy=None)``: pretend that these are installed, over a healthy base."""

    def pretend(requires: Iterable[str] | None = REQUIRES, vision: str = "2.9.0", **changes: str | None) -> None:
        known = {**HEALTHY, **{name.replace("_", "-"): version for name, version in changes.items()}}

        def version(name: str) -> str:
            if (found := known.get(name)) is None:
                raise metadata.PackageNotFoundError(name)
            return found

        def wanted(name: str) -> list[str]:
            version(name)
            return [f"torch=={vision}", "numpy"] if name == "torchvision" else list(requires or ())

        monkeypatch.setattr(doctor.metadata, "version", version)
        monkeypatch.setattr(doctor.metadata, "requires", wanted)
        monkeypatch.setattr(doctor, "__version__", "0.3.0")

    return pretend


def by_name(findings: Iterable[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_well(packages: Packages) -> None:
    packages()
    found = by_name(doctor.check_packages())
    assert {"facepipe", "Python", *HEALTHY} == set(found)
    assert {each.level for each in found.values()} == {"ok"}
    assert not any(each.remedy for each in found.values())


@pytest.mark.parametrize(
    ("changes", "what", "level", "told", "remedy"),
    [
        ({"typer": None}, "typer", "wrong", "not installed", "pip install 'typer>=0.12'"),
        ({"numpy": "1.26.4"}, "numpy", "wrong", "numpy>=2.0 is required", "pip install 'numpy>=2.0'"),
        ({"facepipe": None}, "facepipe", "note", "not installed with pip", "pip install ."),
        ({"facepipe": "0.1.0"}, "facepipe", "note", "pip knows of 0.1.0", EDITABLE),
        ({"opencv_python": None, "opencv_python_headless": "5.0.1"}, "opencv-python", "ok", "headless 5.0.1", ""),
        ({"onnxruntime": None, "onnxruntime_gpu": "1.31"}, "onnxruntime", "ok", "onnxruntime-gpu 1.31", ""),
        (
            {"onnxruntime": None, "onnxruntime_gpu": "1.10"}, "onnxruntime", "wrong", "onnxruntime-gpu 1.10 is",
            "pip install 'onnxruntime-gpu>=1.20'",
        ),
        (
            {"opencv_python_headless": "4.12.0"}, "opencv-python beside opencv-python-headless", "note", "overwrite",
            "pip uninstall -y opencv-python opencv-python-headless && pip install 'opencv-python>=5.0'",
        ),
        (
            {"onnxruntime_gpu": "1.31"}, "onnxruntime beside onnxruntime-gpu", "note", "overwrite",
            "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu'",
        ),
        (
            {"torch": "2.8.0+cpu", "torchvision": "0.24.0+cpu"}, "torch and torchvision", "wrong",
            "torchvision 0.24.0+cpu needs torch==2.9.0, torch 2.8.0+cpu",
            "pip install 'torchvision==0.24.0' 'torch==2.9.0'",
        ),
    ],
)  # fmt: skip
def test_faults(
    packages: Packages, changes: dict[str, str | None], what: str, level: str, told: str, remedy: str
) -> None:
    packages(**changes)
    finding = by_name(doctor.check_packages())[what]
    assert finding.level == level
    assert told in finding.detail
    assert finding.remedy == remedy


def test_a_torch_that_fits(packages: Packages) -> None:
    packages(torch="2.9.0+cu128", torchvision="0.24.0")
    assert "torch and torchvision" not in by_name(doctor.check_packages())


def test_extras(packages: Packages) -> None:
    packages(torch="2.9.0")
    found = by_name(doctor.check_extras())
    assert set(found) == {"parquet", "train"}  # dev is no user's; what only Windows needs is not asked for here
    assert (found["parquet"].level, found["parquet"].remedy) == ("absent", "pip install 'facepipe[parquet]'")
    assert found["parquet"].detail.startswith("not installed (for detect --parquet")
    assert found["train"].detail.startswith("lacks keras")
    packages(torch="2.9.0", keras="2.0", pyarrow="20")
    found = by_name(doctor.check_extras())
    assert found["parquet"].level == "ok"
    assert (found["train"].level, found["train"].detail[:20]) == ("note", "keras>=3.10 is requi")


def test_an_extra_that_names_others(packages: Packages) -> None:
    requires = ['keras>=3; extra == "one"', 'facepipe[one] ; extra == "two"', 'torch; extra == "two"']
    packages(requires, torch="2.9.0")
    found = by_name(doctor.check_extras())
    assert set(found) == {"one", "two"}
    assert found["two"].detail.startswith("lacks keras")
    packages(requires, torch="2.9.0", keras="3.1")
    assert by_name(doctor.check_extras())["two"].level == "ok"


def test_without_own_metadata(packages: Packages) -> None:
    packages(requires=None, facepipe=None)
    assert {each.name for each in doctor.requirements()} == set(doctor.CORE)
    assert by_name(doctor.check_packages())["numpy"].level == "ok"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("ImportError: libGL.so.1: cannot open shared object file: No such file", "apt-get install libgl1"),
        ("ModuleNotFoundError: No module named 'cv2'", "pip install --force-reinstall --no-deps 'opencv-python>=5.0'"),
        ("the process was ended by signal 4", "pip install --force-reinstall"),
    ],
)  # fmt: skip
def test_an_import_that_fails(packages: Packages, monkeypatch: pytest.MonkeyPatch, error: str, remedy: str) -> None:
    packages()
    answer = lambda code: Child(None, error) if "cv2" in code else Child("here")  # noqa: E731
    monkeypatch.setattr(doctor, "in_a_process", answer)
    found = by_name(doctor.check_imports())
    assert [each.level for each in found.values()] == ["ok", "wrong", "ok"]
    assert found["import cv2"].detail == error
    assert found["import cv2"].remedy.startswith(remedy)


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_a_process("print('noise'); print('[1, 2]')").content == [1, 2]
    assert in_a_process("raise ValueError('no good')").error == "ValueError: no good"
    assert "signal 6" in in_a_process("import os; os.abort()").error
    assert "noise" in in_a_process("print('noise')").error
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    assert "did not end within" in in_a_process("import time; time.sleep(20)").error


def test_models(tiny_weights: Path) -> None:
    found = by_name(check_models())
    assert found["detector 99.0.0"].level == found["classifier 99.0.0"].level == "ok"
    assert "in use" in found["detector 99.0.0"].detail
    assert found["a frame through both"].level == "ok"
    assert found["a frame through both"].detail.startswith("detector 99.0.0 (float32), classifier 99.0.0 (float32)")


def test_broken_models(tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "weights"
    shutil.copytree(tiny_weights, root)
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(root))
    shutil.copytree(root / "detector" / "99.0.0", root / "detector" / "0.0.7")
    (root / "detector" / "0.0.7" / "manifest.json").write_text("{}")
    model = root / "classifier" / "99.0.0" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    found = by_name(check_models())
    assert found["detector 0.0.7"].level == "note"  # nobody uses it
    assert found["classifier 99.0.0"].level == "wrong"
    assert "not the file that was released" in found["classifier 99.0.0"].detail
    assert found["classifier 99.0.0"].remedy.startswith(f"rm -r '{root / 'classifier' / '99.0.0'}'")
    assert found["a frame through both"].detail == "not tried: something above is wrong"
    (root / "current.json").write_text('{"detector": "5.0.0"}')
    found = by_name(check_models())
    assert found["detector in use"].level == "wrong"
    assert "5.0.0" in found["detector in use"].detail


def test_a_gpu_that_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: f"/usr/bin/{name}")
    cpu, gpu = ["CPUExecutionProvider"], ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(doctor, "in_a_process", lambda code: Child([cpu, "1.30"]))
    found = by_name(doctor.check_machine())
    assert found["providers"].level == "note"
    assert "pip install 'onnxruntime-gpu[cuda,cudnn]'" in found["providers"].remedy
    monkeypatch.setattr(doctor, "in_a_process", lambda code: Child([gpu, "1.30"]))
    assert by_name(doctor.check_machine())["providers"].detail == "CUDA, CPU"


def test_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_memory", lambda: (200 * 2**20, 2**30))
    memory = by_name(doctor.check_machine())["memory"]
    assert (memory.level, memory.detail) == ("note", "0.2 GiB free, 1.0 GiB for this container")


def test_the_command(tiny_weights: Path, packages: Packages, capsys: pytest.CaptureFixture[str]) -> None:
    packages()
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert stopped.value.code == 0
    assert told["healthy"] is True
    assert told["findings"][0]["section"] == "packages"
    assert {"machine", "models", "optional parts"} < {each["section"] for each in told["findings"]}
    packages(rich=None)
    with pytest.raises(SystemExit) as stopped:
        main(["doctor"])
    printed = capsys.readouterr().out
    assert stopped.value.code == 1
    assert "  WRONG  rich: not installed\n         → pip install 'rich>=13.7'\n" in printed
    assert printed.endswith("broken: rich\n")


def test_where_opencv_cannot_be_imported(tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text(
        "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", "from facepipe.pipeline.cli import main; main(['doctor', '--json'])"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    found = {each["what"]: each for each in json.loads(done.stdout)["findings"]}
    assert found["import cv2"]["level"] == "wrong"
    assert "apt-get install libgl1 libglib2.0-0 libxcb1" in found["import cv2"]["remedy"]
    assert found["import onnxruntime"]["level"] == "ok"
    assert found["detector 99.0.0"]["level"] == "ok"  # hashes need no OpenCV
    assert found["a frame through both"]["detail"] == "not tried: something above is wrong"


def test_nothing_heavy_is_imported() -> None:
    code = """
import sys
from facepipe.pipeline.cli import main
try:
    main(["doctor", "--json"])
except SystemExit:
    pass
heavy = {"cv2", "onnxruntime", "torch", "tensorflow", "ultralytics", "matplotlib", "supervision"} & set(sys.modules)
sys.exit(f"imported: {heavy}" if heavy else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
