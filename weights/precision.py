"""Which of a release's files runs: the one asked for, or the quickest on the device that loses too little to matter."""

from __future__ import annotations

from ..core.cpu import has_vnni
from ..core.errors import WeightsError
from .manifest import FileEntry
from .metrics import losses
from .release import Release

AUTO = "auto"
PRECISIONS = ("int8", "float16", "float32")
SHORT = {"fp16": "float16", "fp32": "float32"}
"""Other names of precisions."""


def choose_file(release: Release, precision: str | None = AUTO, device: str = "cpu") -> FileEntry:
    """The file of a release to run.

    Args:
        release: the release.
        precision: ``int8``, ``float16`` (or ``fp16``), ``float32`` (``fp32``); None for the manifest's first file; or
            ``auto``. That is the int8 file on a processor that has instructions for it (:func:`has_vnni`), if the
            manifest's figures show that it loses no more against the float file than ``figures.RULES`` allows; on
            another processor or an accelerator the first float file; where the processor does not tell what it can,
            the manifest's first file. A release with one file has no choice.
        device: as for ``weights.session.open_session``.

    Raises:
        WeightsError: no such precision, or the release has no file in it; the message names those it has.
    """
    if precision is None:
        return release.entry()
    if precision != AUTO:
        wanted = SHORT.get(precision, precision)
        if wanted not in PRECISIONS:
            raise WeightsError(f"no precision {precision!r}; there are: {', '.join((AUTO, *PRECISIONS))}")
        return release.entry(wanted)
    files = release.manifest.files
    floats = [entry for entry in files if entry.precision != "int8"]
    small = next((entry for entry in files if entry.precision == "int8"), None)
    if small is None or not floats:
        return files[0]
    if device.partition(":")[0] != "cpu":
        return floats[0]
    quick = has_vnni()
    if quick is None:
        return files[0]
    return small if quick and within_bounds(release, small) else floats[0]


def within_bounds(release: Release, small: FileEntry) -> bool:
    """Whether the manifest's figures show that a smaller file loses no more than it may; unmeasured is no."""
    try:
        found = [loss for loss in losses(release.manifest) if loss.small == small]
    except WeightsError:  # not measured, or not on the same rows
        return False
    return any(loss.judged for loss in found) and not any(loss.too_great for loss in found)
