"""A host and a volunteer over HTTP: whole runs, lost replies, pages and their twins, also in a real browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.study import query
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import Sent
from arena.home.volunteer import HostClient, JoinedProject, LocalSearch, Unreachable, VolunteerSession
from arena.study.stop import Drained
from arena.work import sandbox
from meta.cli.main import run
from programs.common.errors import OtherVersion, UsageError
from programs.shelf import starter
from tests.analysis.report.browser import Browser, found
from tests.arena.contest.test_browser import go
from tests.arena.home.clients import Client, better, people, rows, states, work
from tests.arena.home.serving import get, serving
from tests.meta.cli_study import metaloop


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    with serving(project) as address:
        yield address


def session(
    url: str, folder: Path, say: Callable[[str], Any] = print, client: HostClient | None = None, max_gb: float = 64.0
) -> VolunteerSession:
    folder.mkdir(exist_ok=True)
    search = LocalSearch(starter("stock"), max_gb=max_gb)
    return VolunteerSession(client or HostClient(url), folder, "Ann", search, say)


class Lossy(HostClient):
    """A connection that loses the reply to each request the first time."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.seen: set[str] = set()

    def ask(self, path: str, body: Sent | None = None, most: int = Sent.most) -> bytes:
        reply = super().ask(path, body, most)
        if body is not None and path not in self.seen:
            self.seen.add(path)
            raise Unreachable("the connection broke")
        return reply


def test_volunteer_hands_in_though_stopped_and_replies_are_lost(
    project: Project, url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    sandbox.require(project.task, True)
    words = ["home", "join", url, "--runs", "1", "--set", f"folder={tmp_path / 'asked'}"]
    monkeypatch.delenv("METALOOP_CACHE")
    assert run(words) == 2 and not people(project)  # nobody has agreed
    assert os.environ["METALOOP_CACHE"] == str(tmp_path / "asked" / "cache")  # nothing is written beside the folder
    monkeypatch.setattr("arena.home.volunteer.PAUSES", (0.01,))
    lines: list[str] = []
    stopped = session(url, tmp_path / "v", lines.append, Lossy(url))
    assert stopped.preview().name == project.task.name
    assert stopped.join().block == 0
    with monkeypatch.context() as patch, pytest.raises(Drained):
        patch.setattr("arena.home.volunteer.play_entries", lambda *_: (_ for _ in ()).throw(Drained("stopped")))
        stopped.step()
    ann = session(url, tmp_path / "v", lines.append, Lossy(url))
    ann.join()
    assert ann.client.token == stopped.client.token and len(people(project)) == 2  # the first reply was lost
    ann.step()
    [proposal] = rows(project)
    assert proposal.state == "waiting" and proposal.claimed > 0 and "waits for its test" in lines[-1]
    [folder] = ann.run_folders()
    assert query(folder / "study", "SELECT count(*) AS n FROM runs")[0]["n"] == 1
    assert "match" in metaloop("status", folder / "study").stdout
    work(project)
    ann.run = lambda _: None  # type: ignore[method-assign,assignment]
    ann.step()
    state = states(project)[1][0]
    assert any(("merged as block 1" if state == "merged" else "not merged (rejected)") in line for line in lines)
    assert lines[-1] == "run 0002: no gain, nothing to propose" and len(rows(project)) == 1
    kept = tmp_path / "v" / "project.json"
    assert kept.stat().st_mode & 0o777 == 0o600 and ann.client.token in kept.read_text()


def test_join_without_a_terminal_runs_the_volunteers_program(project: Project, url: str, tmp_path: Path) -> None:
    folder = tmp_path / "v"
    words = ("home", "join", url, "-y", "-p", "local-screen", "--runs", "1", "-b", "0.4s", "--name", "Bob")
    told = metaloop(*words, "--set", f"folder={folder}")
    assert "what is never sent: your files, your program" in told.stderr and "runs\t1" in told.stdout
    [row] = query(folder / "runs" / "0001" / "study", "SELECT programs.name FROM runs JOIN programs USING (program_id)")
    assert row["name"] == "local-screen"
    assert [each.label for each in people(project)] == ["Bob (1)"]


def test_another_project_or_another_address_gets_no_token(project: Project, url: str, tmp_path: Path) -> None:
    """A host can claim to have the project of another one."""
    ann = session(url, tmp_path / "v")
    joined = JoinedProject(url=url, project=project.project_id, task=project.bundle.digest, token="secret")
    for other in ({"project": "h000000000000"}, {"url": "https://example.org"}, {"task": "0" * 64}):
        (tmp_path / "v" / "project.json").write_text(joined.model_copy(update=other).model_dump_json())
        with pytest.raises(UsageError, match="is not the one that was joined"):
            ann.join()
        assert ann.client.token == ""


def test_task_with_more_memory_than_granted_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than you grant"):
        session(url, tmp_path / "v", max_gb=0.01).preview()


def test_a_project_of_another_format_is_refused(project: Project) -> None:
    about = project.database.fact("project")
    project.database.set_fact("project", **{**about, "schema": 4})
    with pytest.raises(OtherVersion, match="another version of metaloop made this project"):
        Project.open(project.folder)


def test_main_is_cloned_and_pages_have_the_same_figures(project: Project, url: str, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", f"{url}/main.git", str(tmp_path / "clone")], check=True)
    assert (tmp_path / "clone" / "train.py").read_text() == project.task.baseline().text()
    state = json.loads(get(f"{url}/api/v1/state")[1])
    assert state["project"] == project.project_id and state["blocks"][0]["by"] == "host"
    for path in ("/", "/llms.txt"):
        status, text = get(url + path)
        assert status == 200 and re.search(r"\+?0\.0000 nats|0 volunteers", text)


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
