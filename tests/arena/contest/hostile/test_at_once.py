"""Many at once, too early, too late, too often: one entry for one text, never more than the rules allow."""

from __future__ import annotations

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from arena.contest.tables import ContestEntry, Session
from arena.contest.web.host import RateLimits
from arena.serving import limits
from arena.serving.clock import utc_now
from arena.serving.limits import MOST_BODY, Rate
from tests.arena.contest.hostile.attacks import SECONDS, mark, said
from tests.arena.contest.hostile.ground import HONEST, MANY, Ground, ground_in, unlimited
from tests.arena.contest.hosting import Answer, Browser, founded, joined, served

FEW = 12  # at once
DAY = 86_400.0  # to fill a limit again: on no machine does a test get a further request of it
pytestmark = mark("at once")


def together(tries: list[bytes], one: Browser) -> list[Answer]:
    with ThreadPoolExecutor(len(tries)) as pool:
        return list(pool.map(one.enter, tries))


def test_one_text_sent_many_times_at_once_is_one_entry(ground: Ground) -> None:
    person = joined(ground.port, "Twice")
    answers = together([b"# Twice\n\nThe same.\n"] * FEW, person)
    assert Counter(answer.status for answer in answers) == {201: 1, 200: FEW - 1}
    assert len({answer.json["entry_id"] for answer in answers}) == 1


@pytest.mark.exploit(65)
def test_many_texts_at_once_do_not_pass_the_quota(tmp_path: Path) -> None:
    with ground_in(tmp_path, entries_per_person=3) as found:
        answers = together([f"# Text {i}\n\nAnother.\n".encode() for i in range(FEW)], found.mallory)
        assert Counter(answer.status for answer in answers) == {201: 3, 403: FEW - 3}
        assert found.mallory.send("/api/v1/entries", "# One more").status == 403
        assert found.honest.enter(b"# Mine\n\nStill free.\n").status == 201


