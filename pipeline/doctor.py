"""What ``facepipe doctor`` looks at. Everything here must run where half of facepipe does not.

So nothing but the standard library is imported before it is known to work, and what may crash (a wheel built for
another processor) is imported in a process of its own.

The machine: processors, memory, devices that ONNX Runtime can use.

The released models: whether every file is the one that was released, and whether both models run.

Installed packages: what facepipe needs, what its extras need, and which packages cannot stand beside each other.

Versions come from the packages' metadata; no package is imported into this process.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, get_args

from ..core.version import __version__

Level = Literal["ok", "absent", "note", "wrong"]
"""``absent``: an optional part that is not installed. ``note``: works, yet not as it should. ``wrong``: is needed and
does not work."""
SECONDS = 120
"""Longest that a process of its own may take."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        section: heading it stands under.
        what: its name.
        level: how it is.
        told: what was found, in words.
        remedy: the command that mends it, or what to do; "" where there is nothing to mend.
    """

    section: str
    what: str
    level: Level
    told: str
    remedy: str = ""


@dataclass(frozen=True)
class Child:
    """What came of a Python process: its JSON, or None and why there is none."""

    content: Any
    error: str = ""


def examine() -> Iterator[Finding]:
    """Look at everything, in the order in which one thing needs the other."""

    yield from look_at_packages()
    imports = list(look_at_imports())
    yield from imports
    yield from look_at_machine()

    yield from look_at_models(runs=all(each.level != "wrong" for each in imports))
    yield from look_at_extras()


def in_a_process(code: str) -> Child:
    """Run Python code that prints one JSON value as its last line, in a process of its own.

    A crash, an error or a hang of it is told in one line and harms nobody. Modules in the working folder (a user's own
    ``numpy.py``) do not stand in for installed ones.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
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
        return Child(None, f"said {done.stdout[-200:]!r}")


MACHINE = "machine"
LITTLE = 2**30
"""Bytes of free memory below which larger pictures may not fit: the pipeline takes less than 400 MB for one photo."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of the container, in control groups of either version."""


def look_at_machine() -> Iterator[Finding]:
    """Processors, memory, providers."""
    from ..core.cpu import has_vnni, usable_cpus

    usable, every = usable_cpus(), os.cpu_count() or 1
    told = f"{_processor()}; {usable} of {every} usable" + ("" if usable == every else " (cores, affinity, container)")
    yield Finding(MACHINE, "processors", "ok", told)
    quick = has_vnni()
    words = {True: "yes: int8 models run fastest", False: "no: float models run", None: "cannot be told"}
    yield Finding(MACHINE, "8-bit instructions", "ok", words[quick])
    free, limit = _memory()
    if free is None:
        yield Finding(MACHINE, "memory", "ok", "cannot be told")
    else:
        told = f"{free / 2**30:.1f} GiB free" + (
            "" if limit is None else f", {limit / 2**30:.1f} GiB for this container"
        )
        short = free < LITTLE
        remedy = "close other programs, or give the container more" if short else ""
        yield Finding(MACHINE, "memory", "note" if short else "ok", told, remedy)
    yield _providers()


def _providers() -> Finding:
    """What ONNX Runtime could run on, and a GPU that it could not."""
    child = in_a_process(
        "import json, onnxruntime as o; print(json.dumps([o.get_available_providers(), o.__version__]))"
    )
    if child.content is None:
        return Finding(MACHINE, "providers", "note", f"cannot be told: {child.error}")
    providers = [str(each).removesuffix("ExecutionProvider") for each in child.content[0]]
    told = ", ".join(providers)
    if shutil.which("nvidia-smi") and "CUDA" not in providers:
        told += "; an NVIDIA GPU seems to be here, and this onnxruntime cannot use it"
        remedy = "pip uninstall -y onnxruntime && pip install 'onnxruntime-gpu[cuda,cudnn]'  (then --device cuda)"
        return Finding(MACHINE, "providers", "note", told, remedy)
    return Finding(MACHINE, "providers", "ok", told)


def _processor() -> str:
    """Its name as Linux has it, else what Python knows."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _memory() -> tuple[int | None, int | None]:
    """Bytes that are free, and the container's limit, None where there is none or it cannot be told."""
    limit = None
    for path in LIMITS:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdigit() and int(text) < 2**60:
            limit = int(text)
            break
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
        free = int(found[1]) * 1024 if found else None
    except OSError:
        free = None
        if hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
            free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (min(free, limit) if free is not None and limit is not None else free), limit


