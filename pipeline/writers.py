"""Where results go: lines of JSON, and annotated pictures."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import cv2

from ..weights.errors import FacepipeError
from .draw import draw
from .reader import Frame
from .results import Result

JPEG_SIDE = 65500
"""Longest side that libjpeg writes; a longer picture is saved as PNG."""


@contextmanager
def json_lines(target: str) -> Iterator[BinaryIO]:
    """Open a file for ``write_line``, or standard output for ``-``.

    Raises:
        FacepipeError: the file cannot be written.
    """
    if target == "-":
        yield sys.stdout.buffer
        return
    try:
        with open(target, "wb") as file:
            yield file
    except BrokenPipeError:  # of standard output, where tables go meanwhile
        raise
    except OSError as error:
        raise FacepipeError(f"{target}: cannot be written ({error.strerror})") from error


def write_line(result: Result, file: BinaryIO) -> None:
    """Write one result as one line of UTF-8 JSON, at once."""
    file.write(result.model_dump_json().encode() + b"\n")
    file.flush()


class PictureFolder:
    """Saves annotated pictures as ``<name>-faces.jpg``, each in one step that either happens or does not.

    Pictures of one run never overwrite each other or an input: the second of a name becomes ``<name>-faces-2.jpg``.
    What an earlier run has left is replaced.

    Args:
        folder: made where it is missing.
        inputs: paths of the pictures that are read.

    Raises:
        FacepipeError: the folder cannot be made.
    """

    def __init__(self, folder: Path, inputs: Iterable[str]):
        self.folder = folder
        self._taken = {Path(os.path.realpath(path)) for path in inputs}
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FacepipeError(f"{folder}: cannot be made a folder ({error.strerror})") from error

    def save(self, frame: Frame, result: Result) -> Path:
        """Draw a result and save it.

        Raises:
            FacepipeError: the picture cannot be written.
        """
        picture = draw(frame, result)
        suffix = ".jpg" if max(picture.shape) <= JPEG_SIDE else ".png"
        target = self._free(Path(result.source or "picture").stem + "-faces", suffix)
        encoded = cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        try:
            with tempfile.TemporaryDirectory(prefix=".saving-", dir=self.folder) as temporary:
                part = Path(temporary) / target.name
                part.write_bytes(encoded.tobytes())
                part.replace(target)
        except OSError as error:
            raise FacepipeError(f"{target}: cannot be written ({error.strerror})") from error
        return target

    def _free(self, stem: str, suffix: str) -> Path:
        number = 1
        while True:
            name = stem + (f"-{number}" if number > 1 else "") + suffix
            place = Path(os.path.realpath(self.folder / name))
            if place not in self._taken:
                self._taken.add(place)
                return self.folder / name
            number += 1
