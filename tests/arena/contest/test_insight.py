"""What the pages of entries say of a contest that has been run: courses, downloads, seals."""

from __future__ import annotations

import io
import json
import re
import zlib
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest

from analysis.wording import number
from arena.contest import accounts
from arena.contest.contest import Contest
from arena.contest.courses import CONFIRMATION, CONTEST, courses_of
from arena.contest.entries import NotTaken, accept
from arena.contest.tables import ContestEntry, Course
from arena.contest.views import board_view
from arena.contest.web.best_run import MOST_KEPT, IdeaUse, KeptEdit, TitledRun, best_run
from arena.contest.web.curve import curve
from arena.contest.web.entry import changes
from arena.contest.work import carry_on
from programs.program import Program
from programs.shelf import starter
from tests.arena.contest.hosting import RUNS, Browser, founded, served
from tests.arena.contest.test_run import quiet

LOCAL = starter("local").raw
SECRET = "A phrase that nobody else knows"
FIRST = LOCAL + b"\n## Care\n\n- Mind the noise.\n- Twice is enough.\n"
CHILD = FIRST + f"\n## More\n\n- {SECRET}.\n- <b>Bold</b> as it stands.\n".encode()
LISTED = b"""---
metaloop:
  proposers: {queue: 1.0}
  confirm: 0.3
---
# A list

Work the list.

## Ideas

- Set `LADDER1=0.1`.
- Set `LADDER2=20`.
- Set `CHOICE3=second`.
"""

pytestmark = pytest.mark.slow


def ran(folder: Path, hidden: bool) -> tuple[Contest, dict[str, str], str]:
    """Two entries, the second a child of the first, both run; ids by name, and the token of the second's author."""
    contest = founded(folder, texts_after_close=hidden).contest
    ada, _ = accounts.join(contest.database, contest.config, "Ada", "")
    bob, token = accounts.join(contest.database, contest.config, "Bob", "")
    first = accept(contest, ada, FIRST).entry
    child = accept(contest, bob, CHILD, None, first.entry_id).entry
    carry_on(contest, quiet, until_idle=True)
    return contest, {"first": first.entry_id, "child": child.entry_id}, token


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Contest, dict[str, str], Browser]]:
    contest, ids, _ = ran(tmp_path_factory.mktemp("open"), hidden=False)
    with served(contest) as port:
        yield contest, ids, Browser(port)


def number_of(contest: Contest, entry_id: str) -> ContestEntry:
    with contest.database.read() as connection:
        return connection.query(ContestEntry).where(ContestEntry.entry_id == entry_id).one()


def test_a_run_has_one_number_whichever_ended_first(opened: tuple[Contest, dict[str, str], Browser]) -> None:
    contest, ids, browser = opened
    entry = number_of(contest, ids["first"])
    with contest.database.write() as connection:
        for course in connection.query(Course).where(Course.number == entry.number):
            course.stored_order = -course.stored_order  # as if they had ended in the other order
    told = {row["run_id"]: row["run"] for row in browser.get(f"/api/v1/entries/{ids['first']}").json["results"]}
    runs = courses_of(contest, entry.number, (CONTEST,))
    assert {run["run_id"]: run["run"] for run in runs} == told and [run["run"] for run in runs] == [1, 2]