MODELS = "models"
SMOKE = """
import json, time
import numpy as np
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.detector.inference.detector import FaceDetector
from facepipe.weights.session import choose_file
from facepipe.weights.store import find
started = time.perf_counter()
detector, classifier = find("detector"), find("classifier")
kinds = [choose_file(each).precision for each in (detector, classifier)]
eyes = FaceDetector(release=detector, precision=kinds[0])
reader = AttributeClassifier(release=classifier, precision=kinds[1])
loaded = time.perf_counter()
frame = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
boxes = eyes.detect([frame])[0].boxes
size = reader.input.size
outputs = reader.outputs(np.resize(frame, (1, size, size, 3)))
assert np.isfinite(boxes).all() and all(np.isfinite(each).all() for each in outputs.values()), "an output is not finite"
ran = time.perf_counter()
print(json.dumps([detector.label, kinds[0], classifier.label, kinds[1], loaded - started, ran - loaded]))
"""
"""One generated frame through both models that are in use. The classifier gets a crop of it whether or not a face is
found."""


def look_at_models(runs: bool = True) -> Iterator[Finding]:
    """Verify every release, and run those in use.

    Args:
        runs: the modules that models need can be imported; else they are not tried.
    """
    from ..core.errors import WeightsError
    from ..weights.manifest import Stage
    from ..weights.store import find, installed, user_root

    used: set[Path] = set()
    lost = False
    for stage in get_args(Stage):
        try:
            used.add(find(stage).folder)
        except WeightsError as error:
            lost = True
            yield Finding(MODELS, f"{stage} in use", "wrong", str(error), _how_to_get(stage))
    good, broken = installed()
    for release in good:
        what, where = f"{release.stage} {release.label}", f"{release.folder}"
        needed = release.folder in used
        try:
            release.verify()
        except WeightsError as error:
            lost |= needed
            yield Finding(MODELS, what, "wrong" if needed else "note", str(error), _how_to_mend(release.folder))
        except OSError as error:
            lost |= needed
            yield Finding(
                MODELS, what, "wrong" if needed else "note", f"{where}: {error}", _how_to_mend(release.folder)
            )
        else:
            yield Finding(MODELS, what, "ok", f"verified{', in use' if needed else ''}: {where}")
    for bad in broken:
        yield Finding(MODELS, f"{bad.stage} {bad.label}", "note", bad.reason, _how_to_mend(bad.folder))
    root = user_root()
    nearest = next(each for each in (root, *root.parents) if each.exists())
    if not os.access(nearest, os.W_OK):
        remedy = "set FACEPIPE_WEIGHTS to a folder of yours"
        yield Finding(MODELS, "your models", "note", f"{root}: cannot be written", remedy)
    if not runs or lost:
        yield Finding(MODELS, "a frame through both", "note", "not tried: something above is wrong")
        return
    child = in_a_process(SMOKE)
    if child.content is None:
        remedy = "facepipe weights verify; if that is well, report this line"
        yield Finding(MODELS, "a frame through both", "wrong", child.error, remedy)
        return
    detector, kind, classifier, other, loading, running = child.content
    told = f"detector {detector} ({kind}), classifier {classifier} ({other})"
    told += f": loaded in {loading:.2f} s, run in {running:.2f} s"
    yield Finding(MODELS, "a frame through both", "ok", told)


def _how_to_mend(folder: Path) -> str:
    """Releases in the package come back with it; one of the user's own goes, or comes from where it was published."""
    from ..weights.store import PACKAGE_ROOT

    if folder.is_relative_to(PACKAGE_ROOT):
        return "install facepipe again  (in a clone: git checkout -- weights && pip install --no-deps .)"
    return f"rm -r '{folder}', then publish or pull that version again"


def _how_to_get(stage: str) -> str:
    return f"facepipe weights list, then facepipe weights use {stage} VERSION, or facepipe weights use {stage} newest"


