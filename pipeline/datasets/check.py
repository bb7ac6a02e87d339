"""``facepipe data check``: run the checks, print the report with findings by severity, and write the sheet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.errors import DataError, ImageError
from ...core.issues import KINDS, Finding, Severity, counts
from ...detector.data.check import CheckReport, Opened
from ...detector.data.statistics import BANDS, by_class, by_source
from ..console import console, printable
from ..inputs.image_header import read_header
from ..inputs.image_reader import read_frame

if TYPE_CHECKING:
    from ...classifier.data.check import FaceReport


YAML = (".yaml", ".yml")
STYLES = {Severity.error: "bold red", Severity.warning: "yellow", Severity.note: "cyan"}


def is_faces(data: Path) -> bool:
    """Whether ``data check`` was given labelled faces rather than the YAML of a detector's data set."""
    return data.suffix.lower() not in YAML


def check_faces(
    data: Path, schema: Path | None, sheet: Path | None, every: bool, workers: int | None, seed: int
) -> tuple[list[Finding], object]:
    """Check labelled faces, print the findings, and write the sheet.

    Args:
        data: a table or a folder.
        schema: of the attributes; None takes the shipped one.
        sheet: picture to write; None writes none.
        every: print all findings.
        workers: number of threads; None takes one per core.
        seed: of the sample on the sheet.

    Returns:
        The findings, and the report as plain data for ``json.dumps``.

    Raises:
        DataError: the data or the schema cannot be read, or the sheet cannot be written.
    """
    from ...classifier.config.schema import DEFAULT, read_schema
    from ...classifier.data.check import as_json
    from ...classifier.data.check import check_faces as check
    from ...classifier.data.check_sheet import check_sheet
    from ...core.contact_sheet import write_sheet
    from ..console import progress

    if data.is_dir() and (data / "data.yaml").is_file():
        raise DataError(f"{data}: a detector's data set; check {data / 'data.yaml'}")
    with progress("reading") as bar:
        report = check(str(data), read_schema(schema or DEFAULT), _open, workers, bar)
    to = console()
    to.print(labels_table(report))
    if (table := groups_table(report)) is not None:
        to.print(table)
    print_findings(report.findings, to, None if every else 10)
    to.print(Text(summary(report)), soft_wrap=True)
    if sheet is not None:
        write_sheet(sheet, check_sheet(report, _open, seed))
        print(f"contact sheet: {sheet}")
    return report.findings, as_json(report)


def _open(content: bytes) -> np.ndarray:

    return open_stored(content).frame


def labels_table(report: FaceReport) -> Table:
    """Number of rows per label and split."""
    from ...classifier.data.statistics import by_label, splits_of

    table = Table(title="labels", title_justify="left", title_style="bold")
    table.add_column("attribute")
    table.add_column("label")
    splits = splits_of(report.table)
    for split in splits:
        table.add_column(split or "rows", justify="right")
    before = ""
    for row in by_label(report.table):
        if before not in ("", row.attribute):
            table.add_section()
        name = Text(row.attribute if row.attribute != before else "")
        table.add_row(name, Text(row.label), *(f"{row.rows[split]:,}" if row.rows[split] else "–" for split in splits))
        before = row.attribute
    return table


def groups_table(report: FaceReport) -> Table | None:
    """Number of rows per group, by age where known; None if no group is labelled."""
    from ...classifier.data.statistics import by_group

    groups = by_group(report.table)
    if not groups:
        return None
    table = Table(title="rows by group, all splits", title_justify="left", title_style="bold")
    table.add_column("group")
    for column in groups[0].rows:
        table.add_column(Text(column), justify="right")
    for group in groups:
        cells = (f"{count:,}" if count else "–" for count in group.rows.values())
        table.add_row(Text(printable(group.group)), *cells)
    return table


def summary(report: FaceReport) -> str:
    """One line: how much was checked and what was found."""
    table = report.table
    read = f"{table.path}: {len(table):,} rows checked"
    if not report.findings:
        return f"{read}, no problems: every label is valid, every picture intact, none in two splits"
    return f"{read}: {tally(counts(report.findings))}"


