"""A benchmark's findings as rows: for the terminal, and for a Markdown page."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from .report import Comparison, Limit, Ratio, Report, Series

QUESTIONS = {
    "main": "The pipeline against the bare sessions",
    "notebook": "The pipeline against the notebook way",
    "precision": "Precisions",
    "faces": "Faces in a picture",
    "size": "Size of the pictures",
    "batch": "Crops in one call of the classifier",
}
"""In display order."""
RATIO_HEADS = ("ratio", "median", "quartiles", "rounds", "wanted", "reached")
RATE_HEADS = ("pictures", "side", "rate", "how")
LIMIT_HEADS = ("figure", "median", "from – to", "tries", "wanted", "reached")

Row = tuple[str, ...]


def ratio_rows(report: Report) -> list[Row]:
    """Every ratio once."""
    rows = [_ratio(ratio) for _, comparison in by_question(report) for ratio in comparison.ratios]
    return list(dict.fromkeys(rows))


def rate_rows(report: Report) -> list[Row]:
    """Every side's rate in absolute figures, which hold for this machine only."""
    rows = [
        (comparison.label, each.name, f"{rate(each)}/s", each.what)
        for _, comparison in by_question(report)
        for each in comparison.series
    ]
    return list(dict.fromkeys(rows))


def limit_rows(report: Report) -> list[Row]:
    """Starts and memory."""
    return [_limit(each) for each in report.limits]


def by_question(report: Report) -> Iterator[tuple[str, Comparison]]:
    """Every comparison with its question, in display order."""
    for question in QUESTIONS:
        for comparison in report.comparisons.get(question, ()):
            yield question, comparison


def tables(report: Report) -> list[Table]:
    """Three tables for the terminal: ratios, limits, and rates in absolute figures."""
    return [
        _table("Ratios of speed, in one run and in turn", RATIO_HEADS, ratio_rows(report)),
        _table("Starts and memory of fresh processes", LIMIT_HEADS, limit_rows(report)),
        _table(f"Absolute, on {machine_text(report)}", RATE_HEADS, rate_rows(report)),
    ]


def markdown(report: Report) -> str:
    """The same as Markdown: ratios, limits, rates, notes."""
    models = ", ".join(f"{name} {each.version} ({each.precision})" for name, each in report.models.items())
    parts = [
        f"`{report.command}`, facepipe {report.facepipe}, {report.started[:10]}, {report.seconds / 60:.0f} minutes, on "
        f"{machine_text(report)}; {models}.",
        _markdown(RATIO_HEADS, ratio_rows(report)),
        _markdown(LIMIT_HEADS, limit_rows(report)),
        "In absolute figures, on that machine only:",
        _markdown(RATE_HEADS, rate_rows(report)),
    ]
    notes = [*report.notes, *(note for _, comparison in by_question(report) for note in comparison.notes)]
    if notes:
        parts.append("\n".join(f"- {note}" for note in dict.fromkeys(notes)))
    return "\n\n".join(parts) + "\n"


def machine_text(report: Report) -> str:
    """CPU, cores, instruction sets and the versions that matter, in one line."""
    machine = report.machine
    features = f" ({', '.join(machine.features)})" if machine.features else ""
    busy = "" if machine.load is None else f", load {machine.load:.1f} at the start"
    return (
        f"{machine.cpu}, {machine.cores} core{'' if machine.cores == 1 else 's'}{features}, "
        f"onnxruntime {machine.packages.get('onnxruntime', '?')}, Python {machine.python}{busy}"
    )


def rate(series: Series) -> str:
    """Format a rate with three digits: ``9.3 pictures``."""
    value = series.rate
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:.{digits}f} {series.unit}"


def _ratio(ratio: Ratio) -> Row:
    low, high = ratio.spread
    digits = 3 if ratio.wanted is not None and abs(ratio.median - ratio.wanted) < 0.01 else 2  # 0.898 is not 0.90
    return (
        ratio.name,
        f"{ratio.median:.{digits}f}",
        f"{low:.2f} – {high:.2f}",
        str(len(ratio.rounds)),
        "–" if ratio.wanted is None else f"at least {ratio.wanted:.2f}",
        _yes_or_no(ratio.reached),
    )


def _limit(limit: Limit) -> Row:
    form = ".2f" if limit.unit == "s" else ".0f"
    return (
        limit.name,
        f"{limit.median:{form}} {limit.unit}",
        f"{min(limit.values):{form}} – {max(limit.values):{form}}",
        str(len(limit.values)),
        "–" if limit.wanted is None else f"at most {limit.wanted:g} {limit.unit}",
        _yes_or_no(limit.reached),
    )


def _yes_or_no(reached: bool | None) -> str:
    return "–" if reached is None else "yes" if reached else "no"


def _table(title: str, heads: Row, rows: list[Row]) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for place, head in enumerate(heads):
        table.add_column(Text(head), justify="right" if 0 < place < 4 and heads is not RATE_HEADS else "left")
    for row in rows:
        style = "red" if row[-1] == "no" else "green" if row[-1] == "yes" else None
        table.add_row(*map(Text, row), style=style)
    return table


def _markdown(heads: Row, rows: list[Row]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
