"""A folder of pictures that results are drawn on, or in which faces are hidden.

Names for the files that a run saves: none of one run takes another's place, or an input's.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import cv2

from ...core.errors import FacepipeError
from ..drawing.draw import draw
from ..drawing.options import DrawOptions
from ..inputs.colour_profile import read_profile, with_profile
from ..inputs.image_reader import Frame
from ..results import Result
from .options import How, What

JPEG_SIDE = 65500
"""Longest side that libjpeg writes; a longer picture is saved as PNG."""
ENDINGS = {None: "-faces", "blur": "-blurred", "pixelate": "-pixelated"}


class PictureFolder:
    """Saves pictures as ``<name>-faces.jpg``, those with something hidden as ``<name>-blurred.jpg`` or ``-pixelated``.

    Each is written in one step that either happens or does not. The second of a name becomes ``<name>-faces-2.jpg``.
    Pixels are written, and the colour profile that they need: no EXIF, no place, no thumbnail of the input goes along.

    Args:
        folder: is there.
        inputs: paths of the pictures that are read, which are never overwritten.
        how, what: hides faces or heads in place of drawing.
        taken: names that this run has given out before it was interrupted.
        drawing: what is drawn where nothing is hidden.
    """

    def __init__(
        self,
        folder: Path,
        inputs: Iterable[str],
        how: How | None = None,
        what: What | None = None,
        taken: Iterable[str] = (),
        drawing: DrawOptions | None = None,
    ):
        self._how, self._what = how, what
        self._drawing = drawing
        self._names = FreeNames(folder, inputs, taken)

    def save(self, frame: Frame, result: Result) -> str:
        """Save one picture and give its name in the folder.

        Raises:
            FacepipeError: it cannot be written.
        """
        if self._how is None or self._what is None:
            picture = draw(frame, result, self._drawing)
        else:
            from ..drawing.anonymize import hide

            picture = hide(frame, result, self._how, self._what)
        suffix = ".jpg" if max(picture.shape) <= JPEG_SIDE else ".png"
        target = self._names.take(stem_of(result.source) + ENDINGS[self._how], suffix)
        done, encoded = cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not done:
            raise FacepipeError(f"{target}: OpenCV cannot encode this picture")
        content = encoded.tobytes()
        if suffix == ".jpg" and result.source and (profile := read_profile(result.source)) is not None:
            content = with_profile(content, profile)
        put(target, content)
        return target.name


LONGEST = 150
"""Letters of a source's name that a new name takes over; file systems end at 255 bytes."""


class FreeNames:
    """Gives out the names in a folder, each once. What an earlier run has left does not count as taken.

    Args:
        folder: where the files go.
        inputs: paths that must not be overwritten.
        taken: names that this run, before it was interrupted, has given out.
    """

    def __init__(self, folder: Path, inputs: Iterable[str], taken: Iterable[str] = ()):
        self.folder = folder
        within = os.path.realpath(folder)
        places = (os.path.realpath(path) for path in inputs)
        self._taken = {place for place in places if os.path.dirname(place) == within}
        self._within = within
        self._taken |= {os.path.join(within, name) for name in taken}
        self._taken = {place.casefold() for place in self._taken}  # some file systems do not tell X from x
        self._last: dict[str, int] = {}

    def take(self, stem: str, suffix: str) -> Path:
        """A path that ends in this suffix: the stem's, or the first of stem-2, stem-3, … that is free."""
        wanted = (stem + suffix).casefold()
        number = self._last.get(wanted, 0)
        while True:
            number += 1
            name = stem + (f"-{number}" if number > 1 else "") + suffix
            place = os.path.realpath(os.path.join(self._within, name)).casefold()
            if place not in self._taken:
                self._taken.add(place)
                self._last[wanted] = number
                return self.folder / name


def stem_of(source: str | None) -> str:
    """What a saved file is called after: the source's name without its suffix."""
    return Path(source or "").stem[:LONGEST] or "picture"


def put(target: Path, content: bytes) -> None:
    """Write a file in one step that either happens or does not.

    Raises:
        FacepipeError: it cannot be written.
    """
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_bytes(content)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise FacepipeError(f"{target}: cannot be written ({error.strerror})") from error
