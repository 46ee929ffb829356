"""`metaloop ui`: who may read it, what its pages show, that it follows a running study and changes nothing."""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest

from analysis.study import query as ask
from analysis.verdict.verdict import decided
from analysis.wording import brief, number, span
from meta.cli.status import read_status
from meta.ui.live import LiveStudy
from tests.analysis.report.browser import Browser, found, hidden_and_back
from tests.arena.contest.test_browser import go, until
from tests.arena.home.test_client import host_of, text
from tests.meta.opened_window import TOKEN, Window, first, until_read
from tests.serving import serving
from trainer.trust import WHY

LONG_NAMES = "document.querySelectorAll('.named').forEach((one) => one.textContent = 'champion idea-queue-learnt-v4')"
WHOLE = "[...document.querySelectorAll('pre.program')]"
STACKED = "[...document.querySelectorAll('.scroll:has(> .stack)')]"


@pytest.fixture(scope="module")
def window(root: Path) -> Iterator[Window]:
    opened = Window(root)
    until_read(opened)
    yield opened
    opened.close()


def test_only_the_address_with_the_token_opens_it(window: Window) -> None:
    assert httpx.get(f"{window.url}/").status_code == 403
    assert httpx.get(f"{window.url}/", params={"token": "guess"}).status_code == 403
    assert httpx.get(f"{window.url}/static/style.css").status_code == 403
    opened = httpx.get(f"{window.url}/study", params={"at": "one", "token": TOKEN})
    assert opened.status_code == 200 and opened.headers["refresh"] == "0; url=/study?at=one"
    assert "HttpOnly" in opened.headers["set-cookie"] and "SameSite=strict" in opened.headers["set-cookie"]
    assert window.client.get("/", headers={"host": f"evil.example:{window.port}"}).status_code == 403
    assert window.client.post("/").status_code == 405
    answer = window.client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_every_study_below_the_folder_is_listed_with_its_verdict(window: Window, root: Path) -> None:
    text = window.page("/")
    assert 'href="/study?at=one"' in text and 'href="/study?at=deep%2Fer%2Ftwo"' in text
    decision = LiveStudy.read(root / "one").decision
    assert decision is not None
    first_, *others = decided(decision).sentences
    assert f"<p>{first_}</p>" in unescape(text) and f"<p>{others[0]}" not in unescape(text)
    assert text.count('<svg class="spark"') == text.count('<svg class="bar"') == 2  # a curve and an interval for each


def test_from_a_study_to_a_run_and_a_program(window: Window, root: Path) -> None:
    text = window.page("/study", at="one")
    decision = LiveStudy.read(root / "one").decision
    assert decision
    found = decided(decision)
    assert len(found.sentences) > 2 and all(f"<p>{one}</p>" in unescape(text) for one in found.sentences)
    assert found.warnings and all(f'<p class="note">{warning}</p>' in unescape(text) for warning in found.warnings)
    assert all("".join(f"<td>{cell}</td>" for cell in row.values()) in unescape(text) for row in found.table)
    [ran] = ask(root / "one", "SELECT count(DISTINCT program_id) AS n FROM runs JOIN programs USING (program_id) "
                "WHERE operator NOT IN ('without-ideas', 'ablation')")  # fmt: skip
    assert f"<dt>Programs that ran</dt><dd>{ran['n']}<" in text  # not one that would do the same as another
    run = first(text, "/run")
    rows = ask(root / "one", f"FROM experiments WHERE run_id = '{run['id']}' ORDER BY number")
    shown = window.page("/run", **run)
    for row in rows:
        failed = "" if row["status"] == "ok" else f" ({row['status']})"
        cells = (row["number"], row["decision"] + failed, brief(row["metric"], 5), number(row["gain"], 4, True))
        assert f"<span>{'</span><span>'.join(map(str, cells))}</span>" in shown, row
        assert row["experiment_id"] in shown
    assert shown.count('<pre class="diff"') == sum(bool(row["diff"]) for row in rows) > 0
    [made] = ask(root / "one", "SELECT child_id, operator FROM mutations WHERE accepted ORDER BY child_id LIMIT 1")
    program = window.page("/program", at="one", id=made["child_id"])
    assert f"Operator: {made['operator']}." in program and '<pre class="program"' in program
    assert "Changes from" in program and '<pre class="diff"' in program
    assert first(window.page("/report", at="one"), "/study") == {"at": "one"}


