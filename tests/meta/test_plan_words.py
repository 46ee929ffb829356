"""What a newcomer reads before anything is spent."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from meta.cli.plan_words import words
from meta.plan import quick
from trainer.task import Task

PLAN = {
    "task": "theirs", "runs": 90, "run_budget_s": 0.5, "experiments_per_run": 16, "experiments": 1440, "workers": 2,
    "device_seconds": 65.0, "wall_seconds": 47.0, "price": "own device", "sandbox": "sandboxed",
}  # fmt: skip


@pytest.fixture(autouse=True)
def load(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Of this machine in the last minute, as the system would tell it; of two cores."""
    now = [0.1]
    monkeypatch.setattr("os.getloadavg", lambda: (now[0], 0.0, 0.0))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    return now


def test_the_time_is_told_for_the_load_of_now_where_that_is_clearly_longer(load: list[float]) -> None:
    for load[0], more in ((0.9, ""), (4.0, " (on an idle machine; about 2m21s at the load of now)")):
        assert dict(words(PLAN))["wall time"] == f"47.0s with 2 workers{more}"


def test_the_stages_and_the_part_of_the_models_are_told() -> None:
    staff = {"researcher": "chat", "models": "openai/test", "mutation_calls": 4, "price": "not priced"}
    told = dict(words(PLAN | staff | {"plan": asdict(quick(Task.load("strokes")))}))
    assert told["stages"].startswith("an opening race of 3 programs and stock (A/A), 3 runs each; 2 generations")
    assert "of 3 new programs and 2 old ones, 3 to 5 runs each" in told["stages"]
    assert told["researcher"] == "chat: the models follow the programs and write new ones"
    assert "set the price with --set prices=openai/test=IN/OUT" in told["price"]


@pytest.mark.parametrize(
    ("staff", "clock", "who"),
    [
        ({}, "47.0s with 2 workers", None),
        (
            {"researcher": "chat", "models": "m", "usd": 1.0},
            "47.0s with 2 workers, plus the time of model calls",
            "chat",
        ),
        (
            {"researcher": "command:codex", "models": "m", "mutation_calls": 4, "mutation_usd": 1.0},
            "47.0s with 2 workers, plus the agents' own time",
            "command:codex: the agent follows the programs; the models write new ones",
        ),
        (
            {"researcher": "scripted", "models": "m", "mutation_calls": 4, "mutation_usd": 1.0},
            "47.0s with 2 workers, plus the time of model calls",
            "scripted, without a model; the models write new programs",
        ),
    ],
)  # fmt: skip
def test_time_and_roles_are_those_of_the_staff(staff: dict[str, object], clock: str, who: str | None) -> None:
    told = dict(words(PLAN | staff))
    assert told["wall time"] == clock and told.get("researcher") == who and told["price"] == "own device"
    assert told["runs"] == "90 runs, each with 0.50s of device time: about 16 experiments, 1,440 in all"


def test_runs_on_held_out_tasks_count_and_the_device_time_says_whose_it_is() -> None:
    held_out = {"runs_on_variant": 8, "runs_on_reserve": 2, "harvest_experiments": 45}
    told = dict(words(PLAN | held_out))
    assert told["runs"].startswith("100 runs, 10 of them on held-out tasks, each with 0.50s of device time: about 16")
    assert told["runs"].endswith(" 1,600 in all")
    rest = "the rest to verify results on fresh seeds and for the harvest"
    assert told["device time"] == f"1m05s in all: 50.0s charged to the runs, {rest}"
