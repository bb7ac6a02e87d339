"""The released models: whether every file is the one that was released, and whether both models run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from .doctor import Finding, in_a_process

MODELS = "models"
SMOKE = """
import json, time
import numpy as np
from facepipe.classifier.inference.classifier import AttributeClassifier
from facepipe.detector.inference.detector import FaceDetector
from facepipe.weights.precision import choose_file
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