def print_report(report: CheckReport, to: Console, most: int | None = 10) -> None:
    """Print a report.

    Args:
        report: from ``check_data``.
        to: the console.
        most: maximum findings to print per kind; None for all.
    """
    to.print(_sources(report))
    to.print(_classes(report))
    print_findings(report.findings, to, most)
    to.print(Text(check_summary(report)), soft_wrap=True)


def print_findings(findings: Sequence[Finding], to: Console, most: int | None = 10) -> None:
    """Print findings by kind, at most ``most`` of each.

    Args:
        findings: in print order.
        to: the console.
        most: maximum per kind; None prints all.
    """
    kinds: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        kinds[finding.kind].append(finding)
    for name, found in kinds.items():
        kind = KINDS[name]
        head = Text(f"{kind.severity}", style=STYLES[kind.severity])
        to.print(head.append(f"  {kind.title}: {len(found):,} ({name})", style="default"))
        for finding in found[:most]:
            to.print(Text(f"    {printable(finding.where)}: {printable(finding.text)}"), soft_wrap=True)
        if most is not None and len(found) > most:
            to.print(Text(f"    … and {len(found) - most:,} more (--all prints them)", style="dim"))


def tally(found: Mapping[Severity, int]) -> str:
    """Counts in words: ``2 errors, 1 warning``."""
    return ", ".join(f"{count:,} {severity}{'' if count == 1 else 's'}" for severity, count in found.items() if count)


def check_summary(report: CheckReport) -> str:
    """One line: how much was checked and what was found."""
    read = f"{report.description.yaml}: {len(report.pictures):,} pictures checked"
    if report.detector is not None:
        read += f", each seen by detector {report.detector}"
    found = counts(report.findings)
    if not report.findings:
        return f"{read}, no problems: every file is intact, every label line valid, no picture in two splits"
    return f"{read}: {tally(found)}"


def _sources(report: CheckReport) -> Table:
    classes = report.description.classes
    table = Table(title="pictures and boxes", title_justify="left", title_style="bold")
    for column in ("split", "source"):
        table.add_column(column)
    for column in ("pictures", "unreadable"):
        table.add_column(column, justify="right")
    table.add_column("labelled for")
    for name in (*classes, "no box"):
        table.add_column(Text(name), justify="right")
    table.add_column("longer side, px", justify="right")
    for row in by_source(report):
        sizes = "–" if row.sizes is None else " – ".join(f"{size:,}" for size in row.sizes)
        table.add_row(
            row.split,
            Text(printable(row.source)),
            f"{row.pictures:,}",
            f"{row.unreadable:,}" if row.unreadable else "",
            Text(", ".join(row.labelled) or "–"),
            *(f"{row.boxes[name]:,}" if name in row.labelled or row.boxes[name] else "" for name in classes),
            f"{row.empty:,}",
            sizes,
        )
    table.caption = "longer side: minimum – median – maximum"
    return table


def _classes(report: CheckReport) -> Table:
    table = Table(title="classes, and boxes by their longer side at 640 px", title_justify="left", title_style="bold")
    table.add_column("split")
    table.add_column("class")
    for column in ("labelled pictures", "with a box", "boxes", *(f"{name} px" for name, _, _ in BANDS)):
        table.add_column(column, justify="right")
    for row in by_class(report):
        table.add_row(
            row.split,
            Text(printable(row.name)),
            f"{row.labelled:,}",
            f"{row.with_boxes:,}",
            f"{row.boxes:,}",
            *(f"{row.bands[name]:,}" for name, _, _ in BANDS),
        )
    return table


def open_stored(content: bytes) -> Opened:
    """Decode a stored picture into the frame and file facts that ``data check`` needs.

    Raises:
        ImageError: not a picture, damaged, cut short or too large; the caller adds the file name to the message.
    """
    try:
        frame = read_frame(content)
    except ImageError as error:
        raise ImageError(str(error).removeprefix("bytes: ")) from error
    header = read_header(content)
    return Opened(frame, header.format, frame.shape[:2] != (header.height, header.width))
