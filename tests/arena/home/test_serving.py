"""A host and a volunteer over HTTP: a whole run, lost replies, a host that is away, pages and their twins."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arena.home.client import HostClient, JoinedProject, Unreachable, VolunteerFolder
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import Sent
from arena.home.results import BlockSummary, state_of
from arena.home.tables import BlockRow, RunLease, Volunteer
from arena.home.volunteer import MOST_GB, VolunteerSession
from arena.serving.clock import utc_now
from arena.work import sandbox
from meta.cli.main import run
from programs.common.errors import OtherVersion, UsageError
from tests.arena.home.clients import Client, better, states, work
from tests.arena.home.serving import get, serving


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    with serving(project) as address:
        yield address


def session(url: str, folder: Path, client: HostClient | None = None) -> VolunteerSession:
    return VolunteerSession(client or HostClient(url), VolunteerFolder(folder), "Ann", MOST_GB, lambda _: None)


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


def leases(project: Project) -> list[RunLease]:
    with project.database.read() as connection:
        return list(connection.query(RunLease).all())


def test_a_volunteer_makes_a_run_and_hands_it_in_over_a_connection_that_loses_replies(
    project: Project, url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    sandbox.require(project.task, True)
    asked = ["home", "join", url, "--runs", "1", "--set", f"folder={tmp_path / 'asked'}"]
    monkeypatch.delenv("METALOOP_CACHE")
    assert run(asked) == 2 and not leases(project)  # nobody has agreed
    assert os.environ["METALOOP_CACHE"] == str(tmp_path / "asked" / "cache")  # nothing is written beside the folder
    monkeypatch.setattr("arena.home.volunteer.PAUSES", (0.01,))
    ann = session(url, tmp_path / "v", Lossy(url))
    assert ann.preview().name == project.task.name
    assert ann.join().block == 0
    ann.step()
    [lease] = leases(project)
    assert lease.returned_at and 0 < lease.device_seconds <= lease.budget and lease.experiments > 1
    assert not list((tmp_path / "v" / "leases").iterdir())
    [(state, _)] = states(project).values()
    assert state in ("waiting", "refused")
    work(project)
    kept = tmp_path / "v" / "project.json"
    assert kept.stat().st_mode & 0o777 == 0o600 and ann.client.token in kept.read_text()
    again = session(url, tmp_path / "v")
    again.join(3)
    with project.database.read() as connection:
        _lost, known = connection.query(Volunteer).all()  # the reply to the first one was lost
    assert again.client.token == ann.client.token and lease.volunteer_id == known.volunteer_id and known.devices == 3


def test_run_whose_lease_has_expired_is_not_under_way(project: Project, host: ProjectHost) -> None:
    lease = Client(host, "Ann").lease().lease
    assert state_of(project).runs_out == 1
    with project.database.write() as connection:
        connection.get_one(RunLease, lease).expires_at = utc_now()
    assert state_of(project).runs_out == 0


def test_page_of_a_block_seen_before_starts_no_git(project: Project, url: str) -> None:
    """A reader may cycle through all blocks."""
    chain, numbers = project.chain, range(1, 70)
    for number in numbers:
        commit = chain.append(better(project, MOMENTUM=number / 100), "x", "", "Ann", chain.head)
        with project.database.write() as connection:
            connection.add(BlockRow(number=number, proposal_id=None, parent=number - 1, commit=commit, source_id="s"))
    addresses = [f"{url}/block/{number}" for number in numbers]
    assert {get(address)[0] for address in addresses} == {200}
    chain.folder.rename(project.folder / "moved")
    assert {get(address)[0] for address in addresses} == {200}


@pytest.mark.slow
def test_two_runs_at_a_time_on_one_machine(project: Project, url: str, tmp_path: Path) -> None:
    ann = session(url, tmp_path / "v")
    ann.join(2)
    with project.database.write() as connection:
        connection.query(Volunteer).one().confirmed = 1  # a new volunteer has one run at a time
    ann.join(2)
    ann.serve(4, ["", ""])
    first, second, *_ = sorted(leases(project), key=lambda lease: lease.issued_at)
    assert ann.made == len(leases(project)) == 4 and all(lease.returned_at for lease in leases(project))
    assert first.returned_at is not None and second.issued_at < first.returned_at
    assert not list((tmp_path / "v" / "leases").iterdir()) and not ann.folder.leases()


@pytest.mark.slow
def test_a_new_volunteer_with_two_devices_has_one_run_at_a_time(project: Project, url: str, tmp_path: Path) -> None:
    ann = session(url, tmp_path / "v")
    ann.join(2)
    ann.serve(2, ["", ""])
    first, second = sorted(leases(project), key=lambda lease: lease.issued_at)
    assert first.returned_at is not None and second.issued_at >= first.returned_at


@pytest.mark.slow
def test_a_kill_of_the_volunteer_during_its_run_loses_nothing(
    project: Project, url: str, tmp_path: Path, monkeypatch: Any
) -> None:
    ann = session(url, tmp_path / "v")
    ann.join()
    monkeypatch.setattr(VolunteerSession, "run", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ann.step()
    monkeypatch.undo()
    again = session(url, tmp_path / "v")
    again.join()
    again.step()
    assert len(leases(project)) == 1 and leases(project)[0].returned_at is not None


@pytest.mark.parametrize("other", [{"project": "h000000000000"}, {"url": "https://example.org"}, {"task": "0" * 64}])
def test_another_project_or_another_address_gets_no_token(
    project: Project, url: str, tmp_path: Path, other: dict[str, str]
) -> None:
    """A host can claim to have the project of another one."""
    ann = session(url, tmp_path / "v")
    joined = JoinedProject(url=url, project=project.project_id, task=project.bundle.digest, token="secret")
    ann.folder.put("project", joined.model_copy(update=other))
    with pytest.raises(UsageError, match="is not the one that was joined"):
        ann.join()
    assert ann.client.token == ""


def test_a_task_that_may_take_more_memory_than_granted_is_refused(url: str, tmp_path: Path) -> None:
    ann = session(url, tmp_path / "v")
    ann.max_gb = 0.01
    with pytest.raises(UsageError, match="more than you grant"):
        ann.preview()


def test_main_can_be_cloned(project: Project, url: str, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", f"{url}/main.git", str(tmp_path / "clone")], check=True)
    assert (tmp_path / "clone" / "train.py").read_text() == project.task.baseline().text()


def test_a_project_of_another_format_is_refused(project: Project) -> None:
    about = project.database.fact("project")
    del about["schema"]
    project.database.set_fact("project", **about)
    with pytest.raises(OtherVersion, match="another version of metaloop made this project"):
        Project.open(project.folder)


def test_the_height_of_main_follows_a_void_block() -> None:
    from arena.home.pages import heights_of, picture

    def block(n: int, gain: float, void: str = "", proposal: int | None = 1) -> BlockSummary:
        return BlockSummary(n, "a", "", gain, gain - 0.1, gain + 0.1, "", "", proposal, void)

    rows = [
        block(0, 0.0, proposal=None), block(1, 0.5), block(2, 0.25, "bad"), block(3, 0.125, "built on 2"),
        block(4, 0.0, proposal=None), block(5, 0.25),
    ]  # fmt: skip
    assert heights_of(rows) == {0: 0.0, 1: 0.5, 2: 0.75, 3: 0.875, 4: 0.5, 5: 0.75}
    drawn = picture(rows, "nats")
    assert "+0.7500 after 2 blocks" in drawn.caption and [dot.void for dot in drawn.dots] == [
        False, False, True, True, False, False
    ]  # fmt: skip
    assert drawn.dots[2].y < drawn.dots[1].y < drawn.dots[0].y
