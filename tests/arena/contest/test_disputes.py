"""Disputes: raised by form and by API, read by everybody, answered by the host, never deleted."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from arena.contest import disputes
from arena.contest.contest import Contest
from arena.contest.create import NewContest
from arena.contest.settings import DATABASE
from arena.contest.web.host import RateLimits
from arena.contest.web.limits import Rate
from programs.errors import NotFound, UsageError
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, founded, joined, served

Place = tuple[NewContest, int]
WHY = "It cites a text that its author cannot have written alone."


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = founded(tmp_path)
    with served(made.contest, RateLimits(*(Rate(10_000, 1.0) for _ in range(4)))) as port:
        yield made, port


def entered(port: int, who: Browser) -> str:
    return str(who.enter(starter("local").raw).json["entry_id"])


def test_a_dispute_by_form_is_on_the_page_with_its_answer(place: Place) -> None:
    made, port = place
    ada, bob = joined(port, "Ada"), Browser(port)
    entry = entered(port, ada)
    assert "Raise a dispute" not in bob.get(f"/entry/{entry}").text
    bob.form("/login", token=joined(port, "Bob").token)
    assert bob.form(f"/entry/{entry}/dispute", reason="<b>" + WHY).status == 303
    page = Browser(port).get(f"/entry/{entry}").text
    assert f"&lt;b&gt;{WHY}" in page and "<strong>open</strong> · Bob" in page
    (row,) = disputes.disputes(made.contest, open_only=True)
    link = f'<a href="/entry/{entry}#dispute-{row["dispute_id"]}">Dispute about Ada 1</a>, open, raised by Bob'
    assert link in ada.get("/me").text and "Dispute about" not in bob.get("/me").text
    assert "about Ada 1" in ada.get("/me.md").text and ada.get("/api/v1/me").json["disputes"][0]["by"] == "Bob"
    disputes.answer(made.contest, row["dispute_id"], "Looked at: both wrote it.")
    assert disputes.disputes(made.contest, open_only=True) == []
    for page in (Browser(port).get(f"/entry/{entry}").text, Browser(port).get(f"/entry/{entry}.md").text):
        assert "answered" in page and "Looked at: both wrote it." in page


def test_a_dispute_by_api(place: Place) -> None:
    _, port = place
    ada = joined(port, "Ada")
    entry = entered(port, ada)
    told = ada.send(f"/api/v1/entries/{entry}/disputes", {"reason": WHY})  # about the own entry
    assert told.status == 201 and told.json["state"] == "open" and told.json["by"] == "Ada"
    assert ada.send(f"/api/v1/entries/{entry}/disputes", {"reason": WHY}).json == told.json  # the same one
    assert Browser(port).get("/api/v1/disputes").json["rows"] == [told.json]
    assert Browser(port).get(f"/api/v1/entries/{entry}/disputes").json["rows"] == [told.json]
    assert Browser(port).send(f"/api/v1/entries/{entry}/disputes", {"reason": WHY}).status == 401
    assert ada.send("/api/v1/entries/n_none/disputes", {"reason": WHY}).status == 404


def test_reasons_are_bounded_and_people_too(place: Place) -> None:
    _, port = place
    ada = joined(port, "Ada")
    entry = entered(port, ada)
    for reason in ("", "short", "x" * 1001, "x" * 100_000, "\u200b" * 50):
        assert ada.send(f"/api/v1/entries/{entry}/disputes", {"reason": reason}).status == 422
    for count in range(disputes.MOST_OPEN):
        assert ada.send(f"/api/v1/entries/{entry}/disputes", {"reason": f"{WHY} {count}"}).status == 201
    assert "open" in ada.send(f"/api/v1/entries/{entry}/disputes", {"reason": WHY}).json["error"]["message"]


def test_a_dispute_form_of_another_site_does_nothing(place: Place) -> None:
    made, port = place
    ada = joined(port, "Ada")
    entry = entered(port, ada)
    eve = Browser(port)
    eve.form("/login", token=ada.token)
    kind = "application/x-www-form-urlencoded"
    body = f"reason={WHY}".encode()
    assert eve.ask("POST", f"/entry/{entry}/dispute", body, content_type=kind, accept="text/html").status == 403
    assert disputes.disputes(made.contest) == []


def test_raising_is_limited(tmp_path: Path) -> None:
    with served(founded(tmp_path).contest) as port:
        ada = joined(port, "Ada")
        entry = entered(port, ada)
        told = [ada.send(f"/api/v1/entries/{entry}/disputes", {"reason": "no"}).status for _ in range(7)]
    assert told == [422] * 5 + [429] * 2


def test_an_answer_needs_a_dispute_and_words(place: Place) -> None:
    with pytest.raises(NotFound):
        disputes.answer(place[0].contest, 7, "yes")
    with pytest.raises(UsageError):
        disputes.answer(place[0].contest, 7, " ")


def test_a_contest_of_an_earlier_version_gets_the_tables_at_opening(tmp_path: Path) -> None:
    folder = founded(tmp_path).contest.folder
    with sqlite3.connect(folder / DATABASE) as raw:
        raw.execute("DROP TABLE disputes")
    contest = Contest.open(folder)
    assert disputes.disputes(contest) == []
    contest.database.close()
