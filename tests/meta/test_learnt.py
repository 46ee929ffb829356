"""A study that starts from what was learnt on other tasks: its program, its parents, what is written down."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean

import pytest

from analysis.knowledge.store import of_trials, write
from analysis.study import query
from analysis.verdict.verdict import decided
from arena.study.study import Study
from bench.simulated_tasks import random_law, simulated_task
from bench.sweep import Sweep
from bench.whole import begin_study, play_study, resized
from meta.kinds.plans import starters_of
from meta.learnt import in_words, learnt_for
from meta.population import starters
from programs.program import Program
from programs.shelf import starter
from tests.analysis.test_knowledge import with_roles
from tests.meta.cli_study import metaloop
from tests.meta.evolved import SHORT
from tests.studies import TINY
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.streams import Streams
from trainer.task import Task

PLAN = resized(
    TINY, starters=4, opening_runs=2, opening_more=2, final={"champion": 2, "control": 2, "without-ideas": 0}
)
MINE = Program.parse("# Mine\n\nBe quick.\n\n## Ideas\n\n- An idea of my own: `LADDER1=0.02`.\n", "mine")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[Task]:
    folder = tmp_path_factory.mktemp("tasks")
    return [with_roles(folder / name, random_law(5)) for name in ("swept", "also-swept", "new")]


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory, tasks: list[Task]) -> Path:
    folder = tmp_path_factory.mktemp("kb")
    for task in tasks[:2]:
        data = DataStore(task, Streams.from_seed(1), folder / "data")
        write(folder, of_trials(Sweep(Trainer(task, data)).trials(), task, kind="sweep", source=task.name))
    return folder


def test_users_program_gets_the_ideas_that_the_task_can_follow(tasks: list[Task], kb: Path) -> None:
    learnt = learnt_for(MINE, [tasks[2]], folders=[kb])
    assert learnt is not None and learnt.program.name == "mine-learnt"
    assert "Be quick." in learnt.program.text
    own, *added = learnt.program.ideas
    assert own.text == MINE.ideas[0].text and added and all("estimated to help on" in idea.text for idea in added)
    assert learnt_for(learnt.program, [tasks[2]], folders=[kb]) is None, "it has these ideas already"
    shipped = learnt_for(starter("idea-queue"), [tasks[2]], folders=[kb])
    assert shipped is not None and [one.text for one in shipped.program.ideas] == [one.text for one in added]
    assert learnt.used.families == ["also-swept", "swept"] and learnt.used.tasks == 2
    assert in_words(learnt.used, [tasks[2]]) == "2 measured tasks of also-swept, swept"
    same = in_words(learnt.used, tasks[1:])
    assert same == "2 measured tasks of also-swept, swept, among them also-swept itself"
    assert len(learnt.used.files) == 2 and all(re.fullmatch(r"effects-\w+\.parquet", n) for n in learnt.used.files)


def test_nothing_is_learnt_from_a_reserved_task(tasks: list[Task], kb: Path) -> None:
    learnt = learnt_for(MINE, [tasks[2]], [tasks[0]], [kb])
    assert learnt is not None and learnt.used.families == ["also-swept"]
    assert "nothing from" in in_words(learnt.used) and "swept" in learnt.used.without
    assert learnt_for(MINE, [tasks[2]], tasks[:2], [kb]) is None  # nothing is left


def test_a_task_without_roles_learns_nothing(tmp_path: Path, kb: Path) -> None:
    task = Task.load(simulated_task(random_law(5), tmp_path / "t"))
    assert learnt_for(MINE, [task], folders=[kb]) is None


def test_it_takes_a_place_of_the_library(tasks: list[Task], kb: Path) -> None:
    learnt = learnt_for(MINE, [tasks[2]], folders=[kb])
    assert learnt is not None
    plain, taught = starters(6, [MINE]), starters(6, [MINE], learnt.program)
    assert len(plain) == len(taught) and taught[:3] == [starter("stock"), MINE, learnt.program]
    assert learnt.program in starters(2, [MINE], learnt.program)


@pytest.mark.slow
def test_a_study_says_what_it_started_from(tasks: list[Task], kb: Path, tmp_path: Path) -> None:
    learnt = learnt_for(MINE, [tasks[2]], folders=[kb])
    assert learnt is not None
    study = begin_study(
        tmp_path / "s", tasks[2], PLAN, programs=[MINE], workers=2, seed=7, learnt=learnt, run_budget=SHORT
    )
    play_study(study)
    [row] = query(tmp_path / "s", f"FROM programs WHERE program_id = '{learnt.program.program_id}'")
    assert row["operator"] == "knowledge" and row["parent_ids"] == [MINE.program_id]
    page = (tmp_path / "s" / "champion.evidence.md").read_text()
    assert f"{learnt.program.name} has ideas learnt on 2 measured tasks of also-swept, swept" in page
    again = Study.open(tmp_path / "s").config
    assert again.knowledge == learnt.used and learnt.program in starters_of(again)


@pytest.mark.slow
def test_quick_study_is_compared_with_learnt_and_starts_without(tasks: list[Task], kb: Path, tmp_path: Path) -> None:
    learnt, plan = learnt_for(starter("idea-queue"), [tasks[2]], folders=[kb]), resized(PLAN, final={"learnt": 3})
    assert learnt is not None
    study = begin_study(tmp_path / "s", tasks[2], plan, seed=7, learnt=learnt, run_budget=SHORT)
    champion = play_study(study)
    apart = learnt.program.program_id
    ran = query(tmp_path / "s", f"SELECT role, verified_gain FROM runs WHERE program_id = '{apart}'")
    assert [row["role"] for row in ran] == ["learnt"] * 3
    assert apart not in study.state.generations[0].program_ids and study.state.programs[apart].operator == "knowledge"
    found = champion.decision.learnt
    assert found is not None and found.gain.value == pytest.approx(fmean(row["verified_gain"] for row in ran))
    assert [row.n for row in decided(champion.decision).rows if row.role == "learnt elsewhere"] == [3]
    assert starters_of(study.config)[-1] == learnt.program


def test_the_quick_plan_says_so_too(kb: Path) -> None:
    command = ["evolve", "--quick", "--dry-run", "--json"]
    for flags, role, said in (
        (("--set", "without=letters"), "compared_with_learnt", "of tabular; nothing from letters, strokes"),
        (("--set", f"knowledge={kb}"), "knowledge", "among them tasks of the family of strokes"),
        (("--set", "knowledge=none"), "", ""),
    ):
        plan = metaloop(*command, *flags).json
        assert {"compared_with_learnt", "knowledge"} & plan.keys() == {role} - {""} and said in plan.get(role, "")
        assert plan["plan"]["final"].get("learnt", 0) == 6 * (role == "compared_with_learnt")


def test_learnt_command_says_so_and_own_knowledge_joins_shipped(tmp_path: Path, kb: Path) -> None:
    file = tmp_path / "mine.md"
    command = ["improve", str(file), "-t", "strokes", "--quick", "--dry-run", "--json"]
    file.write_text(MINE.text)
    plan = metaloop(*command, "--set", f"knowledge={kb}").stdout
    assert "38 measured tasks of also-swept, letters, strokes, swept, tabular" in plan
    assert "name no `queue`" in plan  # no edit of this task
    assert "no knowledge base" in metaloop(*command, "--set", f"knowledge={tmp_path}", code=2).stderr
