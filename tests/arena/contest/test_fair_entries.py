"""Attacks on what an entrant's place is worth: copies, many names, cut uploads, removed accounts, borrowed labels."""

from __future__ import annotations

import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text

from arena.contest.contest import Contest
from arena.contest.entering import accounts, acts, removal
from arena.contest.entering.accounts import AccessRefused
from arena.contest.entering.entries import NotTaken, accept, change, checked, enter
from arena.contest.ranking.decision import leaders, not_racing
from arena.contest.ranking.standing import snapshot
from arena.contest.ranking.views import board_view, entry_of, entry_view
from arena.contest.running.contest_queue import ContestQueue
from arena.contest.stored import entry_label
from arena.contest.tables import ContestEntry, Person
from arena.study.study import Study
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, founded, joined, newcomer, numbered, quiet, served
from tests.arena.contest.test_contest_queue import measured
from tests.meta.cli_study import cli, metaloop

COPY = b"\n<!-- mine -->\n"


def taken(contest: Contest, name: str, raw: bytes) -> int:
    """The number of a newcomer's entry."""
    return accept(contest, newcomer(contest, name), raw).entry.number


def failing(*words: object) -> str:
    """What a refused command says, in one line."""
    ended = cli(*words)
    assert ended.returncode != 0, ended.stdout
    return " ".join(ended.stderr.split())


def test_copies_with_a_comment_share_one_place_of_the_first(contest: Contest) -> None:
    original = taken(contest, "Ada", starter("local").raw)
    copies = [taken(contest, f"Bob {n}", starter("local").raw + COPY * n) for n in (1, 2)]
    other = taken(contest, "Cy", starter("one-line").raw)
    with Study.open(contest.folder) as study:
        queue = ContestQueue(contest, study, quiet)
        for number in (original, *copies, other):
            queue.arms_of(number)
            measured(queue, number, 0.5)
            change(contest, number, state="verified")
        racing = leaders(contest, study)
        assert set(racing) <= {original, other} and racing
        reasons = not_racing(contest, study, racing)
    alike = f"behaves like Ada's entry {original}, which was earlier"
    rows = {row["number"]: row for row in board_view(contest)["rows"]}
    for number in copies:
        assert reasons[number].endswith(f"it behaves like entry {original}, which was earlier")
        entry = entry_of(contest, numbered(contest, number).entry_id)
        assert entry_view(contest, entry, None)["copy_of"] == rows[number]["copy_of"] == alike
    assert rows[original]["copy_of"] == "" and acts.contenders(contest) <= {original, other}
    with served(contest) as port:
        assert "Behaves like Ada" in Browser(port).get(f"/entry/{numbered(contest, copies[0]).entry_id}").text
        assert Browser(port).get("/").text.count("behaves like Ada") == 2
    status = metaloop("contest", "status", contest.folder).stdout
    assert f"behaves like Ada's entry {original}" in " ".join(status.split())
    said = metaloop("contest", "close", contest.folder, code=2).stderr
    assert f"entry {copies[0]} {alike}: it takes no part in the decision" in " ".join(said.split())


def test_copy_of_a_void_or_a_hidden_text_is_not_told(tmp_path: Path) -> None:
    contest = founded(tmp_path, texts_after_close=True).contest
    original = taken(contest, "Ada", starter("local").raw)
    entry = entry_of(contest, numbered(contest, taken(contest, "Bob", starter("local").raw + COPY)).entry_id)
    with contest.database.read() as connection:
        author = connection.scalar(select(Person).where(Person.name == "Bob"))
    assert entry_view(contest, entry, author)["copy_of"] == ""  # nor to who guesses the other text
    assert "Ada" in entry_view(contest, entry, None, admin=True)["copy_of"]
    contest.ask_close("it rains")
    assert "Ada" in entry_view(contest, entry, author)["copy_of"]
    acts.void(contest, str(original), "sent twice")
    assert entry_view(contest, entry, author)["copy_of"] == ""


def test_join_code_for_one_person_joins_only_one(tmp_path: Path) -> None:
    made = founded(tmp_path, join_open=False, join_codes=2)
    contest = made.contest
    first, second = made.join_codes
    accounts.join(contest.database, contest.config, "Ada", first)
    for code in (first, "", "mlj_x", made.join_code):
        with pytest.raises(AccessRefused, match="join code"):
            accounts.join(contest.database, contest.config, "Bob", code)
    with pytest.raises(accounts.UsageError, match="taken"):  # a refused name does not use the code up
        accounts.join(contest.database, contest.config, "Ada", second)
    accounts.join(contest.database, contest.config, "Bob", f" {second} ")
    stored = b"".join(path.read_bytes() for path in contest.folder.rglob("*") if path.is_file())
    assert first.encode() not in stored and second.encode() not in stored


def test_init_prints_so_many_codes_once(tmp_path: Path) -> None:
    made = metaloop("contest", "init", tmp_path / "c", "--codes", "3", "--expect-entries", "2", "--json").json
    assert len(set(made["join_codes"])) == 3 and not made.get("join_code")
    assert "exclude each other" in failing("contest", "init", tmp_path / "d", "--codes", "3", "--set", "open_join=true")


