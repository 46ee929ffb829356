"""A person's program and veto between generations: taken in once, told apart, refused where they do nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from analysis.ledger.run_state import StudyState
from analysis.ledger.writing_events import MutationEvent
from analysis.study import query
from arena.study.stop import Drained
from arena.study.study import Study
from bench.whole import resized
from bench.whole import whole_study as whole_study_of
from meta.steering import ask, steering_outcomes, take_in, waiting_requests
from meta.ui.app import study_page
from meta.ui.live import LiveStudy
from meta.ui.studies import FollowedStudy
from programs.program import Program
from programs.shelf import starter
from tests.gallery import Gallery
from tests.meta.evolved import SHORT
from tests.studies import TINY, planted
from trainer.task import Task

from .cli_study import cli, metaloop

PLAN = resized(TINY, generations=1, opening_more=2, children=2, final={"champion": 2, "control": 2, "without-ideas": 0})
whole_study = partial(whole_study_of, run_budget=SHORT)
GIVEN = Program.parse(
    "---\nmetaloop:\n  proposers: {local: 0.6, random: 0.4}\n---\n# Given\n\nLower the loss.\n", "given"
)
BRED_FROM = starter("stock")
Ask = Callable[[Path], None]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return planted(tmp_path_factory.mktemp("law") / "task")


def at_first(folder: Path, leave: Ask, every: int = 0) -> Callable[[Mapping[str, Any]], None]:
    """A progress that leaves wishes when it is first told something, and stops the study at every so manyth word."""
    told = 0

    def progress(_: Mapping[str, Any]) -> None:
        nonlocal told
        told += 1
        if told == 1:
            leave(folder)
        if every and told % every == 0:
            (folder / "stop").write_text("")

    return progress


def both(folder: Path) -> None:
    ask(folder, "program", GIVEN.text, name=GIVEN.name, because="it helped me elsewhere")
    ask(folder, "veto", BRED_FROM.program_id)


Steered = tuple[Path, Program]


@pytest.fixture(scope="module")
def steered(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Steered:
    folder = tmp_path_factory.mktemp("steered") / "study"
    return folder, whole_study(task, PLAN, 1, folder, at_first(folder, both))[0]


@pytest.fixture(scope="module")
def free(task: Task, tmp_path_factory: pytest.TempPathFactory) -> Steered:
    """The same study without wishes."""
    folder = tmp_path_factory.mktemp("free") / "study"
    return folder, whole_study(task, PLAN, 1, folder)[0]


def test_a_program_is_raced_as_a_steered_child(steered: Steered) -> None:
    """In the place of another: the device time is what was planned."""
    folder, _ = steered
    program, veto = steering_outcomes(folder, StudyState.read(folder / "ledger"))
    assert [wish.state for wish in (program, veto)] == ["accepted", "vetoed"]
    (given,) = query(
        folder,
        "SELECT p.program_id, p.name, p.text, p.parent_ids, m.reason, m.generation, count(r.run_id) AS runs "
        "FROM programs AS p JOIN runs AS r USING (program_id) JOIN mutations AS m ON m.child_id = p.program_id "
        "WHERE p.operator = 'steered' GROUP BY ALL",
    )
    assert given["program_id"] == program.child_id == GIVEN.program_id and "given" in program.outcome
    assert given["runs"] >= 2 and given["generation"] == 1
    assert given["reason"] == "program given while the study ran: given (it helped me elsewhere)"
    assert (given["name"], given["text"], given["parent_ids"]) == ("given", GIVEN.text, [])
    (written,) = query(folder, "SELECT count(*) AS n FROM mutations WHERE accepted AND generation = 1")
    assert written["n"] == PLAN.children


def test_the_window_shows_requests_and_marks_what_came_of_them(steered: Steered, tmp_path: Path) -> None:
    folder, _ = steered
    one = FollowedStudy("study", LiveStudy(folder))
    one.look()
    shown = one.page(next(key for key, match in one.study.matches.items() if match.generation == 1))
    assert [wish.state for wish in shown["requests"]] == ["accepted", "vetoed"]
    marked = {arm.program_id for arm in shown["arms"] if arm.operator == "steered"}
    assert marked == {wish.child_id for wish in shown["requests"] if wish.child_id}
    html = bytes(study_page(one, shown["match"].match_id).body).decode()
    assert html.count(", steered</td>") == 1
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    copy = FollowedStudy("copy", LiveStudy(tmp_path / "copy"))
    copy.look()
    assert len(copy.page("")["requests"]) == 2
    ask(tmp_path / "copy", "veto", GIVEN.program_id)
    assert [wish.state for wish in copy.page("")["requests"]][2:] == ["waiting"]


def test_evidence_names_the_program_that_a_person_gave(gallery: Gallery) -> None:
    page = (gallery("evolve") / "champion.evidence.md").read_text()
    assert "## Given by a person" in page and "- program `steered` (" in page


def test_nothing_descends_from_what_was_vetoed(steered: Steered, free: Steered) -> None:
    vetoed, parents = BRED_FROM.program_id, "SELECT unnest(parent_ids) AS parent FROM mutations WHERE accepted"
    assert {"parent": vetoed} in query(free[0], parents)
    bred_from = query(steered[0], parents)
    assert bred_from and {"parent": vetoed} not in bred_from and steered[1].program_id != vetoed


def test_vetoed_statement_is_in_no_later_child_or_champion(free: Steered, task: Task, tmp_path: Path) -> None:
    of_free, of_stock = ({each.directive_id for each in one.directives} for one in (free[1], starter("stock")))
    began = {row["directive_id"] for row in query(free[0], "FROM directives JOIN programs USING (program_id) "
                                                           "WHERE generation = 0")}  # fmt: skip
    own = sorted(of_free - of_stock)
    banned = next((each for each in own if each in began), own[0])
    folder = tmp_path / "study"
    champion, _ = whole_study(task, PLAN, 1, folder, at_first(folder, lambda at: ask(at, "veto", banned)))
    assert banned not in {each.directive_id for each in champion.directives}
    rows = query(folder, "SELECT list(directive_id) AS ids FROM directives JOIN programs USING (program_id) "
                         "WHERE generation > 0 AND operator IS NOT NULL GROUP BY program_id")  # fmt: skip
    assert rows and not any(banned in row["ids"] for row in rows)


def test_vetoed_statement_of_every_program_leaves_no_child(free: Steered, task: Task, tmp_path: Path) -> None:
    """All may breed then, and a list of ideas is written without, but what else a child takes over is refused."""
    began = query(free[0], "SELECT min(directive_id) AS id FROM directives JOIN programs USING (program_id) "
                           "WHERE generation = 0 AND kind IN ('item', 'paragraph') GROUP BY program_id")  # fmt: skip
    banned = {row["id"] for row in began}

    def leave(folder: Path) -> None:
        for each in sorted(banned):
            ask(folder, "veto", each)

    folder = tmp_path / "study"
    whole_study(task, PLAN, 1, folder, at_first(folder, leave))
    rows = query(folder, "SELECT directive_id FROM directives JOIN programs USING (program_id) "
                         "WHERE generation > 0 AND operator IS NOT NULL")  # fmt: skip
    assert not banned & {row["directive_id"] for row in rows}
    refused = query(folder, "SELECT reason FROM mutations WHERE NOT accepted AND reason LIKE '%veto%'")
    assert len(banned) > 2 and refused


def test_a_generation_that_was_interrupted_takes_no_later_wish(begun: Path) -> None:
    """It is written again from the same evidence, so it has to be the same."""
    proposal = MutationEvent(
        generation=1, attempt=0, child_id=None, parent_ids=(), operator="steered", accepted=False, reason="a kill"
    )
    with Study.open(begun) as study:
        study.record(proposal)
        ask(begun, "program", GIVEN.text, name="given")
        assert take_in(study, 1) == [] and len(waiting_requests(begun)) == 1
        (wish,) = take_in(study, 2)
        assert (wish.text, wish.generation) == (GIVEN.text, 2) and take_in(study, 2) == [wish]
        assert not waiting_requests(begun)


def test_duplicate_behaviour_is_refused_with_its_reason(task: Task, tmp_path: Path) -> None:
    folder, twin = tmp_path / "study", f"{starter('stock').text}\nOnce more, in other words.\n"

    def leave(at: Path) -> None:
        ask(at, "program", twin, name="stock")
        (at / "steer" / "damaged.json").write_text("{")

    whole_study(task, resized(PLAN, children=1), 1, folder, at_first(folder, leave))
    (wish,) = steering_outcomes(folder, StudyState.read(folder / "ledger"))
    assert wish.state == "refused" and wish.outcome == f"behaves like {starter('stock').program_id}"


@pytest.fixture
def begun(task: Task, tmp_path: Path) -> Path:
    """A study that was stopped in its opening race."""
    folder = tmp_path / "studies" / "begun"
    with pytest.raises(Drained):
        whole_study(task, PLAN, 1, folder, at_first(folder, lambda _: None, every=3))
    return folder


def test_the_command_leaves_a_wish_and_lists_it(begun: Path, tmp_path: Path) -> None:
    (tmp_path / "given.md").write_text(GIVEN.text)
    done = metaloop("steer", "begun", "--program", "given.md", "--because", "a hunch", cwd=tmp_path)
    assert "metaloop resume studies/begun" in done.stderr, done.stderr
    (row,) = metaloop("steer", "begun", "--json", cwd=tmp_path).json["items"]
    assert (row["what"], row["request"], row["state"], row["because"]) == ("program", "given", "waiting", "a hunch")


def test_what_could_have_no_effect_is_refused_at_once(begun: Path, tmp_path: Path) -> None:
    for args, said in (
        (("--veto", "zzz"), "no program or statement starts with"),
        (("--program", "stock"), "is in the study"),
        (("--program", "nowhere.md"), "no file"),
        (("--program", "nowhere.md", "--veto", "stock"), "give one of"),
        (("--because", "why not"), "give one of"),
    ):
        done = cli("steer", "begun", *args, cwd=tmp_path)
        assert done.returncode and said in done.stderr and not waiting_requests(begun)


def test_a_study_that_has_ended_takes_nothing(steered: Steered, tmp_path: Path) -> None:
    folder = steered[0]
    done = cli("steer", folder, "--veto", "stock", cwd=tmp_path)
    assert done.returncode and "writes no more programs" in done.stderr and not waiting_requests(folder)
    program, veto = metaloop("steer", folder, "--json", cwd=tmp_path).json["items"]
    assert [row["state"] for row in (program, veto)] == ["accepted", "vetoed"]
    assert program["request"] == "given" and veto["request"] == BRED_FROM.program_id
