"""Which work is done next: by whom, in what order, and that nothing is left behind."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from facepipe.pipeline import queues as module
from facepipe.pipeline.queues import PATIENCE, Classification, Detection, PixelBudget, Queues, Ticket

ALL, SHARED = "sessions with every thread", "sessions for several"


def models(batch: int = 4, shared: bool = True, device: str = "cpu") -> Any:
    """Stages whose parts are told apart by ``name``."""

    def parts(name: str) -> Any:
        classifier = SimpleNamespace(batch=batch)
        classifiers = SimpleNamespace(by_name={"face": classifier})
        return SimpleNamespace(name=name, detector=SimpleNamespace(device=device), classifiers=classifiers)

    every, several = parts(ALL), parts(SHARED) if shared else None

    class Fake:
        def parts(self) -> Any:
            return every

        def shared_parts(self, open_them: bool) -> Any:
            return several

    return Fake()


def add(queues: Queues, stages: Any, count: int = 1) -> list[Ticket]:
    """So many pictures that are read already."""
    tickets = [Ticket(b"", stages) for _ in range(count)]
    for ticket in tickets:
        queues.add(ticket)
        queues.to_read.remove(ticket)
        queues.to_detect.append(ticket)
    return tickets


def crops(queues: Queues, ticket: Ticket, count: int) -> None:
    """So many faces were found in a picture."""
    queues.add_crops(ticket, {"face": [object()] * count})  # type: ignore[list-item]


def taken(task: Detection | Classification | None) -> tuple[str, int]:
    """The sessions of a task, and how many pictures or crops it has."""
    assert task is not None
    many = task.tickets if isinstance(task, Detection) else task.crops
    return task.parts.name, len(many)  # type: ignore[attr-defined]


def all_tasks(queues: Queues) -> list[Detection | Classification]:
    """Every piece of work that there is."""
    tasks = []
    while (task := queues.next_task()) is not None:
        tasks.append(task)
    return tasks


def detected(queues: Queues, ticket: Ticket, faces: int) -> None:
    """A detector has looked at a picture."""
    queues.to_detect.remove(ticket)
    crops(queues, ticket, faces)


def test_a_picture_that_is_alone_has_every_thread() -> None:
    queues, stages = Queues(workers=2, batch=8, window=0), models()
    queues.submitted = 5  # there were others before
    (ticket,) = add(queues, stages)
    assert taken(queues.next_task()) == (ALL, 1)
    queues.busy = queues.detecting = 0
    crops(queues, ticket, 3)
    assert taken(queues.next_task()) == (ALL, 3)


@pytest.mark.parametrize(("faces", "shares"), [(4, [2, 2]), (5, [3, 2]), (8, [4, 2, 2]), (9, [4, 3, 2]), (20, None)])
def test_many_crops_of_a_picture_that_is_alone_are_shared_out(faces: int, shares: list[int] | None) -> None:
    queues, stages = Queues(workers=2, batch=8, window=0), models()
    queues.submitted = 5
    (ticket,) = add(queues, stages)
    detected(queues, ticket, faces)
    tasks = [taken(task) for task in all_tasks(queues)]
    assert {name for name, _ in tasks} == {SHARED}
    assert sum(count for _, count in tasks) == faces
    assert shares is None or [count for _, count in tasks] == shares


def test_several_pictures_share_the_threads_the_later_stage_first() -> None:
    queues, stages = Queues(workers=2, batch=8, window=0), models()
    first, second, _ = add(queues, stages, 3)
    detected(queues, first, 3)
    assert taken(queues.next_task()) == (SHARED, 1), "three crops fill no batch; there is a picture to look at"
    queues.detecting -= 1
    crops(queues, second, 2)
    task = queues.next_task()
    assert isinstance(task, Classification)
    assert taken(task) == (SHARED, 4), "of two pictures"


def test_without_sessions_for_several_one_worker_has_every_thread() -> None:
    queues, stages = Queues(workers=2, batch=8, window=0), models(shared=False)
    add(queues, stages, 2)
    assert taken(queues.next_task()) == (ALL, 1)


def test_an_accelerator_takes_pictures_of_the_same_models_together() -> None:
    queues, one, other = Queues(workers=2, batch=3, window=0), models(device="cuda"), models(device="cuda")
    for stages in (one, other, one, one, one):
        add(queues, stages)
    sizes = [len(task.tickets) for task in all_tasks(queues) if isinstance(task, Detection)]
    assert sizes == [3, 1, 1]


def test_the_window_waits_only_while_others_are_decoded() -> None:
    queues, stages = Queues(workers=2, batch=3, window=60), models(device="cuda")
    add(queues, stages)
    queues.reading = 1
    assert queues.next_task() is None
    queues.reading = 0
    assert queues.next_task() is not None


def test_crops_of_a_rare_choice_do_not_wait_for_ever() -> None:
    """Two crops fill no batch, and there is always another picture to look at."""
    queues, rare, common = Queues(workers=2, batch=8, window=0), models(), models()
    (ticket,) = add(queues, rare)
    detected(queues, ticket, 2)
    add(queues, common, 3 * PATIENCE)
    tasks = [queues.next_task() for _ in range(PATIENCE + 1)]
    assert [isinstance(task, Classification) for task in tasks] == [False] * PATIENCE + [True]
    assert isinstance(tasks[-1], Classification)
    assert tasks[-1].kind.stages is rare


def test_withdrawn_pictures_leave_nothing() -> None:
    queues, stages = Queues(workers=2, batch=8, window=0), models()
    unread = Ticket(b"", stages)
    queues.add(unread)
    ready, cut = add(queues, stages, 2)
    detected(queues, cut, 3)
    assert all(queues.withdraw(each) for each in (unread, ready, cut))
    assert queues.waiting == 0
    assert queues.next_task() is None
    (busy,) = add(queues, stages)
    assert queues.next_task() is not None
    assert not queues.withdraw(busy), "a thread is at it"


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> PixelBudget:
    """One of 100 pixels."""
    monkeypatch.setattr(module, "PIXELS", 100)
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
