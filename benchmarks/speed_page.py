"""Put the figures of the speed study into docs/speed.md.

    python benchmarks/speed_study.py --out study
    python benchmarks/speed_page.py study

The tables go between the marks in docs/speed.md, benchmark.json to docs/speed.json, the chart to
docs/pictures/speed.png.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from facepipe.core.errors import FacepipeError
from facepipe.core.files import write_whole
from pydantic import ValidationError
from study.report import Report
from study.tables import markdown

DOCS = Path(__file__).resolve().parent.parent / "docs"
MARKS = ("<!-- figures -->", "<!-- /figures -->")


def between_marks(page: str, text: str) -> str:
    """The page with the text between its marks replaced.

    Raises:
        FacepipeError: the page has no such marks.
    """
    before, found, rest = page.partition(MARKS[0])
    _, ended, after = rest.partition(MARKS[1])
    if not (found and ended):
        raise FacepipeError(f"no {MARKS[0]} … {MARKS[1]} to write the figures between")
    return f"{before}{MARKS[0]}\n{text}{MARKS[1]}{after}"


def main(
    folder: Annotated[Path, typer.Argument(help="What speed_study.py --out named.")],
    docs: Annotated[Path, typer.Option(metavar="DIR", help="Where speed.md is.")] = DOCS,
) -> None:
    """Write the page's figures."""
    try:
        content = (folder / "benchmark.json").read_bytes()
        report = Report.model_validate_json(content)
    except OSError as error:
        raise FacepipeError(f"{folder / 'benchmark.json'}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise FacepipeError(f"{folder / 'benchmark.json'}: is not a benchmark's report: {error}") from error
    page = docs / "speed.md"
    write_whole(page, between_marks(page.read_text(encoding="utf-8"), markdown(report)).encode())
    write_whole(docs / "speed.json", content)
    if (chart := folder / "benchmark.png").is_file():
        write_whole(docs / "pictures" / "speed.png", chart.read_bytes())
    print(f"{page} is written")


if __name__ == "__main__":
    try:
        typer.run(main)
    except FacepipeError as error:
        raise SystemExit(f"error: {error}") from error
