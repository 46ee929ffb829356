"""The page in a real headless Chromium without a network: no complaint, no request, nothing beside or over another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.analysis.report import studies
from tests.analysis.report.browser import Browser, found

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(found() is None, reason="no Chromium here: apt-get install chromium"),
]
FOCUSED = "document.activeElement.dataset.sort || document.activeElement.closest('tr')?.dataset.row || ''"
# Texts of one chart whose boxes cover each other by more than a few pixels.
OVERLAPS = """
[...document.querySelectorAll('.plot svg, .progress')].flatMap(svg => {
  const texts = [...svg.querySelectorAll('text')].filter(t => t.textContent.trim());
  const boxes = texts.map(t => [t.textContent, t.getBoundingClientRect()]);
  return boxes.flatMap(([a, p], i) => boxes.slice(i + 1).filter(([b, q]) =>
    Math.min(p.right, q.right) - Math.max(p.left, q.left) > 3 &&
    Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 4
  ).map(([b]) => a + ' / ' + b));
})
"""
OUTSIDE = """
[...document.querySelectorAll('.plot svg text')].filter(t => {
  const box = t.getBoundingClientRect(), frame = t.ownerSVGElement.getBoundingClientRect();
  return t.textContent.trim() && (box.left < frame.left - 2 || box.right > frame.right + 2);
}).map(t => t.textContent)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    command = found()
    assert command is not None
    with Browser(command) as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, html: str) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(html, encoding="utf-8")
    return file


def press(browser: Browser, key: str) -> None:
    code = {"Enter": 13, "Tab": 9}[key]
    text = {"text": "\r"} if key == "Enter" else {}
    for kind in ("keyDown", "keyUp"):
        browser.on_page("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1280, "light")])
def test_report_walked_through_offline_has_no_complaint(
    browser: Browser, report: Path, width: int, scheme: str
) -> None:
    """Its charts, another run, the table of experiments by keyboard alone, and the printed page."""
    browser.open(report, width, scheme=scheme)
    assert browser.requests() == [report.resolve().as_uri()]
    assert browser.value("document.querySelectorAll('.plot svg').length") >= 4
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value(OVERLAPS) == browser.value(OUTSIDE) == []
    before = browser.value("document.querySelector('#runs-0 .plot').innerHTML")
    browser.value("""{const s = document.querySelector('#runs-0 select'); s.value = s.options.length - 1;
        s.dispatchEvent(new Event('input', {bubbles: true}))}""")
    assert browser.value("document.querySelector('#runs-0 .plot').innerHTML") != before
    browser.value("document.querySelector('[data-sort=metric]').focus()")
    press(browser, "Tab")
    press(browser, "Enter")
    assert browser.value(FOCUSED) == "gain"  # the focus stays where it was
    assert browser.value("document.querySelector('th.of-gain').getAttribute('aria-sort')") == "descending"
    gains = browser.value(
        "[...document.querySelectorAll('.rows tr.row')].map(r => parseFloat(r.querySelector('.of-gain').textContent))"
    )
    assert len(gains) == 25 and gains == sorted(gains, reverse=True)
    for _ in range(9):
        press(browser, "Tab")
        if "/" in browser.value(FOCUSED):
            break
    row = browser.value(FOCUSED)
    press(browser, "Enter")
    assert browser.value("document.querySelectorAll('.rows tr.more').length") == 1 and browser.value(FOCUSED) == row
    assert browser.value("document.activeElement.getAttribute('aria-expanded')") == "true"
    assert browser.value("[...document.querySelectorAll('.scroll')].every(s => s.tabIndex === 0)")  # scrolled by arrows
    browser.value("""{const form = document.querySelector('.explore form'); form.elements.status.value = 'crash';
        form.dispatchEvent(new Event('input', {bubbles: true}))}""")
    states = "[...new Set([...document.querySelectorAll('.rows tr.row .of-status')].map(cell => cell.textContent))]"
    assert browser.value(states) == ["crash"]
    browser.value("document.querySelector('.rows tr.row button').click()")
    assert "+b" in browser.value("document.querySelector('.rows .diff').textContent")
    browser.on_page("Emulation.setEmulatedMedia", media="print")
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(browser.on_page("Page.printToPDF")["data"]) > 50_000
    browser.on_page("Emulation.setEmulatedMedia", media="")
    assert browser.complaints() == []


def test_report_of_hostile_study_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text(studies.written(studies.finished(tmp_path, hostile=True)), encoding="utf-8")
    browser.open(file, 1280)
    assert browser.complaints() == []
    assert browser.requests() == [file.resolve().as_uri()]
    assert browser.value("document.querySelectorAll('img').length") == 0
    assert not [event for event in browser.events if event.get("method") == "Page.javascriptDialogOpening"]


def test_report_without_javascript_has_its_tables(browser: Browser, report: Path) -> None:
    browser.on_page("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(report, 390)
        browser.on_page("Emulation.setScriptExecutionDisabled", value=False)
        assert browser.value("document.querySelectorAll('figure table tbody tr').length") > 40
        assert browser.value("document.querySelector('.plain').offsetHeight") > 100
        assert browser.value("document.querySelectorAll('.plot svg').length") == 0
        assert browser.value("document.documentElement.scrollWidth") <= 390
    finally:
        browser.on_page("Emulation.setScriptExecutionDisabled", value=False)
