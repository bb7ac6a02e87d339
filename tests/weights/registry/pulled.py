"""Pulling from the tests' server, and what is seen of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from facepipe.weights.registry import pull as pulling
from facepipe.weights.registry.download import Patience
from facepipe.weights.registry.http import HttpSource
from facepipe.weights.registry.pull import pull
from facepipe.weights.release import Release
from facepipe.weights.store import installed

from .lying_server import Service

VERSION = "98.0.0"
CALM = Patience(silence=20, attempts=3, pause=0.01)
"""For servers that answer: no machine is so busy that this runs out."""
QUICK = Patience(silence=0.5, slowest=1000, attempts=3, pause=0.01)
"""For those that stall."""
STALLING = ("silent", "stall", "drip", "slow head")
MODEL = "model.onnx"


def pulled(service: Service, **how: Any) -> pulling.Pulled:
    source = HttpSource(service.url, insecure_localhost=True)
    return pull(source, "detector", version=VERSION, patience=how.pop("patience", CALM), **how)


def here() -> list[str]:
    """What ``weights list`` would show of that version, broken or not."""
    good, broken = installed("detector")
    return [
        version for version in [each.version for each in good] + [each.version for each in broken] if version == VERSION
    ]


def size(release: Release) -> int:
    return release.manifest.files[0].bytes


def rewritten(service: Service, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the only entry of the server's index by hand."""
    path = service.folder / "index.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content["releases"][0])
    path.write_text(json.dumps(content), encoding="utf-8")
