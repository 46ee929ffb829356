"""Programs, names and files that are not what they should be: stored byte for byte and shown as text, or refused; and
other ways out of the contest: tables for a spreadsheet, the terminal, the export, a real browser."""

from __future__ import annotations

import csv
import io
import json
import re
import time
import tracemalloc
from pathlib import Path
from urllib.parse import quote

import pytest

from arena.contest.export import text_file
from arena.contest.web.api import csv_parts
from meta.cli.output import clean
from tests.analysis.report.browser import Browser as Chromium
from tests.analysis.report.browser import found
from tests.arena.contest.hostile.attacks import Case, attacks, corpus, mark
from tests.arena.contest.hostile.ground import Ground, fine
from tests.arena.contest.hostile.pages import MARKUP, strange, unseen
from tests.arena.contest.hosting import Answer, Browser
from tests.redteam.forged_zip import BZIP2, LZMA, forged, zeros


def shown_as_text(case: Case, ground: Ground, entry_id: str, raw: bytes) -> None:
    """Every page of an entry holds our markup alone, and its text is what was sent."""
    html = ground.honest.get(f"/entry/{entry_id}", authorization="")
    case.held(fine(html) and html.status == 200, html.text)
    case.held(not strange(html.text), strange(html.text))
    told = ground.honest.get(f"/api/v1/entries/{entry_id}")
    case.held(told.headers["content-type"] == "application/json" and told.json["text"].encode() == raw)
    case.held(not any(unseen(m["message"]) for m in told.json["lint"]), told.json["lint"])
    kept = ground.honest.get(f"/entry/{entry_id}/program.md")
    case.held(kept.body == raw and kept.headers["content-type"].startswith("text/markdown"), kept.headers)
    case.held(kept.headers["content-disposition"] == f'attachment; filename="{entry_id}.md"', kept.headers)


def refused(case: Case, answer: Answer) -> None:
    """With a message by line, which can be seen."""
    case.held(answer.status == 422, f"{answer.status} {answer.text}")
    told = answer.json["error"]
    case.held(told["lint"][0]["line"] >= 1 and told["lint"][0]["level"] == "error", told)
    case.held(not unseen(told["message"]) and len(told["message"]) < 600, told)


@attacks("markup")
@pytest.mark.exploit(55)
def test_what_a_program_says_is_shown_and_never_done(ground: Ground, case: Case) -> None:
    raw = b"# " + case.name.encode() + b"\n\n" + case.raw + b"\n"
    answer = ground.mallory.enter(raw)
    case.held(answer.status == 201, answer.text)
    shown_as_text(case, ground, answer.json["entry_id"], raw)


@attacks("fields")
def test_what_names_and_fields_say(ground: Ground, case: Case) -> None:
    answer = ground.mallory.enter(case.raw)
    case.held(answer.status in (201, 422), f"{answer.status} {answer.text}")
    if answer.status == 422:
        refused(case, answer)
    else:
        case.held(not unseen(answer.json["name"]) and len(answer.json["name"]) <= 60, answer.json)
        shown_as_text(case, ground, answer.json["entry_id"], case.raw)


@attacks("yaml")
@pytest.mark.exploit(56)
def test_what_yaml_can_say(ground: Ground, case: Case) -> None:
    answer = ground.mallory.enter(case.raw)
    if case.refused:
        refused(case, answer)
    else:
        case.held(answer.status == 201, answer.text)
        shown_as_text(case, ground, answer.json["entry_id"], case.raw)


@attacks("bytes")
@pytest.mark.exploit(57)
def test_what_is_no_text(ground: Ground, case: Case) -> None:
    before = ground.untouched()
    refused(case, ground.mallory.enter(case.raw))
    case.held(ground.untouched() == before)


FILES = corpus("files")[0]["text"].encode()


@attacks("files")
@pytest.mark.exploit(58)
def test_what_a_file_is_called(ground: Ground, case: Case, tmp_path: Path) -> None:
    raw = FILES + case.name.encode() + b"\n"
    name = case.raw.replace(b"%00", b"\0")
    head = "--X\r\nContent-Disposition: form-data; name="
    parts = f'{head}"proof"\r\n\r\n{ground.proof}\r\n{head}"file"; filename="'.encode() + name + b'"\r\n\r\n'
    body = parts + raw + b"\r\n--X--\r\n"
    folder = ground.made.contest.folder
    before = {path for path in folder.rglob("*") if not path.name.startswith("contest.sqlite")}
    answer = ground.browser.ask(
        "POST", "/enter", body, content_type="multipart/form-data; boundary=X", accept="text/html"
    )
    case.held(fine(answer) and answer.status in (303, 400, 422), f"{answer.status} {answer.text}")
    if answer.status == 303:
        case.held(ground.honest.get(answer.headers["location"] + "/program.md").body == raw)
    after = {path for path in folder.rglob("*") if not path.name.startswith("contest.sqlite")}
    case.held(after == before, after - before)
    case.held(not Path("owned").exists())


