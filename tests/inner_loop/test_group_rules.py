"""Plateaus, rotation of groups and the least gain, each seen in a run on a simulated task."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from inner_loop.behaviour import behaviour_id, effective
from programs.lint import check
from programs.program import Program
from tests.inner_loop.play import STREAMS_OF_TESTS, Event, Played, play, program, told
from tests.studies import planted
from trainer.data import DataStore
from trainer.laws.simulated import SimulatedTrainer
from trainer.task import Task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("law") / "planted", 5)


@pytest.fixture
def trainer(task: Task, tmp_path: Path) -> SimulatedTrainer:
    return SimulatedTrainer(task, DataStore(task, STREAMS_OF_TESTS, tmp_path), fixed_steps=True)


def full(task: Task) -> float:
    return task.steps * task.seconds_per_step


def run(trainer: SimulatedTrainer, text: Program, experiments: int = 40, recorded: Sequence[Event] = ()) -> Played:
    return play(trainer, text, experiments, full=full(trainer.task), recorded=recorded)


def groups(task: Task, event: Event) -> set[str]:
    names = [*event["edit"].get("set", {}), *event["edit"].get("apply", [])]
    return {knob.group for name in names if (knob := task.edits.knob(name)) is not None}


def tries(played: Played) -> list[Event]:
    decided = (row for row in played.experiments if row["decision"] in ("keep", "discard"))
    return [row for row in decided if row["number"] > 0]


def streaks(played: Played) -> list[list[Event]]:
    """The experiments after each kept one, in order."""
    out: list[list[Event]] = [[]]
    for row in tries(played):
        out[-1].append(row)
        if row["decision"] == "keep":
            out.append([])
    return out


@pytest.mark.parametrize("charter", ["rotate: true", "rotate: true\nwave: 3", "rotate: true\nproposers: {tpe: 1}"])
def test_no_group_twice_in_a_row(trainer: SimulatedTrainer, task: Task, charter: str) -> None:
    rows = tries(run(trainer, program(charter)))
    assert len(rows) > 30
    assert all(not groups(task, a) & groups(task, b) for a, b in itertools.pairwise(rows))
    assert all(row["directive_ids"] for row in rows[1:])
    rows = tries(run(trainer, program(charter.replace("rotate: true", "rotate: false"))))
    assert any(groups(task, a) & groups(task, b) for a, b in itertools.pairwise(rows))


def test_ideas_of_one_group_wait_for_their_turn(trainer: SimulatedTrainer, task: Task) -> None:
    knobs = [knob for knob in task.edits.knobs if knob.kind != "patch"]
    first = next(knob.group for knob in knobs)
    chosen = [*[k for k in knobs if k.group == first][:3], *[k for k in knobs if k.group != first][:3]]
    start = task.edits.config(task.baseline())
    ideas = [f"`{knob.name}={next(value for value in knob.values if value != start[knob.name])}`" for knob in chosen]
    rows = tries(run(trainer, program("rotate: true\nproposers: {queue: 1}", ideas), 20))
    queued = [row for row in rows if row["proposer"] == "queue"]
    assert len(queued) == 6
    assert all(not groups(task, a) & groups(task, b) for a, b in itertools.pairwise(rows))


@pytest.mark.xfail(strict=True, reason="issue 75: the setting rotate leaves")
def test_ideas_of_a_group_that_rotate_refuses_are_not_lost(trainer: SimulatedTrainer, task: Task) -> None:
    """With one group in focus there is no other one to turn to."""
    knobs = [knob for knob in task.edits.knobs if knob.kind != "patch"]
    group = max((knob.group for knob in knobs), key=[knob.group for knob in knobs].count)
    chosen, start = [knob for knob in knobs if knob.group == group][:4], task.edits.config(task.baseline())
    ideas = [f"`{knob.name}={next(value for value in knob.values if value != start[knob.name])}`" for knob in chosen]
    rows = tries(run(trainer, program(f"focus: [{group}]\nrotate: true\nproposers: {{queue: 1}}", ideas), 20))
    assert len([row for row in rows if row["proposer"] == "queue"]) == len(chosen) > 2


def test_at_a_plateau_the_group_tried_most_is_left_alone(trainer: SimulatedTrainer, task: Task) -> None:
    played = run(trainer, program("plateau: {after: 3}"), 60)
    plateaus = 0
    for streak in streaks(played):
        for end in range(3, len(streak), 3):
            stuck = [group for row in streak[end - 3 : end] for group in sorted(groups(task, row))]
            most = max(reversed(stuck), key=stuck.count)
            assert all(most not in groups(task, row) for row in streak[end : end + 3])
            plateaus += 1
    assert plateaus > 5


def test_at_a_plateau_several_settings_change_at_once(trainer: SimulatedTrainer, task: Task) -> None:
    played = run(trainer, program("plateau: {after: 4, then: several}"), 60)
    leaps = 0
    for streak in streaks(played):
        for place, row in enumerate(streak):
            leap = place > 0 and place % 4 == 0
            assert (row["proposer"] == "plateau") == leap
            changed = len(row["edit"].get("set", {})) + len(row["edit"].get("apply", []))
            assert changed == (3 if leap else 1)
            leaps += leap
    assert leaps > 3


def test_the_least_gain_to_keep(trainer: SimulatedTrainer) -> None:
    def kept(charter: str) -> list[float]:
        played = run(trainer, program(charter))
        by_number = {row["number"]: row["metric"] for row in played.experiments}
        rows = [row for row in played.decided("keep") if row["number"]]
        return [trainer.task.sign * (by_number[row["parent_number"]] - row["metric"]) for row in rows]

    assert 0 < min(kept("")) < 0.05 < min(kept("keep: {least: 0.05}"))
    assert kept("keep: {least: 100}") == []


@pytest.mark.parametrize("charter", ["rotate: true", "plateau: {after: 2, then: several}", "plateau: {after: 2}"])
def test_a_resumed_run_is_the_same(trainer: SimulatedTrainer, charter: str) -> None:
    whole = run(trainer, program(charter), 20)
    cut = [event for event in whole.events if event["kind"] in ("experiment", "decision")][:19]
    assert told(run(trainer, program(charter), 20, recorded=cut).events)[-1] == told(whole.events)[-1]


def test_programs_without_these_fields_behave_as_before(task: Task) -> None:
    stock = program()
    assert not {"rotate", "plateau"} & effective(stock.charter, task).keys()
    assert "least" not in str(effective(stock.charter, task))
    same = ("rotate: false", "plateau: {after: 0, then: several}", "keep: {least: 0.0}", "focus: [model]\nrotate: true")
    other = ("rotate: true", "plateau: {after: 3}", "plateau: {after: 3, then: several}", "keep: {least: 0.1}")
    ids = {behaviour_id(program(charter), task) for charter in (*other, "")}
    assert len(ids) == len(other) + 1
    assert behaviour_id(stock, task) == "bef8403835313"
    for charter in same[:3]:
        assert behaviour_id(program(charter), task) == behaviour_id(stock, task)
    assert behaviour_id(program(same[3]), task) == behaviour_id(program("focus: [model]"), task)


def test_lint_names_fields_without_effect() -> None:
    text = "---\nmetaloop:\n  focus: [model]\n  rotate: true\n  plateau: {then: several}\n---\nGo on.\n"
    said = {message.message for message in check(text, "p.md")}
    assert any("focus has only one group" in line for line in said)
    assert any("there is no plateau" in line for line in said)