def test_each_run_has_its_course(opened: tuple[Contest, dict[str, str], Browser]) -> None:
    contest, ids, browser = opened
    entry = number_of(contest, ids["first"])
    runs = courses_of(contest, entry.number, (CONTEST,))
    assert [run["run"] for run in runs] == [1, 2] and len(runs) == RUNS
    board = {row["entry_id"]: row for row in board_view(contest)["rows"]}
    assert sum(run["gain"] for run in runs) / RUNS == pytest.approx(board[ids["first"]]["gain"])
    for run in runs:
        drawn = curve(run)
        assert len(drawn.table) == len(run["experiments"]) > 1
        assert len(drawn.dots) == sum(row[1] in ("kept", "discarded", "baseline") for row in drawn.table)
    page = browser.get(f"/entry/{ids['first']}").text
    assert page.count('<figure class="curve">') == RUNS and 'class="best"' in page
    other = browser.get(f"/entry/{ids['first']}?run={runs[1]['run_id']}").text
    assert 'aria-current="true">Run 2<' in other and '<pre class="diff"' in other
    assert "metaloop match program.md" in page and "style=" not in page
    assert page.index('id="best"') < page.index('id="text"') < page.index('id="curves"')
    best = max(runs, key=lambda run: run["gain"] or 0.0)
    kept = [row for row in best["experiments"] if row["decision"] == "keep"]
    ladder = unescape(page.split('id="best"')[1].split("</section>")[0])
    assert f"Run {best['run']} gained most" in ladder and " is better: " in ladder and len(kept) > 1
    shown = best_run([{**run, "title": f"Run {run['run']}"} for run in runs])
    assert shown is not None
    confirming = {**best, "purpose": CONFIRMATION, "title": "Confirming run 1"}
    assert (of := best_run([{**best, "title": "Run 1"}, {**confirming, "gain": 0.1}])) and of.run["gain"] == 0.1
    unmeasured: TitledRun = {**confirming, "gain": None}  # then the board's
    assert (of := best_run([{**best, "title": "Run 1"}, unmeasured])) and of.run["title"] == "Run 1"
    assert best_run([unmeasured]) is None and best_run([]) is None
    assert len(shown.edits) == min(len(kept), MOST_KEPT) and shown.kept == len(kept)
    assert all(f"<code>{edit.edit}</code> <strong>" in ladder for edit in shown.edits)
    assert all(f"(experiment {edit.number})" in ladder for edit in shown.edits) and shown.end == kept[-1]["metric"]
    named = [*shown.skipped, *(small for edit in shown.edits for small in edit.skipped)]
    assert len(shown.edits) + len(named) == shown.kept and all(small.name in ladder for small in named)
    all_better = abs(kept[-1]["metric"] - shown.start)  # type: ignore[operator]
    assert sum(edit.better for edit in (*named, *shown.edits)) == pytest.approx(all_better)
    assert ladder.count(" smaller edit") == bool(shown.skipped) + sum(map(bool, (e.skipped for e in shown.edits)))
    assert "from its search" not in ladder and shown.ideas == IdeaUse(0, 0, 0) and not shown.ideas.said
    ideas = Program.parse("## Ideas\n\n- `lr=1`\n- `lr=2`\n- `lr=3`\n- Mind the noise.\n").ideas
    own = {kept[0]["number"]: ideas[0].directive_id, kept[-1]["number"] - 1: ideas[1].directive_id}
    rows = [{**row, "directive_ids": [own.get(row["number"], "d1")]} for row in best["experiments"]]
    rows[kept[-1]["number"] - 1]["decision"] = "discard"
    of = best_run([{**best, "title": "Run 1", "experiments": rows}], ideas)  # type: ignore[typeddict-item]
    assert of and of.ideas == IdeaUse(1, 1, 2)
    all_kept = [small for edit in of.edits for small in (*edit.skipped, edit)]
    assert [edit.number for edit in all_kept if edit.of_idea] == [kept[0]["number"]]
    edits = ("lr=1 +dedupe: Raise it, `LR=1`.", "Raise lr: it is low", "+dedupe")
    assert [KeptEdit(1, text, 0.0, 0.0).edit for text in edits] == ["lr=1 +dedupe", "", "+dedupe"]
    standing = unescape(page.split("On the board: ")[1].split("</p>")[0])
    assert " of 4, a gain of " in standing
    with contest.database.write() as connection:
        course = connection.query(Course).where(Course.run_id == runs[0]["run_id"]).one()
        first, *others = course.content["experiments"]
        crashed = {**course.content, "experiments": [{**first, "reason": "it <crashed>", "diff": "+x"}, *others]}
        course.body = zlib.compress(json.dumps(crashed).encode())
    shown = browser.get(f"/entry/{ids['first']}?run={runs[0]['run_id']}").text
    assert '<p class="note">it &lt;crashed&gt;</p><details><summary>diff</summary><pre' in shown
    assert ">kept</td>" in shown and ">keep</td>" not in shown and not re.search(r">(not )?better: [-+]", shown)
    board = browser.get("/").text
    assert "The bar beside a row: no other" in board and all(
        "With fewer than 3 runs, " in one for one in (board, shown)
    )
    assert "A rank range compares all pairs of rows" in board and '<td data-label="State">' in board
    assert '<span class="soft">scored</span>' not in board and "</span> measured" in board


def test_a_lost_course_comes_back_from_the_ledger(opened: tuple[Contest, dict[str, str], Browser]) -> None:
    contest, _, _ = opened
    with contest.database.read() as connection:
        before = {course.run_id for course in connection.query(Course)}
    with contest.database.write() as connection:
        connection.query(Course).delete()
    carry_on(contest, quiet, until_idle=True)
    with contest.database.read() as connection:
        assert {course.run_id for course in connection.query(Course)} == before


