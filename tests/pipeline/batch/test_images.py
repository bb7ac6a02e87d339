"""Runs over many pictures: every one is accounted for, and an interrupted run that is resumed ends as a clean one."""

from __future__ import annotations

import csv
import json
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facepipe.pipeline.cli import main
from facepipe.pipeline.console import FEW

COMMAND = [sys.executable, "-c", "from facepipe.pipeline.cli import main; main()", "detect"]
BROKEN = {"empty": b"", "text": b"once upon a time\n" * 20}


@pytest.fixture(scope="session")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 1,000 small pictures, every seventh of them broken, in folders of their own by hundreds."""
    root = tmp_path_factory.mktemp("thousand")
    random = np.random.default_rng(0)
    for number in range(1000):
        folder = root / f"{number // 100}"
        folder.mkdir(exist_ok=True)
        name = f"{'=' if number == 3 else ''}{number:03}"
        if number % 7 == 0:
            kind = list(BROKEN)[number % 2]
            (folder / f"{name}-{kind}.jpg").write_bytes(BROKEN[kind])
        else:
            coarse = random.integers(0, 256, (4, 6, 3), dtype=np.uint8)
            encoded = cv2.imencode(".jpg", cv2.resize(coarse, (96, 64), interpolation=cv2.INTER_NEAREST))[1]
            (folder / f"{name}.jpg").write_bytes(encoded.tobytes())
    (root / "notes.txt").write_text("not a picture")
    return root


@pytest.fixture
def few(thousand: Path, tmp_path: Path) -> Path:
    """Forty of these, in a folder that a test may change."""
    folder = tmp_path / "few"
    folder.mkdir()
    for path in sorted(thousand.rglob("*.jpg"))[:40]:
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def run(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """``run(source, "--csv", path, ...)`` gives the exit code, standard output and standard error of detect."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["detect", *map(str, arguments)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def interrupt_at(done: int, journal: Path, arguments: list[str], number: int) -> subprocess.CompletedProcess[bytes]:
    """Start a run, and end it by a signal as soon as its journal has so many pictures."""
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not journal.exists() or len(lines(journal)) <= done:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def outputs(folder: Path) -> list[str]:
    names = {"--json": "a.jsonl", "--csv": "a.csv", "--parquet": "a.parquet"}
    return [text for option, name in names.items() for text in (option, str(folder / name))]


