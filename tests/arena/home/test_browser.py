"""The page of a shared project in a real browser, wide and on a phone."""

from __future__ import annotations

import pytest

from arena.home.host import ProjectHost
from arena.home.project import Project
from tests.analysis.report.browser import Browser, found
from tests.arena.contest.test_browser import go
from tests.arena.home.clients import Client, better, work
from tests.arena.home.serving import serving


@pytest.mark.slow
@pytest.mark.skipif(found() is None, reason="no Chromium here: apt-get install chromium")
def test_project_in_browser_is_cut_off_nowhere(project: Project, host: ProjectHost) -> None:
    command = found()
    assert command is not None
    Client(host, "Ann").propose(better(project, MOMENTUM=0.9))
    Client(host, "Bartholomew" * 3).propose(better(project, LR="1e-05"), 99.0)
    work(project)
    with serving(project) as url, Browser(command) as browser:
        for width in (1280, 390):
            go(browser, url, width)
            assert browser.value("document.documentElement.scrollWidth") <= width
            text = browser.value("document.querySelector('main').innerText")
            assert "Ann" in text and "Bartholomew" in text
        assert not browser.complaints()
        assert {address.split("/")[2] for address in browser.requests()} == {url.split("/")[2]}
