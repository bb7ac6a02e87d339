"""The checks of ``facepipe doctor``. Everything here must run even if half of facepipe does not.

So only the standard library and ``packaging`` are imported until more is known to work, and what may crash (a wheel
built for another processor) is imported in a separate process. Versions come from package metadata.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from packaging.requirements import Requirement

from ..core.version import __version__

Level = Literal["ok", "absent", "note", "wrong"]
"""``absent``: an optional part is not installed. ``note``: it works, but not as it should. ``wrong``: a required part
does not work."""
PACKAGES, MACHINE, MODELS, EXTRAS = "packages", "machine", "models", "optional parts"
"""Section headings."""
SECONDS = 120
"""Time limit of a separate process."""
OLDEST, NEWEST = (3, 11), (3, 13)
"""Supported Python versions."""
CORE = ("numpy", "opencv-python", "simplejpeg", "onnxruntime", "pydantic", "typer", "rich", "platformdirs", "packaging")
"""What facepipe requires, if its own metadata is missing."""
SAME = {
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-silicon"),
}
"""Packages that provide the same module; one is enough, two overwrite each other's files."""
MODULES = {"numpy": "numpy", "opencv-python": "cv2", "onnxruntime": "onnxruntime"}
"""Compiled modules that everything needs."""
LIBRARIES = "apt-get install libgl1 libglib2.0-0 libxcb1  (Fedora: dnf install mesa-libGL glib2 libxcb)"
"""System libraries that OpenCV's wheel loads and bare containers lack."""
HIDDEN = ("dev", "docs", "evaluation")
"""Extras that no command needs."""
USES = {
    "train": "train-detector, train-classifier, evaluate-detector, evaluate-classifier, export-detector, data, "
    "recipes, the charts of evaluate",
    "parquet": "detect --parquet, --features FILE.parquet, Parquet files of labels",
    "tiles": "detect --tiles, Result.to_supervision",
    "video": "detect on videos and cameras with tracking",
    "heif": "HEIC pictures",
    "serve": "serve",
    "remote": "weights pull and push, weights list --from",
    "hub": "weights at the Hugging Face hub",
    "s3": "weights in S3, detect --engine ray on it",
    "gcs": "weights in Google Cloud Storage, detect --engine ray on it",
    "ray": "detect --engine ray",
    "tensorboard": "train-detector --log tensorboard",
    "mlflow": "train-detector --log mlflow",
    "roboflow": "data roboflow; see README for how to install it without a second OpenCV",
}
"""Commands that need each extra."""
LITTLE = 2**30
"""Bytes of free memory below which larger pictures may not fit; the pipeline needs less than 400 MB for one photo."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Files with the container's memory limit, for control groups v2 and v1."""
SMOKE = """
import json, time
import numpy as np
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.detector.inference.detector import FaceDetector
from facepipe.weights.session import choose_file
from facepipe.weights.store import find
started = time.perf_counter()
releases = [find("detector"), find("classifier")]
kinds = [choose_file(each).precision for each in releases]
detector = FaceDetector(release=releases[0], precision=kinds[0])
classifier = AttributeClassifier(release=releases[1], precision=kinds[1])
loaded = time.perf_counter()
frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
boxes = detector.detect([frame])[0].boxes
size = classifier.input.size
outputs = classifier.outputs(np.resize(frame, (1, size, size, 3)))
assert np.isfinite(boxes).all() and all(np.isfinite(each).all() for each in outputs.values()), "an output is not finite"
ran = time.perf_counter()
print(json.dumps([releases[0].label, kinds[0], releases[1].label, kinds[1], loaded - started, ran - loaded]))
"""
"""One generated frame through both models in use; the classifier gets a crop whether or not a face is found."""


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Attributes:
        section: heading under which it is listed.
        what: its name.
        level: its status.
        detail: what was found, in words.
        remedy: the command or step that fixes it; "" if there is nothing to fix.
    """

    section: str
    what: str
    level: Level
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Child:
    """The result of a Python process: its JSON, or None and the reason."""

    content: Any
    error: str = ""


def examine() -> Iterator[Finding]:
    """Run all checks, in the order in which they depend on each other."""
    yield from check_packages()
    imports = list(check_imports())
    yield from imports
    yield from check_machine()
    yield from check_models(runs=all(each.level != "wrong" for each in imports))
    yield from check_extras()


def in_a_process(code: str) -> Child:
    """Run Python code that prints one JSON value as its last line, in a separate process.

    A crash, error or hang is reported in one line and affects nothing else. Modules in the working folder (a user's own
    ``numpy.py``) do not shadow installed ones.
    """
    command = [sys.executable, "-P", "-c", code]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Child(None, f"did not end within {SECONDS} s")
    except OSError as error:
        return Child(None, f"Python cannot be started: {error}")
    if done.returncode < 0:
        return Child(None, f"the process was ended by signal {-done.returncode} (4: a wheel for another processor)")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return Child(None, lines[-1] if lines else f"exit code {done.returncode}")
    try:
        return Child(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        return Child(None, f"printed {done.stdout[-200:]!r}")


def check_packages() -> Iterator[Finding]:
    """Check facepipe, Python, facepipe's requirements, and packages that clash."""
    version, here = installed("facepipe"), Path(__file__).resolve().parents[1]
    if version is None:
        detail, remedy = f"{__version__}, from {here}, not installed with pip", "pip install ."
        yield Finding(PACKAGES, "facepipe", "note", detail, remedy)
    elif version != __version__:
        detail = f"{__version__} runs from {here}, pip knows of {version}"
        yield Finding(PACKAGES, "facepipe", "note", detail, "pip install .  (for an editable installation: -e .)")
    else:
        yield Finding(PACKAGES, "facepipe", "ok", __version__)
    python = f"{platform.python_version()}, {platform.platform()}"
    right = OLDEST <= sys.version_info[:2] <= NEWEST
    span = " to ".join(f"{major}.{minor}" for major, minor in (OLDEST, NEWEST))
    yield Finding(PACKAGES, "Python", "ok" if right else "note", python, "" if right else f"use Python {span}")
    for each in requirements():
        if each.marker is None:
            yield _required(each)
    yield from _clashes()
    yield from _torch_pair()


