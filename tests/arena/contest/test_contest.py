"""The folder of a contest: what is committed to at its founding, and what is noticed later."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from arena.contest.contest import Contest
from arena.contest.create import create_contest
from arena.contest.entering import accounts
from arena.contest.entering.entries import NotOpen, NotTaken, QuotaSpent, accept, checked, enter
from arena.contest.ranking.views import entry_of, entry_view, may_read
from arena.contest.running.serve import serve
from arena.contest.tables import ContestEntry, Session
from arena.serving.clock import utc_now
from arena.serving.names import checked_name
from programs.common.errors import Corrupt, UsageError
from programs.evolved_for import EvolvedFor, with_label
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, founded, newcomer, served, wishes
from trainer import variants
from trainer.task import Task

LOCAL, ONE_LINE = starter("local").raw, starter("one-line").raw


def test_rules_and_secret_are_committed_to(contest: Contest) -> None:
    rules = (contest.folder / "rules.md").read_bytes()
    assert contest.config.rules_hash == hashlib.sha256(rules).hexdigest()
    secret = bytes.fromhex(contest.study.secret)
    assert contest.config.secret_hash == hashlib.sha256(secret).hexdigest()
    assert contest.config.secret_hash in rules.decode()
    assert contest.study.secret not in rules.decode()
    assert "does not show that an entry is better" in rules.decode()


def test_a_folder_in_which_something_was_changed_is_refused(contest: Contest) -> None:
    for name, old, new, says in (
        ("rules.md", "# ", "# The host always wins. ", "does not match the hash"),
        ("study.toml", contest.study.secret, "0" * 32, "secret"),
        ("contest.toml", "schema = 5", "schema = 1", r"of another version of Metaloop \(schema 1, this one reads 5\)"),
    ):
        text = (contest.folder / name).read_text()
        (contest.folder / name).write_text(text.replace(old, new))
        with pytest.raises(Corrupt, match=says):
            Contest.open(contest.folder)
        (contest.folder / name).write_text(text)


def test_a_session_ends(tmp_path: Path) -> None:
    """An entrant's after two weeks, the host's after a day; a cookie that a browser still has is nobody's then."""
    made = founded(tmp_path)
    database = made.contest.database
    _, token = accounts.join(database, made.contest.config, "Ada", "")
    cookie, hosts = accounts.log_in(database, token), accounts.log_in_host(database, made.admin_token)
    of_host = Session.person_id.is_(None)
    for whose, days in ((~of_host, accounts.SESSION_DAYS), (of_host, 1)):
        for ago, there in ((days - 0.01, True), (days + 0.01, False)):
            with database.write() as connection:
                (session,) = connection.query(Session).where(whose).all()
                session.expires_at = utc_now() + timedelta(days=days - ago)
            known = (
                accounts.host_logged_in(database, hosts) if whose is of_host else accounts.logged_in(database, cookie)
            )
            assert bool(known) is there, f"{whose} after {ago} days"
    assert not accounts.host_logged_in(database, accounts.log_in(database, token))  # no person is the host
    assert accounts.logged_in(database, accounts.log_in_host(database, made.admin_token)) is None
    with database.read() as connection:  # those that have ended are gone with the next login
        (mine,), (theirs,) = (connection.query(Session).where(whose).all() for whose in (~of_host, of_host))
    assert timedelta(days=13.9) < mine.expires_at - utc_now() < timedelta(days=14.1)
    assert timedelta(hours=23) < theirs.expires_at - utc_now() < timedelta(hours=25)


def test_the_same_text_again_is_the_same_entry_and_free(contest: Contest) -> None:
    person = newcomer(contest)
    first = accept(contest, person, LOCAL)
    again = accept(contest, person, LOCAL.replace(b"\n", b"\r\n"))
    assert first.new and not again.new and again.entry.number == first.entry.number
    assert accept(contest, person, ONE_LINE).new


def test_a_program_that_was_evolved_for_a_model_is_remarked_on(contest: Contest) -> None:
    person = newcomer(contest)
    entry = accept(contest, person, with_label(LOCAL, EvolvedFor("chat", ("gpt-4o-mini",)))).entry
    said = [message for message in entry.lint if message["code"] == "other-researcher"]
    assert len(said) == 1 and "evolved for chat with gpt-4o-mini, not for the scripted researcher" in str(said[0])
    assert entry.raw == LOCAL and entry.program_id == starter("local").program_id


def test_the_quota_is_looked_at_before_the_text(tmp_path: Path) -> None:
    """What cannot become an entry is not read: nobody's upload is linted for nothing, however dear that would be."""
    contest = founded(tmp_path, entries_per_person=1).contest
    person = newcomer(contest)
    assert accept(contest, person, LOCAL).new
    read = Counter[str]()

    def knows(term: str) -> bool:
        read[term] += 1
        return True

    ideas = b"# A\n\n## Ideas\n\n- Try `lr=0.1`.\n"
    for raw in (ideas, b"---\nmetaloop: [\n---\n", b"\xff", b"![" * 130_000):
        with pytest.raises(QuotaSpent, match="1 of 1") as refused:
            accept(contest, person, raw, knows)
        assert refused.value.lint == ()
    assert not read
    assert not accept(contest, person, LOCAL.replace(b"\n", b"\r\n"), knows).new  # the same text stays free
    assert accept(contest, newcomer(contest, "Bob"), ideas, knows).new and read["lr=0.1"]


