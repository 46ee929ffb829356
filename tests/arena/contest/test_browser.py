"""The pages in a real browser: join, enter, watch it live, wide and on a phone, by keyboard, without script."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from analysis.ledger import Ledger
from arena.contest.contest import Contest
from arena.contest.entering.entries import accept, change
from arena.contest.ranking.views import board_view
from arena.contest.running.arms import SCREENING
from arena.contest.running.work import carry_on
from arena.contest.tables import ContestEntry
from inner_loop.events import RunStartedEvent
from programs.common.ids import content_id
from programs.shelf import starter
from tests.analysis.report.browser import Browser, found
from tests.arena.contest.hosting import founded, newcomer, numbered, served
from tests.events import example

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(found() is None, reason="no Chromium here: apt-get install chromium"),
]
LIVE = "document.querySelector('script[src$=\"live.js\"]') !== null"
STACKED = "[...document.querySelectorAll('.scroll:has(> table)')].every((one) => one.scrollWidth <= one.clientWidth)"
POLLED = "document.querySelector('#live').textContent.startsWith('Live: checked ')"
SECONDS = 60.0  # for what the browser has to notice, on a busy machine


def go(browser: Browser, url: str, width: int = 1100) -> None:
    browser.on_page("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1,
                    mobile=width < 600)  # fmt: skip
    browser.on_page("Page.navigate", url=url)
    settled(browser)


def settled(browser: Browser) -> None:
    until(browser, "document.readyState === 'complete' && location.href !== 'about:blank'")


def until(browser: Browser, script: str) -> None:
    """Wait until an expression on the page holds; a page that is being left answers nothing for a moment."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        try:
            if browser.value(script):
                return
        except RuntimeError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"never: {script}")


def submit(browser: Browser, action: str, then: str, **fields: str) -> None:
    """Fill a form in and press Enter's button; wait for what the next page has."""
    form, button = f"form[action='{action}']", "button:not([formaction], [type])"
    if action == "/enter":
        form, button = "form[action='/write#found']", "[formaction='/enter']"
    for name, text in fields.items():
        browser.value(f'document.querySelector("{form} [name={name}]").value = {text!r}')
    browser.value(f'document.querySelector("{form} {button}").click()')
    until(browser, then)
    settled(browser)  # the address is the new page's before its scripts have run


def type_text(browser: Browser, text: str) -> None:
    """Into the box of the page on writing."""
    box = "const box = document.querySelector('#text')"
    browser.value(f"(() => {{ {box}; box.value = {text!r}; box.dispatchEvent(new Event('input')); }})()")


def typed(browser: Browser, page: str, token: str) -> None:
    """Who has joined is logged in; a text is checked while it is typed; log out, and in again with the token."""
    go(browser, page)
    told, clock = "document.querySelector('#found').textContent", "document.querySelector('.intro').textContent"
    before = browser.value(clock)
    until(browser, f"{clock} !== {before!r} && {clock}.includes(' UTC, for ')")  # the time goes on by itself
    for text, said in (("- Try `nonsense=3`.", ": 0 of 1"), ("<b>x", "Can be submitted")):
        program = f"# x\n\n## Ideas\n\n{text}\n"
        type_text(browser, program)
        until(browser, f"{told}.includes({said!r})")
    assert browser.value("document.querySelectorAll('#found b').length") == 0
    submit(browser, "/logout", "location.pathname === '/'")
    assert browser.value("Object.keys(localStorage).length") == 0  # another person may log in here
    go(browser, page.replace("/write", "/join"))
    submit(browser, "/login", "location.pathname === '/me'", token=token)


