"""Volunteers that make a host work for nothing, stand in each other's way, or read what is not theirs."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import event, select

from analysis.ledger.run_state import StudyState
from arena.home import checks, server
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import RunResult, parsed
from arena.home.server import create_app
from arena.home.tables import Pair, ProposalRow, RunLease
from arena.home.verifying import Verifier
from arena.home.voiding import void
from arena.serving import throttled_cache
from arena.serving.clock import utc_now
from arena.serving.limits import Rate
from arena.study.study import Study
from programs.common.errors import UsageError
from tests.arena.home.clients import RESULT, Client, better, states, work
from tests.arena.home.serving import get, serving
from tests.arena.home.test_recording import DECISION, EXPERIMENT, lines


def syncs_of(action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> int:
    """How often ``action`` waits for the disk in the ledger."""
    seen: list[int] = []
    with monkeypatch.context() as patch:
        real = os.fsync
        patch.setattr("analysis.ledger.writer.os.fsync", lambda file: (seen.append(file), real(file)))
        action()
    return len(seen)


def test_a_run_of_many_records_costs_one_sync(
    project: Project, host: ProjectHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one experiment many, though its record comes many times."""
    many = [EXPERIMENT | {"experiment_id": f"e{k}", "number": k} for k in range(60)]
    decided = [DECISION | {"experiment_id": f"e{k}", "decision": "keep"} for k in range(60)]
    work(project)  # the match is announced
    syncs = []
    for name, records in (("Ann", [*many[:1], *decided[:1]]), ("Bob", [*many, *decided]), ("Eve", many * 20)):
        Client(host, name).propose(better(project, LR=0.1), 1e-9, events=lines(*records))
        with Study.open(project.folder) as study:
            recorder = Verifier(project, study, lambda _: None).recorder
            recorder.match(0)
            syncs.append(syncs_of(recorder.step, monkeypatch))
    assert syncs == [1, 1, 1]
    runs = StudyState.read(project.folder / "ledger").runs.values()
    assert sorted(len(run.experiments) for run in runs) == [0, 1, 60]


def test_a_copy_with_a_tiny_claim_blocks_no_honest_claim_of_the_same_source(
    project: Project, host: ProjectHost
) -> None:
    """The first one waits for ever where others claim more; the second is merged, and the first refused in its turn."""
    eve, ann, bob = (Client(host, name) for name in ("Eve", "Ann", "Bob"))
    copy, honest, third = (each.lease().lease for each in (eve, ann, bob))
    files = better(project, MOMENTUM=0.9)
    assert eve.propose(files, 1e-12, copy).state == "waiting"
    assert ann.propose({"train.py": files["train.py"] + "\n# mine\n"}, 0.5, honest).state == "waiting"
    with project.database.write() as connection:  # nothing is left to chance: known volunteers are served by worth
        for one in connection.scalars(select(ProposalRow)):
            one.proposer.confirmed = 1
    work(project)
    assert states(project) == {1: ("refused", "the same source as proposal 2"), 2: ("merged", "")}
    late = bob.propose(files, 0.5, third)
    assert (late.state, late.reason) == ("refused", "the same source as proposal 2")