def test_an_entry_that_waited_past_the_closing_is_too_late(contest: Contest) -> None:
    """It was read in time; then it stood in line for the database while the contest closed."""
    person = newcomer(contest)
    read = checked(contest, person, LOCAL)
    contest.state(close_asked=utc_now().isoformat())
    with pytest.raises(NotOpen, match="is closed for entries"), contest.database.write() as connection:
        enter(connection, contest, person, read)
    with contest.database.read() as connection:
        assert connection.query(ContestEntry).filter(ContestEntry.role == "program").count() == 0


def test_a_text_can_be_hidden_from_others_until_the_close(tmp_path: Path) -> None:
    made = founded(tmp_path, texts_after_close=True)
    contest = made.contest
    ada, bob = (newcomer(contest, name) for name in ("Ada", "Bob"))
    entry = accept(contest, ada, LOCAL).entry
    for state, phase, readers in (
        ({}, "open", {ada}),
        ({"close_asked": "now"}, "closing", {ada, bob, None}),
        ({"deciding": "now"}, "deciding", {ada, bob, None}),
        ({"decided": "now"}, "decided", {ada, bob, None}),
    ):
        contest.state(**state)
        assert contest.phase() == phase
        whole = entry_of(contest, entry.entry_id)
        for viewer in (ada, bob, None):
            shown = entry_view(contest, whole, viewer)
            assert may_read(contest, whole, viewer) is (viewer in readers)
            assert (shown["text"] == LOCAL.decode()) is (viewer in readers) and shown["hidden"] is (
                viewer not in readers
            )


def test_an_entry_brings_no_code_of_its_own(contest: Contest) -> None:
    assert "A program has no patches" in (contest.folder / "rules.md").read_text()
    person = newcomer(contest)
    block = "```patch:zoom\n<<<<<<< SEARCH\nW = 1\n=======\nW = 2\n>>>>>>> REPLACE\n```\n"
    with pytest.raises(NotTaken, match="patch:zoom is code") as refused:
        accept(contest, person, f"# A\n\n## Ideas\n\n- Zoom: `patch:zoom`.\n\n## Patches\n\n{block}".encode())
    assert [(m.line, m.code) for m in refused.value.lint if m.level == "error"] == [(9, "own-code")]
    with pytest.raises(NotTaken, match="line 3: wave: Input") as both:
        accept(contest, person, f"---\nmetaloop:\n  wave: 0\n---\n# A\n\n## Patches\n\n{block}".encode())
    assert [(m.line, m.level) for m in both.value.lint] == [(3, "error")]


def test_an_accepted_entry_is_synced(contest: Contest) -> None:
    """FULL: SQLite waits for the disk at every commit of the write-ahead log."""
    with contest.database.engine.connect() as connection:
        told = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
    assert told == ["wal", 2]
    assert sqlite3.connect(contest.database.path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_folder_that_is_taken_says_by_what(tmp_path: Path) -> None:
    founded(tmp_path)
    with pytest.raises(UsageError, match="is a contest already") as caught:
        create_contest(tmp_path / "contest", wishes(tmp_path / "again"))
    assert caught.value.hint.startswith("metaloop contest serve ")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        create_contest(tmp_path / "other", wishes(tmp_path / "third"))


def test_a_public_task_decides_no_contest(tmp_path: Path) -> None:
    toml = (folder := variants.init(tmp_path / "open")) / "task.toml"
    toml.write_text(toml.read_text().replace("[data]\n", "[data]\npublic = true\n"))
    with pytest.raises(UsageError, match="open cannot be used in a contest"):
        founded(tmp_path, task=Task.load(folder))
    assert not (tmp_path / "contest").exists()


def test_a_task_that_was_made_public_later_is_not_served(contest: Contest) -> None:
    toml = contest.task.folder / "task.toml"
    toml.write_text(toml.read_text() + "\n[data]\npublic = true\n")
    with pytest.raises(UsageError, match="its hidden data are public"):
        serve(contest.folder, "127.0.0.1", 0, print, print)


def test_two_closes_at_once_count_as_one_and_lose_no_change(contest: Contest) -> None:
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            contest.database.set_fact("state")
            together = Barrier(2)

            def closed(reason: str, together: Barrier = together) -> str:
                together.wait()
                try:
                    contest.ask_close(reason)
                except UsageError:
                    return ""
                return reason

            heard = [reason for reason in pool.map(closed, ("rain", "snow")) if reason]
            assert [contest.state()["early"]] == heard

            def changed(key: str, together: Barrier = together) -> None:
                together.wait()
                contest.state(**{key: "x"})

            list(pool.map(changed, ("deciding", "decided")))
            assert {"deciding", "decided", "early"} <= contest.state().keys()


def test_contact_of_the_host_is_in_the_rules_and_on_every_page(tmp_path: Path) -> None:
    made = founded(tmp_path, contact="ada@example.org, <b>")
    with served(made.contest) as port:
        for path in ("/", "/rules"):
            assert "ada@example.org, &lt;b&gt;" in Browser(port).get(path).text
        assert "ada@example.org, <b>" in Browser(port).get("/rules.md").text
        assert Browser(port).get("/api/v1/contest").json["contact"] == "ada@example.org, <b>"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (" ", "this one has 0"), ("x" * 41, "this one has 41"), ("a<b", "cannot contain <"), ("...", "needs a letter"),
        ("a\u202eb", r"cannot contain the character U\+202E"), ("St0ck", "is reserved"),
    ],
)  # fmt: skip
def test_a_name_that_is_refused_is_told_why(name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        checked_name(name)