def drafts(base: str, browser: Browser) -> None:
    """What was typed and not submitted is there again after another page, until it is dropped or submitted."""
    text, note = "document.querySelector('#text').value", "document.querySelector('#draft')"
    stored = "Object.keys(localStorage).length"
    go(browser, f"{base}/write")
    until(browser, f"{note}.hidden && {stored} === 0")
    type_text(browser, "# A draft\n")
    until(browser, "document.querySelector('#found').textContent.includes('Can be')")
    go(browser, f"{base}/queue")
    go(browser, f"{base}/write")
    until(browser, f"{text} === '# A draft\\n' && !{note}.hidden")
    browser.value(f"{note}.querySelector('a').click()")
    until(browser, f"{text} !== '# A draft\\n' && {note}.hidden && {stored} === 0")
    key = "'metaloop draft ' + document.body.dataset.contest"
    browser.value(f"localStorage.setItem({key} + ' 99', '# Of another account')")
    browser.value(f"localStorage.setItem({key}, '# Before logging in')")
    go(browser, f"{base}/write")
    until(browser, f"{text} === '# Before logging in' && {stored} === 2")
    browser.value("localStorage.clear()")
    type_text(browser, "# Mine too\n")
    browser.value("document.addEventListener('submit', (event) => event.preventDefault(), { once: true })")
    browser.value("document.querySelector('[formaction=\"/enter\"]').click()")  # does not arrive
    go(browser, f"{base}/write")
    until(browser, f"{text} === '# Mine too\\n'")
    browser.value("document.querySelector('[formaction=\"/enter\"]').click()")
    until(browser, f"location.pathname.startsWith('/entry/') && {stored} === 0")


def kept_texts(base: str, browser: Browser) -> None:
    """A text that was checked is what Submit sends."""
    go(browser, f"{base}/write")
    text = "document.querySelector('[name=text]').value"
    browser.value(f"{text} = '# Checked\\n'")
    browser.value("document.querySelector('form[action=\"/write#found\"] button:not([formaction])').click()")
    said = "document.querySelector('#found').textContent"
    until(browser, f"location.pathname === '/write' && {said}.includes('an be submitted')")
    settled(browser)
    assert not browser.value(LIVE) and browser.value(text) == "# Checked\n"
    browser.value("document.querySelector('[formaction=\"/enter\"]').click()")
    until(browser, "location.pathname.startsWith('/entry/')")


