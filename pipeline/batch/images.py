"""A run over pictures: each result goes into the journal, from which the outputs are written at the end."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import FacepipeError
from ...core.files import write_whole
from ...core.version import __version__
from ..console import WARNING, DetectScreen, note
from ..outputs.images import PictureFolder
from ..outputs.journal import Journal, discard, refuse
from ..outputs.names import FreeNames
from ..outputs.options import Outputs
from ..outputs.rows import RowForm
from ..outputs.tabular import LiveOutputs, write_json
from ..pipeline import Pipeline
from ..results import Result

if TYPE_CHECKING:
    from ..drawing.second_look import SecondLook
    from ..outputs.crops import CropFolder


LISTED = 20
"""Maximum number of pictures with nothing hidden that are named on the screen; ``--review`` lists all of them."""
HOW_IT_RUNS = {"device", "confidence", "iou", "imgsz", "tiles", "reduced_to"}


def look_back(outputs: Outputs, resume: bool, restart: bool) -> Path | None:
    """The journal that a run has to resume, or None if it starts anew.

    Args:
        outputs: of the run.
        resume: resume the journal.
        restart: delete the journal.

    Raises:
        FacepipeError: there is a journal and neither ``resume`` nor ``restart``; it is in use; or there are several.
    """
    found = [path for path in outputs.journals if path.exists()]
    if restart:
        for path in found:
            discard(path)
        return None
    if found and not resume:
        refuse(found[0])
    if len(found) > 1:
        listed = ", ".join(map(str, found))
        raise FacepipeError(f"there are several journals from different runs: {listed}; move all but one away")
    return found[0] if found else None


def run_settings(pipeline: Pipeline, outputs: Outputs, options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that must not change when a run is resumed: facepipe, the models, the options and some outputs.

    The models are identified by their names and hashes; how they run is in the options. The outputs are those made
    while the pictures are read.

    Args:
        pipeline: of the run.
        outputs: of the run.
        options: those that affect the numbers, by name.
    """
    models = pipeline.models.model_dump(exclude={"detector": HOW_IT_RUNS})
    for used in models["classifiers"].values():
        del used["device"]
    return {
        **models,
        **options,
        **outputs.settings,
    }


