"""The history of ranks: recorded as runs are measured, drawn on the board and on the entry's page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from arena.contest import accounts
from arena.contest.board import BoardUpdater
from arena.contest.contest import Contest
from arena.contest.entries import accept
from arena.contest.ranks import Rank, rank_history, record_ranks
from arena.contest.tables import RankPoint
from arena.contest.views import board_view
from arena.contest.web.history import RankPlane, caption, chart_labels, rank_line, spread
from arena.contest.work import carry_on
from programs.shelf import starter
from tests.arena.contest.hosting import RUNS, Browser, founded, served
from tests.arena.contest.test_board import filled


@pytest.fixture
def contest(tmp_path: Path) -> Iterator[Contest]:
    yield (made := founded(tmp_path).contest)
    made.database.close()


def gains(contest: Contest, **by_number: float) -> None:
    """Change gains on the board, and the order with them."""
    with contest.database.write() as connection:
        for number, gain in by_number.items():
            sql = "UPDATE board SET gain = :gain, above = :above WHERE number = :number"
            connection.execute(text(sql), {"gain": gain, "number": int(number[1:]), "above": 0 if gain > 1 else 1})


def recorded(contest: Contest, version: int, runs: int, before: int) -> int:
    with contest.database.write() as connection:
        return record_ranks(connection, version, runs, before)


def test_the_history_has_the_ranks_of_each_time_and_of_now(contest: Contest) -> None:
    filled(contest, 2)
    assert recorded(contest, 1, 8, 0) == 8
    gains(contest, n3=9.0, n1=0.5)
    assert recorded(contest, 2, 9, 8) == 9
    gains(contest, n4=10.0)
    contest.database.set_fact("board", runs=10)
    history = rank_history(contest, [3, 1])
    assert history[3] == [Rank(8, 3, 1, 4), Rank(9, 1, 1, 4), Rank(10, 2, 1, 4)]
    assert [(rank.position, rank.low) for rank in history[1]] == [(1, 1), (2, 2), (3, 2)]
    assert history.keys() == {1, 3}
    contest.database.set_fact("board", runs=7)  # as an earlier version wrote it after a void
    assert rank_history(contest, [3])[3] == [Rank(8, 3, 1, 4), Rank(9, 2, 1, 4)]


def test_a_long_contest_records_few_points(contest: Contest) -> None:
    filled(contest, 1)
    before = 0
    for runs in range(1, 2001):
        before = recorded(contest, runs, runs, before)
    with contest.database.read() as connection:
        points = connection.scalar(select(func.count()).where(RankPoint.number == 1))
    assert 60 < points < 130 and before > 1800
    assert recorded(contest, 2001, before - 1, before) == before  # never back


def test_the_table_has_the_first_and_the_last_time() -> None:
    assert spread([3, 4]) == [3, 4]
    assert len(spread(list(range(50)))) == 8 and spread(list(range(50)))[::7] == [0, 49]


@pytest.mark.parametrize(("entries", "labels"), [
    ([("Ben", "Ben 2"), ("Ada", "Ada 1"), ("Ben", "Ben 1")], ["Ben 2", "Ada 1", "Ben 1"]),
    ([("Ben", "wide"), ("Ben", "deep")], ["Ben: wide", "Ben: deep"]),
    ([("Benedict Cumbers", "Benedict Cumbers 1"), ("Benedict Cumbers", "Benedict Cumbers 2")],
     ["Benedict Cum… 1", "Benedict Cum… 2"]),
    ([("MAMMOTHWORKSHO", "MAMMOTHWORKSHO 1")], ["MAMMOTHW… 1"]),  # wide letters: as much as there is room for
    ([("Ben", "wide and deep"), ("Ben", "wide and deeper")], ["Ben: wid… no. 3", "Ben: wid… no. 4"]),
])  # fmt: skip
def test_lines_of_one_entrant_have_different_labels(entries: list[tuple[str, str]], labels: list[str]) -> None:
    rows: list[Any] = [
        {"role": "program", "entrant": who, "name": name, "number": n} for n, (who, name) in enumerate(entries, 3)
    ]
    assert chart_labels(rows) == labels


def test_board_and_entry_show_the_ranks_over_time(contest: Contest) -> None:
    person, _ = accounts.join(contest.database, contest.config, "Ada O'Neill", "")
    entry = accept(contest, person, starter("local").raw).entry
    with served(contest) as port:
        assert "Ranks over time" not in Browser(port).get("/?unshared").text
    carry_on(contest, lambda _: None, until_idle=True)
    contest.database.set_fact("board", **contest.database.fact("board") | {"recorded_runs": 0})
    BoardUpdater(contest).write()
    rows = board_view(contest)["rows"]
    assert contest.database.fact("board")["runs"] == 3 * RUNS and len(rows) == 3
    fact = contest.database.fact("board")
    with contest.database.write() as connection:
        connection.execute(text("UPDATE entries SET state = 'void' WHERE number = 3"))
    BoardUpdater(contest)._publish({}, [], set(), scales=[], unit="nats")
    assert contest.database.fact("board")["runs"] == RUNS  # those of the void entry still count
    with contest.database.write() as connection:
        connection.execute(text("UPDATE entries SET state = 'verified' WHERE number = 3"))
    contest.database.set_fact("board", **fact)
    with contest.database.write() as connection:
        connection.execute(text("UPDATE ranks SET runs = 4"))  # as if the board had been written in between, too
    with served(contest) as port:
        pages = [Browser(port).get(path) for path in ("/?unshared", f"/entry/{entry.entry_id}", "/?page=2")]
        twins = [Browser(port).get(path).text for path in ("/index.md", f"/entry/{entry.entry_id}.md")]
    board, own, second = (page.text for page in pages)
    assert board.count('class="rank ') == 3 and board.count('class="rank stock"') == 2 and "f-band" not in board
    assert own.count('class="rank ') == 1 and 'class="f-band"' in own
    assert "Band: the rank range" in own and "Band:" not in board and not any("Band:" in twin for twin in twins)
    assert "Cells: rank ranges" in twins[0] and "Dashed" not in twins[0]
    assert not caption([4, 6], alone=True, banded=False).count("Band")
    places = [Rank(4, 2, 2, 2), Rank(6, 2, 2, 2)]
    assert rank_line(rows[0], "a", places, RankPlane(3, 4, 6), True, [4, 6]).band == ""  # a rank that is known
    assert all("after 4 runs" in page and "after 6 runs" in page for page in (board, own, *twins))
    assert "<title>Ada O&#39;Neill 1" in board
    assert "Ranks over time" not in second
    assert all(float(y) <= 60 for y in re.findall(r'<path class="rank [a-z]+" d="M[\d.]+ ([\d.]+)', board))
