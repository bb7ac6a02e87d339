"""Installed packages: what facepipe needs, what its extras need, and which packages cannot stand beside each other.

Versions come from the packages' metadata; no package is imported into this process.
"""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from .. import __version__
from .doctor import Finding, in_a_process

PACKAGES, EXTRAS = "packages", "optional parts"
OLDEST, NEWEST = (3, 11), (3, 13)
"""Python versions that facepipe is made for."""
CORE = ("numpy", "opencv-python", "onnxruntime", "pydantic", "typer", "rich", "platformdirs")
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
HIDDEN = ("dev",)
"""Extras that no command needs."""
USES = {
    "train": "train-detector, train-classifier, evaluate-detector, evaluate-classifier, export-detector, data, "
    "recipes, the charts of evaluate and benchmark",
    "parquet": "detect --parquet, --features FILE.parquet, Parquet files of labels",
    "tiles": "detect --tiles, Result.to_supervision",
    "video": "detect on videos and cameras with tracking",
    "heif": "HEIC pictures",
    "serve": "serve",
    "remote": "weights pull, push and outdated",
    "hub": "weights at the Hugging Face hub",
    "s3": "weights in S3, detect --engine ray on it",
    "gcs": "weights in Google Cloud Storage, detect --engine ray on it",
    "ray": "detect --engine ray",
    "tensorboard": "train-detector --tensorboard",
    "mlflow": "train-detector --mlflow",
    "roboflow": "data roboflow; see README for how to install it without a second OpenCV",
}
"""Commands that need an extra."""
REQUIREMENT = re.compile(r"^\s*(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^]]*\])?\s*\(?(?P<wanted>[^;)]*)\)?\s*(?:;(?P<when>.*))?$")  # fmt: skip  # noqa: E501
EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


@dataclass(frozen=True)
class Requirement:
    """One line of what a package requires: ``numpy>=2.0; extra == 'train'``."""

    name: str
    wanted: str
    extra: str
    conditional: bool
    """It holds on some platforms or versions of Python only."""

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
        if each.extra and each.extra not in HIDDEN and not each.conditional:
            extras.setdefault(each.extra, []).append(each)
    for name, wanted in sorted(extras.items()):
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
            Requirement(parts["name"], parts["wanted"].replace(" ", ""), extra[1] if extra else "", bool(rest))
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
