"""Asks a server for the faces of pictures: python client.py photo.jpg …, beside a running ``facepipe serve``.

Only the standard library is needed. FACEPIPE_URL names another server, FACEPIPE_API_KEY is sent as its key.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get("FACEPIPE_URL", "http://127.0.0.1:8000")
SECONDS = 60


def detect(picture: bytes, url: str = URL) -> dict[str, Any]:
    """The result of one encoded picture, as ``Pipeline.run`` gives it.

    Raises:
        HTTPError: the server refuses it; the answer's body says why.
    """
    headers = {"Content-Type": "application/octet-stream"}
    if key := os.environ.get("FACEPIPE_API_KEY"):
        headers["X-API-Key"] = key
    with urlopen(Request(f"{url}/v1/detect", picture, headers), timeout=SECONDS) as answer:
        result: dict[str, Any] = json.load(answer)["results"][0]
    return result


def main(paths: list[str]) -> int:
    """Print a line for each face."""
    failed = 0
    for path in paths:
        try:
            result = detect(Path(path).read_bytes())
        except HTTPError as error:
            failed += 1
            print(f"{path}: {json.load(error)['detail']}", file=sys.stderr)
            continue
        for face in result["faces"]:
            values = {name: value.get("value") for name, value in (face["attributes"] or {}).items()}
            print(path, {side: round(place) for side, place in face["box"].items()}, values)
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