def test_a_thousand_pictures_are_a_thousand_results_and_a_killed_run_ends_as_a_clean_one(
    thousand: Path, tmp_path: Path, run: Callable
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    clean, broken = tmp_path / "clean", tmp_path / "broken"
    code, out, err = run(thousand, *outputs(clean))
    assert code == 1
    assert "1,000 pictures, " in out
    assert "143 failed" in out
    assert "skipped, not named like a picture: 1 file\n" in err
    assert err.count("error: ") == FEW + 1  # the others are in the outputs
    assert sorted(path.name for path in clean.iterdir()) == ["a.csv", "a.jsonl", "a.parquet"]

    results = [json.loads(line) for line in lines(clean / "a.jsonl")]
    names = sorted(str(path) for path in thousand.rglob("*.jpg"))
    assert [result["source"] for result in results] == names
    with (clean / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_name: dict[str, list[dict[str, str]]] = {name: [] for name in names}
    for row in rows:
        by_name[row["source"]].append(row)
    for result in results:
        of = by_name[result["source"]]
        assert [row["face"] for row in of] == ([str(n) for n in range(len(result["faces"]))] or [""])
        assert all(row["error"] == (result["error"] or "") for row in of)
    assert sum(bool(row["error"]) for row in rows) == 143
    assert max(len(of) for of in by_name.values()) > 1

    # Killed twice, and the second time with a torn line.
    journal = broken / "a.jsonl.partial.jsonl"
    process = interrupt_at(100, journal, [str(thousand), *outputs(broken)], signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in broken.iterdir()] == [journal.name]  # nothing half-written
    process = interrupt_at(300, journal, [str(thousand), *outputs(broken), "--resume"], signal.SIGKILL)
    before = lines(journal)
    journal.write_bytes(b"".join(before[:-1]) + before[-1][:-30])
    code, out, err = run(thousand, *outputs(broken), "--resume")
    assert code == 1
    assert f"already done: {len(before) - 2:,} of 1,000 pictures" in err
    assert "1 torn line removed from its end" in err
    assert "1,000 pictures, " in out
    assert sorted(path.name for path in broken.iterdir()) == ["a.csv", "a.jsonl", "a.parquet"]
    for name in ("a.jsonl", "a.csv"):
        assert (broken / name).read_bytes() == (clean / name).read_bytes()
    assert parquet.read_table(broken / "a.parquet").equals(parquet.read_table(clean / "a.parquet"))
    assert parquet.read_table(clean / "a.parquet").num_rows == len(rows)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on(
    number: int, code: int, thousand: Path, tmp_path: Path, tiny_weights: Path
) -> None:
    journal = tmp_path / "a.csv.partial.jsonl"
    process = interrupt_at(20, journal, [str(thousand), "--csv", str(tmp_path / "a.csv")], number)
    assert process.returncode == code
    assert process.stdout == b""
    said = process.stderr.decode()
    kept = len(lines(journal)) - 1
    told = re.search(rf"interrupted: ([\d,]+) of 1,000 pictures are done and kept in {re.escape(str(journal))}", said)
    assert told is not None
    assert int(told[1].replace(",", "")) in (kept, kept - 1), "the one that was just being noted may not be counted"
    assert "--resume" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == [journal.name]


def test_a_run_without_files_that_is_interrupted(thousand: Path, tiny_weights: Path) -> None:
    with subprocess.Popen([*COMMAND, str(thousand)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"64" in process.stdout.readline()  # one line each, where nothing else has them
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b" of 1,000 pictures done" in err


@pytest.fixture
def half(few: Path, run: Callable, tmp_path: Path) -> Path:
    """The journal of a run over ``few`` into a.csv that came to its 20th picture."""
    assert run(few, "--json", "all.jsonl")[0] == 1
    journal = tmp_path / "a.csv.partial.jsonl"
    interrupt_at(20, journal, [str(few), "--csv", "a.csv", "--conf", "0.4"], signal.SIGKILL)
    journal.write_bytes(b"".join(lines(journal)[:21]))
    return journal


def test_a_journal_is_not_lost_and_not_mixed_with_other_settings(
    few: Path, half: Path, run: Callable, tmp_path: Path
) -> None:
    content = half.read_bytes()
    code, _, err = run(few, "--csv", "a.csv", "--conf", 0.4)
    assert code == 2
    assert "--resume continues it, --restart starts over" in err
    for wrong, said in (
        (["--conf", 0.3], "confidence was 0.4 and is now 0.3"),
        (["--conf", 0.4, "--save", "out"], "--save was not given and is now out"),
        (["--conf", 0.4, "--features", "f.npz"], "features"),
        (["--tiles"], "confidence was 0.4 and is now not given; tiles was off and is now on"),
    ):
        code, _, err = run(few, "--csv", "a.csv", "--resume", *wrong)
        assert (code, half.read_bytes()) == (2, content), wrong
        assert said in err
    code, _, err = run(
        few, "--csv", "a.csv", "--conf", 0.4, "--resume", "--json", "b.jsonl"
    )  # made at the end: may be new
    assert code == 1
    assert "already done: 20 of 40 pictures" in err
    assert not half.exists()
    assert len(lines(tmp_path / "b.jsonl")) == 40
    code, _, err = run(few, "--csv", "a.csv", "--conf", 0.4, "--resume")
    assert code == 0
    assert "already finished" in err


def test_a_journal_of_another_facepipe_is_not_gone_on_with(few: Path, half: Path, run: Callable) -> None:
    header, *others = lines(half)
    told = json.loads(header)
    assert told["settings"]["classifiers"]["face"].keys() == {"version", "sha256", "crop_sha256", "face_check"}
    told["settings"]["facepipe"] = "0.3.0"
    half.write_bytes(b"".join([json.dumps(told).encode() + b"\n", *others]))
    code, _, err = run(few, "--csv", "a.csv", "--conf", 0.4, "--resume")
    assert code == 2
    assert "facepipe was 0.3.0 and is now" in err


def test_restart_begins_anew(few: Path, half: Path, run: Callable, tmp_path: Path) -> None:
    code, out, err = run(few, "--csv", "a.csv", "--restart")
    assert code == 1
    assert "already done" not in err
    assert "40 pictures" in out
    assert not half.exists()
    for wrong in (["--restart", "--resume"], ["--retry-failed"]):
        assert run(few, "--csv", "a.csv", *wrong)[0] == 2
    assert run(few, "--resume")[0] == 2
    assert run(few, "--json", "-", "--resume")[0] == 2


def test_failed_pictures_stay_failed_unless_they_are_retried(
    few: Path, half: Path, run: Callable, tmp_path: Path
) -> None:
    content = half.read_bytes()
    good = next(path for path in few.iterdir() if "-" not in path.name)
    failed = [path for path in sorted(few.iterdir()) if "-" in path.name]
    failed[0].write_bytes(good.read_bytes())
    options = ["--csv", "a.csv", "--json", "a.jsonl", "--conf", 0.4, "--resume"]
    assert run(few, *options)[0] == 1
    results = [json.loads(line) for line in lines(tmp_path / "a.jsonl")]
    assert [result["source"] for result in results if result["error"]] == list(map(str, failed))

    half.write_bytes(content)
    assert run(few, *options, "--retry-failed")[0] == 1
    again = [json.loads(line) for line in lines(tmp_path / "a.jsonl")]
    assert [result["source"] for result in again] == [result["source"] for result in results]
    assert [result["source"] for result in again if result["error"]] == list(map(str, failed[1:]))


def test_rows_of_pictures_that_are_gone_stay(few: Path, half: Path, run: Callable, tmp_path: Path) -> None:
    first = min(few.iterdir())
    first.unlink()
    code, _, err = run(few, "--csv", "a.csv", "--conf", 0.4, "--resume")
    assert code == 1
    assert "no longer among the sources, but their rows stay: 1 picture\n" in err
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        assert len({row["source"] for row in csv.DictReader(file)}) == 40


def test_pictures_crops_and_features_come_along(few: Path, run: Callable, tmp_path: Path) -> None:
    """What is made on the way, not from the journal: no picture twice, none missing, features as of a clean run."""
    for path in list(few.iterdir())[:20]:  # of one name in two folders
        (few / "more").mkdir(exist_ok=True)
        (few / "more" / path.name).write_bytes(path.read_bytes())

    def arguments(folder: Path) -> list[str]:
        each = {"--save": "saved", "--crops": "crops", "--csv": "a.csv", "--coco": "a.json"}
        return [str(few), *(text for option, name in each.items() for text in (option, str(folder / name)))]

    assert run(*arguments(tmp_path / "clean"))[0] == 1
    journal = tmp_path / "broken" / "a.csv.partial.jsonl"
    interrupt_at(15, journal, arguments(tmp_path / "broken"), signal.SIGKILL)
    journal.write_bytes(b"".join(lines(journal)[:16]))
    assert run(*arguments(tmp_path / "broken"), "--resume")[0] == 1
    clean, broken = (
        {
            str(path.relative_to(root)): path.read_bytes().replace(str(root).encode(), b"ROOT")
            for path in root.rglob("*")
            if path.is_file()
        }
        for root in (tmp_path / "clean", tmp_path / "broken")
    )
    leftovers = {name for name in broken if name.endswith(".part")}
    dates = {"a.json"}
    assert {name: content for name, content in broken.items() if name not in leftovers | dates} == {
        name: content for name, content in clean.items() if name not in dates
    }
    assert any(name.startswith("saved/more/") for name in clean)  # of one name, in a folder of its own
    content, again = (json.loads(found["a.json"]) for found in (clean, broken))
    assert (content["images"], content["annotations"]) == (again["images"], again["annotations"])
    assert len(content["images"]) == sum("-faces" in name for name in clean)


def test_own_pictures_are_not_taken_for_sources(few: Path, run: Callable) -> None:
    for _ in range(2):
        code, out, err = run(few, "--save", few / "out", "--csv", few / "a.csv")
        assert code == 1
        assert "40 pictures, " in out
    assert "a folder that this run writes to: 34 pictures\n" in err


def test_a_full_disk_keeps_the_journal(thousand: Path, tmp_path: Path, tiny_weights: Path, run: Callable) -> None:
    """A limit on the size of files: first the journal meets it, then an output."""

    def limited(size: int) -> Callable[[], None]:
        return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    journal, target = tmp_path / "a.csv.partial.jsonl", tmp_path / "a.csv"
    command = [*COMMAND, str(thousand / "0"), "--csv", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limited(60_000))
    assert done.returncode == 2
    assert f"{journal}: cannot be written (File too large)" in done.stderr
    assert "--resume" in done.stderr
    assert lines(journal)[-1].endswith(b"}\n")  # no torn line
    assert not target.exists()
    kept = len(lines(journal)) - 1
    assert kept > 5

    main_journal = journal.read_bytes()
    code, _, err = run(thousand / "0", "--csv", target, "--resume")
    assert code == 1
    assert f"already done: {kept} of 100 pictures" in err
    size, rows = target.stat().st_size, target.read_bytes()
    target.unlink()
    journal.write_bytes(main_journal)
    # The journal may not grow either, so let it have everything, and the output be what is too large.
    done = subprocess.run(
        [*command, "--resume"], capture_output=True, text=True, check=False, preexec_fn=limited(size - 1000)
    )
    assert done.returncode == 2
    assert not target.exists()
    assert journal.exists()
    assert run(thousand / "0", "--csv", target, "--resume")[0] == 1
    assert target.read_bytes() == rows


def test_an_output_that_cannot_be_written_at_the_end_keeps_the_journal(
    few: Path, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facepipe.pipeline.outputs import tabular as csv_file

    ordinary = csv_file.write_csv

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv_file, "write_csv", full)
    (tmp_path / "a.csv").write_text("before")
    code, _, err = run(few, "--csv", "a.csv")
    assert code == 2
    assert "a.csv: cannot be written (No space left on device); a.csv.partial.jsonl is kept" in err
    assert (tmp_path / "a.csv").read_text() == "before"
    monkeypatch.setattr(csv_file, "write_csv", ordinary)
    code, out, err = run(few, "--csv", "a.csv", "--resume")
    assert code == 1
    assert "already done: 40 of 40 pictures" in err
    assert "pictures/s" not in out


def test_outputs_that_clash_are_refused_before_a_picture_is_read(few: Path, run: Callable, tmp_path: Path) -> None:
    picture = min(few.iterdir())
    for options, said in (
        (["--csv", "a", "--json", "./a"], "--json and --csv both name it"),
        (["--csv", "x", "--parquet", "y/../x"], "--csv and --parquet both name it"),
        (["--save", "d", "--crops", "d"], "both name it"),
        (["--coco", "a.json", "--json", "a.cvat-labels.json"], "--json and --coco's labels both name it"),
        (["--csv", picture], "writes a name that ends in .csv"),
        (["--features", picture], ".npz or .parquet"),
        (["--csv", few], "is a folder"),
        (["--csv", picture / "a.csv"], "cannot be written"),
        (["--blur", "faces"], "need --save"),
        (["--blur", "faces", "--pixelate", "heads", "--save", "d"], "choose one"),
    ):
        code, out, err = run(few, *options)
        assert (code, out) == (2, ""), options
        assert said in " ".join(err.replace("│", " ").split()), options
    assert not list(tmp_path.glob("*.partial.jsonl"))


def test_two_runs_do_not_write_one_journal(thousand: Path, few: Path, tmp_path: Path, run: Callable) -> None:
    journal = tmp_path / "a.csv.partial.jsonl"
    command = [*COMMAND, str(thousand), "--csv", str(tmp_path / "a.csv")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not journal.exists() or len(lines(journal)) <= 5:
                time.sleep(0.005)
            process.send_signal(signal.SIGSTOP)
            for option in ("--resume", "--restart", "--csv"):
                end = ["b.csv"] if option == "--csv" else []
                code, _, err = run(
                    few,
                    *(["--csv", "a.csv"] if not end else []),
                    *([] if end else [option]),
                    *(["--csv", "a.csv"] if end else []),
                )
                assert code == 2
                assert "another facepipe is writing it" in err
        finally:
            process.kill()


def test_sources_from_a_list(few: Path, run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(map(str, few.iterdir()))[1:5]
    (tmp_path / "list.txt").write_text("\n".join(names))
    run("--from", "list.txt", "--json", "a.jsonl", names[2])
    assert sorted(json.loads(line)["source"] for line in lines(tmp_path / "a.jsonl")) == names
    code, _, err = run("https://localhost/a.jpg")
    assert code == 2
    assert "--allow-url" in err
