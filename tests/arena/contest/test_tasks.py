"""A contest on two tasks, from the first entry to the decision; killed on the way, it goes on and repeats nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from analysis.wording import number
from arena.contest import accounts
from arena.contest.contest import Contest
from arena.contest.create import create_contest
from arena.contest.entries import accept
from arena.contest.score import UNIT
from arena.contest.settings import RULES
from arena.contest.views import board_view, entry_of, entry_view
from arena.contest.work import carry_on
from programs.errors import UsageError
from programs.shelf import starter
from tests.arena.contest.hosting import RUNS, Browser, founded, served, wishes
from tests.trainer.limited_task import LATENCY, MEMORY, SOFT, limited
from trainer.scaffold import init_simulated
from trainer.task import Task

NAMES = ("law", "other")
RUN = "SELECT label, run_seed, verified_gain FROM runs JOIN matches USING (match_id) WHERE label LIKE 'board%' "
RUN += "ORDER BY ALL"


def quiet(_text: str) -> None:
    pass


def on_two(folder: Path, **changes: Any) -> Contest:
    other = Task.load(str(init_simulated(folder / "other", 11)))
    contest = founded(folder, further=(other,), **changes).contest
    for name in ("local", "one-line"):
        person, _ = accounts.join(contest.database, contest.config, f"P {name}", "")
        accept(contest, person, starter(name).raw)
    return contest


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    contest = on_two(tmp_path_factory.mktemp("two"), runs=3)
    carry_on(contest, quiet, until_idle=True)
    contest.state(close_asked="2026-01-01T00:00:00+00:00")
    carry_on(contest, quiet)
    return contest


@pytest.mark.slow
def test_each_task_is_a_match_of_its_own(decided: Contest) -> None:
    matches = query(decided.folder, "SELECT label, task, stream, count(*) n FROM matches GROUP BY ALL ORDER BY label")
    assert [(row["label"], row["task"], row["stream"]) for row in matches] == [
        ("board", "law", "selection"), ("board-other", "other", "selection"),
        ("confirmation", "law", "confirmation"), ("confirmation-other", "other", "confirmation"),
        ("screening", "law", "search"),
    ]  # fmt: skip
    sql = "SELECT label, task, count(*) n, count(DISTINCT run_id) ids FROM runs JOIN matches USING (match_id, task) "
    runs = query(decided.folder, sql + "WHERE runs.state = 'finished' AND label LIKE 'board%' GROUP BY ALL")
    assert {row["label"]: (row["n"], row["ids"]) for row in runs} == {"board": (12, 12), "board-other": (12, 12)}
    each = [task.cost_seconds for task in decided.tasks]
    budgets = [decided.config.run_budget, *(away.run_budget for away in decided.study.further)]
    assert budgets[1] / each[1] == pytest.approx(budgets[0] / each[0])


@pytest.mark.slow
def test_the_board_ranks_over_both_and_tells_each(decided: Contest) -> None:
    board = board_view(decided)
    assert board["unit"] == UNIT and [each["counts"] for each in board["scales"]] == [True, True]
    assert Counter(row["role"] for row in board["rows"]) == {"program": 2, "control": 1, "a/a": 1}
    standings = query(decided.folder, "SELECT task, gain FROM standings WHERE purpose = 'contest'")
    scale = {each["task"]: each["gain"] for each in board["scales"]}
    for row in board["rows"]:
        gains = {name: figures["gain"] for name, figures in row["tasks"].items()}
        assert set(gains) == set(NAMES) and row["n"] == 3
        assert row["gain"] == pytest.approx(sum(gains[name] / scale[name] for name in NAMES) / 2)
        assert {(name, gains[name]) for name in NAMES} <= {(s["task"], s["gain"]) for s in standings}
        assert row["low"] < row["gain"] < row["high"]
    seen = entry_view(decided, entry_of(decided, board["rows"][0]["entry_id"]), None)
    assert Counter(run["task"] for run in seen["results"]) == {"law": 3, "other": 3}
    assert (seen["state"], seen["runs_done"], seen["wanted"]) == ("verified", 6, 6)


@pytest.mark.slow
def test_the_decision_is_on_the_score_of_fresh_runs(decided: Contest) -> None:
    told = decided.database.fact("announcement")
    assert told["outcome"] in ("won", "shared", "none") and told["unit"] == UNIT
    first = next(row for row in told["rows"] if row["role"] == "program")
    assert (told["gain"], told["low"], told["high"]) == pytest.approx((first["gain"], first["low"], first["high"]))
    assert all(figures["n"] == decided.config.confirm_runs for row in told["rows"] for figures in row["tasks"].values())
    rules = (decided.folder / RULES).read_text()
    assert "**Score.**" in rules and len(decided.config.looks) == 1
    assert f"compared once (a look), after {decided.config.looks[0]} runs of each." in rules and "and by 1" not in rules


@pytest.mark.slow
def test_the_pages_show_each_task(decided: Contest) -> None:
    board = board_view(decided)
    first = board["rows"][0]
    with served(decided) as port:
        browser = Browser(port)
        for page in (
            "/",
            "/index.md",
            f"/entry/{first['entry_id']}",
            f"/entry/{first['entry_id']}.md",
            "/queue",
            "/llms.txt",
        ):
            told = browser.get(page)
            assert told.status == 200, told.text
            assert all(name in told.text for name in NAMES), page
        shown = browser.get("/").text
        figures = first["tasks"]["other"]
        assert number(figures["gain"], 4) in shown and f"Gain, {UNIT}" in shown and "of 6" not in shown
        head, folded = browser.get(f"/entry/{first['entry_id']}").text.split('<nav aria-label="On this page"')
        assert f" {decided.tasks[1].unit} on other (kept " in folded and "edits in " in folded
        assert f"Gain of each run in the race on other, {decided.tasks[1].unit}: " in head  # the race, not the board
        assert browser.get("/api/v1/board").json["rows"][0]["tasks"]["other"]["unit"] == decided.tasks[1].unit


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_steward_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    contest = on_two(tmp_path, runs=3)
    command = [sys.executable, "-m", "arena.contest.work", str(contest.folder)]
    for after in (3, 8):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 120
        while measured(contest) < after and process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    carry_on(contest, quiet, until_idle=True)
    measured_runs = query(contest.folder, RUN)
    assert Counter(row["label"] for row in measured_runs) == {"board": 12, "board-other": 12}
    twice = query(contest.folder, "SELECT run_id, number, count(*) n FROM experiments GROUP BY ALL HAVING n > 1")
    again = query(contest.folder, "SELECT run_id, seed, count(*) n FROM verifications GROUP BY ALL HAVING n > 1")
    assert twice == again == []
    assert [row["n"] for row in board_view(contest)["rows"]] == [3] * 4


def measured(contest: Contest) -> int:
    with contest.database.read() as connection:
        from arena.contest.tables import ContestEntry

        return sum(entry.runs_done for entry in connection.query(ContestEntry))


@pytest.mark.slow
def test_a_contest_of_one_task_is_what_it_was(tmp_path: Path) -> None:
    """Labels, and so match ids, seeds and figures, are those of a contest that knows no further tasks."""
    contest = founded(tmp_path).contest
    person, _ = accounts.join(contest.database, contest.config, "P", "")
    accept(contest, person, starter("local").raw)
    carry_on(contest, quiet, until_idle=True)
    assert {row["label"] for row in query(contest.folder, "SELECT label FROM matches")} == {"board", "screening"}
    board = board_view(contest)
    standings = query(contest.folder, "SELECT arm_id, gain, low, high, rank_low, rank_high, n FROM standings "
                      "WHERE purpose = 'contest'")  # fmt: skip
    told = [{key: row[key] for key in standings[0]} for row in board["rows"]]
    assert told == standings and board["unit"] == contest.task.unit and board["scales"] == []
    assert contest.config.wanted == RUNS and contest.costs.run == contest.config.run_budget


def test_two_tasks_of_one_name_are_refused(tmp_path: Path) -> None:
    asked = wishes(tmp_path)
    with pytest.raises(UsageError, match="named twice"):
        create_contest(tmp_path / "contest", wishes(tmp_path / "again", further=(asked.task,)))


@pytest.mark.slow
def test_the_pages_show_the_limits_and_what_is_reached_beside_the_gain(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", MEMORY + LATENCY + SOFT)
    contest = founded(tmp_path, task=task, run_budget=0.6, runs=2, fixed_steps=True).contest
    person, _ = accounts.join(contest.database, contest.config, "P one", "")
    accept(contest, person, starter("local").raw)
    carry_on(contest, quiet, until_idle=True)
    view = board_view(contest)
    mine = next(row for row in view["rows"] if row["role"] == "program")
    reached = view["reached"][mine["entry_id"]]["limited"]
    assert reached.keys() == {"memory", "latency"} and 5.0 <= reached["latency"] <= 17.0
    assert entry_view(contest, entry_of(contest, mine["entry_id"]), None)["reached"][mine["entry_id"]] == {
        "limited": reached
    }
    with served(contest) as port:
        page, text = (Browser(port).get("/", accept=kind).text for kind in ("text/html", "text/markdown"))
        own = Browser(port).get(f"/entry/{mine['entry_id']}.md").text
    assert "\n\nWith fewer than 3 runs" in own  # no row of the table of limits
    for shown in (page, text):
        assert "memory: at most 50 MB, hard" in shown and "latency: at most 6 ms, soft: decides nothing" in shown
        assert f"{reached['latency']:.6g}" in shown
