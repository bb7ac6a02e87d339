"""A child process that processes pictures the way the original notebooks did, and reports the time."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from facepipe.core.errors import FacepipeError, MissingExtraError

NEEDED = ("ultralytics", "torch", "tensorflow", "keras")
WAY = "ultralytics predict(file), then Keras predict(one crop) face by face"


def missing() -> str | None:
    """What the notebook method needs but is not installed; None if nothing is missing."""
    return next((name for name in NEEDED if find_spec(name) is None), None)


class Notebook:
    """The child process. Both frameworks stay loaded in it, so that only the work itself is timed.

    Args:
        pictures: files, each with the faces' boxes (x1, y1, x2, y2 in pixels).
        widths: number of outputs of the classifier for each attribute.
        detector: a trained ``.pt``; None for a YOLOv8s with random weights.
        classifier: your own trained ``.keras`` or ``.h5``; None for a ResNet50 with random weights.

    Raises:
        MissingExtraError: the training extra is not installed.
        FacepipeError: the child could not start; the message ends with its last line.
    """

    def __init__(
        self,
        pictures: Sequence[tuple[Path, Sequence[Sequence[float]]]],
        widths: dict[str, int],
        detector: Path | None = None,
        classifier: Path | None = None,
    ):
        if (package := missing()) is not None:
            raise MissingExtraError(package, "train")
        for path in (detector, classifier):
            if path is not None and not path.is_file():
                raise FacepipeError(f"{path}: no such file")
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (close() does)
        self._child = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("notebook_child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
        )
        task = {
            "detector": None if detector is None else str(detector),
            "classifier": None if classifier is None else str(classifier),
            "widths": widths,
            "pictures": [[str(path), [list(map(float, box)) for box in boxes]] for path, boxes in pictures],
        }
        self._ask(json.dumps(task))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def seconds(self) -> float:
        """Read all pictures once.

        Raises:
            FacepipeError: the child ended; the message has its last line.
        """
        return float(self._ask("again")["seconds"])

    def close(self) -> None:
        """Stop the child."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._stderr):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:  # nobody needs the unread line any more
                    continue

    def _ask(self, line: str) -> dict[str, Any]:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            answer = ""
        else:
            answer = self._child.stdout.readline()
        if not answer:
            code = self._child.wait()
            self._stderr.seek(0)
            lines = self._stderr.read().decode("utf-8", "replace").strip().splitlines() or ["no output"]
            self.close()
            raise FacepipeError(f"the notebook way ended before it was done (exit code {code}): {lines[-1]}")
        return dict(json.loads(answer))
