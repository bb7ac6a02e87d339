"""The report of ``facepipe data check`` for the eye: tables of figures, and the findings in order of gravity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.issues import KINDS, Finding, Severity, counts
from ...detector.data.check import CheckReport
from ...detector.data.statistics import BANDS, by_class, by_source
from ..table import printable

STYLES = {Severity.error: "bold red", Severity.warning: "yellow", Severity.note: "cyan"}


def print_report(report: CheckReport, to: Console, most: int | None = 10) -> None:
    """Print a report.

    Args:
        report: from ``check_data``.
        to: the console.
        most: findings of one kind that are printed; None for all.
    """
    to.print(_sources(report))
    to.print(_classes(report))
    print_findings(report.findings, to, most)
    to.print(Text(summary(report)), soft_wrap=True)


def print_findings(findings: Sequence[Finding], to: Console, most: int | None = 10) -> None:
    """Print findings by their kind, ``most`` of each."""
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
    """``2 errors, 1 warning``."""
    return ", ".join(f"{count:,} {severity}{'' if count == 1 else 's'}" for severity, count in found.items() if count)


def summary(report: CheckReport) -> str:
    """One line: how much was checked and what was found."""
    read = f"{report.description.yaml}: {len(report.pictures):,} pictures checked"
    if report.detector is not None:
        read += f", each seen by detector {report.detector}"
    found = counts(report.findings)
    if not report.findings:
        return f"{read}, nothing wrong: every file is whole, every label line sound, no picture is in two splits"
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
    table.caption = "longer side: least – median – greatest"
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
