from __future__ import annotations

import pytest
from facepipe.pipeline import pixel_budget
from facepipe.pipeline.pixel_budget import PixelBudget


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> PixelBudget:
    """One of 100 pixels."""
    monkeypatch.setattr(pixel_budget, "PIXELS", 100)
    return PixelBudget()


def test_turns_go_by_number(budget: PixelBudget) -> None:
    assert not budget.admits(1, 10, first=False)
    assert budget.admits(0, 10, first=False)
    budget.settle(1)  # it needs no room
    assert not budget.admits(2, 10, first=False)
    budget.settle(0)
    assert budget.admits(2, 10, first=False)
    budget.settle(0)  # once more changes nothing
    assert budget.admits(2, 10, first=False)


def test_what_is_over_the_budget_waits_unless_it_is_first(budget: PixelBudget) -> None:
    budget.take(60)
    assert budget.left
    assert not budget.admits(0, 41, first=False)
    assert budget.admits(0, 40, first=False)
    assert budget.admits(0, 4000, first=True)
    budget.take(4000)
    assert not budget.left
    budget.give_back(4060)
    assert budget.pixels == 0
