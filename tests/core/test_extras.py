"""The one helper for optional packages."""

import re
import sys
import tomllib
from pathlib import Path

import pytest
from facepipe.core.errors import MissingExtraError
from facepipe.core.extras import EXTRAS, PACKAGES, require

ROOT = Path(__file__).resolve().parents[2]


def test_an_installed_module_is_returned() -> None:
    assert require("json.decoder") is sys.modules["json.decoder"]


@pytest.mark.parametrize(
    ("module", "extra", "message"),
    [
        ("yaml", None, "PyYAML is not installed; it comes with: pip install 'facepipe[train]'"),
        ("scipy.stats", None, "scipy is not installed; it comes with: pip install 'facepipe[train]'"),
        ("fsspec", "ray", "fsspec is not installed; it comes with: pip install 'facepipe[ray]'"),
    ],
)
def test_a_missing_one_names_the_pip_line(
    monkeypatch: pytest.MonkeyPatch, module: str, extra: str | None, message: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=re.escape(message)):
        require(module, extra)


def test_every_module_that_is_required_has_an_extra_that_pyproject_knows() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    known = {name: extra for extra, names in EXTRAS.items() for name in names}
    known |= {name: extra for name, (_, extra) in PACKAGES.items()}
    assert set(known.values()) <= set(extras)
    required = {
        found[1].partition(".")[0]
        for folder in ("core", "weights", "detector", "classifier", "pipeline")
        for path in (ROOT / folder).rglob("*.py")
        for found in re.finditer(r'\brequire\("([\w.]+)"\)', path.read_text(encoding="utf-8"))
    }
    assert len(required) > 10
    assert required <= set(known)


def test_nothing_else_in_the_package_turns_a_missing_package_into_that_error() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for folder in ("core", "weights", "detector", "classifier", "pipeline")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"raise MissingExtraError\(", path.read_text(encoding="utf-8"))
    }
    assert users <= {"core/extras.py", "weights/registry/sources.py", "pipeline/benchmark/notebook.py"}