def test_picture_has_a_dot_that_opens_for_each_run(window: Window, root: Path) -> None:
    rows = ask(root / "one", "SELECT run_id, verified_gain FROM runs WHERE purpose NOT IN ('ablation', 'reserve')")
    [shown] = window.studies.get("one").pictures()
    assert sorted(dot.run_id for dot in shown.dots) == sorted(row["run_id"] for row in rows)
    gains = {row["run_id"]: row["verified_gain"] for row in rows}
    higher = sorted(shown.dots, key=lambda dot: gains[dot.run_id])
    assert [dot.y for dot in higher] == sorted((dot.y for dot in shown.dots), reverse=True)
    text = window.page("/study", at="one").partition('<figure class="progress"')[2].partition("</figure>")[0]
    assert re.findall(r'<a href="/run[^"]+id=(\w+)"', text) == [dot.run_id for dot in shown.dots]


def test_page_shows_gains_of_the_confirmation_and_other_matches(window: Window, root: Path) -> None:
    text = window.page("/study", at="one").partition('<h2 id="match">Confirmation')[2].partition("</section>")[0]
    assert '<h2 id="match">Opening race' in window.page("/study", **first(text, "/study"))
    columns = "name, gain, low, high, claimed, n, runs"
    rows = ask(root / "one", f"SELECT {columns} FROM standings WHERE purpose = 'confirmation' ORDER BY gain DESC")
    shown = re.findall(r'class="open"[^>]*>([^<]+)</a></td>(.*?)<td>', text)
    ran = [(name, cells) for name, cells in shown if re.search(r"\(\d+\)<", cells)]  # not arms that behave like others
    for row, (name, cells) in zip(rows, ran, strict=True):
        assert name == row["name"] and re.findall(">([^<]+)</td>", cells) == [
            f"{number(row['gain'], 3, True)} ({row['n']})",
            span(row["low"], row["high"]),
            f"{number(row['claimed'], 3, True)} ({row['runs']})",
        ]


def test_self_reported_gains_are_nowhere_called_verified(window: Window, monkeypatch: pytest.MonkeyPatch) -> None:
    run = first(window.page("/study", at="one"), "/run")
    for trust in ("verified", "scored"):
        monkeypatch.setitem(WHY, trust, "as if the script printed it")
    for path, query in (("/study", {"at": "one"}), ("/run", run)):
        text = window.page(path, **query)
        assert "Retrained gain" in text and "verified gain" not in text.lower(), path


def test_what_is_not_there_is_said_and_harms_nothing(window: Window) -> None:
    for path, at, id_ in (("/study", "../x", ""), ("/run", "one", "r0"), ("/program", "one", "p0")):
        assert "there is no" in window.page(path, 404, at=at, id=id_), path
    window.page("/static/app.py", 404)
    window.page("/")


