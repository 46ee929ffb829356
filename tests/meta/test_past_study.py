"""Studies that start from what others measured: from a past STUDY, and from ideas learnt on other tasks."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import fmean

import pytest

from analysis.knowledge.store import of_trials, write
from analysis.study import query
from analysis.verdict.verdict import decided
from arena.study.settings import StudyConfig
from arena.study.study import Study
from bench.simulated_tasks import random_law, simulated_task
from bench.sweep import Sweep
from bench.whole import begin_study, play_study, resized
from meta.cli.evolve import PLANNING
from meta.kinds.past_study import past_study
from meta.kinds.plans import starters_of
from meta.learnt import in_words, learnt_for
from meta.population import admit_starters, starters
from programs.common.errors import UsageError
from programs.program import Program
from programs.shelf import starter
from tests.analysis.test_knowledge import with_roles
from tests.meta.cli_study import metaloop
from tests.meta.evolved import SHORT, evolved
from tests.studies import TINY, make_study
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.streams import Streams
from trainer.task import Task

PLAN = resized(TINY, starters=2, opening_more=2, final={"champion": 2, "control": 2, "without-ideas": 0})
MINE = Program.parse("---\nmetaloop: {proposers: {random: 1}}\n---\n# Mine\n\nTry anything.\n", "mine")
SET = ("--set", "generations=0", "--set", "harvest=0", "--set", "fixed_steps=true")
SIZE = ("--quick", "-b", "0.4", *SET, "--seed", "3", "-j", "1")
OPENING = "SELECT program_id, text, operator, parent_ids FROM programs WHERE coalesce(generation, 0) = 0"

Past = tuple[Path, Task]


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    folder = tmp_path_factory.mktemp("past")
    task = with_roles(folder / "home", random_law(5))
    evolved(folder / "past", task, PLAN, programs=[MINE], seed=4)
    return folder / "past", task


@pytest.fixture(scope="module")
def new(past: Past, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("new") / "new"
    metaloop("evolve", "--from", past[0], "-s", folder, *SIZE)
    return folder


def champion_of(folder: Path) -> dict[str, str]:
    sql = "SELECT DISTINCT program_id, text FROM programs JOIN arms USING (program_id) WHERE role = 'champion'"
    [row] = query(folder, sql)
    return row


def test_the_champion_is_a_starter_and_the_effects_are_knowledge(past: Past, new: Path) -> None:
    config, champion = StudyConfig.read(new / "study.toml"), champion_of(past[0])
    opening = {row["program_id"]: row for row in query(new, OPENING)}
    assert opening[champion["program_id"]]["text"] == champion["text"]
    assert opening[champion["program_id"]]["operator"] == "past-champion"
    raced = query(new, "SELECT program_id FROM arms JOIN matches USING (match_id) WHERE purpose = 'race'")
    assert champion["program_id"] in {row["program_id"] for row in raced}
    used, known = config.from_study, config.knowledge
    assert config.task_id == past[1].task_id and used is not None and known is not None
    assert (used.folder, used.program_id, used.searched) == (str(past[0]), champion["program_id"], ["home"])
    assert known.program_id in opening and known.tasks == 37 and "home" in known.families
    assert "home" in opening[known.program_id]["text"]  # an idea names the tasks that it was estimated on
    assert used.study_id in (new / "champion.evidence.md").read_text()


def test_what_the_search_adds_is_a_program_of_its_own(past: Past, tmp_path: Path) -> None:
    before = past_study(past[0], "past")
    assert before.used.origin == MINE.program_id != before.champion.program_id and before.effects
    begin_study(tmp_path / "new", past[1], PLAN, programs=[MINE], seed=5, past=before, run_budget=SHORT)
    study = Study.open(tmp_path / "new")  # resumed, without the study before
    assert before.champion in starters_of(study.config) and study.config.from_study == before.used
    with study:
        admit_starters(study, MINE.program_id)
    [row] = query(tmp_path / "new", f"{OPENING} AND program_id = '{before.champion.program_id}'")
    assert (row["operator"], row["parent_ids"]) == ("past-champion", [MINE.program_id])


def test_it_takes_a_place_of_the_library() -> None:
    champion = Program.parse("# Champion\n\nWork.\n", "champion")
    usual, racing = starters(4, [MINE]), starters(4, [MINE], None, champion)
    assert len(racing) == len(usual) and racing[2] == champion and racing[:2] == usual[:2] and racing[-1] == usual[-1]
    assert champion in starters(1, [MINE], None, champion)
    assert starters(4, [MINE], None, starter("stock")) == usual  # it has one already


def test_what_was_searched_on_is_no_held_out_task(past: Past, new: Path, tmp_path: Path) -> None:
    heir = shutil.copytree(new, tmp_path / "heir", symlinks=True)
    config = StudyConfig.read(heir / "study.toml")
    assert config.from_study is not None
    earlier = config.from_study.model_copy(update={"searched": ["far"]})
    config.model_copy(update={"from_study": earlier}).dump(heir / "study.toml")
    far = with_roles(tmp_path / "far", random_law(6))
    with pytest.raises(UsageError, match="searched on far, which this study reserves"):
        past_study(heir, "heir").refuse_other([past[1]], [far])


def test_what_cannot_be_started_from_is_refused_in_one_line(past: Past, new: Path, tmp_path: Path) -> None:
    folder, task = past
    far = with_roles(tmp_path / "far", random_law(6))

    def refused(*words: str) -> str:
        done = metaloop("evolve", *words, "--quick", "--dry-run", code=2)
        assert len(done.stderr.removeprefix(f"{PLANNING}\n").splitlines()) == 2, done.stderr
        return done.stderr

    assert "it is a study of home, not of far" in refused("--from", str(folder), "-t", str(far.folder))
    assert "several PROGRAMs" in refused("stock", "local", "--from", str(folder))
    assert "--set knowledge=none" in refused("--set", "knowledge=none", "--from", str(folder))
    with begin_study(tmp_path / "begun", task, PLAN, seed=3) as begun:
        pass
    assert "has no champion yet" in refused("--from", str(begun.folder))
    with make_study(tmp_path / "match") as match:
        assert "match has no champion" in refused("--from", str(match.folder))
    changed = shutil.copytree(folder, tmp_path / "changed", symlinks=True)
    config = StudyConfig.read(changed / "study.toml")
    config.model_copy(update={"task_id": "t000000000000"}).dump(changed / "study.toml")
    assert "its task home has changed since" in refused("--from", str(changed))


LEARNT = resized(TINY, starters=4, opening_more=2, final={"champion": 2, "control": 2, "without-ideas": 0})
OWN = Program.parse("# Mine\n\nBe quick.\n\n## Ideas\n\n- An idea of my own: `LADDER1=0.02`.\n", "mine")


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
    learnt = learnt_for(OWN, [tasks[2]], folders=[kb])
    assert learnt is not None and learnt.program.name == "mine-learnt"
    assert "Be quick." in learnt.program.text
    own, *added = learnt.program.ideas
    assert own.text == OWN.ideas[0].text and added and all("estimated to help on" in idea.text for idea in added)
    assert learnt_for(learnt.program, [tasks[2]], folders=[kb]) is None, "it has these ideas already"
    shipped = learnt_for(starter("idea-queue"), [tasks[2]], folders=[kb])
    assert shipped is not None and [one.text for one in shipped.program.ideas] == [one.text for one in added]
    assert learnt.used.families == ["also-swept", "swept"] and learnt.used.tasks == 2
    assert in_words(learnt.used, [tasks[2]]) == "2 measured tasks of also-swept, swept"


def test_nothing_is_learnt_from_a_reserved_task(tasks: list[Task], kb: Path) -> None:
    learnt = learnt_for(OWN, [tasks[2]], [tasks[0]], [kb])
    assert learnt is not None and learnt.used.families == ["also-swept"]
    assert "nothing from" in in_words(learnt.used) and "swept" in learnt.used.without
    assert learnt_for(OWN, [tasks[2]], tasks[:2], [kb]) is None  # nothing is left


def test_a_task_without_roles_learns_nothing(tmp_path: Path, kb: Path) -> None:
    task = Task.load(simulated_task(random_law(5), tmp_path / "t"))
    assert learnt_for(OWN, [task], folders=[kb]) is None


@pytest.mark.slow
def test_quick_study_is_compared_with_learnt_and_starts_without(tasks: list[Task], kb: Path, tmp_path: Path) -> None:
    learnt = learnt_for(starter("idea-queue"), [tasks[2]], folders=[kb])
    plan = resized(LEARNT, generations=0, final={"learnt": 3})
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
    file.write_text(OWN.text)
    plan = metaloop(*command, "--set", f"knowledge={kb}").stdout
    assert "38 measured tasks of also-swept, letters, strokes, swept, tabular" in plan
    assert "name no `queue`" in plan  # no edit of this task
    assert "no knowledge base" in metaloop(*command, "--set", f"knowledge={tmp_path}", code=2).stderr
