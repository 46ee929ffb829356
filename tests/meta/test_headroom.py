"""The headroom test: what it says, what it costs, that a study resumes it and asks before it goes on without room."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from analysis.study import query
from arena.harvest import HARVEST, HarvestCandidate, Search
from arena.headroom import SIZES, HeadroomFound, measured, size_within
from arena.lock import is_taken
from arena.task_set import TaskSet
from meta.begin import take_up
from meta.cli.board import load_board
from meta.cli.evolve import GO_ON
from meta.cli.main import run
from meta.cli.output import Output
from meta.cli.status import item_of
from meta.headroom import carry_out, finished, single_changes, strongest
from programs.errors import TaskError
from programs.program import Program
from trainer.cards.check_record import CheckFinding
from trainer.edits import Edit
from trainer.laws.planted import random_law, simulated_task
from trainer.task import Task

STROKES = Task.load("strokes")
MINE = "# Mine\n\n## Ideas\n\n- Larger: `lr=0.3`.\n- Both: `momentum=0.9` `lr=0.3` `batch_size=64`.\n"


def task_with(folder: Path, gain: float, **law: float) -> Path:
    simulated_task(random_law(7, gain=gain, noise=0.005, **law), folder / "task")  # type: ignore[arg-type]
    (folder / "mine.md").write_text("# Mine\n\nChange one thing of train.py. Keep it if the loss is lower.\n")
    return folder / "task"


def improve(folder: Path, budget: str, *more: str) -> int:
    words = ["improve", str(folder / "mine.md"), "-t", str(folder / "task"), "--budget", budget, "--seed", "2"]
    return run([*words, "-s", str(folder / "study"), *more])


def result_of(first: Sequence[float | None], again: Sequence[float | None]) -> HeadroomFound:
    """On four trainings of the untouched script (1.00 to 1.03) and eight changes."""
    calls: list[Sequence[tuple[HarvestCandidate, int]]] = []

    def train(stage: str, wanted: Sequence[tuple[HarvestCandidate, int]]) -> list[float | None]:
        calls.append(wanted)
        return [1.0, 1.01, 1.02, 1.03, *first] if stage == "search" else list(again)

    edits = single_changes(STROKES, [], 8, 1)
    result = measured(STROKES, edits, SIZES[0], range(7), train)
    if len(calls) > 1:
        assert [seed for _, seed in calls[1]] == [4, 5, 6], "the best change is measured on seeds that chose nothing"
    return result


def test_a_size_is_a_tenth_of_the_budget_at_most() -> None:
    assert [size.experiments for size in SIZES] == [15, 9]
    assert size_within(150) == SIZES[0] and size_within(149.9) == SIZES[1] == size_within(90)
    assert size_within(89) is None


def test_only_the_fresh_seeds_of_the_best_change_count() -> None:
    sign = STROKES.sign
    looks = [1.0 - sign * 0.5] + [1.0 + sign * 0.2] * 7
    good = result_of(looks, [1.0 - sign * 0.3] * 3)
    assert good.room and "there is room" in good.sentence() and good.gain == pytest.approx(0.3 + sign * 0.015)
    lucky = result_of(looks, [1.0, 1.02, 1.04])
    assert not lucky.room and lucky.gain is not None and abs(lucky.gain) < 0.02
    assert lucky.noticed is not None and 0.02 < lucky.noticed < 0.1
    assert f"a gain below {lucky.noticed:.2g} would not have been noticed" in lucky.sentence()
    failed = result_of([None] * 8, [])
    assert not failed.room and "8 single changes tried, and each failed: no room" in failed.sentence()
    broken = result_of(looks, [0.5, None, 0.5])
    assert not broken.room and "failed under another seed" in broken.sentence()


def test_an_untouched_script_that_fails_is_an_error() -> None:
    with pytest.raises(TaskError, match="the unchanged script fails"):
        measured(STROKES, [Edit({"LR": 0.3})], SIZES[1], range(5), lambda _, wanted: [None] * len(wanted))


def test_changes_come_from_ideas_first_and_are_single() -> None:
    mine = Program.parse(MINE, "mine")
    chosen = single_changes(STROKES, [mine], 8, 1)
    assert len({STROKES.edits.apply(STROKES.baseline(), edit).source_id for edit in chosen}) == 8
    assert chosen == single_changes(STROKES, [mine], 8, 1) != single_changes(STROKES, [mine], 8, 2)
    assert chosen[0] == Edit({"LR": 0.3}) and all(len(edit.set) + len(edit.apply) <= 2 for edit in chosen)


def test_the_changes_that_the_last_check_measured_as_best_are_tried_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Program.parse(MINE, "mine")
    of_card = strongest(STROKES)
    assert of_card[0] in {effect["label"] for effect in STROKES.card["effects"]}, "without a check: its card"  # type: ignore
    findings = [
        CheckFinding("ok", "knob MOMENTUM", "alive", edit="momentum=0.5", gain=0.1),
        CheckFinding("ok", "knob DEPTH", "alive", edit="depth=1", gain=-0.4),
        CheckFinding("ok", "knob BATCH", "alive", edit="batch=64", gain=0.3),
    ]
    monkeypatch.setattr("trainer.cards.check_record.read", lambda _task: findings[1:2])
    assert strongest(STROKES) == of_card, "the check measured no gain"
    monkeypatch.setattr("trainer.cards.check_record.read", lambda _task: findings)
    assert strongest(STROKES) == ["batch=64", "momentum=0.5"]
    known = single_changes(STROKES, [mine, mine], 8, 1, strongest(STROKES))
    assert known[:3] == [Edit({"BATCH": 64}), Edit({"MOMENTUM": 0.5}), Edit({"LR": 0.3})] and len(known) == 8
    task_with(tmp_path, gain=0.3)
    monkeypatch.setattr("meta.begin.strongest", lambda _task: ["+gone", "x=1"])
    assert improve(tmp_path, "15s", "-y", "-q") == 0
    study, plan, _ = take_up(tmp_path / "study")
    study.look()
    assert study.config.plan["strongest"] == ["+gone", "x=1"] and finished(study, plan) is not None


def test_a_study_tests_first_within_its_budget_and_goes_on_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task_with(tmp_path, gain=0.3)
    assert improve(tmp_path, "15s", "-y") == 0
    said = capsys.readouterr().err
    assert "headroom: before the runs, 15 experiments, 10% of the device time" in said and "there is room" in said
    rows = query(
        tmp_path / "study",
        "SELECT stage, origin, stream, seed, source_id, device_seconds_charged AS s FROM harvest_experiments "
        "WHERE search = 'headroom' ORDER BY stage DESC, number",
    )
    assert [row["origin"] for row in rows] == ["untouched"] * 4 + ["single"] * 11
    assert {row["stream"] for row in rows} == {"search"} and len({row["seed"] for row in rows[:4] + rows[12:]}) == 7
    [spent] = query(
        tmp_path / "study",
        "SELECT (SELECT sum(device_seconds_charged) FROM runs) + (SELECT sum(device_seconds_charged) FROM "
        "harvest_experiments) + (SELECT sum(device_seconds_spent) FROM verifications) AS s",
    )
    assert spent["s"] <= 15.0
    study, plan, _ = take_up(tmp_path / "study")
    study.look()
    known = finished(study, plan)
    assert known is not None and known[0].room and known[0].sentence() in said
    begun = Search(TaskSet.of(study).studies[0], lambda _: [], HARVEST).trained  # type: ignore[arg-type]
    assert set(begun) == {row["source_id"] for row in rows}, "the harvest goes on from it"


def test_without_room_it_asks_at_a_terminal_and_else_says_that_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    task_with(tmp_path, gain=1e-6, interactions=0, crash_rate=0.0)
    asked, held, study = list[str](), list[bool](), tmp_path / "study"
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(click, "confirm", lambda text, **_: asked.append(text) or held.append(is_taken(study)))
    monkeypatch.setattr("meta.cli.main.Output", lambda **given: Output(**{**given, "person": True}), raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert improve(tmp_path, "15s") == 0
    said = capsys.readouterr().err
    assert held == [True] and not is_taken(study), "a follower does not take a study that asks for one that is stopped"
    assert asked == [GO_ON] and "no room could be seen" in said and "nothing else was spent" in said
    assert query(tmp_path / "study", "SELECT count(*) AS n FROM runs") == [{"n": 0}]
    item = item_of(load_board(study)[0], study)[0]
    assert (item["state"], item["seconds_left"], item["verdict"]) == ("stopped", None, None)
    assert run(["improve", "--resume", str(tmp_path / "study"), "-q"]) == 0 and len(asked) == 1
    ended = item_of(load_board(study)[0], study)[0]
    assert (ended["state"], ended["seconds_left"]) == ("finished", 0) and ended["runs_planned"] == item["runs_planned"]
    assert ended["runs_planned"] >= ended["runs_finished"] > 0 and "not shown to beat" in str(ended["verdict"])
    [row] = query(tmp_path / "study", "SELECT count(*) AS n FROM harvest_experiments WHERE search = 'headroom'")
    assert row["n"] == 15 and query(tmp_path / "study", "SELECT count(*) > 0 AS some FROM runs") == [{"some": True}]
    other = tmp_path / "other"
    other.mkdir()
    task_with(other, gain=1e-6, interactions=0, crash_rate=0.0)
    monkeypatch.setattr(click, "confirm", lambda *_, **__: run(["stop", str(other / "study")]) == 0)
    assert improve(other, "15s") == 0 and "nothing else was spent" in capsys.readouterr().err
    assert query(other / "study", "SELECT count(*) AS n FROM runs") == [{"n": 0}], "a yes does not undo the stop"
    monkeypatch.undo()
    shutil.rmtree(other / "study")
    with monkeypatch.context() as patched:  # the last training of the test ends after the request
        patched.setattr(
            "meta.headroom.carry_out", lambda study, *given: (carry_out(study, *given), study.request_stop())[0]
        )
        assert improve(other, "15s") == 0 and "nothing else was spent" in capsys.readouterr().err
    shutil.rmtree(other / "study")
    assert improve(other, "15s") == 0
    assert "going on all the same" in capsys.readouterr().err


def test_the_plan_says_why_it_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = task_with(tmp_path, gain=0.3)

    def planned(budget: str, *more: str) -> tuple[int, str]:
        assert improve(tmp_path, budget, "--dry-run", "--json", *more) == 0
        plan = json.loads(capsys.readouterr().out)
        return plan["plan"]["headroom"], plan["headroom"]

    count, why = planned("6s")
    assert count == 0 and "would take 15% of the device time" in why
    assert f"metaloop task measure {task} --headroom" in why
    assert planned("6s", "--headroom")[0] == 9
    assert planned("15s", "--no-headroom") == (0, "not tested, because of --no-headroom")
    words = ["evolve", "-t", str(task), "--budget", "15s", "--dry-run", "--json"]
    assert run(words) == 0 and "headroom" not in {k for k in json.loads(capsys.readouterr().out) if k != "plan"}


def test_a_task_is_tested_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = task_with(tmp_path, gain=0.3)
    assert run(["task", "measure", str(task), "--headroom", "--json"]) == 0
    item = json.loads(capsys.readouterr().out)
    assert item["room"] and item["low"] > 0 and item["changes"] == 8 and not (task / "card.json").exists()
