"""Attacks of volunteers on a project's host and on each other: to spoil it, to be merged, to make it work for nothing,
to stand in each other's way, to read what is not theirs."""

from __future__ import annotations

import asyncio
import json
import math
import re
import resource
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event

from arena.home import checks, server
from arena.home.host import ProjectHost
from arena.home.project import Project
from arena.home.protocol import Introduction, Proposal, parsed
from arena.home.server import create_app
from arena.serving import throttled_cache
from arena.serving.limits import Rate
from programs.common.errors import CredentialMissing, UsageError
from programs.common.text import one_line
from tests.arena.home.clients import Client, better, confirm, new_project, people, rows, states, work
from tests.arena.home.serving import get, serving


@pytest.fixture
def eve(host: ProjectHost) -> Client:
    return Client(host, "Eve")


FILES = {"train.py": "LR = 1\n"}
WILD: dict[str, tuple[object, ...]] = {
    "gain": (math.nan, math.inf, True, "9", None, 10**400),
    "error": (-1.0, math.inf, "1"),
    "base": ("main", "0" * 39, "../../" + "0" * 34, None),
    "files": (["train.py"], {"train.py": 7}, {"train.py": "x = '\ud800'"}, None, {}, {"train.py": "x" * (300 << 10)}),
    "more\x1b[2J": (1,),
}


@pytest.mark.parametrize("field", WILD)
def test_a_spoilt_proposal_changes_nothing(project: Project, eve: Client, field: str) -> None:
    sent = {"base": project.chain.head, "files": FILES, "gain": 1.0}
    for value in WILD[field]:
        with pytest.raises(UsageError, match=rf"^({re.escape(one_line(field))}|Invalid JSON|larger than)") as refused:
            eve.host.propose(eve.number, parsed(Proposal, json.dumps({**sent, field: value})))
        assert refused.value.message.isprintable()
    assert not rows(project) and len(people(project)) == 1


def test_another_volunteers_source_is_merged_once(project: Project, host: ProjectHost, eve: Client) -> None:
    ann, files, base = Client(host, "Ann"), better(project, MOMENTUM=0.9), project.chain.head
    assert ann.propose(files).state == "waiting"
    stolen = {"train.py": files["train.py"] + "\n\n# by Eve\n"}
    assert eve.propose(stolen, 9.0).state == "waiting"
    work(project)
    assert sorted(state for state, _ in states(project).values()) == ["merged", "rejected"]
    again = eve.propose({"train.py": files["train.py"] + "\n# once more\n"}, 9.0, base=base)
    assert again.state == "refused" and "the same source as proposal" in again.reason


def test_a_guessed_token_opens_nothing(project: Project, host: ProjectHost, eve: Client, tmp_path: Path) -> None:
    other = Client(ProjectHost(new_project(tmp_path / "other")), "Eve")
    [known] = people(project)
    with serving(project) as url:
        for token in ("", "x", other.token, known.token_hash, eve.token[:-1], eve.token.lower(), "é"):
            status, text = get(f"{url}/api/v1/proposals", b"{}", token=token)
            assert status == 401 and "needs the token" in text and "\n" not in text
        assert get(f"{url}/api/v1/volunteers", b'{"name":"x"}', token="x")[0] == 401
        assert get(f"{url}/api/v1/volunteers", b'{"name":"Eva"}', token=eve.token)[0] == 200
    for token in ("", known.token_hash):
        with pytest.raises(CredentialMissing):
            host.volunteer_of(token)
    assert [each.label for each in people(project)] == ["Eva (1)"] and not rows(project)


def test_a_proposal_that_is_sent_many_times_at_once_is_one(project: Project, eve: Client) -> None:
    body = json.dumps({"base": project.chain.head, "files": better(project, MOMENTUM=0.9), "gain": 1.0}).encode()
    with serving(project) as url, ThreadPoolExecutor(20) as threads:
        answers = set(threads.map(lambda _: get(f"{url}/api/v1/proposals", body, token=eve.token), range(20)))
    [(status, text)] = answers
    assert status == 200 and json.loads(text)["state"] == "waiting" and len(rows(project)) == 1


