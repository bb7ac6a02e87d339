"""``facepipe weights pull | push | list --from | diff | remove | gc`` as they are typed."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from facepipe.core.errors import WeightsError
from facepipe.pipeline.cli import main
from facepipe.weights.release import split_release

from ...weights.registry.lying_server import serve


@pytest.fixture
def run(
    tmp_path: Path,
    publish_detector: Callable,
    publish_colours: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """``run("pull", ...)`` with a root that holds detectors 98.0.0 and 99.0.0 and shirt@0.1.0."""
    root = tmp_path / "weights"
    publish_detector(root, version="98.0.0")
    publish_detector(root, version="99.0.0", seed=5)
    publish_colours(root, "shirt")
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(root))
    monkeypatch.delenv("FACEPIPE_INDEX", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["weights", *arguments])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


def test_from_one_machine_to_another(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = str(tmp_path / "store")
    for model in (("detector@98.0.0",), ("detector", "99.0.0"), ("classifier", "shirt@0.1.0")):
        code, out, err = run("push", *model, "--to", store)
        assert (code, err) == (0, "")
        assert "SHA-256 of its manifest" in out
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "elsewhere"))
    with serve(tmp_path / "store") as service:
        there = ("--from", service.url, "--insecure-localhost")
        code, out, _ = run("list", *there)
        assert code == 0
        assert all(word in out for word in ("98.0.0", "99.0.0", "shirt@0.1.0", "CC0-1.0"))
        assert "yes" not in out
        code, out, _ = run("pull", "detector@98.0.0", *there)
        assert code == 0
        assert "detector 98.0.0 is installed" in out
        assert "it is used when no version is named" in out
        code, out, _ = run("pull", "detector", *there)  # the newest
        assert "detector 99.0.0 is installed" in out
        code, out, _ = run("pull", "detector@98.0.0", "--use", *there)
        assert "detector 98.0.0 is already installed and intact" in out
        assert "it is used when no version" in out
        code, out, _ = run("pull", "detector@99.0.0", *there)
        assert "detector 98.0.0 is still used when no version is named" in out
        code, out, _ = run("pull", "classifier", "shirt", *there)
        assert "classifier shirt@0.1.0 is installed" in out
        assert run("list", *there)[1].count("yes") == 3
    monkeypatch.setenv("FACEPIPE_INDEX", store)
    assert run("pull", "classifier@shirt@0.1.0")[0] == 0
    code, out, _ = run("verify")
    assert code == 0
    assert out.count("ok ") >= 3


@pytest.mark.parametrize("licence", ["\x1b]0;title\x07\x1b[2J", "\x9b2J", "CC0\rfree", "\u202eCC0"])
def test_no_control_sequence_of_a_source_reaches_the_terminal(run: Callable, tmp_path: Path, licence: str) -> None:
    store = tmp_path / "store"
    run("push", "detector@98.0.0", "--to", str(store))
    index = json.loads((store / "index.json").read_text(encoding="utf-8"))
    index["releases"][0]["licence"] = licence
    (store / "index.json").write_text(json.dumps(index), encoding="utf-8")
    for arguments in (("list",), ("pull", "detector@98.0.0")):
        code, out, err = run(*arguments, "--from", str(store))
        assert (code, out) == (2, "")
        assert "control character" in err
        assert err.endswith("\n")
        assert err[:-1].isprintable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pull", "detector@1.0.0"), "facepipe has none built in"),
        (("pull", "detector@1.0.0", "--from", "http://example.com"), "over https only"),
        (("pull", "detector@1.0.0", "--from", "https://weights.invalid", "--offline"), "--offline forbids"),
        (("pull", "detector@1.0.0", "--from", "nowhere"), "no such file"),
        (("pull", "nose@1.0.0", "--from", "x"), "name a model"),
        (("pull", "detector@1.0.0", "2.0.0", "--from", "x"), "two versions"),
        (("pull", "detector", "Hat@1.0.0", "--from", "x"), "a detector is named like small@1.0.0"),
        (("push", "detector@98.0.0"), "name a target"),
        (("push", "detector@1.2.3", "--to", "x"), "no detector 1.2.3"),
        (("remove", "detector@99.0.0"), "--force"),
        (("remove", "detector"), "name the version"),
        (("gc", "--older-than", "soon"), "an age looks like"),
        (("diff", "detector@98.0.0"), "name two versions"),
        (("diff", "detector@98.0.0", "classifier@shirt@0.1.0"), "have different tasks"),
        (("use", "detector"), "name a version"),
    ],
)
def test_wrong_usage_is_one_line(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "extra", "source"),
    [
        ("requests", "remote", "https://weights.invalid"),
        ("fsspec", "remote", "memory://store"),
        ("huggingface_hub", "hub", "hf://owner/repo"),
    ],
)
def test_a_missing_extra_is_named(
    run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str, source: str
) -> None:
    monkeypatch.setenv("FACEPIPE_WEIGHTS", str(tmp_path / "elsewhere"))
    monkeypatch.setitem(sys.modules, module, None)
    code, _, err = run("pull", "detector@98.0.0", "--from", source)
    assert code == 2
    assert err == f"error: {module} is not installed; it comes with: pip install 'facepipe[{extra}]'\n"


def test_diff(run: Callable) -> None:
    code, out, _ = run("diff", "detector@98.0.0", "detector@99.0.0")
    assert code == 0
    assert "the same in both: architecture, licence" in out
    assert "measured alike: none" in out
    assert "98.0.0 float32, 99.0.0 float32: 1 figures, every one the same" in out
    assert run("diff", "detector", "98.0.0", "99.0.0")[1] == out
    out = run("diff", "detector", "98.0.0", "99.0.0", "--all")[1]
    assert "chance" in out
    assert "0.5000" in out


def test_remove_and_gc(run: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "weights" / "detector"
    assert run("remove", "detector@98.0.0")[1].startswith("detector 98.0.0 is removed")
    code, out, _ = run("remove", "detector@99.0.0", "--force")
    assert code == 0
    assert "is used when no version is named" in out
    (folder / ".pull-1.0.0-aa" / "parts").mkdir(parents=True)
    assert "nothing to remove that is older than 1d" in run("gc")[1]
    assert "would remove" in run("gc", "--dry-run", "--older-than", "0")[1]
    assert (folder / ".pull-1.0.0-aa").is_dir()
    code, out, _ = run("gc", "--older-than", "0")
    assert out.startswith(f"removed {folder / '.pull-1.0.0-aa'}: an interrupted pull")
    assert list(folder.iterdir()) == []


def test_remove_asks_at_a_terminal(run: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    folder = tmp_path / "weights" / "detector" / "98.0.0"
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    code, out, err = run("remove", "detector@98.0.0")
    assert code == 1
    assert "removed" not in out
    assert "Remove detector 98.0.0 for good?" in err
    assert folder.is_dir()
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("remove", "detector@98.0.0")[0] == 0
    assert not folder.exists()


def test_the_libraries_are_imported_for_afar_only(run: Callable) -> None:
    program = (
        "import sys; from facepipe.pipeline.cli import main\n"
        "try:\n    main(['weights', 'list'])\nexcept SystemExit:\n    pass\n"
        "names = 'requests', 'huggingface_hub', 'fsspec', 'filelock'\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.endswith("[]\n")


def test_show_and_use_take_one_word_too(run: Callable) -> None:
    assert "98.0.0" in run("show", "detector@98.0.0")[1]
    assert "99.0.0" in run("show", "detector")[1]
    assert "detector 98.0.0 is used from now on" in run("use", "detector@98.0.0")[1]
    assert "shirt@0.1.0 is used" in run("use", "classifier@shirt@0.1.0")[1]
    assert "the newest, whichever that is" in run("use", "classifier@shirt@newest")[1]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("detector",), ("detector", None)),
        (("detector@1.0.0",), ("detector", "1.0.0")),
        (("detector", "1.0.0"), ("detector", "1.0.0")),
        (("classifier@shirt@0.1.0",), ("classifier", "shirt@0.1.0")),
        (("classifier", "shirt"), ("classifier", "shirt")),
    ],
)
def test_one_word_or_two(words: tuple[str, ...], parts: tuple[str, str | None]) -> None:
    assert split_release(*words) == parts


@pytest.mark.parametrize("words", [("",), ("@1.0.0",), ("1.0.0",), ("detectors",), ("detector@1.0.0", "1.0.0")])
def test_neither(words: tuple[str, ...]) -> None:
    with pytest.raises(WeightsError):
        split_release(*words)
