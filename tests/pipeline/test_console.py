"""The bar is for a person at a terminal, on standard error alone."""

from __future__ import annotations

import io
import os
import signal
import sys

import pytest
from facepipe.pipeline import console as module
from facepipe.pipeline.console import FEW, DetectScreen, Terminated, counted, exit_code, terminable, unwrapped
from facepipe.pipeline.results import DetectorUsed, Models, Result
from pydantic import BaseModel, field_serializer
from rich.console import Console

MODELS = Models(detector=DetectorUsed(version="1.0.0", sha256="ab" * 32), classifiers={})


def result(error: str | None = None) -> Result:
    return Result(source="x.jpg", width=9, height=9, faces=(), heads=(), models=MODELS, error=error)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a person would see on standard error."""
    seen = io.StringIO()
    screen = Console(file=seen, force_terminal=True, width=100)
    real = module.console
    monkeypatch.setattr(module, "console", lambda stderr=False: screen if stderr else real())
    return seen


def test_silent_where_standard_error_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with module.progress("detect", "pictures") as update:
        update(1, 10)
    assert capsys.readouterr() == ("", "")


def test_rate_and_time_left(terminal: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    with module.progress("detect [1]", "pictures") as update:
        for done in range(1, 11):
            update(done, 10)
        print("a result")
    shown = terminal.getvalue()
    for word in ("detect [1]", "10/10", "pictures/s", "0:00:0"):
        assert word in shown
    assert capsys.readouterr() == ("a result\n", "")  # and not within the bar
    with module.progress("other") as update:
        update(1, 2)
    assert "/s" not in terminal.getvalue()[len(shown) :]


@pytest.mark.parametrize(("total", "tables", "kept", "bar"), [(FEW, True, True, False), (FEW + 1, True, True, True)])
def test_many_pictures_have_a_bar_and_few_have_tables(
    total: int, tables: bool, kept: bool, bar: bool, terminal: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = DetectScreen(total, tables, kept)
    with screen.bar(1):
        for _ in range(total - 1):
            screen.show(result())
    screen.end()
    assert (f"{total}/{total}" in terminal.getvalue()) is bar
    screen.summary(total, 0, 0)
    out, err = capsys.readouterr()
    assert out.count("no faces") == (0 if bar else total - 1)
    assert out.splitlines()[-1].startswith(f"{total} pictures, 0 faces, 0 failed; ")
    assert err == ""


def test_results_on_that_very_terminal_have_no_bar_in_them(
    terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for tables, kept in ((True, False), (False, False)):  # a line each, and JSON on standard output
        screen = DetectScreen(100, tables, kept)
        with screen.bar(0):
            screen.show(result())
        screen.end()
        assert terminal.getvalue() == ""
    assert capsys.readouterr().out.count("no faces") == 1


def test_errors_past_some_are_left_to_the_outputs(capsys: pytest.CaptureFixture[str]) -> None:
    for kept, expected in ((True, FEW + 1), (False, 50)):
        screen = DetectScreen(100, False, kept)
        for number in range(50):
            screen.show(result(f"{number}.jpg: is empty"))
        assert len(capsys.readouterr().err.splitlines()) == expected
        assert screen.failed == 50


def test_counted() -> None:
    assert [counted(number, "face") for number in (0, 1, 1200)] == ["0 faces", "1 face", "1,200 faces"]


class Interrupted(BaseModel):
    """A signal arrives while pydantic has Python code called."""

    number: int

    @field_serializer("number")
    def write(self, number: int) -> int:
        os.kill(os.getpid(), number)
        return sum(range(1000))


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_library_that_wraps_errors_hides_no_signal(number: int, code: int) -> None:
    with pytest.raises(KeyboardInterrupt) as stop, terminable():
        Interrupted(number=number).model_dump_json()
    assert exit_code(stop.value) == code
    with pytest.raises(ValueError, match="later"), unwrapped():
        raise ValueError("later")


def test_an_error_without_a_signal_stays_what_it_is() -> None:
    with pytest.raises(Terminated), terminable():
        raise Terminated
    with pytest.raises(ValueError, match="three"), terminable():
        raise ValueError("three")
