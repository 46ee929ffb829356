"""A person's idea, program and veto between generations: taken in once, told apart, refused where they do nothing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from analysis.ledger.run_state import StudyState
from analysis.ledger.writing_events import MutationEvent
from analysis.study import query
from analysis.wording import many
from arena.drain import Drained
from bench.whole import whole_study
from meta.begin import create, take_up
from meta.evolve import evolve
from meta.steering import ask, take_in, waiting, wishes, with_idea
from meta.window.app import page
from meta.window.studies import FollowedStudy
from programs.program import Program
from programs.shelf import starter
from tests.inner_loop.play import BLOBS
from tests.studies import TINY, planted
from trainer.task import Task

from .cli_study import cli

PLAN = replace(TINY, run_budget=0.8, generations=2, confirm_runs=2, ablation_runs=0, opening_more=2, children=3)
IDEA = "Try `LADDER1=0.5`."
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


def three(folder: Path) -> None:
    ask(folder, "idea", IDEA, because="it helped me elsewhere")
    ask(folder, "program", GIVEN.text, name=GIVEN.name)
    ask(folder, "veto", BRED_FROM.program_id)


@pytest.fixture(scope="module")
def steered(task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Program]:
    folder = tmp_path_factory.mktemp("steered") / "study"
    return folder, whole_study(task, PLAN, 1, folder, at_first(folder, three))[0]


@pytest.fixture(scope="module")
def free(task: Task, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Program]:
    """The same study without wishes."""
    folder = tmp_path_factory.mktemp("free") / "study"
    return folder, whole_study(task, PLAN, 1, folder)[0]


def test_an_idea_and_a_program_are_raced_as_steered_children(steered: tuple[Path, Program]) -> None:
    folder, _ = steered
    idea, program, veto = wishes(folder, StudyState.read(folder / "ledger"))
    assert [one.state for one in (idea, program, veto)] == ["accepted", "accepted", "vetoed"]
    rows = query(
        folder,
        "SELECT p.program_id, p.name, p.text, p.operator, p.parent_ids, count(r.run_id) AS runs FROM programs AS p "
        "JOIN runs AS r USING (program_id) WHERE operator = 'steered' GROUP BY ALL",
    )
    by_id = {row["program_id"]: row for row in rows}
    assert set(by_id) == {idea.child_id, program.child_id} and all(row["runs"] >= 2 for row in rows)
    child = by_id[str(idea.child_id)]
    gains = [row["verified_gain"] for row in query(folder, "FROM runs WHERE score_stream = 'selection'")
             if row["program_id"] == idea.child_id]  # fmt: skip
    before, _, size = idea.outcome.partition(": gain ")
    assert before == f"raced in generation 1 as {child['name']}", idea.outcome
    assert float(size.split()[0]) == pytest.approx(fmean(gains), abs=0.01)
    assert f" ({many(len(gains), 'run')})" in idea.outcome and BRED_FROM.name in veto.outcome
    parent = child["parent_ids"][0]
    (both,) = query(
        folder,
        "SELECT avg(a.verified_gain - b.verified_gain) AS mean, count(*) AS n FROM runs AS a JOIN runs AS b "
        f"USING (match_id, run_seed) WHERE a.program_id = '{idea.child_id}' AND b.program_id = '{parent}' "
        "AND a.score_stream = 'selection'",
    )
    over = re.search(r"; on the (\d+) seeds? that both ran (\S+) \S+ .*over its parent ", idea.outcome)
    assert over and int(over[1]) == both["n"] and float(over[2]) == pytest.approx(both["mean"], abs=0.01)
    assert "over its parent" not in program.outcome
    state = StudyState.read(folder / "ledger")
    for key, match in list(state.matches.items()):
        state.matches[key] = replace(match, purpose="ablation")
    assert "gain" not in next(iter(wishes(folder, state))).outcome  # runs that chose no program
    assert IDEA in by_id[str(idea.child_id)]["text"] and len(by_id[str(idea.child_id)]["parent_ids"]) == 1
    given = by_id[GIVEN.program_id]
    assert (given["name"], given["text"], given["parent_ids"]) == ("given", GIVEN.text, [])
    (said,) = (row["reason"] for row in query(folder, "FROM mutations") if row["child_id"] == idea.child_id)
    assert said == f"idea given while the study ran: {IDEA} (it helped me elsewhere)"


def test_the_window_shows_requests_and_marks_what_came_of_them(steered: tuple[Path, Program], tmp_path: Path) -> None:
    folder, _ = steered
    one = FollowedStudy.of("study", folder)
    one.look()
    shown = one.page(next(key for key, match in one.study.matches.items() if match.generation == 1))
    assert [wish.state for wish in shown["requests"]] == ["accepted", "accepted", "vetoed"]
    marked = {arm["program_id"] for arm in shown["arms"] if arm["operator"] == "steered"}
    assert marked == {wish.child_id for wish in shown["requests"] if wish.child_id}
    html = page("study", one=one, item=one.item(), **shown).body.decode()
    assert html.count(", steered</td>") == 2 and "over its parent" in html
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    copy = FollowedStudy.of("copy", tmp_path / "copy")
    copy.look()
    assert len(copy.page("")["requests"]) == 3
    ask(tmp_path / "copy", "idea", "Try `LADDER1=0.7`.")
    assert [wish.state for wish in copy.page("")["requests"]][3:] == ["waiting"]


def test_steered_children_take_the_place_of_others(steered: tuple[Path, Program]) -> None:
    """The device time is what was planned."""
    (counts,) = query(
        steered[0],
        "SELECT count(*) AS n, count(*) FILTER (operator = 'steered') AS steered FROM mutations "
        "WHERE accepted AND generation = 1",
    )
    assert counts == {"n": PLAN.children, "steered": 2}


def parents_in(folder: Path) -> set[str]:
    return {parent for row in query(folder, "FROM mutations") if row["accepted"] for parent in row["parent_ids"]}


def test_nothing_descends_from_what_was_vetoed(steered: tuple[Path, Program], free: tuple[Path, Program]) -> None:
    folder, champion = steered
    vetoed = BRED_FROM.program_id
    assert vetoed in parents_in(free[0])
    parents = parents_in(folder)
    assert parents and vetoed not in parents and champion.program_id != vetoed


def test_a_vetoed_statement_is_in_no_later_child_and_not_in_the_champion(
    free: tuple[Path, Program], task: Task, tmp_path: Path
) -> None:
    folder, champion = tmp_path / "study", free[1]
    own = {each.directive_id for each in champion.directives} - {d.directive_id for d in starter("stock").directives}
    began = {d.directive_id for row in query(free[0], "SELECT text FROM programs WHERE generation = 0") for d in
             Program.parse(row["text"]).directives}  # fmt: skip
    banned = next(iter(sorted(own & began) or sorted(own)))

    def leave(at: Path) -> None:
        ask(at, "veto", banned)

    champion, _ = whole_study(task, PLAN, 1, folder, at_first(folder, leave))
    assert banned not in {each.directive_id for each in champion.directives}
    rows = query(folder, "SELECT text FROM programs WHERE generation > 0 AND operator IS NOT NULL")
    held = [{d.directive_id for d in Program.parse(row["text"]).directives} for row in rows]
    assert held and all(banned not in ids for ids in held)


def test_a_steered_study_that_is_stopped_again_and_again_ends_the_same(
    steered: tuple[Path, Program], task: Task, tmp_path: Path
) -> None:
    folder, stops = tmp_path / "study", 0
    progress = at_first(folder, three, every=40)
    while True:
        try:
            champion, _ = whole_study(task, PLAN, 1, folder, progress)
            break
        except Drained:
            stops += 1
    assert stops > 2 and champion == steered[1] and not waiting(folder)
    counts = [query(at, "SELECT child_id, operator, reason FROM mutations ORDER BY ALL") for at in (folder, steered[0])]
    assert counts[0] == counts[1]


def test_a_generation_that_was_interrupted_takes_no_later_wish(begun: Path) -> None:
    """It is written again from the same evidence, so it has to be the same."""
    proposal = MutationEvent(
        generation=1, attempt=0, child_id=None, parent_ids=(), operator="steered", accepted=False, reason="a kill"
    )
    with take_up(begun)[0] as study:
        study.record(proposal)
        ask(begun, "idea", IDEA)
        assert take_in(study, 1) == [] and len(waiting(begun)) == 1
        (wish,) = take_in(study, 2)
        assert (wish.text, wish.generation) == (IDEA, 2) and take_in(study, 2) == [wish] and not waiting(begun)


def test_what_behaves_like_an_earlier_program_is_refused_with_its_reason(task: Task, tmp_path: Path) -> None:
    folder, twin = tmp_path / "study", f"{starter('stock').text}\nOnce more, in other words.\n"

    def leave(at: Path) -> None:
        ask(at, "program", twin, name="stock")
        (at / "steer" / "damaged.json").write_text("{")

    whole_study(task, PLAN, 1, folder, at_first(folder, leave))
    (wish,) = wishes(folder, StudyState.read(folder / "ledger"))
    assert wish.state == "refused" and wish.outcome == f"behaves like {starter('stock').program_id}"


@pytest.fixture
def begun(task: Task, tmp_path: Path) -> Path:
    """A study that was stopped in its opening race."""
    folder = tmp_path / "studies" / "begun"
    with pytest.raises(Drained):
        whole_study(task, PLAN, 1, folder, at_first(folder, lambda _: None, every=3))
    return folder


def test_the_command_leaves_a_wish_and_lists_it(task: Task, begun: Path, tmp_path: Path) -> None:
    done = cli("steer", "begun", "--idea", IDEA.replace("`", ""), "--because", "a hunch", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    has = task.edits.config(task.baseline())["LADDER1"]
    assert f"the untouched script of {task.name} has ladder1={has}\n" in done.stderr and has != 0.5
    assert "the request waits for generation 1" in done.stderr and "metaloop evolve --resume" in done.stderr
    (row,) = json.loads(cli("steer", "begun", "--json", cwd=tmp_path).stdout)["items"]
    assert (row["what"], row["text"], row["state"], row["because"]) == ("idea", IDEA, "waiting", "a hunch")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--idea", "Be bold."), "finds no edit of this task"),
        (("--idea", ""), "--idea"),
        (("--veto", "zzz"), "no program or statement starts with"),
        (("--veto", "traps"), "hint: metaloop sql STUDY 'FROM programs' lists the programs, "),
        (("--program", "stock"), "is in the study"),
        (("--program", "nowhere.md"), "no file"),
        (("--idea", IDEA, "--veto", "stock"), "at a time"),
        (("--because", "why not"), "add --idea"),
    ],
)
def test_what_could_have_no_effect_is_refused_at_once(
    begun: Path, tmp_path: Path, args: tuple[str, ...], said: str
) -> None:
    done = cli("steer", "begun", *args, cwd=tmp_path)
    assert done.returncode and said in done.stderr and not waiting(begun)


def test_a_study_that_has_ended_takes_nothing(steered: tuple[Path, Program], tmp_path: Path) -> None:
    done = cli("steer", str(steered[0]), "--idea", IDEA, cwd=tmp_path)
    assert done.returncode and "last generation" in done.stderr and not waiting(steered[0])
    told = json.loads(cli("steer", str(steered[0]), "--json", cwd=tmp_path).stdout)
    assert [row["state"] for row in told["items"]] == ["accepted", "accepted", "vetoed"]


@pytest.mark.slow
def test_the_evidence_names_what_a_person_gave(tmp_path: Path) -> None:
    """On real training."""
    folder = tmp_path / "study"
    study, starters = create(folder, task=Task.load(BLOBS), plan=TINY, workers=1, seed=1, fixed_steps=True)
    evolve(study, TINY, starters, at_first(folder, lambda at: ask(at, "program", GIVEN.text, name="given")))
    page = (folder / "champion.evidence.md").read_text()
    assert "## Given by a person" in page and "- program `given` (" in page


def test_an_idea_stands_behind_those_that_set_several_values_and_before_the_others() -> None:
    text = "# P\n\n## Ideas\n\n- All: `a=1` `b=2`.\n- One: `a=2`.\n- Both: `a=3` `b=1`.\n"
    assert [idea.text for idea in Program.parse(with_idea(text, "try `a=5`")).ideas] == [
        "All: `a=1` `b=2`.",
        "try `a=5`",
        "One: `a=2`.",
        "Both: `a=3` `b=1`.",
    ]
    assert with_idea("# P\n\nGo.\n", "try `a=5`").endswith("- try `a=5`\n")
    apart = "# P\n\n## Ideas\n\n- use `a=1` `b=2`\n- use `c=1`\n\n### Harmful here\n\n- use `d=1`\n"
    shown = with_idea(apart, "try `a=5`")
    assert [line for line in shown.splitlines() if line[:1] in ("-", "#")][2:] == [
        "- use `a=1` `b=2`", "- use `c=1`", "- try `a=5`", "### Harmful here", "- use `d=1`"
    ]  # fmt: skip
