"""What the pages of entries say of a contest that has been run: courses, experiments, seals, limits of the task."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from arena.contest.contest import Contest
from arena.contest.entering import accounts
from arena.contest.entering.entries import accept
from arena.contest.ranking.standing import snapshot
from arena.contest.ranking.views import board_view, entry_of, entry_view
from arena.contest.running.arms import BOARD
from arena.contest.running.work import carry_on
from arena.contest.web.entry import kept_by
from programs.shelf import starter
from tests.arena.contest.conftest import copied
from tests.arena.contest.hosting import RUNS, Browser, founded, newcomer, quiet, served
from tests.trainer.limited_task import LATENCY, MEMORY, SOFT, limited

LOCAL = starter("local").raw
SECRET = "A phrase that nobody else knows"
FIRST = LOCAL + b"\n## Care\n\n- Mind the noise.\n- Twice is enough.\n"
CHILD = FIRST + f"\n## More\n\n- {SECRET}.\n- <b>Bold</b> as it stands.\n".encode()
pytestmark = pytest.mark.slow


Entered = tuple[Contest, dict[str, str], str]
Opened = tuple[Contest, dict[str, str], Browser]


@pytest.fixture(scope="module")
def hidden(tmp_path_factory: pytest.TempPathFactory) -> Entered:
    """Two entries, the second with more text, both run, whose texts are hidden until the close; ids by name, and the
    token of the second's author."""
    contest = founded(tmp_path_factory.mktemp("hidden"), texts_after_close=True).contest
    bob, token = accounts.join(contest.database, contest.config, "Bob", "")
    first = accept(contest, newcomer(contest), FIRST).entry
    child = accept(contest, bob, CHILD).entry
    carry_on(contest, quiet, until_idle=True)
    return contest, {"first": first.entry_id, "child": child.entry_id}, token


@pytest.fixture(scope="module")
def opened(hidden: Entered, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """The same after the close."""
    contest = copied(hidden[0], tmp_path_factory.mktemp("opened"))
    contest.state(close_asked="2026-01-01T00:00:00+00:00")
    with served(contest) as port:
        yield contest, hidden[1], Browser(port)


def test_each_run_has_its_course(opened: Opened) -> None:
    contest, ids, browser = opened
    told = {row["run_id"]: row["run"] for row in browser.get(f"/api/v1/entries/{ids['first']}").json["results"]}
    runs = contest.history.ended_runs(ids["first"], [BOARD])
    assert {run["run_id"]: run["run"] for run in runs} == told and [run["run"] for run in runs] == [1, 2]
    board = {row["entry_id"]: row for row in board_view(contest)["rows"]}
    assert sum(run["gain"] for run in runs) / RUNS == pytest.approx(board[ids["first"]]["gain"])
    page = browser.get(f"/entry/{ids['first']}").text
    assert '<pre class="diff"' in page
    assert "metaloop match program.md" in page and "style=" not in page
    assert page.index('id="best"') < page.index('id="text"') < page.index('id="runs"')
    best = max(runs, key=lambda run: run["gain"] or 0.0)
    kept = kept_by(best, contest.task.direction)
    assert [row["decision"] for row, _ in kept] == ["baseline", *["keep"] * (len(kept) - 1)] and len(kept) > 1
    all_better = abs((kept[-1][0]["metric"] or 0.0) - (kept[0][0]["metric"] or 0.0))
    assert sum(better or 0.0 for _, better in kept) == pytest.approx(all_better)
    shown = unescape(page.split('id="best"')[1].split("</section>")[0])
    rows = page.split('aria-label="Experiments"')[1].split("</table>")[0]
    assert rows.count("<tr>") == 1 + len(best["experiments"])
    assert f"Its best run: run {best['run']}<" in shown and shown.count('<tr class="keep">') == len(kept)
    assert " of 4, a gain of " in unescape(page.split("On the board: ")[1].split("</p>")[0])
    assert all("With fewer than 3 runs, " in text for text in (browser.get("/").text, page))


def test_an_entry_is_shown_beside_stock(opened: Opened) -> None:
    _, ids, browser = opened
    page = browser.get(f"/entry/{ids['child']}").text
    differences = page.split('id="changes"')[1].split("</section>")[0]
    assert SECRET in differences and '<span class="add">' in differences
    assert page.split('id="standing"')[1].split("</table>")[0].count("<tr class=") == 3


def test_experiments_can_be_taken_away(opened: Opened) -> None:
    _, ids, browser = opened
    rows = browser.get(f"/entry/{ids['child']}/experiments.json").json
    assert {row["entry_id"] for row in rows} == {ids["child"]}
    assert {row["purpose"] for row in rows} == {"contest", "screening"}
    assert browser.get(f"/entry/{ids['child']}/experiments.exe").status == 404
    assert browser.get("/report").status == 404 and 'href="/report"' not in browser.get("/").text


def test_nothing_of_a_hidden_text_leaks(hidden: Entered) -> None:
    contest, ids, token = hidden
    snapshot(contest)
    (first, *_) = contest.history.ended_runs(ids["child"], [BOARD])
    tried = [each["description"] for each in first["experiments"] if "=" in each["description"]]
    assert tried
    phrases = [SECRET, 'aria-label="Experiments"', '<pre class="diff"', *tried]
    with served(contest) as port:
        reader = Browser(port)
        child = f"/entry/{ids['child']}"
        for path in ("/", "/api/v1/board.csv", child, f"/api/v1/entries/{ids['child']}"):
            text = reader.get(path).text
            assert [phrase for phrase in phrases if phrase in text] == [], path
        for name in ("experiments.json", "program.md"):
            assert reader.get(f"{child}/{name}").status == 403
        bob = Browser(port, token)
        own = bob.get(f"/entry/{ids['child']}").text
        assert SECRET in own and 'aria-label="Experiments"' in own
        assert bob.get("/").text.count("</a> (yours)") == 1 and "(yours)" not in reader.get("/").text
        assert bob.get(f"/entry/{ids['first']}/experiments.json").status == 403
        contest.state(close_asked="2026-01-01T00:00:00+00:00")
        assert SECRET in Browser(port).get(f"/entry/{ids['child']}").text


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
