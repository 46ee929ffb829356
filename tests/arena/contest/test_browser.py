"""The pages in a real browser: join, enter, watch it live, wide and on a phone, by keyboard, without script.

Texts are looked at in the HTML, by other tests: here is what takes a browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from analysis.ledger import Ledger
from arena.contest.contest import Contest
from arena.contest.entering.entries import change
from arena.contest.running.arms import SCREENING
from arena.contest.running.work import carry_on
from arena.contest.tables import ContestEntry
from inner_loop.events import RunStartedEvent
from programs.common.ids import content_id
from tests.analysis.report.browser import Browser, found
from tests.arena.contest.hosting import founded, numbered, served
from tests.events import example

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(found() is None, reason="no Chromium here: apt-get install chromium"),
]
LIVE = "document.querySelector('script[src$=\"live.js\"]') !== null"
STACKED = "[...document.querySelectorAll('.scroll:has(> table)')].every((one) => one.scrollWidth <= one.clientWidth)"
POLLED = "document.querySelector('#live').textContent.startsWith('Live: checked ')"
BOX, FOUND = "document.querySelector('[name=text]')", "document.querySelector('#found').textContent"
ENTER = '[formaction=\\"/enter\\"]'
SMALL = "[...document.querySelectorAll('header nav a, button')].filter((one) => one.offsetHeight < 44)"
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
    browser.value(f"(() => {{ {BOX}.value = {text!r}; {BOX}.dispatchEvent(new Event('input')); }})()")


def join(browser: Browser, base: str, name: str) -> str:
    """Somebody new, who is logged in then; returns the token."""
    go(browser, f"{base}/join")
    submit(browser, "/join", "document.querySelector('pre')?.textContent.startsWith('mlt_')", name=name)
    return str(browser.value("document.querySelector('pre').textContent"))


def press_enter(browser: Browser) -> None:
    browser.value(f"document.querySelector('{ENTER}').click()")


def back(browser: Browser) -> None:
    browser.value("setTimeout(() => history.back())")  # which ends the context that is asked


def fits(browser: Browser, base: str, *paths: str) -> None:
    """No page is wider than the window, wide or on a phone; there a finger hits every button."""
    for width in (1280, 390):
        for path in paths:
            go(browser, base + path, width)
            assert browser.value("document.documentElement.scrollWidth <= innerWidth"), (path, width)
            assert browser.value("document.querySelectorAll('main h1, main h2').length") >= 1
            if width < 600:
                assert browser.value(STACKED), path
                assert browser.value(f"{SMALL}.length") == 0, path


def typed(browser: Browser, page: str, token: str) -> None:
    """Who has joined is logged in; a text is checked while it is typed; log out, and in again with the token."""
    go(browser, page)
    clock = "document.querySelector('.intro').textContent"
    before = browser.value(clock)
    until(browser, f"{clock} !== {before!r} && {clock}.includes(' UTC, for ')")  # the time goes on by itself
    for text, said in (("- Try `nonsense=3`.", ": 0 of 1"), ("<b>x", "Can be submitted")):
        type_text(browser, f"# x\n\n## Ideas\n\n{text}\n")
        until(browser, f"{FOUND}.includes({said!r})")
    assert browser.value("document.querySelectorAll('#found b').length") == 0
    submit(browser, "/logout", "location.pathname === '/'")
    assert browser.value("Object.keys(localStorage).length") == 0  # another person may log in here
    go(browser, page.replace("/write", "/join"))
    submit(browser, "/login", "location.pathname === '/me'", token=token)


def drafts(base: str, browser: Browser) -> None:
    """What was typed and not submitted is there again after another page, until it is dropped or submitted."""
    note, stored = "document.querySelector('#draft')", "Object.keys(localStorage).length"
    go(browser, f"{base}/write")
    until(browser, f"{note}.hidden && {stored} === 0")
    type_text(browser, "# A draft\n")
    until(browser, f"{FOUND}.includes('Can be')")
    go(browser, f"{base}/queue")
    go(browser, f"{base}/write")
    until(browser, f"{BOX}.value === '# A draft\\n' && !{note}.hidden")
    browser.value(f"{note}.querySelector('a').click()")
    until(browser, f"{BOX}.value !== '# A draft\\n' && {note}.hidden && {stored} === 0")
    key = "'metaloop draft ' + document.body.dataset.contest"
    browser.value(f"localStorage.setItem({key} + ' 99', '# Of another account')")
    browser.value(f"localStorage.setItem({key}, '# Before logging in')")
    go(browser, f"{base}/write")
    until(browser, f"{BOX}.value === '# Before logging in' && {stored} === 2")
    browser.value("localStorage.clear()")
    type_text(browser, "# Mine too\n")
    browser.value("document.addEventListener('submit', (event) => event.preventDefault(), { once: true })")
    press_enter(browser)  # does not arrive
    go(browser, f"{base}/write")
    until(browser, f"{BOX}.value === '# Mine too\\n'")
    press_enter(browser)
    until(browser, f"location.pathname.startsWith('/entry/') && {stored} === 0")


def followed(contest: Contest, browser: Browser) -> None:
    """The page of an entry tells of its state and its run without a reload, and the focus stays."""
    state = "document.querySelector('.states [aria-current]').textContent"
    assert browser.value(state) == "queued"
    until(browser, POLLED)
    with contest.database.read() as connection:
        number = connection.query(ContestEntry).where(ContestEntry.name == "2").one().number
    change(contest, number, state="screening")
    until(browser, f"{state} === 'screening'")
    browser.value("document.querySelector('main nav [href=\"#ids\"]').focus()")
    arm_id = content_id("a", content_id("m", contest.study.study_id, SCREENING), numbered(contest, number).entry_id)
    with Ledger(contest.folder / "ledger", "worker-0") as worker:  # no change of the queue or the board
        worker.append(example(RunStartedEvent, run_id=content_id("r", arm_id, "0"), arm_id=arm_id).to_record())
    until(browser, "document.querySelector('main').textContent.includes('Screening run: 0 experiments')")
    assert browser.value("document.activeElement.textContent") == "Identifiers"


def test_entrant_joins_drafts_enters_and_follows(tmp_path: Path) -> None:
    contest, command = founded(tmp_path, entries_per_person=4).contest, found()
    assert command is not None
    with served(contest) as port, Browser(command) as browser:
        base = f"http://127.0.0.1:{port}"
        token = join(browser, base, "Ada")
        browser.value("document.querySelector('[data-copy]').click()")
        until(browser, "document.querySelector('[data-copy]').textContent.includes('opied')")
        assert browser.value("getSelection().toString()") == token
        assert not browser.value(LIVE)  # it would replace the token, which is shown only once, by the page at /join
        go(browser, f"{base}/join")
        assert browser.value(LIVE) and browser.value("document.querySelector('#join').textContent") == "You are Ada"
        drafts(base, browser)
        typed(browser, f"{base}/write", token)
        go(browser, f"{base}/write")
        browser.value(  # the form is replaced, as live.js does, and a text is typed into the new one
            f"(() => {{ const form = {BOX}.form.parentElement; form.replaceWith(form.cloneNode(true)); "
            f"{BOX}.value = '---\\nmetalop:\\n---\\n# x\\n'; "
            f"{BOX}.dispatchEvent(new Event('input')); }})()"
        )
        until(browser, f"{FOUND}.includes('metalop is ignored')")
        program = "# Mine\n\n- <script>alert(1)</script>\n"
        submit(browser, "/enter", "location.pathname.startsWith('/entry/')", text=program)
        followed(contest, browser)
        fits(browser, base, "/", "/queue", "/rules", "/write", "/me", "/join")
        browser.on_page("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
        assert browser.value("document.activeElement.className") == "skip"
        assert {url.split("/")[2] for url in browser.requests()} == {f"127.0.0.1:{port}"}
        assert browser.complaints() == []


def test_contest_that_was_run_is_read_to_its_end(ran_copy: Contest) -> None:
    contest, command = ran_copy, found()
    assert command is not None
    entry = numbered(contest, 3).entry_id
    with served(contest) as port, Browser(command) as browser:
        base = f"http://127.0.0.1:{port}"
        join(browser, base, "Eve")
        fits(browser, base, f"/entry/{entry}", "/")
        for path, part in ((f"/entry/{entry}", "runs"), ("/write", "fields")):  # a link to a folded part opens it
            seen = f"document.getElementById('{part}').checkVisibility()"
            go(browser, base + path)
            assert not browser.value(seen)
            browser.value(f"document.querySelector('nav [href=\"#{part}\"]').click()")
            until(browser, seen)
        go(browser, base)
        until(browser, POLLED)
        contest.state(close_asked="2026-01-01T00:00:00+00:00")
        carry_on(contest, lambda _: None)
        until(browser, "document.querySelector('.phase').textContent === 'decided'")  # without a reload
        assert browser.value("document.querySelector('header nav').textContent.includes('Write')") is False
        requests = "performance.getEntriesByType('resource').filter((one) => one.initiatorType === 'fetch').length"
        for hidden, more in (("true", False), ("false", True)):  # another tab asks for nothing
            browser.value(f"Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }})")
            browser.value("document.dispatchEvent(new Event('visibilitychange'))")
            before = browser.value(requests)
            time.sleep(5.0)
            assert (browser.value(requests) > before) == more
        assert browser.complaints() == []


def test_entering_takes_no_script(tmp_path: Path) -> None:
    contest, command = founded(tmp_path).contest, found()
    assert command is not None
    with served(contest) as port, Browser(command) as browser:
        browser.on_page("Emulation.setScriptExecutionDisabled", value=True)
        join(browser, f"http://127.0.0.1:{port}", "Ada")
        assert browser.complaints() == []


def another_account(browser: Browser, base: str) -> None:
    """On a shared phone the back button does not show the next person what the one before has typed."""
    go(browser, f"{base}/write")
    type_text(browser, "# Of Mia")
    submit(browser, "/logout", "location.pathname === '/'")
    join(browser, base, "Eve")
    for path in ("/join", "/", "/write"):
        until(browser, "document.readyState === 'complete'")
        back(browser)
        until(browser, f"location.pathname === '{path}'")
    until(browser, "document.querySelector('header')?.innerText.includes('Me (Eve)')")
    settled(browser)
    assert "Of Mia" not in browser.value(f"{BOX}?.value ?? ''") + browser.value("document.body.innerHTML")


def test_a_rejected_text_is_corrected_and_found_again(tmp_path: Path) -> None:
    contest, command = founded(tmp_path).contest, found()
    assert command is not None
    faulty = "---\nmetaloop:\n  nam: wide\n---\n# Wide\n"
    good = faulty.replace("nam:", "name:")
    with served(contest) as port, Browser(command) as browser:
        base = f"http://127.0.0.1:{port}"
        join(browser, base, "Mia")
        go(browser, f"{base}/write", 390)
        submit(browser, "/enter", "document.querySelector('#found .error') !== null", text=faulty)
        browser.value("document.querySelector('#found li button').click()")
        assert browser.value(f"{BOX}.value.slice({BOX}.selectionStart, {BOX}.selectionEnd)") == "  nam: wide"
        type_text(browser, good)
        until(browser, f"{FOUND}.includes('Can be submitted')")
        browser.value("document.querySelector('nav [href=\"/rules\"]').click()")
        until(browser, "location.pathname === '/rules'")
        back(browser)
        until(browser, f"{BOX}?.value === {good!r} && {FOUND}.includes('Can be submitted')")
        press_enter(browser)
        until(browser, "location.pathname.startsWith('/entry/')")
        settled(browser)
        back(browser)
        until(browser, "location.pathname === '/enter'")
        settled(browser)
        assert browser.value("Object.keys(localStorage).length") == 0  # what was submitted is not a draft again
        another_account(browser, base)
        assert all("status of 422" in complaint for complaint in browser.complaints())
