"""The task of a contest: its figures on the board are those of the ledger, and its limits are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.study import query
from arena.contest.contest import Contest
from arena.contest.entering.entries import accept
from arena.contest.ranking.views import board_view, entry_of, entry_view
from arena.contest.running.work import carry_on
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, founded, newcomer, served
from tests.arena.contest.test_run import quiet
from tests.trainer.limited_task import LATENCY, MEMORY, SOFT, limited


@pytest.mark.slow
def test_the_board_has_the_figures_of_the_ledger(contest: Contest) -> None:
    person = newcomer(contest, "P")
    accept(contest, person, starter("local").raw)
    carry_on(contest, quiet, until_idle=True)
    assert {row["label"] for row in query(contest.folder, "SELECT label FROM matches")} == {"board", "screening"}
    board = board_view(contest)
    standings = query(contest.folder, "SELECT arm_id, gain, low, high, rank_low, rank_high, n FROM standings "
                      "WHERE purpose = 'contest'")  # fmt: skip
    told = [{key: row[key] for key in standings[0]} for row in board["rows"]]
    assert told == standings
    assert contest.costs.run == contest.config.run_budget


@pytest.mark.slow
def test_pages_show_limits_and_values_beside_the_gain(tmp_path: Path) -> None:
    task = limited(tmp_path / "task", MEMORY + LATENCY + SOFT)
    contest = founded(tmp_path, task=task, run_budget=0.6, runs=2, fixed_steps=True).contest
    person = newcomer(contest, "P one")
    accept(contest, person, starter("local").raw)
    carry_on(contest, quiet, until_idle=True)
    view = board_view(contest)
    mine = next(row for row in view["rows"] if row["role"] == "program")
    reached = view["reached"][mine["entry_id"]]
    assert reached.keys() == {"memory", "latency"} and 5.0 <= reached["latency"] <= 17.0
    assert entry_view(contest, entry_of(contest, mine["entry_id"]), None)["reached"][mine["entry_id"]] == reached
    with served(contest) as port:
        pages = [Browser(port).get(path).text for path in ("/", f"/entry/{mine['entry_id']}")]
    for shown in pages:
        assert "memory: at most 50 MB, hard" in shown and "latency: at most 6 ms, soft: decides nothing" in shown
        assert f"{reached['latency']:.6g}" in shown