LISTS = ("/", "/queue", "/rules", "/join", "/host", "/rules.md", "/llms.txt")


@pytest.mark.parametrize("path", LISTS)
def test_no_page_that_names_them_all_is_any_different(ground: Ground, path: str) -> None:
    """After all that was entered: the lists that show names."""
    host = Browser(ground.port, ground.made.admin_token)
    answer = (host if path == "/host" else ground.honest).get(path)
    assert answer.status == 200
    if path.endswith((".md", ".txt")):
        assert not MARKUP.search(answer.text) and not unseen(answer.text)
    else:
        assert strange((host if path == "/host" else ground.browser).get(path).text) == []


def test_the_same_holds_for_a_text_that_a_form_hands_back(ground: Ground) -> None:
    """A refused text stands in the form again, with its message."""
    for case in corpus("yaml")[1]:
        text = case.raw.decode()
        if len(text) > 9000 or "\0" in text:
            continue
        body = f"proof={ground.proof}&text={quote(text + '</textarea><script>alert(1)</script>')}".encode()
        kind = "application/x-www-form-urlencoded"
        answer = ground.browser.ask("POST", "/enter", body, content_type=kind, accept="text/html")
        if answer.status == 422:
            assert strange(answer.text) == [], case.name


def test_json_is_no_page(ground: Ground) -> None:
    answer = ground.honest.get("/api/v1/queue")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert json.loads(answer.body)["rows"]


@pytest.mark.parametrize("method", [BZIP2, LZMA])
def test_a_small_archive_does_not_become_gigabytes_in_the_server(ground: Ground, method: int) -> None:
    """Nobody has to be logged in for it."""
    for content in (zeros(method, 40), b"\x09\x04\x05\x00junk"):
        raw = forged([("program.md", method, content, 10)])
        tracemalloc.start()
        answer = Browser(ground.port).ask("POST", "/api/v1/lint", raw)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status == 200 and answer.json["taken"] is False, answer.text
        assert peak < 16 << 20
        assert ground.mallory.enter(raw).status == 422


FORMULA = re.compile(r"(?:^|[,;|\s])[=+\-@＝＋－＠]")


@attacks("cells")
@pytest.mark.exploit(64)
def test_no_cell_is_a_formula(case: Case) -> None:
    text = case.told["text"]
    raw = "".join(csv_parts([{"entrant": text, "name": "x", "gain": -0.5}]))
    (row,) = list(csv.DictReader(io.StringIO(raw, newline="")))
    case.held(not FORMULA.search(row["entrant"]), raw)
    case.held(row["gain"] == "-0.5" and row["name"] == "x", raw)


TERMINAL = ("\u001b[31m", "\u001b]0;owned\u0007", "\u009b2J", "\u202e", "\u2066", "\u0000", "\u0008", "\r", "\u200b")


@pytest.mark.parametrize("text", TERMINAL, ids=[ascii(text) for text in TERMINAL])
@mark("terminal")
def test_what_a_terminal_is_given(text: str) -> None:
    assert not unseen(clean(f"a{text}b"))


EXPORTED = [pytest.param(case, marks=mark("export"), id=case.name) for case in corpus("files")[1]]


@pytest.mark.parametrize("case", EXPORTED)
def test_an_export_writes_into_its_folder_alone(case: Case) -> None:
    """Entries are named by number and by plain letters, whoever entered them."""
    case.held(re.fullmatch(r"00000-[A-Za-z0-9-]{1,40}\.md", text_file(0, case.raw.decode())))


WORST = ("script", "picture with an error", "svg on load", "frame", "meta refresh", "mutation of a template", "object",
         "link to a script", "link to a script by tab", "fence that ends itself", "end of the page", "base", "style",
         "stylesheet", "mutation of noscript", "clobbering")  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(found() is None, reason="no Chromium here: apt-get install chromium")
def test_a_browser_does_nothing_of_it(ground: Ground) -> None:
    """No script runs, no dialog opens, nothing is asked of another server, on a page."""
    command = found()
    assert command is not None
    cases = {case.name: case for case in corpus("markup")[1]}
    with Chromium(command) as browser:
        for name in WORST:
            raw = f"# Browser: {name}\n\n".encode() + cases[name].raw + b"\n"
            entry = ground.mallory.enter(raw).json["entry_id"]
            browser.on_page("Page.navigate", url=f"http://{ground.host}/entry/{entry}")
            until = time.monotonic() + 60
            while not browser.value("document.readyState === 'complete' && !!document.querySelector('pre.program')"):
                assert time.monotonic() < until, name
                time.sleep(0.05)
            time.sleep(0.2)
            opened = [event for event in browser.events if event.get("method") == "Page.javascriptDialogOpening"]
            cases[name].held(not opened, opened)
            asked = {url.split("/")[2] for url in browser.requests() if url.startswith("http")}
            cases[name].held(asked <= {ground.host}, asked)
