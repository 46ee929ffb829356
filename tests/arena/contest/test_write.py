"""The page on writing a program, and the check of a text, over a real socket."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from arena.contest.contest import Contest
from arena.contest.create import NewContest
from arena.contest.entering import acts
from arena.contest.example import edits_of, other_value
from arena.contest.web.host import RateLimits
from arena.serving.limits import Rate
from programs.shelf import starter
from tests.arena.contest.hosting import Browser, founded, joined, served
from tests.meta.cli_study import metaloop

LOCAL = starter("local").raw


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> NewContest:
    return founded(tmp_path_factory.mktemp("write"), entries_per_person=20)


@pytest.fixture(scope="module")
def port(made: NewContest) -> Iterator[int]:
    with served(made.contest, RateLimits(*(Rate(10_000, 1.0) for _ in range(3)))) as number:
        yield number


def test_the_page_on_writing_names_every_edit_and_every_setting(made: NewContest, port: int) -> None:
    html = Browser(port).get("/write").text
    for knob in made.contest.task.edits.knobs:
        assert f'<td class="named">{knob.name}</td>' in html
    assert "The text above is an example" in html
    assert "The text above is an example" not in Browser(port).form("/write", text="# Mine").text
    for name in ("name", "proposers", "keep", "screen", "confirm", "no_repeat"):
        assert f"<code>{name}</code>" in html
    text = html.split("<textarea")[1].split(">\n", 1)[1].split("</textarea>")[0]
    told = Browser(port).ask("POST", "/api/v1/lint", unescape(text).encode()).json
    assert told["taken"] and (told["ideas"], told["of"]) == (1, 1)


@pytest.mark.parametrize(("values", "now", "example"), [
    ((0.003, 0.1, 0.5, 1.0, 10.0), "0.5", 1.0), ((8, 16, 32), "32", 16), ((0.0, 0.1), "0.0", 0.1),
    (("sgd", "adamw"), "sgd", "adamw"), ((False, True), "False", True),
])  # fmt: skip
def test_the_example_of_an_edit_is_a_moderate_one(values: tuple[object, ...], now: str, example: object) -> None:
    assert other_value(values, now) == example


def checked(port: int, text: str) -> Any:
    return Browser(port).ask("POST", "/api/v1/lint", text.encode()).json


def test_a_text_is_checked_without_being_stored(port: int) -> None:
    entrant = joined(port, "Lint")
    good = entrant.ask("POST", "/api/v1/lint", LOCAL).json
    assert good["taken"] and {each["code"] for each in good["lint"]} == {"measured"} and good["ideas"] == 0
    both = b"---\nmetaloop:\n  wave: 0\n  kep: 1\n---\n# x\n\n## Ideas\n\n- Try `nonsense=3`.\n"
    told = entrant.ask("POST", "/api/v1/lint", both).json
    assert (told["message"], told["ideas"]) == ("Cannot be submitted: 1 error.", None)
    assert [m["line"] for m in told["lint"]] == [3] and "; line 4: unknown setting kep" in told["lint"][0]["message"]
    assert entrant.ask("POST", "/api/v1/lint", b"\xff\xfe").json["taken"] is False
    assert entrant.ask("GET", "/api/v1/me").json["used"] == 0
    told = Browser(port).form("/write", text="# x\n\n## Ideas\n\n- Try `nonsense=3`.\n").text
    assert "Ideas that name an edit of the task: 0 of 1." in told and "Try `nonsense=3`." in told


def test_ideas_that_name_an_edit_are_counted_apart_from_tried(made: NewContest, port: int) -> None:
    """Whoever queues no idea is shown how, at the line where the proposers are or would be."""
    idea = edits_of(made.contest.task)[0]["example"]
    body, fix = f"# x\n\n## Ideas\n\n- Try `{idea}`.\n", "proposers: {queue: 0.5, local: 0.5}"

    def with_settings(lines: str) -> str:
        return f"---\nmetaloop:\n  {lines}\n---\n{body}"

    told = checked(port, with_settings("proposers: {local: 1}"))
    assert (told["ideas"], told["of"], told["tried"]) == (1, 1, 0)
    assert "No idea will be tried: see the warning." in told["message"]
    assert [(m["line"], m["level"]) for m in told["lint"]] == [(3, "warning")] and fix in told["lint"][0]["message"]
    page = Browser(port).form("/write", text=with_settings("proposers: {local: 1}")).text
    assert '<li class="warning" data-line="3">line 3: warning: no idea' in page
    bare = checked(port, body)["lint"][0]["message"]
    assert bare.endswith(f"write at the top:\n---\nmetaloop:\n  {fix}\n---")
    (told,) = [one for one in checked(port, f"metaloop:\n{fix}\n\n{body}")["lint"] if one["level"] == "warning"]
    assert (told["line"], told["code"]) == (1, "settings-ignored")  # the right settings, and no dashes
    right = checked(port, with_settings(fix))
    assert right["tried"] == 1 and not right["lint"] and "No idea" not in right["message"]
    groups = {knob.group for knob in made.contest.task.edits.knobs}
    within = next(k.group for k in made.contest.task.edits.knobs if k.name == idea.split("=")[0])
    outside = checked(port, with_settings(f"proposers: {{queue: 1}}\n  focus: [{next(iter(groups - {within}))}]"))
    assert outside["message"].endswith("0 will be tried: the others (line 10) change groups outside focus.")


def test_submit_and_lint_list_all_mistakes_as_the_page_does(port: int, tmp_path: Path) -> None:
    text = "---\nmetaloop:\n  proposer: {queue: 1}\n  keep: {rule: bettr}\n---\n## Ideas\n\n- Set `LADDER1 0.1`.\n"
    (file := tmp_path / "mine.md").write_text(text)
    assert [m["line"] for m in checked(port, text)["lint"]] == [3]
    to = ["--to", f"http://127.0.0.1:{port}", "--token", joined(port, "Cli").token]
    refused = metaloop("contest", "submit", file, *to, code=2).stderr
    assert f"{file}:3: " in refused and "; line 4: " in refused and "did you mean proposers?" in refused
    found = metaloop("program", "lint", file, code=2).stdout
    assert f"{file}:3\terror" in found and "; line 4: " in found


def test_what_the_script_of_this_contest_ignores_is_a_warning(port: int) -> None:
    told = checked(port, "---\nmetaloop:\n  proposers: {queue: 1}\n---\n## Ideas\n\n- Train longer.\n")
    assert told["taken"] and told["message"].endswith("and only tries named edits.")
    levels = {m["code"]: m["level"] for m in told["lint"]}
    assert levels["no-edit"] == "warning" and "no-prose" not in levels  # which is all that a script needs
    told = checked(port, "# Mine\n\nTrain longer.\n")
    assert [(m["code"], m["level"]) for m in told["lint"]] == [("like-stock", "warning")]
    said = checked(port, "---\nmetaloop:\n  confirm: 0.2\n---\n## Idea\n\n- `LADDER1=0.1`\n")
    assert "below the heading ## Ideas" in said["message"] and "heading Ideas" in said["lint"][0]["message"]


def test_long_dash_in_place_of_three_hyphens_is_a_warning(port: int) -> None:
    for dashes in ("—", "–-"):
        told = checked(port, f"{dashes}\nmetaloop:\n  proposers: {{queue: 1}}\n{dashes}\n## Ideas\n\n- `LADDER1=0.1`\n")
        assert [m["line"] for m in told["lint"]] == [2]  # the cause, not its effect
        assert "two lines of three hyphens (---)" in told["lint"][0]["message"]


def test_a_check_says_whether_its_author_could_submit_the_text(tmp_path: Path) -> None:
    contest = founded(tmp_path, entries_per_person=1).contest
    with served(contest) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        assert "Can be submitted." in ada.form("/write", text="# One\n").text
        entry = ada.form("/enter", text="# One\n").headers["location"]
        again = ada.form("/enter", text="# One\n").headers["location"]
        assert again == f"{entry}?again=yes" and "submitted this text before" in ada.get(again).text
        assert "you have already submitted this text (as Ada 1)." in ada.form("/write", text="# One\n").text
        other = ada.ask("POST", "/api/v1/lint", b"# Two\n").json
        assert not other["taken"] and "cannot be submitted: Ada has used 1 of 1 entries." in other["message"]
        assert ">Submit</button>" not in ada.get("/write").text
        contest.state(decided="2026-01-01T00:00:00+00:00")
        late = Browser(port).form("/write", text="# Two\n").text
        assert "cannot be submitted: this contest is closed" in late and "Can be submitted" not in late


def test_checks_are_limited(tmp_path: Path) -> None:
    made = founded(tmp_path)
    with served(made.contest, RateLimits(lint=Rate(2, 1000.0))) as port:
        told = [Browser(port).ask("POST", "/api/v1/lint", LOCAL) for _ in range(3)]
    assert [answer.status for answer in told] == [200, 200, 429] and int(told[-1].headers["retry-after"]) >= 1


INVITATIONS = {
    "/": "Give this to your agent",
    "/me": 'formaction="/enter"',
    "/join": '<section aria-labelledby="join">',
    "/llms.txt": "## Take part",
    "/write": 'formaction="/enter"',
}


@pytest.mark.parametrize("phase", ["open", "decided", "closing"])
def test_pages_invite_only_while_entries_are_accepted(contest: Contest, phase: str) -> None:
    with served(contest) as port:
        browser = Browser(port)
        browser.form("/join", name="Ada")
        asked = {path: Browser(port) if path == "/join" else browser for path in INVITATIONS}
        if phase != "open":
            contest.state(**{"decided" if phase == "decided" else "close_asked": "2026-01-01T00:00:00+00:00"})
        pages = {path: asked[path].get(path).text for path in INVITATIONS}
        late = browser.form("/enter", text="# Late\n").text
    for path, words in INVITATIONS.items():
        assert (words in pages[path]) == (phase == "open"), path
        said = {"decided": "is decided", "closing": "Entries are closed", "open": ""}[phase]
        assert path == "/" or said in pages[path], path
    assert ('id="example"' in pages["/write"]) == ("before you submit it" in pages["/write"]) == (phase == "open")
    if phase != "open":
        assert pages["/write"].index("no ", pages["/write"].index("<main")) < pages["/write"].index("text nevertheless")
        assert "it cannot be submitted" in late and "\n# Late\n</textarea>" in late
        assert 'action="/join"' not in pages["/join"] and "Log in" in pages["/join"]


def test_entry_can_be_a_start_and_a_newcomer_has_an_example(tmp_path: Path) -> None:
    contest, text = founded(tmp_path).contest, "# Mine\n\nMind the noise.\n"
    with served(contest) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        empty = unescape(ada.get("/write").text)
        assert "\n## Ideas\n" in empty and "The text above is an example" in empty and "data-restore" in empty
        entry = ada.form("/enter", text=text).headers["location"]
        start = f"/write?start={entry.removeprefix('/entry/')}"
        assert f'href="{start}">Start from this entry</a>' in Browser(port).get(entry).text
        page = Browser(port).get(start).text
        assert f">\n{text}</textarea>" in page and "that of Ada 1: change it" in page
        assert "data-restore" not in page
        number = re.findall(r"</code>, number (\d+), received", ada.get(entry).text)[0]
        refused = ada.form("/enter", text="---\nmetaloop:\n  wave: x\n---\n")
        assert refused.status == 422 and "data-keep" in refused.text
        assert '<li class="error" data-line="3">' in refused.text  # for lint.js
        assert Browser(port).get("/write?start=n_none").status == 404
        acts.void(contest, number, "sent twice")
        void = Browser(port).get(start)
        assert void.status == 422 and "Mind the noise" not in void.text and "sent twice" in void.text
    hiding = founded(tmp_path / "hiding", texts_after_close=True).contest
    with served(hiding) as port:
        ada = Browser(port)
        ada.form("/join", name="Ada")
        entry = ada.form("/enter", text=text).headers["location"]
        start = f"/write?start={entry.removeprefix('/entry/')}"
        assert Browser(port).get(start).status == 403 and "Start from this" not in Browser(port).get(entry).text
        assert text in ada.get(start).text
