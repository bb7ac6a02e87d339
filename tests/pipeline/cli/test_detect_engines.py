"""Options that belong to one engine only."""

from __future__ import annotations

import pytest
from facepipe.pipeline.cli import app
from typer.testing import CliRunner


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["detect", *map(str, arguments)])
    error = "" if result.exception is None else str(result.exception)
    return result.exit_code, result.output + error


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--engine", "ray"], "--engine ray needs --out"),
        (["--engine", "ray", "--out", "o.parquet", "--save", "d"], "--save: not with --engine ray"),
        (["--engine", "ray", "--out", "o.parquet", "--save", "d", "--blur", "faces"], "not with --engine ray"),
        (["--engine", "ray", "--out", "o.parquet", "--every", "2"], "--every: not with --engine ray"),
        (["--engine", "ray", "--out", "o.parquet", "--json", "-"], "--json: not with --engine ray"),
        (["--out", "o.parquet"], "--out: only with --engine ray"),
        (["--address", "auto", "--actors", "2"], "--address, --actors: only with --engine ray"),
    ],
)
def test_options_of_the_other_engine(options: list[str], told: str) -> None:
    code, output = invoke("a.jpg", *options)
    assert code == 2
    assert told in " ".join(output.replace("│", " ").split())


def test_the_local_engine_says_who_reads_buckets() -> None:
    code, output = invoke("s3://bucket/a.jpg")
    assert code == 1
    assert "s3://bucket/a.jpg: is in a bucket; --engine ray reads it" in output
