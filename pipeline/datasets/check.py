"""``facepipe data check`` for labelled faces: the report for the eye, the sheet and the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from ...core.errors import DataError
from ...core.issues import Finding, counts
from ..table import console, printable
from .check_tables import print_findings, tally

if TYPE_CHECKING:
    from ...classifier.data.check import FaceReport

YAML = (".yaml", ".yml")


def is_faces(data: Path) -> bool:
    """Whether ``data check`` is given labelled faces; else it is a detector's data set, whose YAML is named."""
    return data.suffix.lower() not in YAML


def check_faces(
    data: Path, schema: Path | None, sheet: Path | None, every: bool, workers: int | None, seed: int
) -> tuple[list[Finding], object]:
    """Check labelled faces, print what was found, and write the sheet.

    Returns:
        The findings, and the report as plain data for ``json.dumps``.

    Raises:
        DataError: the data or the schema cannot be read, or the sheet cannot be written.
    """
    from ...classifier.config.schema import DEFAULT, read_schema
    from ...classifier.data.check import check_faces as check
    from ...classifier.data.check_sheet import check_sheet
    from ...classifier.data.statistics import as_json
    from ...core.contact_sheet import write_sheet
    from ..progress import progress

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
    from .opening import open_stored

    return open_stored(content).frame


def labels_table(report: FaceReport) -> Table:
    """Rows of each label by split."""
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
    """Rows of each group, by age where it is known; None where no group is labelled."""
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
        return f"{read}, nothing wrong: every label is sound, every picture whole, none in two splits"
    return f"{read}: {tally(counts(report.findings))}"