def test_cap_of_entries_in_all_refuses_the_next(tmp_path: Path) -> None:
    contest = founded(tmp_path, most_entries=2).contest
    numbers = [taken(contest, name, starter("local").raw) for name in ("Ada", "Bob")]
    with pytest.raises(NotTaken, match="2 entries"):
        taken(contest, "Cy", starter("local").raw)
    acts.void(contest, str(numbers[0]), "sent twice")
    taken(contest, "Dan", starter("local").raw)
    assert "at most 2 entries in all" in (contest.folder / "rules.md").read_text()


def test_void_of_a_person_voids_all_their_entries(contest: Contest) -> None:
    ada = newcomer(contest, "Ada")
    numbers = [accept(contest, ada, starter(name).raw).entry.number for name in ("local", "one-line")]
    other = taken(contest, "Bob", starter("local").raw)
    arguments = ("contest", "host", contest.folder, "void", "--person", "Ada", "--because", "one person, many names")
    assert "not both" in failing("contest", "host", contest.folder, "void", "3", *arguments[4:])
    metaloop(*arguments)
    states = {number: numbered(contest, number).state for number in (*numbers, other)}
    assert [state == "void" for state in states.values()] == [True, True, False]
    assert [act["number"] for act in acts.acts(contest)] == numbers
    assert "has no entry" in failing(*arguments)
    assert "no one is called" in failing(*arguments[:5], "Zoe", *arguments[6:])


def test_entry_of_an_account_removed_meanwhile_is_refused(contest: Contest) -> None:
    ada = newcomer(contest, "Ada")
    upload = checked(contest, ada, starter("local").raw)
    removal.forget(contest, "Ada")
    with contest.database.write() as connection, pytest.raises(AccessRefused):
        enter(connection, contest, ada, upload)
    with contest.database.read() as connection:
        assert connection.scalar(select(ContestEntry).where(ContestEntry.role == "program")) is None


def test_session_of_an_account_removed_meanwhile_is_refused(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = accounts.join(contest.database, contest.config, "Ada", "")
    found = accounts.person_of(contest.database, token)
    removal.forget(contest, "Ada")
    monkeypatch.setattr(accounts, "person_of", lambda *_: found)  # looked up before the account was removed
    with pytest.raises(AccessRefused):
        accounts.log_in(contest.database, token)


def test_upload_that_is_cut_off_is_not_stored(contest: Contest) -> None:
    raw = starter("local").raw + b"\n" + b"More prose about what to try next.\n" * 1000
    with served(contest) as port:
        ada = joined(port, "Ada")
        for framing in (b"content-length: %d\r\n\r\n", b"transfer-encoding: chunked\r\n\r\n%x\r\n"):
            with socket.create_connection(("127.0.0.1", port)) as client:
                head = f"POST /api/v1/entries HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ada.token}\r\n"
                client.sendall(head.encode() + framing % len(raw) + raw[: len(raw) // 2])
                time.sleep(0.2)
        time.sleep(1.0)
        with contest.database.read() as connection:
            assert connection.scalar(select(ContestEntry).where(ContestEntry.role == "program")) is None
        assert ada.enter(raw).status == 201


def test_label_of_an_entry_always_begins_with_its_entrant(contest: Contest) -> None:
    ada = newcomer(contest, "Ada")
    label = accept(contest, ada, b"---\nmetaloop:\n  name: 'Ada Lovelace: bold'\n---\n# x\n").entry.label
    assert label == "Ada: Ada Lovelace: bold"
    assert (entry_label("Ada", "2"), entry_label("Ada", "2 1")) == ("Ada 2", "Ada: 2 1")
    assert (entry_label("Ada 2", "1"), entry_label("Ada", "²")) == ("Ada 2: 1", "Ada: ²")


def test_twenty_readers_at_once_leave_a_connection(contest: Contest) -> None:
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(contest.database.read())
            connection.scalar(select(ContestEntry.number))
        assert contest.database.fact("tokens")


def test_reader_of_the_whole_board_holds_no_connection(ran_copy: Contest) -> None:
    next(iter(snapshot(ran_copy).rows))
    pool: Any = ran_copy.database.engine.pool
    assert pool.checkedout() == 0


def test_secret_is_on_the_disk_when_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = list[str](), os.fsync

    def noted(number: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{number}"))
        real(number)

    monkeypatch.setattr(os, "fsync", noted)
    folder = founded(tmp_path).contest.folder
    assert {str(folder / name) for name in ("study.partial", "contest.toml.partial")} <= set(synced)


def test_contest_of_an_older_schema_is_one_clear_line(ran_copy: Contest) -> None:
    contest = ran_copy
    settings = contest.folder / "contest.toml"
    settings.write_text(settings.read_text().replace("schema = 5", "schema = 2"))
    with contest.database.write() as connection:
        connection.execute(text("DROP INDEX ix_entries_behaviour"))
        connection.execute(text("ALTER TABLE entries DROP COLUMN behaviour"))
    assert "schema 2, this one reads 5" in failing("contest", "status", contest.folder)
    assert "Ada" in metaloop("standings", contest.folder).stdout  # reads what it needs