PACKAGES, EXTRAS = "packages", "optional parts"
OLDEST, NEWEST = (3, 11), (3, 13)
"""Python versions that facepipe is made for."""
CORE = ("numpy", "opencv-python", "simplejpeg", "onnxruntime", "pydantic", "typer", "rich", "platformdirs")
"""What facepipe needs, where its own metadata are not there to say so."""
SAME = {
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-silicon"),
}
"""Packages that bring the same module; one of them is enough, two overwrite each other's files."""
MODULES = {"numpy": "numpy", "opencv-python": "cv2", "onnxruntime": "onnxruntime"}
"""Compiled modules without which nothing runs."""
LIBRARIES = "apt-get install libgl1 libglib2.0-0 libxcb1  (Fedora: dnf install mesa-libGL glib2 libxcb)"
"""System libraries that OpenCV's wheel loads and a bare container lacks."""
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
"""Commands that need an extra."""
REQUIREMENT = re.compile(r"^\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[(?P<extras>[^]]*)\])?\s*\(?(?P<wanted>[^;)]*)\)?\s*(?:;(?P<when>.*))?$")  # fmt: skip  # noqa: E501
EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


@dataclass(frozen=True)
class Requirement:
    """One line of what a package requires: ``numpy>=2.0; extra == 'train'``."""

    name: str
    wanted: str
    extra: str
    conditional: bool
    """It holds on some platforms or versions of Python only."""
    extras: tuple[str, ...] = ()
    """Of that package, which are wanted as well: ``facepipe[remote]``."""

    @property
    def text(self) -> str:
        return f"{self.name}{self.wanted}"


def look_at_packages() -> Iterator[Finding]:
    """facepipe, Python, what facepipe requires, and packages that clash."""
    version = installed("facepipe")
    if version is None:
        told, remedy = f"{__version__}, from {_here()}, not installed with pip", "pip install ."
        yield Finding(PACKAGES, "facepipe", "note", told, remedy)
    elif version != __version__:
        told = f"{__version__} runs from {_here()}, pip knows of {version}"
        yield Finding(PACKAGES, "facepipe", "note", told, "pip install .  (of an editable installation: -e .)")
    else:
        yield Finding(PACKAGES, "facepipe", "ok", __version__)
    python = f"{platform.python_version()}, {platform.platform()}"
    right = OLDEST <= sys.version_info[:2] <= NEWEST
    span = " to ".join(f"{major}.{minor}" for major, minor in (OLDEST, NEWEST))
    yield Finding(PACKAGES, "Python", "ok" if right else "note", python, "" if right else f"use Python {span}")
    for each in requirements():
        if not each.extra and not each.conditional:
            yield _required(each)
    yield from _clashes()
    yield from _torch_pair()


def look_at_imports() -> Iterator[Finding]:
    """Whether the compiled modules can be imported, each tried in a process of its own."""
    for package, module in MODULES.items():
        child = in_a_process(f"import json, {module}; print(json.dumps(str(getattr({module}, '__file__', ''))))")
        what = f"import {module}"
        if child.content is not None:
            yield Finding(PACKAGES, what, "ok", str(child.content))
            continue
        library = re.search(r"([\w.+-]+\.so[\w.]*): cannot open shared object file", child.error)
        if library is None:
            remedy = f"pip install --force-reinstall --no-deps '{_wanted(package)}'"
        elif module == "cv2":
            remedy = LIBRARIES
        else:
            remedy = f"install the system library that holds {library[1]}"
        yield Finding(PACKAGES, what, "wrong", child.error, remedy)


def look_at_extras() -> Iterator[Finding]:
    """Which optional parts are there, which commands need them, and how the others are installed."""
    extras: dict[str, list[Requirement]] = {}
    for each in requirements():
        if each.extra and not each.conditional:
            extras.setdefault(each.extra, []).append(each)
    for name in sorted(extras.keys() - set(HIDDEN)):
        wanted = _whole(name, extras)
        lacking = [each for each in wanted if installed(each.name) is None]
        old = [each for each in wanted if each not in lacking and not _meets(str(installed(each.name)), each.wanted)]
        uses = f" (for {USES[name]})" if name in USES else ""
        remedy = f"pip install 'facepipe[{name}]'"
        if not lacking and not old:
            yield Finding(EXTRAS, name, "ok", f"installed{uses}")
        elif old:
            told = ", ".join(f"{each.text} is wanted, {installed(each.name)} is installed" for each in old)
            yield Finding(EXTRAS, name, "note", told + uses, remedy)
        else:
            told = "not installed" if len(lacking) == len(wanted) else f"lacks {', '.join(e.name for e in lacking)}"
            yield Finding(EXTRAS, name, "absent", told + uses, remedy)