def _required(each: Requirement) -> Finding:
    for name in (each.name, *SAME.get(each.name, ())):
        if (version := installed(name)) is not None:
            detail = version if name == each.name else f"{name} {version}"
            if each.specifier.contains(version, prereleases=True):
                return Finding(PACKAGES, each.name, "ok", detail)
            detail = f"{detail} is installed, {text(each)} is required"
            return Finding(PACKAGES, each.name, "wrong", detail, f"pip install '{name}{each.specifier}'")
    return Finding(PACKAGES, each.name, "wrong", "not installed", f"pip install '{text(each)}'")


def _clashes() -> Iterator[Finding]:
    """Find packages that provide the same module: the last installed wins, and uninstalling one breaks the other."""
    for first, others in SAME.items():
        beside = [each for each in (first, *others) if installed(each) is not None]
        if len(beside) < 2:
            continue
        detail = ", ".join(f"{each} {installed(each)}" for each in beside) + " overwrite each other's files"
        # A GPU build was installed on purpose.
        keep = next((each for each in beside if each.endswith("-gpu")), beside[0])
        remedy = f"pip uninstall -y {' '.join(beside)} && pip install '{_wanted(first) if keep == first else keep}'"
        yield Finding(PACKAGES, " beside ".join(beside), "note", detail, remedy)


def _torch_pair() -> Iterator[Finding]:
    """Check torchvision, which is built for one version of torch and does not load with another."""
    torch, vision = installed("torch"), installed("torchvision")
    if torch is None or vision is None:
        return
    for each in map(Requirement, metadata.requires("torchvision") or []):
        if each.name == "torch" and not each.specifier.contains(torch.partition("+")[0], prereleases=True):
            detail = f"torchvision {vision} needs {text(each)}, torch {torch} is installed"
            remedy = f"pip install 'torchvision=={vision.partition('+')[0]}' '{text(each)}'"
            yield Finding(PACKAGES, "torch and torchvision", "wrong", detail, remedy)


