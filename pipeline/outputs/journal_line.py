"""One line of the journal: a picture that is done, as JSON with its result last."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..results import Result

MARK = b',"result":'


@dataclass(frozen=True)
class Entry:
    """One picture that is done.

    Attributes:
        source: as it was given.
        files: what was saved of it, as the run noted it.
        features: for each face, by classifier, float32 (width,); None of a face without, () where none were wanted.
        json: the result as ``Result.model_dump_json`` wrote it.
    """

    source: str
    files: dict[str, Any]
    features: tuple[dict[str, np.ndarray] | None, ...]
    json: bytes

    @property
    def result(self) -> Result:
        """The result, with its features."""
        result = Result.model_validate_json(self.json)
        if not self.features:
            return result
        faces = tuple(
            face if found is None else face.model_copy(update={"features": found})
            for face, found in zip(result.faces, self.features, strict=True)
        )
        return result.model_copy(update={"faces": faces})


def line_of(source: str, result: Result, files: Mapping[str, Any]) -> bytes:
    """The line of a picture, with its end; the features of its faces go along."""
    head: dict[str, Any] = {"source": source, "files": files}
    if any(face.features for face in result.faces):
        head["features"] = [_packed(face.features) for face in result.faces]
    return json.dumps(head)[:-1].encode("ascii") + MARK + result.model_dump_json().encode() + b"}\n"


def parse_line(line: bytes) -> Entry | None:
    """A line's content; None where it is torn."""
    at = line.find(MARK)  # in JSON no text holds it: its quotation marks would be escaped
    if at < 0 or not line.endswith(b"}\n"):
        return None
    raw = line[at + len(MARK) : -2]
    try:
        head = json.loads(line[:at] + b"}")
        json.loads(raw)
        features = tuple(None if found is None else _unpacked(found) for found in head.get("features", ()))
        return Entry(head["source"], head["files"], features, raw)
    except (ValueError, KeyError, TypeError):
        return None


def _packed(features: Mapping[str, tuple[float, ...]] | None) -> dict[str, str] | None:
    if not features:
        return None
    return {
        name: base64.b64encode(np.array(values, "<f4").tobytes()).decode("ascii") for name, values in features.items()
    }


def _unpacked(features: Mapping[str, str]) -> dict[str, np.ndarray]:
    return {name: np.frombuffer(base64.b64decode(text, validate=True), "<f4") for name, text in features.items()}
