"""What is made once for everybody holds nothing of anybody, and is made again when something is new."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from arena.serving.clock import utc_now
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, founded, joined, served


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    closes = utc_now() + timedelta(days=9, minutes=30)  # what the pages say of the time left, in hours, stays the same
    contest = founded(tmp_path_factory.mktemp("shared"), closes=closes).contest
    with served(contest) as number:
        yield number


def test_a_name_is_shown_to_its_own_browser_alone(port: int) -> None:
    ada = Browser(port)
    ada.form("/login", token=joined(port, "Ada").token)
    for _ in range(2):
        own = ada.get("/")
        assert ">Me (Ada)</a>" in own.text and 'name="proof"' in own.text
        for path in ("/", "/queue", "/rules"):
            seen = Browser(port).get(path)
            assert "Ada" not in seen.text and "proof" not in seen.text and "set-cookie" not in seen.headers
            assert {"cookie", "authorization"} <= set(seen.headers["vary"].split(", "))
            assert "default-src 'none'" in seen.headers["content-security-policy"]
    assert Browser(port, "mlt_wrong").get("/").status == 401


def test_host_who_is_logged_in_sees_own_navigation(tmp_path: Path) -> None:
    new = founded(tmp_path)
    with served(new.contest) as port:
        for path in ("/", "/queue", "/rules"):
            assert "Log the host out" not in Browser(port).get(path).text
        host = Browser(port)
        host.form("/login", token=new.admin_token)
        for path in ("/", "/queue", "/rules"):
            assert "Log the host out" in host.get(path).text


def test_hosts_are_kept_apart(port: int) -> None:
    page = Browser(port).get("/")
    other = Browser(port).get("/", host="other.example")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://other.example/llms.txt" in other.text and "other.example" not in page.text


def test_news_are_shown_soon(port: int) -> None:
    assert "Bea" not in Browser(port).get("/queue").text
    assert joined(port, "Bea").enter(starter("local").raw).status == 201
    until = time.monotonic() + 200
    while "Bea" not in Browser(port).get("/queue").text and time.monotonic() < until:
        time.sleep(0.1)
    assert "Bea" in Browser(port).get("/queue").text