def test_the_page_says_which_ideas_the_best_run_kept(tmp_path: Path) -> None:
    contest = founded(tmp_path).contest
    ada, _ = accounts.join(contest.database, contest.config, "Ada", "")
    entry = accept(contest, ada, LISTED).entry
    carry_on(contest, quiet, until_idle=True)
    with served(contest) as port:
        page = Browser(port).get(f"/entry/{entry.entry_id}").text
    again = {"confirm", "replicate"}  # the same script once more, which is no change
    for run in courses_of(contest, entry.number, (CONTEST,)):
        assert not {one["number"] for one in run["experiments"] if one["decision"] in again} & changes(run).keys()
    best = unescape(page.split('id="best"')[1].split("</section>")[0])
    assert re.search(r"This run kept \d of the program’s 3 ideas; \d more (was|were) tried but not kept\b", best)
    marks = [best.count(f", from {where})") for where in ("an idea", "its search")]
    assert sum(marks) == best.count("(experiment ")
    table = page.split('id="changes"')[1].split("</table>")[0]  # from stock
    assert table.count("<th ") == 3 and "None" not in table and "Better by: the difference" in page
    with contest.database.write() as connection:
        for course in connection.query(Course).where(Course.purpose == CONTEST):
            rows = [
                {**row, "decision": row["decision"].replace("keep", "discard")} for row in course.content["experiments"]
            ]
            course.body = zlib.compress(json.dumps({**course.content, "experiments": rows}).encode())
    with served(contest) as port:
        bare = unescape(Browser(port).get(f"/entry/{entry.entry_id}").text)
    assert re.search(r"which kept no edit\. <strong>This run kept 0 of the program’s 3 ideas", bare)


def test_a_child_is_shown_against_its_parent(opened: tuple[Contest, dict[str, str], Browser]) -> None:
    contest, ids, browser = opened
    page = browser.get(f"/entry/{ids['child']}").text
    differences = page.split('id="changes"')[1].split("</section>")[0]
    assert "parent, Ada 1" in differences and SECRET in differences and differences.count('class="added"') == 2
    assert browser.get(f"/entry/{ids['child']}?against=stock").text.split('id="changes"')[1].count('class="added"') > 2
    head = unescape(page.split('aria-label="On this page"')[0])
    told, digits = browser.get(f"/api/v1/entries/{ids['child']}").json, board_view(contest)["digits"]
    assert {row["entry_id"] for row in told["beside"]} >= {ids["first"]} and len(told["beside"]) == 3
    assert page.split('id="standing"')[1].split("</table>")[0].count("<tr class=") == 4
    assert all(
        f"{number(run['gain'], digits)} (kept {run['kept']} edits in " in head for run in told["results"]
    )  # not folded
    assert "</a> gained least: " in page
    carol, _ = accounts.join(contest.database, contest.config, "Carol", "")
    with pytest.raises(NotTaken, match="based on"):
        accept(contest, carol, b"# Other\n\nText.\n", None, "n_none")


def test_tables_can_be_taken_away(opened: tuple[Contest, dict[str, str], Browser]) -> None:
    from pyarrow import parquet  # type: ignore[import-untyped]

    _, ids, browser = opened
    for name in ("board", "entries", "runs", "experiments"):
        rows = browser.get(f"/download/{name}.json").json
        found = parquet.read_table(io.BytesIO(browser.get(f"/download/{name}.parquet").body))
        assert len(rows) == found.num_rows > 0
        assert len(browser.get(f"/download/{name}.csv").text.splitlines()) > len(rows)
        assert f"/download/{name}.parquet" in browser.get("/downloads").text
    assert sum(row["purpose"] == "contest" for row in browser.get("/download/runs.json").json) == 4 * RUNS
    assert {row["entry_id"] for row in browser.get(f"/entry/{ids['child']}/experiments.json").json} == {ids["child"]}
    assert browser.get("/download/secret.csv").status == browser.get("/download/runs.exe").status == 404


def test_nothing_of_a_hidden_text_leaks(tmp_path: Path) -> None:
    contest, ids, token = ran(tmp_path, hidden=True)
    tried = [e["description"] for e in courses_of(contest, 4, (CONTEST,))[0]["experiments"] if "=" in e["description"]]
    assert tried
    phrases = [SECRET, "parent, ", '<figure class="curve">', '<pre class="diff"', *tried]
    with served(contest) as port:
        reader = Browser(port)
        child = f"/entry/{ids['child']}"
        open_pages = ("/", "/download/entries.json")
        for path in (*open_pages, child, f"/api/v1/entries/{ids['child']}"):
            text = reader.get(path).text
            assert [phrase for phrase in phrases if phrase in text] == [], path
        for name in ("runs", "experiments"):
            told = {row["entry_id"] for row in reader.get(f"/download/{name}.json").json}
            assert told and not told & set(ids.values())
        for name in ("experiments.csv", "experiments.json", "program.md"):
            assert reader.get(f"{child}/{name}").status == 403
        bob = Browser(port, token)
        own = bob.get(f"/entry/{ids['child']}").text
        assert SECRET in own and '<figure class="curve">' in own
        assert "parent, " not in own  # which is hidden, too
        assert bob.get("/").text.count("</a> (yours)") == 1 and "(yours)" not in reader.get("/").text
        assert ids["first"] not in own  # similarity would reveal the other entry's directives
        assert bob.get(f"/entry/{ids['first']}/experiments.json").status == 403
        contest.state(close_asked="2026-01-01T00:00:00+00:00")
        assert ids["first"] in Browser(port).get(f"/entry/{ids['child']}").text
        assert "parent, Ada 1" in Browser(port).get(f"/entry/{ids['child']}").text