class DetectRun:
    """One run with its journal.

    >>> with Pipeline() as pipeline, DetectRun(pipeline, outputs, inputs, {}) as run:
    ...     run.pictures(inputs, screen)
    ...     run.finish()

    Args:
        pipeline: finds and reads the faces.
        outputs: already checked (``Outputs.check``).
        inputs: all sources, which no output may overwrite.
        settings: from ``run_settings``.
        before: the journal to resume, from ``look_back``.
        video: some results are of video frames.

    Attributes:
        journal: None if nothing is kept in files.

    Raises:
        FacepipeError: the journal cannot be written, or was begun with other settings.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        outputs: Outputs,
        inputs: Sequence[str],
        settings: Mapping[str, Any],
        before: Path | None = None,
        video: bool = False,
    ):
        self.pipeline = pipeline
        self.outputs = outputs
        self.journal: Journal | None = None
        self._video = video
        self._live: LiveOutputs | None = None
        self._folder: PictureFolder | None = None
        self._crops: CropFolder | None = None
        detector, classifiers = pipeline.parts()
        self._classes = detector.classes
        self._classifiers = classifiers.by_name
        if outputs.drawing is not None:
            outputs.drawing.check(each.name for found in self._classifiers.values() for each in found.attributes)
        self._widths = None if outputs.features is None else pipeline.feature_widths
        if before is not None:
            self.journal = Journal.resume(before, settings)
        elif outputs.journals:
            self.journal = Journal.begin(outputs.journals[0], settings)
        try:
            self._open_folders(inputs)
        except BaseException:
            self._let_go()
            raise

    def _open_folders(self, inputs: Sequence[str]) -> None:
        outputs = self.outputs
        saved: list[str] = []
        cut: dict[str, list[str]] = {name: [] for name in self._classifiers}
        if self.journal is not None and outputs.folders:
            for entry in self.journal.entries():
                saved += [entry.files["save"]] if "save" in entry.files else []
                for name, crops in entry.files.get("crops", {}).items():
                    cut[name] += [crop["file"] for crop in crops if crop is not None]
        if outputs.save is not None:
            self._folder = PictureFolder(outputs, inputs, saved, self.second_look())
        if outputs.crops is not None:
            from ..outputs.crops import CropFolder

            self._crops = CropFolder(outputs.crops, self._classifiers, self.pipeline.models.detector.version, cut)

    def __enter__(self) -> DetectRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._let_go()

    def second_look(self) -> SecondLook | None:
        """The ``SecondLook`` that finds more boxes to hide, or None if nothing is hidden."""
        outputs = self.outputs
        if outputs.how is None or outputs.what is None:
            return None
        from ..drawing.second_look import SecondLook

        return SecondLook(self.pipeline.parts()[0], outputs.what, outputs.hide_confidence)

    @property
    def names(self) -> FreeNames | None:
        """The names assigned in the folder of pictures, or None if nothing is saved."""
        return None if self._folder is None else self._folder.names

    def write_live(self, result: Result) -> None:
        """Write a result to the live outputs.

        Raises:
            FacepipeError: one of them cannot be written.
        """
        outputs = self.outputs
        if outputs.live is None and outputs.live_csv is None:
            return
        if self._live is None:
            self._live = LiveOutputs(outputs.live, outputs.live_csv, self._form)
        self._live.add(result)

    @property
    def _form(self) -> RowForm:
        attributes = {name: each.attributes for name, each in self._classifiers.items()}
        return RowForm(attributes, self._video, self.outputs.save is not None)

    def _let_go(self) -> None:
        """Close everything, and keep the journal only if it has entries."""
        if self._live is not None:
            self._live.close()
        if self._folder is not None:
            self._folder.names.close()
        if self._crops is not None:
            self._crops.close()
        if self.journal is not None:
            if len(self.journal):
                self.journal.close()
            else:
                self.journal.remove()

    def to_do(self, pictures: Sequence[str], retry_failed: bool = False) -> list[str]:
        """The pictures that are not in the journal and, if requested, those that failed."""
        journal = self.journal
        if journal is None:
            return list(pictures)
        return [each for each in pictures if each not in journal or (retry_failed and journal.failed(each))]

    def pictures(self, pictures: Sequence[str], screen: DetectScreen) -> None:
        """Process pictures, as returned by :meth:`to_do`.

        Raises:
            FacepipeError: something other than a picture fails, such as a full disk; finished work stays in the
                journal.
        """
        outputs = self.outputs
        features = outputs.features is not None
        frames = self._folder is not None or self._crops is not None
        with ExitStack() as stack:
            results = stack.enter_context(closing(self.pipeline.stream(iter(pictures), features, frames)))
            for source, (result, frame) in zip(pictures, results, strict=True):
                files: dict[str, Any] = {}
                if frame is not None and self._folder is not None:
                    files["save"] = self._folder.save(frame, result)
                    if outputs.how is not None:
                        files["hidden"] = self._folder.hidden
                    result = result.model_copy(update={"saved": str(Path(outputs.save or "") / files["save"])})
                if frame is not None and self._crops is not None:
                    files["crops"] = self._crops.save(frame, result)
                if self.journal is not None:
                    self.journal.add(source, result, files)
                self.write_live(result)
                if result.warning is not None:
                    note(f"warning: {result.source}: {result.warning}", WARNING)
                screen.show(result)

    def finish(self) -> None:
        """Write every file from the journal, then delete the journal.

        Raises:
            FacepipeError: a file cannot be written; the journal stays.
        """
        journal, outputs = self.journal, self.outputs
        if journal is None:
            return
        form = self._form

        def results() -> Iterator[Any]:
            return (entry.result for entry in journal.entries())

        if outputs.json is not None:
            with self._writing(outputs.json):
                write_json(outputs.json, (entry.json for entry in journal.entries()))
        if outputs.csv is not None:
            from ..outputs.tabular import write_csv

            with self._writing(outputs.csv):
                write_csv(outputs.csv, form, results())
        if outputs.parquet is not None:
            from ..outputs.tabular import write_parquet

            with self._writing(outputs.parquet):
                write_parquet(outputs.parquet, form, results())
        if outputs.coco is not None:
            from ..outputs.coco import write_coco

            attributes = [each for found in self._classifiers.values() for each in found.attributes]
            with self._writing(outputs.coco):
                write_coco(outputs.coco, self._classes, attributes, self._note(), results)
        if self._crops is not None:
            with self._writing(self._crops.folder):
                self._crops.write_indices(journal.entries)
        if outputs.features is not None and self._widths is not None:
            from ..outputs.features import FeatureFile

            with self._writing(outputs.features), FeatureFile(outputs.features, self._widths) as rows:
                for result in results():
                    rows.add(result)
        self._review(journal)
        journal.remove()

    def _review(self, journal: Journal) -> None:
        """Report the pictures in which nothing was hidden, and list them for manual review."""
        outputs = self.outputs
        if outputs.how is None:
            return
        saved = [entry for entry in journal.entries() if "hidden" in entry.files]
        unhidden = [entry.source for entry in saved if not entry.files["hidden"]]
        if outputs.review is not None:
            listed = "".join(f"{source}\n" for source in unhidden).encode("utf-8", "surrogateescape")
            with self._writing(outputs.review):
                write_whole(outputs.review, listed)
        if unhidden:
            shown = ", ".join(unhidden[:LISTED]) + (", …" if len(unhidden) > LISTED else "")
            counts = f"{len(unhidden):,} of {len(saved):,}"
            note(f"nothing was hidden in {counts}; review them before you share them: {shown}", WARNING)

    def _note(self) -> str:
        used = self.pipeline.models
        readers = ", ".join(f"{name} {each.version}" for name, each in used.classifiers.items())
        return f"facepipe {__version__}, detector {used.detector.version}, classifier {readers}; not corrected"

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        """If a file cannot be written, say in the error that the journal is kept."""
        kept = "" if self.journal is None else f"; {self.journal.path} is kept"
        try:
            yield
        except OSError as error:
            raise FacepipeError(f"{path}: cannot be written ({error.strerror or error}){kept}") from error


def progress_text(run: DetectRun | None, done: int, total: int) -> str:
    """The message for a run that did not finish.

    Args:
        run: None if it had not started.
        done: pictures finished before.
        total: number of pictures.
    """
    journal = None if run is None else run.journal
    if journal is None or not len(journal):
        return f"interrupted: {done:,} of {total:,} pictures done"
    return (
        f"interrupted: {len(journal):,} of {total:,} pictures are done and kept in {journal.path}; run the same "
        "command with --resume to continue"
    )


def named_one_by_one(texts: Sequence[str]) -> list[str]:
    """The arguments of a command that are not folders."""
    return [text for text in texts if not os.path.isdir(text)]
