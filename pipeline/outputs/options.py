"""The outputs of a run, and the checks before any work that they can be written."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...core.errors import FacepipeError, os_errors_as
from ...core.extras import require
from ..drawing.options import DrawOptions
from .coco import labels_path
from .features import SUFFIXES
from .journal import SUFFIX

How = Literal["blur", "pixelate"]
What = Literal["faces", "heads"]


@dataclass(frozen=True)
class Outputs:
    """What a run writes; None for what it does not write.

    Attributes:
        json, csv, parquet, coco, features: files, written at the end.
        live: JSON lines written immediately, to standard output (``-``) or another target that is not a regular file.
        live_csv: the same for rows.
        crops: folder of the faces that were cut out.
        save: folder of pictures.
        save_as: name of the single file in it, for a run over one picture or video; None names files by their sources.
        root: keep the subfolders that sources have below this folder in ``save``; None keeps none.
        how, what: how faces or heads are hidden in the saved pictures; None draws results instead.
        drawing: what is drawn; None takes the default.
        hide_confidence: minimum confidence of what is hidden.
        review: file that lists the pictures in which nothing was hidden.
    """

    json: Path | None = None
    live: str | None = None
    live_csv: str | None = None
    csv: Path | None = None
    parquet: Path | None = None
    coco: Path | None = None
    features: Path | None = None
    crops: Path | None = None
    save: Path | None = None
    save_as: str | None = None
    root: str | None = None
    how: How | None = None
    what: What | None = None
    drawing: DrawOptions | None = None
    hide_confidence: float = 0.1
    review: Path | None = None

    @property
    def talks(self) -> bool:
        """Whether results go to standard output, where nothing else may be printed."""
        return "-" in (self.live, self.live_csv)

    @property
    def files(self) -> dict[str, Path]:
        """The files by option; the journal goes next to the first."""
        named = {
            "--json": self.json,
            "--csv": self.csv,
            "--parquet": self.parquet,
            "--coco": self.coco,
            "--features": self.features,
            "--crops": None if self.crops is None else self.crops / "crops.csv",
            "--review": self.review,
        }
        return {option: path for option, path in named.items() if path is not None}

    @property
    def finished(self) -> bool:
        """Whether there are files that a run writes at its end, and all of them exist."""
        names = list(self.files.items())
        return bool(names) and all(
            path.is_file() or (option == "--crops" and any(path.parent.glob(f"*/{path.name}")))
            for option, path in names
        )

    @property
    def folders(self) -> dict[str, Path]:
        """The folders by option."""
        named = {"--crops": self.crops, "--save": self.save}
        return {option: path for option, path in named.items() if path is not None}

    @property
    def journals(self) -> list[Path]:
        """Where a journal may be; a run creates it at the first place. Empty if nothing is kept in files."""
        places = [path.with_name(path.name + SUFFIX) for path in self.files.values()]
        return places + ([] if self.save is None else [self.save / f"saved{SUFFIX}"])

    @property
    def settings(self) -> dict[str, Any]:
        """The output settings that a journal must record: those of what is made only while the pictures are read."""
        return {
            "--features": self.features is not None,
            "--crops": None if self.crops is None else os.path.normpath(self.crops),
            "--save": None if self.save is None else os.path.normpath(self.save),
            "hidden": None if self.how is None else f"{self.what}, {self.how}, from {self.hide_confidence:g}",
            "drawn": None if self.drawing is None else self.drawing.words,
            **({} if self.save_as is None else {"saved as": self.save_as}),
        }

    def check(self, inputs: Iterable[str]) -> None:
        """Reject outputs that cannot work, and create missing folders.

        Raises:
            FacepipeError: two outputs with one path, an output that is an input or not a regular file, or a place that
                cannot be written.
            MissingExtraError: Parquet is requested and pyarrow is not installed.
        """
        if self.features is not None and self.features.suffix.lower() not in SUFFIXES:
            raise FacepipeError(f"{self.features}: --features takes a name that ends in {' or '.join(SUFFIXES)}")
        if self.parquet is not None or (self.features is not None and self.features.suffix.lower() == ".parquet"):
            require("pyarrow")
        places: dict[str, str] = {}
        beside = {} if self.coco is None else {"--coco's labels": labels_path(self.coco)}
        for option, path in [*self.files.items(), *self.folders.items(), *beside.items()]:
            place = os.path.realpath(path)
            if place in places:
                raise FacepipeError(f"{path}: {places[place]} and {option} both name it; give them different names")
            places[place] = option
        if self.save is not None and self.save_as is not None:
            places[os.path.realpath(self.save / self.save_as)] = "--save"
        for each in inputs:
            place = os.path.realpath(each)
            if place in places:
                raise FacepipeError(f"{places[place]} {each} would overwrite that input; give another name")
        for path in self.folders.values():
            with os_errors_as(FacepipeError, f"{path}: the folder cannot be created"):
                path.mkdir(parents=True, exist_ok=True)
        for path in self.files.values():
            try:
                os.stat(path.with_name(path.name + SUFFIX))
            except FileNotFoundError:
                pass  # as it should be
            except OSError as error:
                raise FacepipeError(f"{path}: cannot be written ({error.strerror})") from error
            if path.is_dir():
                raise FacepipeError(f"{path}: is a folder; name a file in it")
            if path.exists() and not path.is_file():
                raise FacepipeError(f"{path}: is not a regular file, and this output is written whole or not at all")
        for path in (*self.files.values(), *(folder / "x" for folder in self.folders.values())):
            with os_errors_as(FacepipeError, f"{path}: cannot be written"):
                path.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=path.parent):
                    pass

    def without_own(self, pictures: Iterable[str], named: Iterable[str]) -> list[str]:
        """The pictures except those that a run left in its own folders; what the user named directly stays."""
        folders = [os.path.realpath(folder) + os.sep for folder in self.folders.values() if folder.is_dir()]
        if not folders:
            return list(pictures)
        meant = set(named)
        return [
            each
            for each in pictures
            if each in meant or not any(os.path.realpath(each).startswith(folder) for folder in folders)
        ]
