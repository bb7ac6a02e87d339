"""Without the training extra each command that needs it says so in one line."""

from __future__ import annotations

import sys

import pytest
from facepipe.pipeline.cli import main


@pytest.mark.parametrize(
    "command",
    [
        ("recipes", "list"),
        ("recipes", "show", "resnet50"),
        ("train-classifier", "--data", "faces.csv"),
        ("data", "crop", "faces.csv", "--out", "crops"),
    ],
)
def test_without_yaml(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(SystemExit) as stopped:
        main(list(command))
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: PyYAML is not installed; it comes with: pip install 'facepipe[train]'\n"
