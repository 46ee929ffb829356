"""What a host meets from the first entry to the export: copies, names, the words of the decision, the report."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from sqlalchemy import event

from arena.contest.contest import Contest
from arena.contest.entering import acts
from arena.contest.entering.entries import NotTaken, accept
from arena.contest.entering.lookup import find_entry
from arena.contest.ranking.announced import sentences
from arena.contest.running import closing, work
from arena.contest.running.contest_queue import ContestQueue
from arena.contest.settings import REPORT, RULES
from arena.contest.stored import Announcement
from arena.contest.tables import ContestEntry
from arena.study.study import Study
from programs.common.errors import NotFound
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, decided, founded, newcomer, numbered, served, winner
from tests.arena.contest.test_contest_queue import measured
from tests.arena.contest.test_fair_entries import COPY, quiet, taken
from tests.meta.cli_study import metaloop

NAMED = "---\nmetaloop:\n  name: solid list\n---\n# %s\n\n## Ideas\n\n- Set `%s=%s` first.\n"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Contest]:
    """Entries of Ada and Bob, both called `solid list`, and their runs."""
    contest = founded(tmp_path_factory.mktemp("ran"), title="Evening of trials").contest
    knob = next(knob for knob in contest.task.edits.knobs if knob.kind != "patch")
    for person, value in zip(("Ada", "Bob"), knob.values, strict=False):
        taken(contest, person, (NAMED % (person, knob.name, value)).encode())
    work.carry_on(contest, quiet, until_idle=True)
    yield contest


def test_copies_are_named_on_the_host_page_and_before_the_close(tmp_path: Path) -> None:
    new = founded(tmp_path)
    original = taken(new.contest, "Ada", starter("local").raw)
    copy = taken(new.contest, "Bob", starter("local").raw + COPY)
    alike = f"behaves like Ada's entry {original}, which was earlier"
    with served(new.contest) as port:
        assert unescape(Browser(port, new.admin_token).get("/host").text).count(alike) == 1
    ended = metaloop("contest", "close", new.contest.folder, code=2)
    assert f"entry {copy} {alike}: it takes no part in the decision" in " ".join(ended.stderr.split())


def test_entries_of_one_name_get_labels_that_void_takes(contest: Contest) -> None:
    person = newcomer(contest)
    texts = [b"---\nmetaloop:\n  name: %s\n---\n# %d\n" % (b"bold" * 15, number) for number in range(2)]
    entries = [accept(contest, person, text).entry for text in texts]
    assert len({entry.label for entry in entries}) == 2 and entries[1].name.endswith(" (2)")
    assert max(len(entry.name) for entry in entries) <= 60
    assert [acts.void(contest, entry.label, "sent twice").number for entry in entries] == [3, 4]


def test_report_names_the_entrants_of_entries_with_one_name(ran: Contest) -> None:
    closing.publish(ran)
    page = (ran.folder / REPORT).read_text()
    assert page.count("solid list") > 1
    assert "Ada: solid list" in page and "Bob: solid list" in page


def test_entry_page_says_how_many_of_its_ideas_were_kept(ran: Contest) -> None:
    """An entry may gain by the random edits after its list alone."""
    with served(ran) as port:
        page = unescape(Browser(port).get(f"/entry/{numbered(ran, 3).entry_id}").text)
    assert re.search(r"kept \d+ of its \d+ ideas?", page)


def test_board_says_of_an_entry_that_it_kept_no_edit(contest: Contest) -> None:
    number = taken(contest, "Ada", starter("local").raw)
    with Study.open(contest.folder) as study:
        queue = ContestQueue(contest, study, quiet)
        queue.arms_of(number)
        measured(queue, number)  # the untouched script is the best of each run
        queue.take_over()
    with served(contest) as port:
        board = unescape(Browser(port).get("/").text)
    (row,) = (row for row in board.split("<tr") if numbered(contest, number).entry_id in row)
    assert "measured" in row
    assert re.search(r"kept (none|no edit|0 edits)", row)


def test_ban_of_patches_stands_in_the_rules(contest: Contest) -> None:
    patch = b"# A\n\n```patch:mine train.py\n- a = 1\n+ a = 2\n```\n"
    with pytest.raises(NotTaken, match="is code"):
        accept(contest, newcomer(contest), patch)
    rules = (contest.folder / RULES).read_text()
    assert "A program has no patches" in rules
    assert "patches" in Path("docs/contest.md").read_text()


def test_shared_win_shows_its_difference_from_stock() -> None:
    rows = [winner(0.5), winner(0.45, number=4, entrant="Bob", name="1", entry_id="e4")]
    rows += [winner(0.3, number=1, role="control", entrant="host", name="stock", n=5)]
    said: Announcement = decided(rows, outcome="shared", winners=rows[:2], lost=[])  # type: ignore[assignment]
    text = " ".join(sentences(said))
    assert "Each is significantly better than stock; the difference of Ada 1 is +0.200 (95% interval" in text
    assert "stock stopped after 5 in each arm, when every leader left was significantly above it" in text


@pytest.mark.parametrize("name", ["é", "nobody", "Ada 3", "P 0: 2"])
def test_unknown_label_loads_no_entry(contest: Contest, name: str) -> None:
    """A name that no entry has is looked up, not compared with all entries."""
    for number in range(3):
        taken(contest, f"P {number}", starter("local").raw)
    loaded = list[ContestEntry]()
    event.listen(ContestEntry, "load", lambda entry, _: loaded.append(entry))
    with contest.database.read() as connection, pytest.raises(NotFound):
        find_entry(connection, name)
    assert loaded == []
