"""Volunteers that make a host work for nothing, stand in each other's way, or read what is not theirs."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from arena.home import checks, server
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import Proposal
from arena.home.server import create_app
from arena.serving import throttled_cache
from arena.serving.limits import Rate
from tests.arena.home.clients import Client, better, confirm, rows, states, work
from tests.arena.home.serving import get, serving


def body_of(project: Project, **settings: object) -> bytes:
    """A proposal as it is sent."""
    return json.dumps({"base": project.chain.head, "files": better(project, **settings), "gain": 0.5}).encode()


def test_copy_with_a_tiny_claim_blocks_no_honest_claim(project: Project, host: ProjectHost) -> None:
    """The first one waits for ever where others claim more; the second is merged, and the first rejected in turn."""
    eve, ann, bob = (Client(host, name) for name in ("Eve", "Ann", "Bob"))
    confirm(project, 1, 2)  # nothing is left to chance: known volunteers are served by claim
    files, base = better(project, MOMENTUM=0.9), project.chain.head
    assert eve.propose(files, 1e-12).state == "waiting"
    assert ann.propose({"train.py": files["train.py"] + "\n# mine\n"}, 0.5).state == "waiting"
    work(project)
    copy, honest = rows(project)[2:]
    assert (copy.state, copy.reason) == ("rejected", f"the same source as proposal {honest.proposal_id}")
    assert honest.state == "merged"
    late = bob.propose(files, 0.5, base=base)
    assert (late.state, late.reason) == ("refused", f"the same source as proposal {honest.proposal_id}")


def test_nothing_is_merged_or_summed_while_others_wait(
    project: Project, host: ProjectHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Volunteers are answered while the texts of a proposal are merged and while git writes its block."""
    ann, bob = Client(host, "Ann"), Client(host, "Bob")
    ann.propose(better(project, MOMENTUM=0.9))
    answered: list[str] = []

    def meanwhile(real: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*given: Any) -> Any:
            proposal = better(project, LR=f"1e-0{len(answered) + 5}")
            thread = threading.Thread(target=lambda: answered.append(bob.propose(proposal).state), daemon=True)
            thread.start()
            thread.join(10)
            assert not thread.is_alive(), "a volunteer waits for the lock"
            return real(*given)

        return slow

    monkeypatch.setattr("arena.home.verifying.rebased", meanwhile(checks.rebased))
    monkeypatch.setattr("arena.home.chain.Chain.append", meanwhile(type(project.chain).append))
    work(project, steps=8)
    assert states(project)[1][0] == "merged" and len(answered) >= 2 and set(answered) == {"waiting"}


def test_pages_that_are_asked_for_often_read_the_tables_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    event.listen(project.database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    monkeypatch.setattr(throttled_cache, "PATIENCE", 1e6)
    with serving(project) as url:
        for path in ("/", "/llms.txt", "/api/v1/state") * 4:
            assert get(url + path)[0] == 200
    assert sum("sum(proposals.device_seconds)" in each for each in statements) == 1


def test_a_repeated_proposal_is_not_parsed_again(
    project: Project, host: ProjectHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    eve = Client(host, "Eve")
    first = eve.propose(better(project, LR=0.1))
    monkeypatch.setattr("arena.home.host.normal_texts", lambda _: pytest.fail("it was parsed"))
    assert eve.propose(better(project, LR=0.1), 99.0) == first


def test_proposals_that_wait_for_their_check_are_limited(
    project: Project, host: ProjectHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go, propose = threading.Semaphore(0), threading.Event(), ProjectHost.propose

    def slow(self: ProjectHost, volunteer: int, proposal: Proposal) -> object:
        entered.release()
        assert go.wait(60)
        return propose(self, volunteer, proposal)

    monkeypatch.setattr(server, "MOST_PENDING", 2)
    monkeypatch.setattr(ProjectHost, "propose", slow)
    people = [Client(host, name) for name in ("Ann", "Bob", "Eve")]
    with serving(project) as url, ThreadPoolExecutor(8) as threads:

        def send(k: int) -> tuple[int, str]:
            return get(f"{url}/api/v1/proposals", body_of(project, LR=0.1 + k), token=people[k].token)

        first = [threads.submit(send, k) for k in (0, 1)]
        assert entered.acquire(timeout=60) and entered.acquire(timeout=60)
        status, text = send(2)
        assert status == 503 and "too many proposals" in text and get(url)[0] == 200
        go.set()
        assert {one.result()[0] for one in first} == {200} and send(2)[0] == 200
    assert len(rows(project)) == 3


@pytest.mark.parametrize(("address", "joins"), [("2001:db8:1:{}::1", 2), ("2001:db8:{}::1", 6)])
def test_new_volunteers_of_one_network_are_few(project: Project, address: str, joins: int) -> None:
    """A /48 is what one customer gets; who is known joins as often as it likes."""
    app = create_app(project, joining=Rate(2, 6000.0))

    async def join(number: int, token: str = "") -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(address.format(f"{number:x}"), 1))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://host", headers=headers) as client:
            return await client.post("/api/v1/volunteers", content=b'{"name": "Eve"}')

    answers = [asyncio.run(join(number)) for number in range(1, 7)]
    assert [each.status_code for each in answers] == [200] * joins + [429] * (6 - joins)
    token = answers[0].json()["token"]
    assert all(asyncio.run(join(9, token)).status_code == 200 for _ in range(3))


def test_a_fault_of_the_host_shows_no_path(project: Project) -> None:
    with serving(project) as url:
        objects = project.folder / "main.git" / "objects"
        objects.rename(objects.with_name("gone"))
        for path in ("/", "/api/v1/project"):
            status, text = get(url + path)
            assert str(project.folder.parent) not in text and status == 503
