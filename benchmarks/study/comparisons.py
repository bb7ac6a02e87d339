"""The questions of the study, each answered by timing several sides in turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from facepipe.classifier.inference.attributes import output_width
from facepipe.core.errors import FacepipeError
from facepipe.core.version import __version__
from facepipe.pipeline.inputs.image_reader import read_frame
from facepipe.pipeline.pipeline import Pipeline

from .bound import BareSessions, files_of, tensors_of
from .fresh import FOLDER_MB, ONE_PHOTO_MB, cold_starts, peak_memory
from .machine import this_machine
from .notebook import WAY, Notebook, missing
from .pictures import Drawn
from .report import BOUND, NOTEBOOK, PIPELINE, Comparison, Limit, Machine, Model, Report, Series, paired, quickest
from .rounds import Action, interleave
from .sample import Sample, describe
from .settings import MAIN_MP, Chosen, Extent

OF_BOUND, OF_NOTEBOOK = 0.90, 5.0
"""Minimum targets."""
BATCHES = (1, 2, 4, 8, 16, 32)
BEST = 2
"""How many ways to call the bare sessions are timed against the pipeline; the rest were slower in the trial rounds."""
TRIAL = 6
"""Pictures in the trial rounds."""
SHARES = {"main": 0.3, "notebook": 0.25, "precision": 0.1, "faces": 0.15, "size": 0.12, "batch": 0.08}
"""Share of the time per question."""
BUSY = 0.5
"""Load per core from which a machine does not count as idle."""
WHOLE = "files in, results out"
MANY_FACES, LARGE_MP = 10, 4.0
"""If each picture has more than this many faces or megapixels, a round uses half as many."""


def benchmark(chosen: Chosen, extent: Extent, command: str, log: Callable[[str], None]) -> Report:
    """Answer all questions.

    Args:
        chosen: what to measure.
        extent: how much to do.
        command: the command line, for the report.
        log: receives one-line progress messages.

    Raises:
        FacepipeError: a requested model, picture or child process does not work.
    """
    began, started = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    machine = this_machine()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="facepipe-benchmark-")))
        work = _Work(chosen, extent, folder, stack, log)
        comparisons = work.compare()
        limits = work.limits()
    return Report(
        facepipe=__version__,
        command=command,
        started=started,
        seconds=round(time.perf_counter() - began, 1),
        machine=machine,
        models=work.models,
        comparisons=comparisons,
        limits=limits,
        notes=(*busy(machine), *work.sample.notes, *work.notes),
    )


def busy(machine: Machine) -> tuple[str, ...]:
    """A note if so much else was running that even ratios suffer, since a side with more threads gets more CPU time."""
    if machine.load is None or machine.load <= BUSY * machine.cores:
        return ()
    return (
        f"the machine was busy with other work (load {machine.load:.1f} on {machine.cores} cores at the start): "
        f"absolute figures and starts are too slow, and ratios are rough; run it again on an idle machine",
    )


class _Work:
    """The questions; they share the models and the pictures."""

    def __init__(self, chosen: Chosen, extent: Extent, folder: Path, stack: ExitStack, log: Callable[[str], None]):
        self.chosen, self.extent, self.log = chosen, extent, log
        self.notes: list[str] = []
        self.pipeline = stack.enter_context(chosen.open())
        self.detector, self.classifiers = self.pipeline.parts()
        used = {"detector": self.pipeline.models.detector, **self.pipeline.models.classifiers}
        files = files_of(self.detector, self.classifiers, {name: each.sha256 for name, each in used.items()})
        self.models = {
            name: Model(version=release.label, sha256=entry.sha256, precision=entry.precision)
            for name, (release, entry) in files.items()
        }
        self.bare = BareSessions(files, self.detector, self.classifiers, chosen.device)
        stack.callback(self.bare.close)
        self.sample = Sample(chosen, extent, folder, self.detector, log)

    def compare(self) -> dict[str, tuple[Comparison, ...]]:
        """The comparisons, by question."""
        paths, label = self.sample.main()
        generated = self.chosen.folder is None
        found: dict[str, tuple[Comparison, ...]] = {}
        found["main"] = (self._against_bound(paths, label, self._seconds("main"), OF_BOUND if generated else None),)
        if (notebook := self._against_notebook(paths, label, OF_NOTEBOOK if generated else None)) is not None:
            found["notebook"] = (notebook,)
        if (precisions := self._precisions(paths, label)) is not None:
            found["precision"] = (precisions,)
        share = self._seconds("faces") / len(self.extent.faces)
        drawn = [self.sample.draw(faces, MAIN_MP) for faces in self.extent.faces]
        found["faces"] = tuple(self._against_bound(each.paths, each.label, share, drawn=each) for each in drawn)
        if (batches := self._batches(paths)) is not None:
            found["batch"] = (batches,)
        others = [self.sample.draw(1, size) for size in self.extent.sizes if size != MAIN_MP]
        share = self._seconds("size") / max(1, len(others))
        sizes = [self._against_bound(each.paths, each.label, share, drawn=each) for each in others]
        sizes += [each for each, of in zip(found["faces"], drawn, strict=True) if of.wanted == 1]
        found["size"] = tuple(sorted(sizes, key=lambda each: each.pictures.megapixels if each.pictures else 0))
        return found

    def limits(self) -> tuple[Limit, ...]:
        """Cold starts and memory, measured in fresh processes."""
        self.log(f"fresh processes, {self.extent.starts} for the start and one each for the memory")
        options, all_of_them = self.chosen.options(), self.sample.paths
        photo = all_of_them[0]
        found: list[Limit] = []
        try:
            found += cold_starts(photo, options, self.extent.starts)
            for name, pictures, wanted in (
                ("memory, one photo", [photo], ONE_PHOTO_MB),
                (f"memory, {len(all_of_them)} pictures", all_of_them, FOLDER_MB),
            ):
                if (limit := peak_memory(name, pictures, options, wanted)) is not None:
                    found.append(limit)
                else:
                    self.notes.append("peak memory is known on Linux only")
        except FacepipeError as error:  # the earlier comparisons took minutes and remain valid
            self.notes.append(f"starts and memory are incomplete: {error}")
        return tuple(found)

    def _seconds(self, question: str) -> float:
        return SHARES[question] * self.extent.seconds

    def _times(self, paths: Sequence[Path], drawn: Drawn | None = None) -> int:
        """How many times a round repeats the pictures, so that its start and end matter little."""
        heavy = drawn is not None and (drawn.wanted > MANY_FACES or drawn.width * drawn.height > LARGE_MP * 1e6)
        return -(-(self.extent.stream // 2 if heavy else self.extent.stream) // len(paths)) or 1

    def _stream(self, paths: Sequence[Path], times: int, pipeline: Pipeline | None = None) -> None:
        for result, _ in (pipeline or self.pipeline).stream(times * [*paths]):
            if result.error is not None:
                raise FacepipeError(result.error)

    def _against_bound(
        self, paths: Sequence[Path], label: str, seconds: float, wanted: float | None = None, drawn: Drawn | None = None
    ) -> Comparison:
        """The pipeline against the bare sessions, called in the fastest way for these pictures."""
        self.log(f"{label}: pipeline against the bare sessions")
        few = tensors_of(paths[:TRIAL], self.detector, self.classifiers)
        tried = self._rounds(self.bare.actions(few), seconds * 0.3, most=2)
        ways = sorted(tried, key=lambda way: min(tried[way]))[:BEST]
        tensors = tensors_of(paths, self.detector, self.classifiers)
        times = self._times(paths, drawn)
        actions = self.bare.actions(tensors, times=times)
        sides: dict[str, Action] = {
            PIPELINE: partial(self._stream, paths, times),
            **{way: actions[way] for way in ways},
        }
        timed = self._rounds(sides, seconds * 0.7)
        whole = _series(PIPELINE, WHOLE, times * len(paths), timed[PIPELINE])
        bound = quickest([_series(BOUND, way, times * len(paths), timed[way]) for way in ways])
        return Comparison(
            label=label,
            pictures=describe(paths, label, tensors.faces),
            series=(whole, bound),
            ratios=(paired(f"pipeline / bound, {label}", whole, bound, wanted),),
        )

    def _against_notebook(self, paths: Sequence[Path], label: str, wanted: float | None) -> Comparison | None:
        if self.chosen.notebook is False or (self.chosen.notebook is None and missing() is not None):
            self.notes.append(f"the notebook way was left out: {missing() or 'as asked for'}" + _extra(missing()))
            return None
        paths = paths[: self.extent.notebook]
        self.log(f"{label}: pipeline against the notebook way on {len(paths)} of them")
        found = [self.detector.detect([read_frame(path)])[0].of("face").boxes for path in paths]
        widths = {each.name: output_width(each) for one in self.classifiers.by_name.values() for each in one.attributes}
        pictures = [(path, boxes.tolist()) for path, boxes in zip(paths, found, strict=True)]
        trained = self.chosen.notebook_detector, self.chosen.notebook_classifier
        times = self._times(paths)
        sides: dict[str, Action] = {PIPELINE: partial(self._stream, paths, times)}
        with ExitStack() as stack:
            if (slower := self._float()) is not None:
                sides[f"{PIPELINE}, {slower}"] = partial(
                    self._stream, paths, times, stack.enter_context(self.chosen.open(slower))
                )
            sides[NOTEBOOK] = stack.enter_context(Notebook(pictures, widths, *trained)).seconds
            timed = self._rounds(sides, self._seconds("notebook"))
        series = {name: _series(name, WHOLE, times * len(paths), spent) for name, spent in timed.items()}
        series[NOTEBOOK] = _series(NOTEBOOK, WAY, len(paths), timed[NOTEBOOK])
        return Comparison(
            label=label,
            pictures=describe(paths, label, [len(boxes) for boxes in found]),
            series=tuple(series.values()),
            ratios=tuple(
                paired(f"{name} / {NOTEBOOK}, {label}", each, series[NOTEBOOK], wanted if name == PIPELINE else None)
                for name, each in series.items()
                if name != NOTEBOOK
            ),
            notes=_fairness(*trained, precision=self.models["detector"].precision),
        )

    def _precisions(self, paths: Sequence[Path], label: str) -> Comparison | None:
        """The pipeline in each precision for which all models have a file."""
        names = self._precision_names()
        if len(names) < 2:
            self.notes.append(
                f"precisions were not compared: the models have only {', '.join(names) or 'no common one'}"
            )
            return None
        self.log(f"{label}: {' against '.join(names)}")
        times = self._times(paths)
        with ExitStack() as stack:
            sides: dict[str, Action] = {
                name: partial(self._stream, paths, times, stack.enter_context(self.chosen.open(name))) for name in names
            }
            timed = self._rounds(sides, self._seconds("precision"))
        series = {name: _series(name, WHOLE, times * len(paths), timed[name]) for name in names}
        return Comparison(
            label=label,
            pictures=None,
            series=tuple(series.values()),
            ratios=tuple(paired(f"{names[0]} / {name}, {label}", series[names[0]], series[name]) for name in names[1:]),
        )

    def _precision_names(self) -> list[str]:
        releases = [self.detector.release, *(each.release for each in self.classifiers.by_name.values())]
        have = [[entry.precision for entry in release.manifest.files] for release in releases]
        return [name for name in have[0] if all(name in others for others in have)]

    def _float(self) -> str | None:
        """A floating-point precision that all models have, if the pipeline runs in another."""
        names = [name for name in self._precision_names() if name.startswith("float")]
        return names[0] if names and self.models["detector"].precision not in names else None

    def _batches(self, paths: Sequence[Path]) -> Comparison | None:
        """Crops per second of the first classifier's bare session, by batch size."""
        tensors = tensors_of(paths[:TRIAL], self.detector, self.classifiers)
        if not tensors.crops:
            self.notes.append("batch sizes were not compared: there are no faces")
            return None
        name, crops = next(iter(tensors.crops.items()))
        crops = np.resize(crops, (2 * BATCHES[-1], *crops.shape[1:]))
        self.log(f"batches of {', '.join(map(str, BATCHES))} crops")
        timed = self._rounds(
            {str(size): self.bare.classify(name, crops, size) for size in BATCHES}, self._seconds("batch")
        )
        series = {
            size: Series(name=size, what="all threads", unit="crops", items=len(crops), seconds=tuple(spent))
            for size, spent in timed.items()
        }
        first = series[str(BATCHES[0])]
        return Comparison(
            label=f"classifier {name}",
            pictures=None,
            series=tuple(series.values()),
            ratios=tuple(
                paired(f"{each.name} crops a call / {first.name}", each, first) for each in list(series.values())[1:]
            ),
        )

    def _rounds(self, sides: Mapping[str, Action], seconds: float, most: int | None = None) -> dict[str, list[float]]:
        extent = self.extent
        return interleave(sides, seconds, min(extent.fewest, most or extent.most), most or extent.most)


def _series(name: str, what: str, items: int, seconds: Sequence[float]) -> Series:
    return Series(name=name, what=what, unit="pictures", items=items, seconds=tuple(seconds))


def _extra(package: str | None) -> str:
    return "" if package is None else " is not installed; it comes with: pip install 'facepipe[train]'"


def _fairness(detector: Path | None, classifier: Path | None, precision: str) -> tuple[str, ...]:
    """What differs between the two sides, apart from the method."""
    return (
        f"the pipeline runs {precision} files in ONNX Runtime; the notebook way runs float32 in torch and TensorFlow",
        "its YOLOv8s has random weights and finds nothing, so its non-maximum suppression is free"
        if detector is None
        else f"its detector is {detector.name}",
        "its ResNet50 is keras.applications' with random weights and a dense layer for each attribute"
        if classifier is None
        else f"its classifier is {classifier.name}",
        "it cuts the faces at the boxes that facepipe found, so that both classify the same number of them",
        "it prints nothing, and loading both frameworks is not timed",
    )