def installed(package: str) -> str | None:
    """The installed version of a package according to pip, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def requirements() -> list[Requirement]:
    """What facepipe requires according to its metadata, or the names in ``CORE`` if there is none."""
    try:
        lines = metadata.requires("facepipe") or []
    except metadata.PackageNotFoundError:
        lines = list(CORE)
    return [Requirement(line) for line in lines]


def text(requirement: Requirement) -> str:
    """Format a requirement for messages: ``opencv-python>=5.0``."""
    return f"{requirement.name}{requirement.specifier}"


def _wanted(package: str) -> str:
    return next((text(each) for each in requirements() if each.name == package and each.marker is None), package)


def check_imports() -> Iterator[Finding]:
    """Check that the compiled modules can be imported, each in a separate process."""
    for package, module in MODULES.items():
        child = in_a_process(f"import json, {module}; print(json.dumps(str(getattr({module}, '__file__', ''))))")
        if child.content is not None:
            yield Finding(PACKAGES, f"import {module}", "ok", str(child.content))
            continue
        library = re.search(r"([\w.+-]+\.so[\w.]*): cannot open shared object file", child.error)
        if library is None:
            remedy = f"pip install --force-reinstall --no-deps '{_wanted(package)}'"
        else:
            remedy = LIBRARIES if module == "cv2" else f"install the system library that holds {library[1]}"
        yield Finding(PACKAGES, f"import {module}", "wrong", child.error, remedy)


def check_machine() -> Iterator[Finding]:
    """Check processors, memory and execution providers."""
    from ..core.cpu import has_avx2, has_vnni, usable_cpus

    usable, every = usable_cpus(), os.cpu_count() or 1
    name = _in_file("/proc/cpuinfo", r"^model name\s*:\s*(.+)$") or platform.processor() or platform.machine()
    detail = f"{name}; {usable} of {every} usable" + ("" if usable == every else " (cores, affinity, container)")
    yield Finding(MACHINE, "processors", "ok", detail)
    without = "no, but AVX2: int8 models of reduced range run" if has_avx2() else "no: float models run"
    words = {True: "yes: int8 models run fastest", False: without, None: "unknown"}
    yield Finding(MACHINE, "8-bit instructions", "ok", words[has_vnni()])
    free, limit = _memory()
    if free is None:
        yield Finding(MACHINE, "memory", "ok", "unknown")
    else:
        container = "" if limit is None else f", {limit / 2**30:.1f} GiB for this container"
        remedy = "close other programs, or give the container more" if free < LITTLE else ""
        yield Finding(MACHINE, "memory", "note" if remedy else "ok", f"{free / 2**30:.1f} GiB free{container}", remedy)
    yield _providers()


def _providers() -> Finding:
    """Check what ONNX Runtime can run on, and whether there is a GPU that it cannot use."""
    child = in_a_process(
        "import json, onnxruntime as o; print(json.dumps([o.get_available_providers(), o.__version__]))"
    )
    if child.content is None:
        return Finding(MACHINE, "providers", "note", f"unknown: {child.error}")
    providers = [str(each).removesuffix("ExecutionProvider") for each in child.content[0]]
    detail = ", ".join(providers)
    if shutil.which("nvidia-smi") and "CUDA" not in providers:
        detail += "; there seems to be an NVIDIA GPU, but this onnxruntime cannot use it"
        remedy = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'  (then --device cuda)"
        return Finding(MACHINE, "providers", "note", detail, remedy)
    return Finding(MACHINE, "providers", "ok", detail)


def _in_file(path: str | Path, pattern: str) -> str | None:
    """The first match of a pattern in a system file, or None if the file or line does not exist."""
    try:
        found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    except OSError:
        return None
    return found[1].strip() if found else None


def _memory() -> tuple[int | None, int | None]:
    """Free bytes, and the container's limit; None if there is none or it is unknown."""
    limits = [int(found) for path in LIMITS if (found := _in_file(path, r"^(\d+)$"))]
    limit = next((each for each in limits if each < 2**60), None)
    free = _in_file("/proc/meminfo", r"^MemAvailable:\s*(\d+) kB")
    if free is None:
        return None, limit
    return min(int(free) * 1024, limit or 2**60), limit


