"""The pages and the API over a real socket: what is shown, what is refused, what can do no harm."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from arena.contest.client import API, API_HEADER, ContestClient, refuse_other
from arena.contest.create import NewContest
from arena.contest.ranking.views import ContestView
from arena.contest.web.host import RateLimits
from arena.contest.web.pages import page_cache
from arena.serving.client import RequestRejected
from arena.serving.limits import MOST_BODY, Rate
from programs.common.errors import NotComparable
from programs.common.text import MAX_BYTES
from programs.program import Program
from programs.shelf import starter
from tests.arena.contest.hosting import Answer, Browser, founded, joined, served, zipped

LOCAL = starter("local").raw
PAGES = ("/", "/queue", "/rules", "/join", "/write")


@dataclass(frozen=True)
class Place:
    """A contest that is being served."""

    made: NewContest
    port: int

    def browser(self) -> Browser:
        return Browser(self.port)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = founded(tmp_path_factory.mktemp("open"), entries_per_person=200)
    with served(made.contest, RateLimits(*(Rate(10_000, 1.0) for _ in range(3)))) as port:
        yield Place(made, port)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_asks_no_other_server(place: Place, path: str) -> None:
    answer = place.browser().get(path)
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', answer.text)
    assert not re.findall(r"<script(?! src=\"/static/)|<style|\sstyle=|\son\w+=", answer.text)


def test_only_the_rules_and_a_program_are_markdown(place: Place) -> None:
    assert [place.browser().get(path).status for path in ("/index.md", "/host.md")] == [404, 404]
    rules = place.browser().get("/rules.md")
    assert hashlib.sha256(rules.body).hexdigest() == place.made.contest.config.rules_hash
    assert rules.headers["content-type"].startswith("text/markdown")


def test_an_entry_is_stored_and_shown(place: Place) -> None:
    ada = joined(place.port, "Ada")
    answer = ada.enter(LOCAL)
    assert answer.status == 201 and answer.json["state"] == "queued"
    assert ada.enter(LOCAL).status == 200
    page = place.browser().get(f"/entry/{answer.json['entry_id']}")
    assert page.status == 200 and "Ada" in page.text and answer.json["sha256"] in page.text
    assert place.browser().get(f"/entry/{answer.json['entry_id']}/program.md").body == LOCAL
    assert answer.json["number"] in [row["number"] for row in place.browser().get("/api/v1/queue").json["rows"]]


def test_an_entry_by_form_from_joining_to_its_page(place: Place) -> None:
    bob = place.browser()
    page = bob.form("/join", name="Bob").text
    mine = bob.get("/me").text
    assert "You are logged in in this browser" in page and "Your entries" in mine
    assert "/static/live.js" in mine and "/static/live.js" not in page  # it would replace the page with the token
    token = re.findall(r"mlt_[\w-]+", page)[0]
    assert bob.form("/login", token=token).headers["location"] == "/me"
    answer = bob.form("/enter", text="# Mine\r\n\r\nTry one thing.\r\n")
    assert answer.status == 303 and answer.headers["location"].startswith("/entry/")
    assert "# Mine\n" in bob.get(answer.headers["location"] + "/program.md").text
    assert "Used 1 of" in bob.get("/me").text
    bob.form("/logout")
    assert bob.get("/me").status == 303


def by_file(browser: Browser, name: str, raw: bytes) -> Answer:
    """An entry by the form for a file, of somebody with a token."""
    browser.form("/login", token=browser.token)
    proof = browser.get("/me").text.split('name="proof" value="')[1].split('"')[0]
    head = f'--X\r\ncontent-disposition: form-data; name="proof"\r\n\r\n{proof}\r\n--X\r\n'
    head += f'content-disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    parts = head.encode() + raw + b"\r\n--X--\r\n"
    return browser.ask("POST", "/enter", parts, content_type="multipart/form-data; boundary=X", accept="text/html")


def test_what_is_too_large_is_not_even_read(place: Place) -> None:
    eve = joined(place.port, "Large")
    assert eve.enter(b"x" * (MOST_BODY + 1)).status == 413
    visitor = Browser(place.port)
    page = visitor.form("/write", text="x" * (MOST_BODY + 1))
    assert page.status == 413 and "(262,144 bytes)" in page.text and '<nav aria-label="Pages">' in page.text
    assert visitor.form("/write", text="x\r\n" * (MAX_BYTES // 6)).status == 200  # 7 bytes a line, encoded
    for told in ("99999999999999999999", "-1", "x"):
        assert eve.ask("POST", "/api/v1/entries", content_length=told).status in (400, 413)


def test_what_is_not_there_is_said_with_a_way_on(place: Place) -> None:
    for path, said in (("/study.toml", "no page at the address"), ("/entry/x", "no entry")):
        answer = place.browser().get(path)
        assert answer.status == 404 and said in answer.text and '<a href="/">The board</a>' in answer.text


def test_the_secret_is_nowhere_before_the_decision(place: Place) -> None:
    secret = place.made.contest.study.secret
    admin = Browser(place.port, place.made.admin_token)
    for path in (*PAGES, "/rules.md", "/llms.txt", "/openapi.json", "/api/v1/contest", "/api/v1/board"):
        assert secret not in admin.get(path).text


def test_page_part_is_sent_once_until_it_changes(tmp_path: Path) -> None:
    with served(founded(tmp_path).contest) as port:
        reader, live = Browser(port), "text/html; part=live"
        part = reader.get("/queue", accept=live)
        assert "<main" in part.text and "<footer" not in part.text and "<head>" not in part.text
        page_cache.cache_clear()  # it is drawn again, for one who has it: the next reader has none yet
        again = reader.get("/queue", accept=live, if_none_match=part.headers["etag"])
        assert again.status == 304 and again.text == ""
        assert Browser(port).get("/queue", accept=live).text == part.text
        assert Browser(port, joined(port, "Ada").token).enter(starter("local").raw).status == 201
        page_cache.cache_clear()
        fresh = reader.get("/queue", accept=live, if_none_match=part.headers["etag"])
        assert "Ada" in fresh.text and fresh.headers["etag"] != part.headers["etag"]


def test_wrong_code_or_token_has_a_hint_and_keeps_the_name(tmp_path: Path) -> None:
    made = founded(tmp_path, join_open=False)
    with served(made.contest) as port:
        page = Browser(port).form("/join", name="Ada L", code="guess").text
        assert "ask the host of the contest for it" in page
        assert 'value="Ada L"' in page and 'value="guess" required' in page
        assert "your token was shown once" in Browser(port).form("/login", token="guess").text
        Browser(port).form("/join", name="Mia", code=made.join_code)
        assert "log in with your token" in Browser(port).form("/join", name="mia", code=made.join_code).text


@pytest.mark.parametrize("raw", [b"# A\n\x00binary", b"\x89PNG\r\n\x1a\n\xff"])
def test_what_is_no_text_is_not_echoed_into_the_form(place: Place, raw: bytes) -> None:
    answer = by_file(joined(place.port, f"Gus {len(raw)}"), "a.md", raw)
    assert answer.status == 422 and 'role="alert"' in answer.text
    assert answer.text.split("<textarea")[1].split("</textarea>")[0].split(">", 1)[1].strip() == ""


def test_a_zip_archive_is_an_entry_of_several_files(place: Place) -> None:
    files = {
        "lab/program.md": "# Lab\n\nAsk [her](roles/a.md).\n",
        "lab/roles/a.md": "Doubt.\n",
        "lab/stray.md": "Hm.\n",
    }
    who = joined(place.port, "Zoe")
    checked = who.ask("POST", "/api/v1/lint", zipped(files)).json
    told = who.enter(zipped(files))
    assert told.status == 201, told.text
    assert checked["taken"] and [m.get("file") for m in told.json["lint"]] == [None, "stray.md"]
    assert checked["lint"] == told.json["lint"]
    raw = who.get(f"/entry/{told.json['entry_id']}/program.md").body
    program = Program.parse(raw)
    assert program.further == {"roles/a.md": "Doubt.\n"} and program.program_id == told.json["program_id"]
    assert who.enter(raw).status == 200  # the same program
    assert "==&gt; roles/a.md &lt;==" in who.get(f"/entry/{told.json['entry_id']}").text
    for bad in (zipped({"a.md": "A.\n", "b.md": "B.\n"}), zipped({"x.txt": "x"}), b"PK\x03\x04junk"):
        assert who.enter(bad).status == 422


@pytest.mark.parametrize("path", ["/api/v1/board", "/api/v1/nowhere"])
def test_the_api_says_its_version_and_refuses_another(place: Place, path: str) -> None:
    plain = place.browser().ask("GET", path)
    assert plain.headers[API_HEADER] == str(API) and plain.status in (200, 401, 404)
    same = place.browser().ask("GET", path, metaloop_api=str(API))
    assert same.status == plain.status
    for other in ("1", "one", "x" * 300):
        refused = place.browser().ask("GET", path, metaloop_api=other)
        assert refused.status == 426 and f"version {API} of the API" in json.loads(refused.body)["error"]["message"]
        assert len(refused.body) < 300 and refused.headers["x-content-type-options"] == "nosniff"
    assert API_HEADER not in place.browser().get("/").headers


def test_client_names_its_version_and_refuses_another_host(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    client = ContestClient(f"http://127.0.0.1:{place.port}")
    assert client.get("/api/v1/contest", ContestView)
    monkeypatch.setattr("arena.contest.client.API", API + 1)
    with pytest.raises(RequestRejected, match=f"version {API} of the API"):
        client.get("/api/v1/contest", ContestView)
    with pytest.raises(NotComparable, match=f"speaks version 1 of the contest API, this metaloop version {API + 1}"):
        refuse_other("1", "http://host")


@pytest.mark.parametrize("path", ["/", "/api/v1/board", "/static/style.css", "/nowhere"])
def test_head_answers_as_get_without_the_body(place: Place, path: str) -> None:
    head, whole = (place.browser().ask(method, path, accept="text/html") for method in ("HEAD", "GET"))
    assert (head.status, head.body) == (whole.status, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert abs(int(head.headers["content-length"]) - len(whole.body)) < 200  # a clock on the page may differ


def test_a_name_is_shown_to_its_own_browser_alone(place: Place) -> None:
    """What is made once for everybody holds nothing of anybody."""
    dee = place.browser()
    dee.form("/login", token=joined(place.port, "Dee").token)
    for _ in range(2):
        own = dee.get("/")
        assert ">Me (Dee)</a>" in own.text and 'name="proof"' in own.text
        for path in ("/", "/queue", "/rules"):
            seen = place.browser().get(path)
            assert "Dee" not in seen.text and "proof" not in seen.text and "set-cookie" not in seen.headers
            assert {"cookie", "authorization"} <= set(seen.headers["vary"].split(", "))
    assert Browser(place.port, "mlt_wrong").get("/").status == 401


def test_news_are_shown_soon(place: Place) -> None:
    assert "Bea" not in place.browser().get("/queue").text
    assert joined(place.port, "Bea").enter(LOCAL).status == 201
    until = time.monotonic() + 200
    while "Bea" not in place.browser().get("/queue").text and time.monotonic() < until:
        time.sleep(0.1)
    assert "Bea" in place.browser().get("/queue").text