@pytest.mark.slow
def test_poisoned_sources_are_never_merged(project: Project, eve: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arena.home.verifying.BATCH", 1)  # one training of each is enough, and one of them never ends
    base, outside = project.task.baseline().text(), Path("/var/tmp/metaloop-was-here")
    poisons = ["import os\nos._exit(0)\n", "raise SystemExit(0)\n", "while True:\n    pass\n"]
    poisons += [f"open({str(outside)!r}, 'w').write('x')\n", "print('metric: 0.0')\n"]
    for text in poisons:
        assert eve.propose({"train.py": base.replace("LR = ", f"{text}LR = ")}, 99.0).state == "waiting"
    unlucky = better(project, MOMENTUM=0.9)["train.py"].replace(
        "def main():\n", "def main():\n    if prepare.SEED % 2:\n        raise OSError\n"
    )
    assert eve.propose({"train.py": unlucky}, 9.0).state == "waiting"
    work(project)
    reasons = ["a training of it failed"] * 4 + ["no gain shown", "a training of it failed"]
    for (state, reason), why in zip(states(project).values(), reasons, strict=True):
        assert state == "rejected" and reason.startswith(why)
    assert len(project.chain.commits()) == 1 and not outside.exists()


@pytest.mark.slow
def test_claims_buy_no_merge_and_cost_the_proposer_its_place(project: Project, host: ProjectHost, eve: Client) -> None:
    ann = Client(host, "Ann")
    for k, worse in enumerate((1e-5, 2e-5)):
        eve.propose(better(project, LR=worse), 10.0 ** (k + 1))
        work(project)
    ann.propose(better(project, MOMENTUM=0.9), 0.3)
    eve.propose(better(project, LR=4e-5), 1e300)
    work(project)
    found = states(project)
    assert [state for state, _ in found.values()].count("merged") == 1 and found[3][0] == "merged"
    assert all("no gain shown" in reason for state, reason in found.values() if state != "merged")


def test_nothing_but_the_pages_and_main_can_be_fetched(project: Project) -> None:
    paths = [
        "/main.git/../study.toml", "/main.git/%2e%2e/home.sqlite", "/main.git/objects/../../home.sqlite",
        "/main.git/config", "/main.git/hooks/pre-receive.sample", "/main.git//etc/passwd", "/study.toml",
        "/api/v1/task/" + "0" * 64, "/static/../server.py",
    ]  # fmt: skip
    with serving(project) as url:
        for path in paths:
            status, text = get(url + path)
            assert status in (400, 404, 422) and "secret" not in text, path


def test_requests_that_are_too_large_too_many_or_malformed(project: Project) -> None:
    with serving(project, Rate(6, 60.0)) as url:
        address = f"{url}/api/v1/volunteers"
        assert get(address, b"x", length=3 << 20)[0] == 413  # not one byte more of it was waited for
        for body in (b"not json", b"\xff" * 100, b"{" * 100_000, b'{"name": 7}', b'{"<b>\x1b[2J": 1}'):
            status, text = get(address, body)
            said = json.loads(text)["error"]
            assert status == 422 and said["message"].isprintable() and "docs/home.md" in said["hint"]
        assert 429 in [get(address, b"{}")[0] for _ in range(8)]
        assert get(url + "/")[0] == 200  # what is only read goes on
    assert not rows(project) and not people(project)


SLOW = ["with " + "a," * 30_000 + "a:pass\n", "x = " + "(" * 190 + "a," * 20_000 + ")" * 190, "x=" + "-" * 60_000 + "1"]


LONG = "with " + "a," * 100_000 + "a:pass\n"


def of_children() -> float:
    """CPU-seconds of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("text", [*SLOW, LONG], ids=["60k", "brackets", "minus", "200k"])
def test_a_source_that_is_slow_to_parse_holds_up_nobody(project: Project, host: ProjectHost, text: str) -> None:
    """Its size is checked first; it is parsed outside the transaction, by a process that is ended after two seconds of
    CPU; another volunteer is answered meanwhile."""
    eve, ann = Client(host, "Eve"), Client(host, "Ann")
    sent = parsed(Proposal, json.dumps({"base": project.chain.head, "files": {"train.py": text}, "gain": 1.0}))
    before = of_children()
    with ThreadPoolExecutor(1) as thread:
        checking = thread.submit(host.propose, eve.number, sent)
        time.sleep(0.05)
        ann.propose(FILES, base="0" * 40)
        host.join(ann.number, Introduction(name="Anna"))  # in a transaction of its own
        answered_meanwhile = not checking.done()
        answer = checking.result(100)
    assert answered_meanwhile or text not in SLOW[:2]
    assert (of_children() - before > 0.1) == (text in SLOW[:2])  # the others are too large, or break the parser at once
    assert ("larger than" in answer.reason) == (len(text) > 64 << 10)
    assert answer.state in ("waiting", "refused")  # some parse within the limit


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


@pytest.mark.parametrize(
    ("limits", "address", "name", "answers"),
    [
        ({"rate": Rate(5, 600.0)}, "2001:db8:1:1::{}", 7, [422] * 5 + [429]),
        ({"rate": Rate(5, 600.0)}, "2001:db8:1:{}::1", 7, [422] * 6),
        ({"joining": Rate(2, 6000.0)}, "2001:db8:1:{}::1", "Eve", [200] * 2 + [429] * 4),
        ({"joining": Rate(2, 6000.0)}, "2001:db8:{}::1", "Eve", [200] * 6),
    ],
    ids=["one-client", "other-client", "one-customer", "other-customer"],
)
def test_requests_of_one_network_are_limited_together(
    project: Project, limits: dict[str, Rate], address: str, name: object, answers: list[int]
) -> None:
    """A /64 is one client; a /48 is what one customer gets, and has few new volunteers; who is known joins as often as
    it likes."""
    app = create_app(project, **limits)

    async def join(number: int, token: str = "") -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(address.format(f"{number:x}"), 1))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(transport=transport, base_url="http://host", headers=headers) as client:
            return await client.post("/api/v1/volunteers", content=json.dumps({"name": name}).encode())

    given = [asyncio.run(join(number)) for number in range(1, 7)]
    assert [each.status_code for each in given] == answers
    if answers[0] == 200:
        assert all(asyncio.run(join(9, given[0].json()["token"])).status_code == 200 for _ in range(3))


def test_a_fault_of_the_host_shows_no_path(project: Project) -> None:
    with serving(project) as url:
        objects = project.folder / "main.git" / "objects"
        objects.rename(objects.with_name("gone"))
        for path in ("/", "/api/v1/project"):
            status, text = get(url + path)
            assert str(project.folder.parent) not in text and status == 503