def check_models(runs: bool = True) -> Iterator[Finding]:
    """Verify every release, and run those in use.

    Args:
        runs: the modules that the models need can be imported; if not, the models are not run.
    """
    from ..core.errors import WeightsError
    from ..weights.manifest import Stage
    from ..weights.store import PACKAGE_ROOT, find, user_root
    from ..weights.store import installed as releases

    def fix_command(folder: Path) -> str:
        if folder.is_relative_to(PACKAGE_ROOT):
            return "install facepipe again  (in a clone: git checkout -- weights && pip install --no-deps .)"
        return f"rm -r '{folder}', then publish or pull that version again"

    used: set[Path] = set()
    for stage in get_args(Stage):
        try:
            used.add(find(stage).folder)
        except WeightsError as error:
            runs, choose = False, f"facepipe weights use {stage}"
            remedy = f"facepipe weights list, then {choose} VERSION, or {choose} newest"
            yield Finding(MODELS, f"{stage} in use", "wrong", str(error), remedy)
    good, broken = releases()
    for release in good:
        what, needed = f"{release.stage} {release.label}", release.folder in used
        try:
            release.verify()
        except (WeightsError, OSError) as error:
            runs = runs and not needed
            detail = str(error) if isinstance(error, WeightsError) else f"{release.folder}: {error}"
            yield Finding(MODELS, what, "wrong" if needed else "note", detail, fix_command(release.folder))
        else:
            yield Finding(MODELS, what, "ok", f"verified{', in use' if needed else ''}: {release.folder}")
    for bad in broken:
        yield Finding(MODELS, f"{bad.stage} {bad.label}", "note", bad.reason, fix_command(bad.folder))
    root = user_root()
    nearest = next(each for each in (root, *root.parents) if each.exists())
    if not os.access(nearest, os.W_OK):
        remedy = "set FACEPIPE_WEIGHTS to a folder of your own"
        yield Finding(MODELS, "your models", "note", f"{root}: cannot be written", remedy)
    yield _smoke() if runs else Finding(MODELS, "a frame through both", "note", "not tried: something above is wrong")


def _smoke() -> Finding:
    """Run one frame through the models in use."""
    child = in_a_process(SMOKE)
    if child.content is None:
        remedy = "facepipe weights verify; if that passes, report this line"
        return Finding(MODELS, "a frame through both", "wrong", child.error, remedy)
    detector, kind, classifier, other, loading, running = child.content
    detail = f"detector {detector} ({kind}), classifier {classifier} ({other})"
    detail += f": loaded in {loading:.2f} s, run in {running:.2f} s"
    return Finding(MODELS, "a frame through both", "ok", detail)


def check_extras() -> Iterator[Finding]:
    """Check which optional parts are installed, which commands need them, and how to install the missing ones."""
    extras: dict[str, list[Requirement]] = {}
    for each in requirements():
        for name in re.findall(r'extra == "([^"]+)"', str(each.marker)):
            if each.marker is not None and each.marker.evaluate({"extra": name}):
                extras.setdefault(name, []).append(each)
    for name in sorted(extras.keys() - set(HIDDEN)):
        wanted = _whole(name, extras)
        lacking = [each.name for each in wanted if installed(each.name) is None]
        old = [
            f"{text(each)} is required, {version} is installed"
            for each in wanted
            if (version := installed(each.name)) and not each.specifier.contains(version, prereleases=True)
        ]
        uses = f" (for {USES[name]})" if name in USES else ""
        remedy = f"pip install 'facepipe[{name}]'"
        if old:
            yield Finding(EXTRAS, name, "note", ", ".join(old) + uses, remedy)
        elif lacking:
            detail = "not installed" if len(lacking) == len(wanted) else f"lacks {', '.join(lacking)}"
            yield Finding(EXTRAS, name, "absent", detail + uses, remedy)
        else:
            yield Finding(EXTRAS, name, "ok", f"installed{uses}")


def _whole(name: str, extras: Mapping[str, list[Requirement]]) -> list[Requirement]:
    """What an extra requires, including the other facepipe extras that it names; each package once."""
    found: dict[str, Requirement] = {}
    for each in extras.get(name, ()):
        if each.name == "facepipe":
            found |= {one.name: one for other in each.extras for one in _whole(other, extras)}
        else:
            found[each.name] = each
    return list(found.values())
