"""Other ways out of the contest: tables for a spreadsheet, the terminal, the export, a real browser."""

from __future__ import annotations

import csv
import io
import re
import time

import pytest

from arena.contest.export import text_file
from arena.contest.web.api import csv_parts
from meta.cli.output import clean
from tests.analysis.report.browser import Browser as Chromium
from tests.analysis.report.browser import found
from tests.arena.contest.hostile.attacks import Case, attacks, corpus, mark
from tests.arena.contest.hostile.ground import Ground
from tests.arena.contest.hostile.pages import unseen

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
