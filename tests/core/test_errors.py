from __future__ import annotations

from pathlib import Path

import pytest
from facepipe.core.errors import DataError, WeightsError, did_you_mean, os_errors_as


def test_what_the_system_refuses_is_an_error_of_the_wanted_kind(tmp_path: Path) -> None:
    path = tmp_path / "none"
    with (
        pytest.raises(DataError, match=r"none: cannot be read \(No such file or directory\)$") as raised,
        os_errors_as(DataError, f"{path}: cannot be read"),
    ):
        path.read_bytes()
    assert isinstance(raised.value.__cause__, FileNotFoundError)


def test_other_errors_pass() -> None:
    with pytest.raises(WeightsError, match=r"^as it was$"), os_errors_as(DataError, "cannot be read"):
        raise WeightsError("as it was")
    with os_errors_as(DataError, "cannot be read"):
        found = did_you_mean("agee", ["age", "gender"])
    assert found == "; did you mean 'age'?"
