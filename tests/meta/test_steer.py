"""A person's program and veto between generations: taken in once, told apart, refused where they do nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from analysis.ledger.run_state import StudyState
from analysis.ledger.writing_events import MutationEvent
from analysis.study import query
from arena.study.study import Study
from bench.whole import begin_study, resized, search_here
from meta.population import admit_starters
from meta.steering import ask, steering_outcomes, take_in, waiting_requests
from meta.ui.app import study_page
from meta.ui.live import LiveStudy
from meta.ui.studies import FollowedStudy
from programs.program import Program
from programs.shelf import starter
from tests.gallery import STEERED, Gallery
from tests.meta.evolved import SHORT
from tests.studies import TINY, planted
from trainer.task import Task

from .cli_study import metaloop

PLAN = resized(TINY, opening_more=2, children=2, final={"champion": 2, "control": 2, "without-ideas": 0})
BRED_FROM = starter("stock")
BRED = "FROM directives JOIN programs USING (program_id) WHERE generation > 0 AND operator IS NOT NULL"
Steered = tuple[Path, Program]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("law") / "task")


def played(folder: Path, task: Task, leave: Callable[[Path], None]) -> Steered:
    """A study and its champion; ``leave`` makes the requests before the first run."""
    study = begin_study(folder, task, PLAN, run_budget=SHORT, seed=1)
    leave(folder)
    return folder, search_here(study)[0]


@pytest.fixture(scope="module")
def steered(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Steered:
    def leave(folder: Path) -> None:
        ask(folder, "program", STEERED.text, name=STEERED.name, because="it helped me elsewhere")
        ask(folder, "veto", BRED_FROM.program_id)

    return played(tmp_path_factory.mktemp("steered") / "study", task, leave)


@pytest.fixture(scope="module")
def free(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Steered:
    """The same study, with a request that is refused."""

    def leave(folder: Path) -> None:
        ask(folder, "program", f"{BRED_FROM.text}\nOnce more, in other words.\n", name="stock")
        (folder / "steer" / "damaged.json").write_text("{")

    return played(tmp_path_factory.mktemp("free") / "study", task, leave)


def test_a_program_is_raced_as_a_steered_child(steered: Steered) -> None:
    """In the place of another: the device time is what was planned."""
    folder, _ = steered
    program, veto = steering_outcomes(folder, StudyState.read(folder / "ledger"))
    assert [wish.state for wish in (program, veto)] == ["accepted", "vetoed"]
    columns = "p.program_id, p.name, p.text, p.parent_ids, m.reason, m.generation"
    (given,) = query(
        folder,
        f"SELECT {columns}, count(r.run_id) AS runs FROM programs AS p JOIN runs AS r USING (program_id) "
        "JOIN mutations AS m ON m.child_id = p.program_id WHERE p.operator = 'steered' GROUP BY ALL",
    )
    assert given["program_id"] == program.child_id == STEERED.program_id and "steered" in program.outcome
    assert given["runs"] >= 2 and given["generation"] == 1
    assert given["reason"] == "program given while the study ran: steered (it helped me elsewhere)"
    assert (given["name"], given["text"], given["parent_ids"]) == ("steered", STEERED.text, [])
    (written,) = query(folder, "SELECT count(*) AS n FROM mutations WHERE accepted AND generation = 1")
    assert written["n"] == PLAN.children


def test_the_window_shows_requests_and_marks_what_came_of_them(steered: Steered, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(steered[0], tmp_path / "copy", symlinks=True))
    one = FollowedStudy("study", LiveStudy(folder))
    one.look()
    shown = one.page(next(key for key, match in one.study.matches.items() if match.generation == 1))
    assert [wish.state for wish in shown["requests"]] == ["accepted", "vetoed"]
    marked = {arm.program_id for arm in shown["arms"] if arm.operator == "steered"}
    assert marked == {wish.child_id for wish in shown["requests"] if wish.child_id}
    assert bytes(study_page(one, shown["match"].match_id).body).decode().count(", steered</td>") == 1
    ask(folder, "veto", STEERED.program_id)
    assert [wish.state for wish in one.page("")["requests"]][2:] == ["waiting"]


def test_evidence_names_the_program_that_a_person_gave(gallery: Gallery) -> None:
    page = (gallery("evolve") / "champion.evidence.md").read_text()
    assert "## Given by a person" in page and "- program `steered` (" in page


def test_nothing_descends_from_what_was_vetoed(steered: Steered, free: Steered) -> None:
    vetoed, parents = BRED_FROM.program_id, "SELECT unnest(parent_ids) AS parent FROM mutations WHERE accepted"
    assert {"parent": vetoed} in query(free[0], parents)
    bred_from = query(steered[0], parents)
    assert bred_from and {"parent": vetoed} not in bred_from and steered[1].program_id != vetoed


def directives(folder: Path, sql: str) -> set[str]:
    return {row["id"] for row in query(folder, sql)}


def test_vetoed_statement_of_every_program_leaves_no_child(free: Steered, task: Task, tmp_path: Path) -> None:
    """All may breed then, and a list of ideas is written without, but what else a child takes over is refused."""
    began = "SELECT min(directive_id) AS id FROM directives JOIN programs USING (program_id) WHERE generation = 0 AND"
    banned = directives(free[0], f"{began} kind IN ('item', 'paragraph') GROUP BY program_id")

    def leave(folder: Path, each: Iterable[str] = tuple(sorted(banned))) -> None:
        for one in each:
            ask(folder, "veto", one)

    folder, champion = played(tmp_path / "study", task, leave)
    assert len(banned) > 2 and banned & directives(free[0], f"SELECT directive_id AS id {BRED}")
    assert not banned & (directives(folder, f"SELECT directive_id AS id {BRED}"))
    assert champion.program_id in directives(folder, "SELECT program_id AS id FROM programs")
    assert query(folder, "SELECT reason FROM mutations WHERE NOT accepted AND reason LIKE '%veto%'")


def test_duplicate_behaviour_is_refused_with_its_reason(free: Steered) -> None:
    (wish,) = steering_outcomes(free[0], StudyState.read(free[0] / "ledger"))
    assert wish.state == "refused" and wish.outcome == f"behaves like {BRED_FROM.program_id}"


@pytest.fixture
def begun(task: Task, tmp_path: Path) -> Path:
    """A study that has its starters, and no run."""
    study = begin_study(tmp_path / "studies" / "begun", task, PLAN, run_budget=SHORT, seed=1)
    with study:
        admit_starters(study, None)
    return study.folder


def test_a_generation_that_was_interrupted_takes_no_later_wish(begun: Path) -> None:
    """It is written again from the same evidence, so it has to be the same."""
    proposal = MutationEvent(
        generation=1, attempt=0, child_id=None, parent_ids=(), operator="steered", accepted=False, reason="a kill"
    )
    with Study.open(begun) as study:
        study.record(proposal)
        ask(begun, "program", STEERED.text, name="given")
        assert take_in(study, 1) == [] and len(waiting_requests(begun)) == 1
        (wish,) = take_in(study, 2)
        assert (wish.text, wish.generation) == (STEERED.text, 2) and take_in(study, 2) == [wish]
        assert not waiting_requests(begun)


def test_the_command_leaves_a_wish_lists_it_and_refuses_others(begun: Path, steered: Steered, tmp_path: Path) -> None:
    for study, words, said in (
        (begun, "--veto zzz", "no program or statement starts with"), (begun, "--program stock", "is in the study"),
        (begun, "--program nowhere.md --veto stock", "give one of"),
        (steered[0], "--veto stock", "writes no more programs"),
    ):  # fmt: skip
        assert said in metaloop("steer", study, *words.split(), cwd=tmp_path, code=2).stderr
        assert not waiting_requests(study)
    (tmp_path / "given.md").write_text(STEERED.text)
    done = metaloop("steer", "begun", "--program", "given.md", "--because", "a hunch", cwd=tmp_path)
    assert "metaloop resume studies/begun" in done.stderr, done.stderr
    (row,) = metaloop("steer", "begun", "--json", cwd=tmp_path).json["items"]
    assert (row["what"], row["request"], row["state"], row["because"]) == ("program", "given", "waiting", "a hunch")