def test_nothing_is_merged_or_summed_while_others_wait_for_the_lock(
    project: Project, host: ProjectHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Volunteers are answered while the texts of a proposal are merged and while git writes its block."""
    ann, bob = Client(host, "Ann"), Client(host, "Bob")
    ann.propose(better(project, MOMENTUM=0.9), 0.5)
    answered: list[str] = []

    def meanwhile(real: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*given: Any) -> Any:
            thread = threading.Thread(target=lambda: answered.append(bob.lease().lease), daemon=True)
            thread.start()
            thread.join(10)
            assert not thread.is_alive(), "a volunteer waits for the lock"
            return real(*given)

        return slow

    monkeypatch.setattr("arena.home.verifying.rebased", meanwhile(checks.rebased))
    monkeypatch.setattr("arena.home.chain.Chain.append", meanwhile(type(project.chain).append))
    work(project)
    assert states(project)[1][0] == "merged" and len(answered) == 2


def test_pages_that_are_asked_for_often_read_the_tables_once(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []
    event.listen(project.database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    monkeypatch.setattr(throttled_cache, "PATIENCE", 1e6)
    with serving(project) as url:
        for path in ("/", "/llms.txt", "/api/v1/state", "/block/0") * 4:
            assert get(url + path)[0] == 200
    assert sum("sum(leases.device_seconds)" in each for each in statements) == 1


def test_a_late_result_is_not_parsed(project: Project, host: ProjectHost, monkeypatch: pytest.MonkeyPatch) -> None:
    eve = Client(host, "Eve")
    lease = eve.lease().lease
    with project.database.write() as connection:
        connection.get_one(RunLease, lease).expires_at = utc_now() - timedelta(days=8)
    parsing: list[object] = []
    monkeypatch.setattr("arena.home.host.bare_texts", parsing.append)
    sent = parsed(RunResult, json.dumps({**RESULT, "files": better(project, LR=0.1)}))
    with pytest.raises(UsageError, match="seven days"):
        host.check(host.own_lease(eve.token, lease), sent)
    assert not parsing


def test_results_that_wait_for_their_check_are_limited_and_one_lease_is_one_of_them(
    project: Project, host: ProjectHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go, checked = threading.Semaphore(0), threading.Event(), host.check
    calls: list[str] = []

    def slow(self: ProjectHost, lease: RunLease, sent: RunResult) -> object:
        calls.append(lease.lease_id)
        entered.release()
        assert go.wait(60)
        return checked(lease, sent)

    monkeypatch.setattr(server, "MOST_PENDING", 2)
    monkeypatch.setattr(ProjectHost, "check", slow)
    people = [Client(host, name) for name in ("Ann", "Bob", "Eve")]
    leases = [each.lease().lease for each in people]
    body = json.dumps({**RESULT, "files": better(project, LR=0.1)}).encode()
    with serving(project) as url, ThreadPoolExecutor(8) as threads:

        def send(k: int) -> tuple[int, str]:
            return get(f"{url}/api/v1/leases/{leases[k]}/result", body, token=people[k].token)

        first = [threads.submit(send, k) for k in (0, 1)]
        assert entered.acquire(timeout=60) and entered.acquire(timeout=60)
        again = [threads.submit(send, 0) for _ in range(3)]
        status, text = send(2)
        assert status == 503 and "too many results" in text
        assert get(f"{url}/api/v1/leases/{leases[0]}/result", body, token=people[2].token)[0] == 404
        go.set()
        assert {one.result()[0] for one in first} == {200}
        assert {one.result() for one in again} == {first[0].result()}
        assert send(2)[0] == 200
    assert sorted(set(calls)) == sorted(leases) and calls.count(leases[1]) == 1


@pytest.mark.parametrize(("address", "joins"), [("2001:db8:1:{}::1", 2), ("2001:db8:{}::1", 6)])
def test_new_volunteers_of_one_network_are_few(project: Project, address: str, joins: int) -> None:
    """A /48 is what one customer gets; who is known joins as often as it likes."""
    app = create_app(project, joining=Rate(2, 6000.0))
    body = json.dumps({"name": "Eve", "hardware": "cpu", "devices": 1})

    async def join(number: int, token: str = "") -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(address.format(f"{number:x}"), 1))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://host", headers=headers) as client:
            return await client.post("/api/v1/volunteers", content=body)

    answers = [asyncio.run(join(number)) for number in range(1, 7)]
    assert [each.status_code for each in answers] == [200] * joins + [429] * (6 - joins)
    token = answers[0].json()["token"]
    assert all(asyncio.run(join(9, token)).status_code == 200 for _ in range(3))


def test_a_fault_of_the_host_shows_no_path(project: Project) -> None:
    with serving(project) as url:
        objects = project.folder / "main.git" / "objects"
        objects.rename(objects.with_name("gone"))
        for path in ("/block/0", "/api/v1/project"):
            status, text = get(url + path)
            assert str(project.folder.parent) not in text and status == (503 if "block" in path else 200)


def test_a_blocks_page_shows_the_pairs_of_its_own_test(
    project: Project, host: ProjectHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those of a test that was begun again because main moved, nor those after the block became void."""
    for name, setting in (("Ann", {"MOMENTUM": 0.9}), ("Bob", {"LR": 0.2})):
        Client(host, name).propose(better(project, **setting), 0.5)
    monkeypatch.setattr(Verifier, "slots", lambda *_: 2)
    work(project)
    with Study.open(project.folder) as study:
        void(project, study, 1, "a mistake")
    work(project)
    with project.database.read() as connection:
        pairs = list(connection.scalars(select(Pair)))
    with serving(project) as url:
        for commit in project.chain.commits()[1:]:
            entry = project.chain.entry(commit)
            splits = set(getattr(entry, "splits", ()))
            page = get(f"{url}/block/{entry.block}")[1]  # type: ignore[union-attr]
            assert {pair.seed for pair in pairs if f">{pair.seed}</td>" in page} == {
                pair.seed for pair in pairs if pair.split in splits
            }
            assert not splits or f"number {entry.test} of the project" in page  # type: ignore[union-attr]