def test_one_name_joined_many_times_at_once_is_one_person(ground: Ground) -> None:
    with ThreadPoolExecutor(FEW) as pool:
        names = ["Nina", "nina", "NINA", "N\u0456na"] * (FEW // 4)
        told = list(pool.map(lambda name: Browser(ground.port).send("/api/v1/join", {"name": name}), names))
    assert Counter(answer.status for answer in told)[201] == 1


def test_before_the_opening(tmp_path: Path) -> None:
    made = founded(tmp_path, opens=utc_now() + timedelta(hours=1), closes=utc_now() + timedelta(hours=2))
    with served(made.contest, unlimited()) as port:
        assert joined(port, "Early").enter(HONEST).status == 409


def test_at_the_second_of_closing(tmp_path: Path) -> None:
    closes = utc_now() + timedelta(seconds=1.5)
    made = founded(tmp_path, closes=closes, entries_per_person=MANY)
    with served(made.contest, unlimited()) as port:
        person, number, last = joined(port, "Late"), 0, 201
        while last == 201:
            number += 1
            last = person.enter(f"# Text {number}\n\nIn time?\n".encode()).status
        assert last == 409 and utc_now() >= closes
        with made.contest.database.read() as connection:
            assert all(at < closes for at in connection.scalars(select(ContestEntry.received_at)) if at)


def test_after_an_early_close(tmp_path: Path) -> None:
    with ground_in(tmp_path) as found:
        host = Browser(found.port, found.made.admin_token)
        assert host.send("/api/v1/close", {"reason": "because \u202e\u001b[31m"}).status == 200
        assert found.mallory.enter(HONEST).status == 409
        assert found.browser.form("/enter", text="# Late\n\nGo.").status == 422
        page = found.honest.get("/").text
        assert "because" in page and "\u202e" not in page and "\u001b" not in page


def test_entries_sent_while_the_host_closes(tmp_path: Path) -> None:
    """Each is accepted before the close or refused, whatever the order in which they wait for the database."""
    with ground_in(tmp_path, entries_per_person=MANY) as found:
        contest, host = found.made.contest, Browser(found.port, found.made.admin_token)
        with ThreadPoolExecutor(FEW + 1) as pool:
            with contest.database.write():  # all wait for it
                sent = [pool.submit(found.mallory.enter, f"# Text {i}\n\nIn time?\n".encode()) for i in range(FEW)]
                closed = pool.submit(host.send, "/api/v1/close", {"reason": "because"})
                time.sleep(1)
            assert closed.result().status == 200
            assert {answer.result().status for answer in sent} <= {201, 409}
        with contest.database.read() as connection:
            assert all(at <= contest.closed_at() for at in connection.scalars(select(ContestEntry.received_at)))


def test_entries_that_wait_for_the_disk_hold_up_no_page(tmp_path: Path) -> None:
    """As many at once as there are threads that render pages, and more."""
    with ground_in(tmp_path, entries_per_person=MANY) as found, ThreadPoolExecutor(MANY) as pool:
        with found.made.contest.database.write():
            sent = [pool.submit(found.mallory.enter, f"# Text {i}\n\nGo.\n".encode()) for i in range(50)]
            time.sleep(2)
            assert pool.submit(found.honest.get, "/").result(timeout=SECONDS).status == 200
        assert {answer.result().status for answer in sent} <= {201, 429}


@pytest.mark.exploit(67)
def test_a_cookie_after_logging_out(ground: Ground) -> None:
    browser = Browser(ground.port)
    browser.form("/login", token=ground.mallory.token)
    old = dict(browser.cookies)
    assert browser.get("/me").status == 200
    browser.form("/logout")
    assert Browser(ground.port, cookies=old).get("/me").status == 303


@pytest.mark.exploit(67)
def test_a_cookie_after_its_time(ground: Ground) -> None:
    browser = Browser(ground.port)
    browser.form("/login", token=ground.mallory.token)
    with ground.made.contest.database.write() as connection:
        connection.execute(update(Session).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert browser.get("/me").status == 303
    ground.browser.form("/login", token=ground.mallory.token)  # the old ones are gone with it


def test_a_session_of_the_attackers_choice(ground: Ground) -> None:
    """A cookie that was there before the login is not the one after it."""
    browser = Browser(ground.port, cookies={"contest_session": "A" * 43})
    browser.form("/login", token=ground.honest.token)
    assert browser.cookies["contest_session"] != "A" * 43
    assert Browser(ground.port, cookies={"contest_session": "A" * 43}).get("/me").status == 303


def test_no_token_lies_on_the_disk(ground: Ground) -> None:
    folder = ground.made.contest.folder
    secrets = [ground.mallory.token, ground.honest.token, ground.made.admin_token, ground.made.join_code,
               ground.browser.cookies["contest_session"]]  # fmt: skip
    for path in (path for path in folder.rglob("*") if path.is_file()):
        raw = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in raw], path


@pytest.mark.exploit(66)
def test_the_join_code_cannot_be_tried_out(tmp_path: Path) -> None:
    """Nor by saying to be forwarded for others: a proxy writes the address that counts at the end."""
    made = founded(tmp_path, join_open=False)
    with served(made.contest, RateLimits(join=Rate(10, DAY))) as port:
        told = [
            Browser(port).send("/api/v1/join", {"name": f"P {i}", "code": f"mlj_{i}"},
                               x_forwarded_for=f"10.0.0.{i}, 203.0.113.9")
            for i in range(14)
        ]  # fmt: skip
    assert [answer.status for answer in told] == [403] * 10 + [429] * 4


@pytest.mark.exploit(66)
def test_tokens_cannot_be_tried_out(tmp_path: Path) -> None:
    with served(founded(tmp_path).contest, RateLimits(token=Rate(5, DAY))) as port:
        told = [Browser(port, f"mlt_{i:043d}").get("/api/v1/me").status for i in range(4)]
        told += [Browser(port, f"mla_{i:043d}").send("/api/v1/close", {"reason": "because"}).status for i in range(4)]
        browser = Browser(port)
        told += [browser.form("/login", token=f"mlt_{i:043d}").status for i in range(2)]
    assert told == [401] * 4 + [403] + [429] * 5


def test_a_network_of_addresses_is_one_client() -> None:
    from starlette.requests import Request

    from arena.serving.limits import client_of

    def of(address: str) -> str:
        return client_of(Request({"type": "http", "headers": [], "client": (address, 1)}))

    assert of("2001:db8:1:2::1") == of("2001:db8:1:2:ffff::9") != of("2001:db8:1:3::1")
    assert of("192.0.2.1") == of("::ffff:192.0.2.1") != of("::ffff:192.0.2.2")


def test_requests_at_the_same_moment_are_all_counted() -> None:
    """A bucket that one thread has taken out to count is not a new client's for another one."""
    rate, before = Rate(100, DAY), sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            allowed = sum(pool.map(lambda _: rate.allows("one"), range(20_000)))
    finally:
        sys.setswitchinterval(before)
    assert allowed == 100


def test_what_is_long_counts_more(tmp_path: Path) -> None:
    limits = RateLimits(entry=Rate(RateLimits().entry.most, DAY))
    with served(founded(tmp_path, entries_per_person=MANY).contest, limits) as port:
        person = joined(port, "Long")
        told = [person.enter(b"# A\n\n" + b"a" * 250_000 + str(i).encode()).status for i in range(5)]
    assert told == [201] * 3 + [429] * 2


def test_a_body_of_the_largest_size_many_times(ground: Ground) -> None:
    sizes = [MOST_BODY + 1, 1 << 20, 1 << 23]
    for size in sizes:
        head = f"POST /api/v1/entries HTTP/1.1\r\nHost: {ground.host}\r\nContent-Length: {size}\r\n\r\n"
        assert b"HTTP/1.1 413" in said(ground.port, head.encode())  # not one byte of it was waited for


@pytest.mark.exploit(68)
def test_a_body_that_does_not_come(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_SECONDS", 0.3)
    head = f"POST /api/v1/lint HTTP/1.1\r\nHost: {ground.host}\r\nContent-Length: 100\r\n\r\n# A"
    assert b"HTTP/1.1 408" in said(ground.port, head.encode())


def test_a_link_of_another_host_is_told_to_nobody_else(ground: Ground) -> None:
    """Who says to have come to another host is answered for it; nobody after, and no cache may keep it."""
    for path in ("/", "/llms.txt", "/join"):
        mine = ground.honest.get(path, host="evil.example")
        assert "host" in mine.headers.get("vary", "host")
        assert "evil.example" not in ground.honest.get(path).text
        assert mine.headers["cache-control"] == "no-cache" or "private" in mine.headers["cache-control"]