def whole(contest: Contest, port: int, browser: Browser) -> None:
    base = f"http://127.0.0.1:{port}"
    go(browser, f"{base}/join")
    submit(browser, "/join", "document.querySelector('pre')?.textContent.startsWith('mlt_')", name="Ada")
    token = browser.value("document.querySelector('pre').textContent")
    assert browser.value("document.querySelector('[data-copy]').hidden") is False
    browser.value("document.querySelector('[data-copy]').click()")
    until(browser, "document.querySelector('[data-copy]').textContent.includes('opied')")
    assert browser.value("getSelection().toString()") == token
    assert not browser.value(LIVE)  # it would replace the token, which is shown only once, by the page at /join
    assert browser.value("document.querySelector('nav').textContent.includes('Me (Ada)')")
    go(browser, f"{base}/join")
    assert browser.value(LIVE) and browser.value("document.querySelector('#join').textContent") == "You are Ada"
    kept_texts(base, browser)
    drafts(base, browser)
    typed(browser, f"{base}/write", token)
    go(browser, f"{base}/write")
    browser.value(  # the form is replaced, as live.js does, and a text is typed into the new one
        "(() => { const box = document.querySelector('[name=text]'); "
        "const copy = box.form.parentElement.cloneNode(true); box.form.parentElement.replaceWith(copy); "
        "const fresh = copy.querySelector('[name=text]'); fresh.value = '---\\nmetalop:\\n---\\n# x\\n'; "
        "fresh.dispatchEvent(new Event('input')); })()"
    )
    until(browser, "document.querySelector('#found').textContent.includes('metalop is ignored')")
    submit(browser, "/enter", "location.pathname.startsWith('/entry/')", text="# Mine\n\n- <script>alert(1)</script>\n")
    state = "document.querySelector('.states [aria-current]').textContent"
    assert browser.value(state) == "queued"
    until(browser, POLLED)
    with contest.database.read() as connection:
        number = connection.query(ContestEntry).where(ContestEntry.name == "3").one().number
    change(contest, number, state="screening")
    until(browser, f"{state} === 'screening'")  # without a reload
    browser.value("document.querySelector('main nav [href=\"#ids\"]').focus()")
    arm_id = content_id("a", content_id("m", contest.study.study_id, SCREENING), numbered(contest, number).entry_id)
    with Ledger(contest.folder / "ledger", "worker-0") as worker:  # no change of the queue or the board
        worker.append(example(RunStartedEvent, run_id=content_id("r", arm_id, "0"), arm_id=arm_id).to_record())
    until(browser, "document.querySelector('main').textContent.includes('Screening run: 0 experiments')")
    assert browser.value("document.activeElement.textContent") == "Identifiers"  # the focus stays
    for width in (1100, 380):
        for path in ("/", "/queue", "/rules", "/write", "/me", "/join"):
            go(browser, base + path, width)
            assert browser.value("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert browser.value("document.querySelectorAll('main h1, main h2').length") >= 1
            assert width > 600 or browser.value(STACKED), (path, width)
    browser.on_page("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert browser.value("document.activeElement.className") == "skip"
    assert {url.split("/")[2] for url in browser.requests()} == {f"127.0.0.1:{port}"}
    assert browser.complaints() == []


def read(contest: Contest, port: int, browser: Browser) -> None:
    """A contest that was run: the entry with its best run, then the winner."""
    base = f"http://127.0.0.1:{port}"
    go(browser, f"{base}/join")
    submit(browser, "/join", "document.querySelector('pre')?.textContent.startsWith('mlt_')", name="Eve")
    rows = {row["name"]: row["entry_id"] for row in board_view(contest)["rows"] if row["role"] == "program"}
    entry = rows["1"]  # whichever leads: the page of a later version says more
    for width in (1280, 360):
        for path in (f"/entry/{entry}", "/"):
            go(browser, base + path, width)
            assert browser.value("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert browser.value("document.querySelectorAll('main svg circle').length") >= 1
            whole = "document.querySelector('.intro').offsetWidth === document.querySelector('header').clientWidth"
            assert browser.value(whole), (path, width)
            assert width > 600 or browser.value(STACKED), (path, width)
            assert width > 600 or browser.value("document.querySelector('main').getBoundingClientRect().top") < 230, (
                path
            )
            small = "[...document.querySelectorAll('header nav a, button')].filter((one) => one.offsetHeight < 44)"
            assert width > 600 or browser.value(f"{small}.length") == 0, path
    folded = "[...document.querySelectorAll('main .lead')].find((one) => one.textContent.includes('entered twice'))"
    assert not browser.value(f"{folded}.checkVisibility()")  # of the board, which was opened last
    for path, first, most_top, most in (
        (f"/entry/{entry}", "#text + .program", 1600, 4000),
        ("/write", "#text", 1480, 2500),
    ):
        go(browser, base + path, 360)
        assert browser.value(f"document.querySelector('{first}').getBoundingClientRect().top + scrollY") < most_top, (
            path
        )
        assert browser.value("document.documentElement.scrollHeight") < most, path
    for path, part in ((f"/entry/{entry}", "runs"), ("/write", "fields")):  # a link to a folded part opens it
        seen = f"document.getElementById('{part}').checkVisibility()"
        go(browser, base + path)
        assert not browser.value(seen)
        browser.value(f"document.querySelector('nav [href=\"#{part}\"]').click()")
        until(browser, seen)
    go(browser, f"{base}/entry/{entry}")
    browser.value("document.querySelector('.experiments details summary').click()")
    until(
        browser, "document.querySelector('.experiments details[open] .diff, .experiments details[open] .note') !== null"
    )
    go(browser, base, 360)
    until(browser, POLLED)
    contest.state(close_asked="2026-01-01T00:00:00+00:00")
    carry_on(contest, lambda _: None)
    until(browser, "document.querySelector('.phase').textContent === 'decided'")  # without a reload
    assert browser.value("document.querySelector('header nav').textContent.includes('Write')") is False
    go(browser, base)
    until(browser, "document.querySelector('.verdict h2')?.textContent.length > 0")
    until(browser, POLLED)
    requests = "performance.getEntriesByType('resource').filter((one) => one.initiatorType === 'fetch').length"
    for hidden, more in (("true", False), ("false", True)):  # another tab asks for nothing
        browser.value(f"Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }})")
        browser.value("document.dispatchEvent(new Event('visibilitychange'))")
        before = browser.value(requests)
        time.sleep(5.0)
        assert (browser.value(requests) > before) == more
    assert browser.complaints() == []


def test_a_contest_read_to_its_end_in_a_browser(tmp_path: Path) -> None:
    contest, command = founded(tmp_path).contest, found()
    assert command is not None
    ada = newcomer(contest)
    accept(contest, ada, starter("local").raw)
    accept(contest, ada, starter("local").raw + b"\n- One more.\n")
    carry_on(contest, lambda _: None, until_idle=True)
    with served(contest) as port, Browser(command) as browser:
        read(contest, port, browser)


def test_an_entrant_in_a_browser(tmp_path: Path) -> None:
    contest, command = founded(tmp_path, entries_per_person=4).contest, found()
    assert command is not None
    with served(contest) as port, Browser(command) as browser:
        whole(contest, port, browser)


def test_entering_takes_no_script(tmp_path: Path) -> None:
    contest, command = founded(tmp_path).contest, found()
    assert command is not None
    with served(contest) as port, Browser(command) as browser:
        browser.on_page("Emulation.setScriptExecutionDisabled", value=True)
        go(browser, f"http://127.0.0.1:{port}/join")
        submit(browser, "/join", "document.querySelector('pre')?.textContent.startsWith('mlt_')", name="Ada")
        assert browser.complaints() == []


def another_account(browser: Browser, base: str) -> None:
    """On a shared phone the back button does not show the next person what the one before has typed."""
    box = "document.querySelector('[name=text]')"
    go(browser, f"{base}/write")
    browser.value(f"(() => {{ {box}.value = '# Of Mia'; {box}.dispatchEvent(new Event('input')); }})()")
    submit(browser, "/logout", "location.pathname === '/'")
    go(browser, f"{base}/join")
    submit(browser, "/join", "document.querySelector('pre')?.textContent.startsWith('mlt_')", name="Eve")
    for path in ("/join", "/", "/write"):
        until(browser, "document.readyState === 'complete'")
        browser.value("setTimeout(() => history.back())")  # which ends the context that is asked
        until(browser, f"location.pathname === '{path}'")
    until(browser, "document.querySelector('header')?.innerText.includes('Me (Eve)')")
    settled(browser)
    assert "Of Mia" not in browser.value(f"{box}?.value ?? ''") + browser.value("document.body.innerHTML")


def test_a_rejected_text_is_corrected_and_found_again(tmp_path: Path) -> None:
    contest, command = founded(tmp_path).contest, found()
    assert command is not None
    box, told = "document.querySelector('[name=text]')", "document.querySelector('#found').textContent"
    faulty = "---\nmetaloop:\n  nam: wide\n---\n# Wide\n"
    good = faulty.replace("nam:", "name:")
    edit = f"(() => {{ {box}.value = {good!r}; {box}.dispatchEvent(new Event('input')); }})()"
    with served(contest) as port, Browser(command) as browser:
        base = f"http://127.0.0.1:{port}"
        go(browser, f"{base}/join")
        submit(browser, "/join", "document.querySelector('pre')?.textContent.startsWith('mlt_')", name="Mia")
        go(browser, f"{base}/write", 360)
        submit(browser, "/enter", "document.querySelector('#found .error') !== null", text=faulty)
        browser.value("document.querySelector('#found li button').click()")
        assert browser.value(f"{box}.value.slice({box}.selectionStart, {box}.selectionEnd)") == "  nam: wide"
        browser.value(edit)
        until(browser, f"{told}.includes('Can be submitted')")
        browser.value("document.querySelector('nav [href=\"/rules\"]').click()")
        until(browser, "location.pathname === '/rules'")
        browser.value("setTimeout(() => history.back())")  # which ends the context that is asked
        until(browser, f"{box}?.value === {good!r} && {told}.includes('Can be submitted')")
        go(browser, f"{base}/write")
        until(browser, f"{box}.value === {good!r}")
        browser.value("document.querySelector('[formaction=\"/enter\"]').click()")
        until(browser, "location.pathname.startsWith('/entry/')")
        settled(browser)
        browser.value("setTimeout(() => history.back())")  # which ends the context that is asked
        until(browser, "location.pathname === '/write'")
        go(browser, f"{base}/write", 360)
        submit(browser, "/enter", "document.querySelector('#found .error') !== null", text=faulty)
        browser.value(edit.replace("wide", "wider"))
        browser.value("document.querySelector('[formaction=\"/enter\"]').click()")
        until(browser, "location.pathname.startsWith('/entry/')")
        settled(browser)
        browser.value("setTimeout(() => history.back())")  # which ends the context that is asked
        until(browser, "location.pathname === '/enter'")
        settled(browser)
        assert browser.value("Object.keys(localStorage).length") == 0  # what was stored since is not a draft again
        another_account(browser, base)
        assert all("status of 422" in complaint for complaint in browser.complaints())
