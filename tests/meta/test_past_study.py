"""`--from STUDY`: a new study whose starters include the champion of a past one, and whose knowledge its effects."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from analysis.study import query
from arena.study.settings import StudyConfig
from arena.study.study import Study
from bench.simulated_tasks import random_law
from bench.whole import begin_study, evolve_plan, play_study, resized
from meta.cli.evolve import PLANNING
from meta.kinds.past_study import past_study
from meta.kinds.plans import starters_of
from meta.population import starters
from programs.common.errors import UsageError
from programs.program import Program
from programs.shelf import starter
from tests.analysis.test_knowledge import with_roles
from tests.meta.evolved import SHORT, evolved
from tests.studies import TINY, make_study
from trainer.task import Task

from .cli_study import cli, metaloop

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
    planned = metaloop("evolve", "--from", past[0], *SIZE, "--dry-run", "--json").json
    assert "its champion, " in planned["from_study"] and "among them home itself" in planned["knowledge"]
    assert known.program_id in opening and known.tasks == 37 and "home" in known.families
    assert "home" in opening[known.program_id]["text"]  # an idea names the tasks that it was estimated on
    assert used.study_id in (new / "champion.evidence.md").read_text()


def test_what_the_search_adds_is_a_program_of_its_own(past: Past, tmp_path: Path) -> None:
    before = past_study(past[0], "past")
    assert before.used.origin == MINE.program_id != before.champion.program_id and before.effects
    small = resized(PLAN, generations=0, opening_runs=1)
    begin_study(tmp_path / "new", past[1], small, programs=[MINE], seed=5, past=before, run_budget=SHORT)
    study = Study.open(tmp_path / "new")  # resumed, without the study before
    assert before.champion in starters_of(study.config) and study.config.from_study == before.used
    play_study(study)
    [row] = query(tmp_path / "new", f"{OPENING} AND program_id = '{before.champion.program_id}'")
    assert (row["operator"], row["parent_ids"]) == ("past-champion", [MINE.program_id])
    other = Program.parse("# Other\n\nBe quick.\n", "other")
    begun = begin_study(tmp_path / "o", past[1], PLAN, programs=[other], seed=5, past=before)
    assert evolve_plan(begun).origin == other.program_id != before.used.origin


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
    begun = begin_study(tmp_path / "begun", task, PLAN, seed=3)
    with begun:
        pass
    assert "has no champion yet" in refused("--from", str(begun.folder))
    broken = shutil.copytree(folder, tmp_path / "broken", symlinks=True)
    segment = max((broken / "ledger").iterdir(), key=lambda path: path.stat().st_size)
    segment.write_bytes(segment.read_bytes()[::-1])
    assert cli("evolve", "--from", broken, "--quick", "--dry-run").returncode
    with make_study(tmp_path / "match") as match:
        assert "match has no champion" in refused("--from", str(match.folder))
    changed = shutil.copytree(folder, tmp_path / "changed", symlinks=True)
    config = StudyConfig.read(changed / "study.toml")
    config.model_copy(update={"task_id": "t000000000000"}).dump(changed / "study.toml")
    assert "its task home has changed since" in refused("--from", str(changed))
