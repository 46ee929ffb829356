"""Constraints of a task in a run: what is kept, what is recorded, and what researchers read of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from inner_loop.agents import answer, worktree
from inner_loop.bench import Bench
from inner_loop.chat.notes import Notes
from inner_loop.chat.prompt import Prompts, labelled
from inner_loop.events import Experiment, Proposal
from inner_loop.run_context import ModelConfig
from programs.common.errors import TaskError
from programs.roles import Role
from tests.inner_loop.play import open_bench, play, program
from tests.trainer.limited_task import LATENCY, MEMORY, SIZE, SOFT, limited, trainer_of
from trainer.edits import Edit

QUEUE = program("proposers: {queue: 1.0}", ("Set `pad=60`.", "Set `pad=20`."))
RESEARCHER = Role("researcher", "")


def notes(bench: Bench) -> Notes:
    return Notes(QUEUE, labelled(QUEUE)[2], bench.task.edits, ())


def test_broken_hard_constraint_is_never_kept_and_is_recorded(tmp_path: Path) -> None:
    trainer = trainer_of(limited(tmp_path / "task", MEMORY + LATENCY + SOFT), fixed_steps=True)
    played = play(trainer, QUEUE, 3)
    tried = {event["config"]["PAD"]: event for event in played.experiments}
    large, small = tried[60], tried[20]
    assert (large["status"], large["metric"], large["decision"]) == ("invalid", None, "discard")
    assert large["reason"].startswith("constraint memory: ") and large["constraints"]["memory"] > 50
    assert played.decided("keep") == [small] and small["constraints"]["latency"] > 6
    assert played.result.final.source_id == small["source_id"]
    again = play(trainer, QUEUE, 3, recorded=played.events)
    assert not again.experiments and again.result.final == played.result.final
    assert Experiment.parse(large).constraints == large["constraints"]


def test_task_without_constraints_has_none_in_records_and_texts(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", "")
    bench, events = open_bench(trainer_of(task, fixed_steps=True))
    assert "constraints" not in events[0] and "constraints" not in bench.baseline.to_record()
    assert Experiment.parse(bench.baseline.to_record()).constraints is None
    system, _ = Prompts(QUEUE, task, [RESEARCHER], ModelConfig()).turn(bench, notes(bench), RESEARCHER, None)
    assert "onstraint" not in worktree.prompt(bench, QUEUE, metered=False) + system.text
    assert "constraints:" not in answer.measured(bench, bench.baseline, bench.head).text


def test_an_untouched_script_that_breaks_one_ends_the_run(tmp_path: Path) -> None:
    trainer = trainer_of(limited(tmp_path / "task", SIZE.replace("12", "9")), fixed_steps=True)
    with pytest.raises(TaskError, match="the baseline ended as invalid: constraint size: 10 lines, needed at most 9"):
        open_bench(trainer)


def test_models_and_agents_read_the_limits_and_the_values(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", MEMORY + LATENCY + SOFT)
    bench, _ = open_bench(trainer_of(task, fixed_steps=True))
    slower = bench.experiment(Proposal(Edit({"PAD": 20}), description="pad"))
    hard, soft = "- Constraint memory: peak memory of the training, at most 50 MB", "at most 6 ms (soft: recorded"
    system, turn = Prompts(QUEUE, task, [RESEARCHER], ModelConfig()).turn(bench, notes(bench), RESEARCHER, None)
    for text in (worktree.prompt(bench, QUEUE, metered=False), system.text):
        assert text.count(hard) == 1 and text.count(soft) == 1
    for text in (turn.text, answer.measured(bench, slower, bench.head).text):
        assert "(needed at most 6 ms)" in text
