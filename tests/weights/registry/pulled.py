"""Pulling from the tests' server, and what is seen of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from facepipe.weights.registry.download import RetryPolicy
from facepipe.weights.registry.http import TIMEOUT, HttpSource
from facepipe.weights.registry.pull import Pulled, Wanted, pull
from facepipe.weights.store import installed

from .lying_server import Service

VERSION = "98.0.0"
CALM = RetryPolicy(attempts=3, pause=0.01)
"""For servers that answer."""
QUICK = RetryPolicy(attempts=3, pause=0.01, grace=0.5, slowest=1_000_000)
"""For those that drip."""
MODEL = "model.onnx"


def pulled(service: Service, timeout: tuple[float, float] = TIMEOUT, sha256: str | None = None, **how: Any) -> Pulled:
    source = HttpSource(service.url, insecure_localhost=True, timeout=timeout)
    return pull(source, Wanted("detector", "", VERSION, sha256), retry=how.pop("retry", CALM), **how)


def here() -> list[str]:
    """What ``weights list`` would show of that version, broken or not."""
    good, broken = installed("detector")
    return [
        version for version in [each.version for each in good] + [each.version for each in broken] if version == VERSION
    ]


def rewritten(service: Service, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the only entry of the server's index by hand."""
    path = service.folder / "index.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content["releases"][0])
    path.write_text(json.dumps(content), encoding="utf-8")
