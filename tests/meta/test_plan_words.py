"""What a newcomer reads before anything is spent, at 80 columns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from meta.cli.plan_words import words
from tests.meta.cli_study import on_terminal

PLAN = {
    "task": "theirs", "runs": 90, "run_budget_s": 0.5, "experiments_per_run": 16, "experiments": 1440, "workers": 2,
    "device_seconds": 65.0, "wall_seconds": 47.0, "price": "own device", "sandbox": "sandboxed",
}  # fmt: skip


@pytest.mark.slow
def test_a_plan_at_a_terminal_answers_what_a_newcomer_asks(tmp_path: Path) -> None:
    (tmp_path / "program.md").write_text("# Mine\n\nLower it.\n")
    flags = ("-t", "strokes", "--quick", "-m", "openai/test", "--dry-run")
    code, shown = on_terminal("improve", "program.md", *flags, cwd=tmp_path)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert code == 0 and all(len(line.rstrip()) <= 80 for line in text.splitlines())
    said = " ".join(text.split())
    for answer in (
        "an opening race of 5 programs and stock (A/A), 4 runs each",
        "of 4 new programs and 2 old ones, 4 to 8 runs each",
        "plus the time of model calls",
        "the models follow the programs and write new ones",
        "set the price with --price openai/test=IN/OUT",
        "with 80% power",
    ):
        assert answer in said, answer
    assert "at most 8,192 tokens per reply, 5m00s timeout per attempt" in said
    assert not re.search("run_budget_s|mutation|reply_tokens|patience_s", said)


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
