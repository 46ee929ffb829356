"""The page on writing a program, and the check of a text, over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from arena.contest.create import NewContest
from arena.contest.web.host import RateLimits
from arena.contest.web.limits import Rate
from arena.contest.web.write import edits_of
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, founded, joined, served

LOCAL = starter("local").raw


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> NewContest:
    return founded(tmp_path_factory.mktemp("write"), entries_per_person=20)


@pytest.fixture(scope="module")
def port(made: NewContest) -> Iterator[int]:
    with served(made.contest, RateLimits(*(Rate(10_000, 1.0) for _ in range(3)))) as number:
        yield number


def test_the_page_on_writing_names_every_edit_and_every_setting(made: NewContest, port: int) -> None:
    html, twin = (Browser(port).get(path).text for path in ("/write", "/write.md"))
    for knob in made.contest.task.edits.knobs:
        assert f"<td>{knob.name}</td>" in html and f"| `{knob.name}` |" in twin
    for name in ("proposers", "keep", "screen", "confirm", "no_repeat"):
        assert f"<code>{name}</code>" in html
    assert "\n- `no_repeat`: " in twin
    text = html.split("<textarea")[1].split(">\n", 1)[1].split("</textarea>")[0]
    told = Browser(port).ask("POST", "/api/v1/lint", unescape(text).encode()).json
    assert told["taken"] and (told["ideas"], told["of"]) == (1, 1)


def test_a_text_is_checked_without_being_stored(port: int) -> None:
    entrant = joined(port, "Lint")
    before = entrant.ask("GET", "/api/v1/me").json["used"]
    good = entrant.ask("POST", "/api/v1/lint", LOCAL).json
    assert good["taken"] and good["lint"] == [] and good["ideas"] == 0
    bad = entrant.ask("POST", "/api/v1/lint", b"---\nmetaloop:\n  proposers: {never: 1}\n---\n# x\n").json
    assert not bad["taken"] and bad["lint"][0]["line"] == 3 and bad["ideas"] is None
    assert entrant.ask("POST", "/api/v1/lint", b"\xff\xfe").json["taken"] is False
    assert entrant.ask("GET", "/api/v1/me").json["used"] == before
    browser = Browser(port)
    told = browser.form("/write", text="# x\n\n## Ideas\n\n- Try `nonsense=3`.\n").text
    assert "Ideas that name an edit of the task: 0 of 1." in told and "Try `nonsense=3`." in told


def checked(port: int, text: str) -> Any:
    return Browser(port).ask("POST", "/api/v1/lint", text.encode()).json


def test_ideas_that_name_an_edit_are_counted_apart_from_those_that_will_be_tried(made: NewContest, port: int) -> None:
    idea = edits_of(made.contest.task)[0]["example"]
    text = f"---\nmetaloop:\n  proposers: {{local: 1}}\n---\n# x\n\n## Ideas\n\n- Try `{idea}`.\n"
    told = checked(port, text)
    assert (told["ideas"], told["of"], told["tried"]) == (1, 1, 0)
    assert "Ideas that name an edit of the task: 1 of 1." in told["message"]
    assert "No idea will be tried: no phase's proposers contain queue." in told["message"]
    queued = checked(port, text.replace("local", "queue"))
    assert queued["tried"] == 1 and "No idea" not in queued["message"]
    wrong = checked(port, text.replace("local", "queue").replace("metaloop", "metalop"))
    assert wrong["ideas"] == 1 and [m["line"] for m in wrong["lint"] if "did you mean metaloop?" in m["message"]] == [2]


def test_a_plain_text_is_said_to_run_like_stock(port: int) -> None:
    told = checked(port, "# Mine\n\nTrain longer.\n")
    assert told["taken"] and "no settings and no ideas: it runs like stock" in told["message"]
    assert "runs like stock" not in checked(port, LOCAL.decode())["message"]


def test_an_error_is_shown_once_and_without_private_words(port: int) -> None:
    text = "---\nmetaloop:\n  proposer: {queue: 1}\n---\n# x\n"
    page = Browser(port).form("/write", text=text).text
    assert page.count("did you mean proposers?") == 1 and "charter" not in page and "unknown setting proposer" in page


def test_checks_are_limited(tmp_path: Path) -> None:
    made = founded(tmp_path)
    with served(made.contest, RateLimits(lint=Rate(2, 1000.0))) as port:
        codes = [Browser(port).ask("POST", "/api/v1/lint", LOCAL).status for _ in range(3)]
    assert codes == [200, 200, 429]
