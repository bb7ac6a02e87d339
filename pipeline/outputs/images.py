"""A folder of pictures with results drawn on them, or with faces hidden."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import cv2

from ...core.errors import FacepipeError
from ..drawing.draw import draw
from ..inputs.colour_profile import read_profile, with_profile
from ..inputs.image_reader import Frame
from ..results import Result
from .names import FreeNames, put, stem_of
from .options import Outputs

if TYPE_CHECKING:
    from ..drawing.second_look import SecondLook

JPEG = (".jpg", ".jpeg")
JPEG_SIDE = 65500
"""Longest side that libjpeg writes; larger pictures are saved as PNG."""
ENDINGS = {None: "-faces", "blur": "-blurred", "pixelate": "-pixelated"}


class PictureFolder:
    """Saves pictures as ``<name>-faces.jpg``, anonymised ones as ``<name>-blurred.jpg`` or ``<name>-pixelated.jpg``.

    Subfolders below the folder that all sources share are kept. Each file is written atomically. The second file of a
    name becomes ``<name>-faces-2.jpg``. Only the pixels and the colour profile that they need are written: none of the
    input's EXIF, location or thumbnail.

    Args:
        outputs: with the folder, which exists, or the single file in it; what is drawn or hidden.
        inputs: paths of the input pictures, which are never overwritten.
        taken: names that this run gave out before it was interrupted.
        look: finds boxes to hide beyond those of the results.

    Attributes:
        names: assigns the names.
        hidden: number of boxes hidden in the picture saved last.
    """

    def __init__(
        self, outputs: Outputs, inputs: Iterable[str], taken: Iterable[str] = (), look: SecondLook | None = None
    ):
        assert outputs.save is not None
        self._outputs, self._look = outputs, look
        self.hidden = 0
        self.names = FreeNames(outputs.save, inputs, taken, outputs.root)

    def save(self, frame: Frame, result: Result) -> str:
        """Save one picture and return its name in the folder.

        Raises:
            FacepipeError: it cannot be written.
        """
        outputs = self._outputs
        if outputs.how is None or outputs.what is None:
            picture = draw(frame, result, outputs.drawing)
        else:
            from ..drawing.anonymize import hide

            more = [] if self._look is None else self._look.find(frame)
            self.hidden = len(result.faces) + len(more) + (len(result.heads) if outputs.what == "heads" else 0)
            picture = hide(frame, result, outputs.how, outputs.what, more)
        suffix = ".jpg" if max(picture.shape) <= JPEG_SIDE else ".png"
        if outputs.save_as is not None:
            suffix = Path(outputs.save_as).suffix.lower()
        try:
            done, encoded = cv2.imencode(suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, 92] if suffix in JPEG else [])
        except cv2.error:
            done = False
        if not done:
            raise FacepipeError(f"{result.source}: OpenCV cannot write this picture as {suffix}")
        content = encoded.tobytes()
        if suffix in JPEG and result.source and (profile := read_profile(result.source)) is not None:
            content = with_profile(content, profile)
        if outputs.save_as is None:
            target = self.names.take(stem_of(result.source) + ENDINGS[outputs.how], suffix, result.source)
        else:
            target = self.names.folder / outputs.save_as
        put(target, content)
        return target.relative_to(self.names.folder).as_posix()