def _whole(name: str, extras: Mapping[str, Sequence[Requirement]]) -> list[Requirement]:
    """What an extra requires, that of facepipe's other extras which it names included; each package once."""
    found: dict[str, Requirement] = {}
    for each in extras.get(name, ()):
        if each.name == "facepipe":
            found |= {one.name: one for other in each.extras for one in _whole(other, extras)}
        else:
            found[each.name] = each
    return list(found.values())


def installed(package: str) -> str | None:
    """The version of a package as pip knows it, None where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def requirements() -> list[Requirement]:
    """What facepipe requires, by its own metadata; the names in ``CORE`` where it has none."""
    try:
        lines = metadata.requires("facepipe") or []
    except metadata.PackageNotFoundError:
        lines = list(CORE)
    found = []
    for line in lines:
        if (parts := REQUIREMENT.match(line)) is None:
            continue
        when = parts["when"] or ""
        extra = EXTRA.search(when)
        rest = EXTRA.sub("", when).strip(" ()")
        found.append(
            Requirement(
                parts["name"],
                parts["wanted"].replace(" ", ""),
                extra[1] if extra else "",
                bool(rest),
                tuple(name.strip() for name in (parts["extras"] or "").split(",") if name.strip()),
            )
        )
    return found


def _required(each: Requirement) -> Finding:
    version, stands_in = installed(each.name), ""
    if version is None:
        for other in SAME.get(each.name, ()):
            if (version := installed(other)) is not None:
                stands_in = f"{other} "
                break
    if version is None:
        return Finding(PACKAGES, each.name, "wrong", "not installed", f"pip install '{each.text}'")
    if not _meets(version, each.wanted):
        name = stands_in.strip() or each.name
        told = f"{stands_in}{version} is installed, {each.text} is wanted"
        return Finding(PACKAGES, each.name, "wrong", told, f"pip install '{name}{each.wanted}'")
    return Finding(PACKAGES, each.name, "ok", f"{stands_in}{version}")


def _meets(version: str, wanted: str) -> bool:
    """Whether a version is one that is wanted; True where it cannot be told, as without ``packaging``."""
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
        from packaging.version import InvalidVersion
    except ImportError:
        return True
    try:
        return SpecifierSet(wanted).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True


def _clashes() -> Iterator[Finding]:
    """Two packages that bring the same module: the one installed last wins, and uninstalling one breaks the other."""
    for first, others in SAME.items():
        beside = [each for each in (first, *others) if installed(each) is not None]
        if len(beside) < 2:
            continue
        told = ", ".join(f"{each} {installed(each)}" for each in beside) + " overwrite each other's files"
        # The one with a GPU is there because somebody wants it.
        keep = next((each for each in beside if each.endswith("-gpu")), beside[0])
        wanted = _wanted(first) if keep == first else keep
        yield Finding(
            PACKAGES,
            " beside ".join(beside),
            "note",
            told,
            f"pip uninstall -y {' '.join(beside)} && pip install '{wanted}'",
        )


def _torch_pair() -> Iterator[Finding]:
    """torchvision is built for one version of torch and does not load beside another."""
    torch, vision = installed("torch"), installed("torchvision")
    if torch is None or vision is None:
        return
    for line in metadata.requires("torchvision") or []:
        parts = REQUIREMENT.match(line)
        if parts is None or parts["name"] != "torch" or _meets(torch.partition("+")[0], parts["wanted"].strip()):
            continue
        told = f"torchvision {vision} needs torch{parts['wanted'].strip()}, torch {torch} is installed"
        remedy = f"pip install 'torchvision=={vision.partition('+')[0]}' 'torch{parts['wanted'].strip()}'"
        yield Finding(PACKAGES, "torch and torchvision", "wrong", told, remedy)


def _wanted(package: str) -> str:
    """``opencv-python>=5.0``."""
    return next((each.text for each in requirements() if each.name == package and not each.extra), package)


def _here() -> str:
    from pathlib import Path

    return str(Path(__file__).resolve().parents[1])