def test_a_study_that_goes_on_is_followed_and_a_new_one_appears(root: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "live" / "ledger"
    ledger.mkdir(parents=True)
    (ledger.parent / "study.toml").write_bytes((root / "one" / "study.toml").read_bytes())
    lines = (root / "one" / "ledger" / "main-1.jsonl").read_bytes().splitlines(keepends=True)
    (ledger / "main-1.jsonl").write_bytes(b"".join(lines[:3]))
    opened = Window(tmp_path)
    try:
        until_read(opened)
        assert "champion" not in opened.page("/study", at="live")
        with opened.client.stream("GET", "/events", params={"at": "live"}) as events:
            lines_sent = events.iter_lines()
            seen = next(line for line in lines_sent if line.startswith("data:"))
            (ledger / "main-1.jsonl").write_bytes(b"".join(lines))
            assert next(line for line in lines_sent if line.startswith("data:")) != seen
            entered = opened.page("/study", at="live")  # in matches, but the ledgers of the runs are not there
            assert ">waiting<" in entered and "<dt>Programs that ran</dt><dd>0<" in entered
        end = time.monotonic() + 200
        while "champion" not in opened.page("/study", at="live"):
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        opened.close()


def test_a_running_study_shows_how_much_of_its_plan_is_done(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "live"
    shutil.copytree(root / "one", copy)
    whole = ask(copy, "SELECT count(*) AS runs, count(*) FILTER (purpose = 'race') AS opening FROM runs")[0]
    records = [(path, line) for path in (copy / "ledger").iterdir() for line in path.read_bytes().splitlines(True)]
    end = min(json.loads(line)["at"] for _, line in records if json.loads(line)["kind"] == "match_ended")
    for path in {path for path, _ in records}:  # as it was when the opening race ended
        path.write_bytes(b"".join(line for at, line in records if at == path and json.loads(line)["at"] <= end))
    with (copy / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as its process does
        opened = Window(tmp_path)
        try:
            until_read(opened)
            text = " ".join(opened.page("/study", at="live").split())
            status = read_status(LiveStudy(copy))
        finally:
            opened.close()
    done = re.search(r"</progress> (\d+)&nbsp;of&nbsp;(\d+) planned runs ended; time left: about ([\d.]+) ", text)
    assert done and int(done[1]) == whole["opening"] and whole["runs"] <= int(done[2]) <= whole["runs"] + 6, whole
    assert status.runs_planned == int(done[2]) and status.seconds_left
    for arm in status.arms:  # the page has what `status` has
        assert f">{arm.kept}/{arm.tried}<" in text and arm.program in text


CHANGED = """(() => {  // the answer on the next return to the page
  const get = fetch;
  window.fetch = async (...all) => {
    const text = await (await get(...all)).text();
    return new Response(text.replace("</main>", "<p id='added'></p></main>"));
  };
  Object.defineProperty(document, "hidden", { value: false, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
})()"""


@pytest.mark.slow
@pytest.mark.skipif(found() is None, reason="no Chromium here: apt-get install chromium")
def test_address_with_token_opens_from_link_on_another_page(window: Window) -> None:
    """As in a terminal that is itself a page of another site."""
    command = found()
    assert command is not None
    with serving(host_of(text(200, b""))) as other, Browser(command) as browser:
        go(browser, f"http://{other.replace('127.0.0.1', 'localhost')}/")
        browser.value(f"location.assign('{window.url}/?token={TOKEN}')")
        until(browser, "document.querySelector('.studies') !== null")
        assert "token" not in browser.value("location.href")


@pytest.mark.slow
@pytest.mark.skipif(found() is None, reason="no Chromium here: apt-get install chromium")
def test_window_in_browser_is_cut_off_nowhere_and_has_keys(window: Window) -> None:
    command = found()
    assert command is not None
    with Browser(command) as browser:
        go(browser, f"{window.url}/?token={TOKEN}")
        study = window.page("/study", at="one")
        paths = ["/", "/study?at=one"]
        paths += [f"{path}?{httpx.QueryParams(first(study, path))}" for path in ("/run", "/program")]
        for path in paths:
            for width in (1280, 390):
                go(browser, window.url + path, width)
                browser.value(LONG_NAMES)
                assert browser.value("document.documentElement.scrollWidth") <= width, (path, width)
                assert browser.value(f"{STACKED}.every((one) => one.scrollWidth <= one.clientWidth)"), (path, width)
                assert browser.value(f"{WHOLE}.every((one) => one.scrollHeight <= one.clientHeight)"), (path, width)
                assert browser.value(f"{STACKED}.length") > 0 or not path.startswith("/study")
        go(browser, f"{window.url}/")
        press = "document.body.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}', bubbles: true}}))"
        browser.value(press.format("j"))
        assert browser.value("document.activeElement.className") == "open"
        browser.value(press.format("/"))
        assert browser.value("document.activeElement.id") == "find"
        typed = "dispatchEvent(new InputEvent('input', {bubbles: true}))"
        browser.value(f"document.activeElement.value = 'deep'; document.activeElement.{typed}")
        until(browser, "[...document.querySelectorAll('.studies li')].filter((one) => !one.hidden).length === 1")
        browser.value("document.activeElement.blur()")
        browser.value("shown = document.querySelector('.studies')")
        hidden_and_back(browser)
        kept = "document.getElementById('find').value === 'deep' && document.querySelector('.studies') === shown"
        assert browser.value(f"{kept} && document.getElementById('live').hidden")  # nothing has changed
        browser.value(CHANGED)
        until(browser, "document.getElementById('added') !== null && !document.getElementById('live').hidden")
        assert browser.value("document.getElementById('find').value") == "deep"
        assert not browser.complaints()
