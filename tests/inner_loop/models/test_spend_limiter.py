"""Caps hold over threads and processes, and over the death of one; recordings are answered without a socket."""

from __future__ import annotations

import json
import multiprocessing
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inner_loop.events import CallEvent, ExperimentEvent
from inner_loop.models import prices
from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message, NoReply
from inner_loop.models.spend_limiter import Cost, Share, ShareSpent, SpendLimiter
from programs.errors import CapReached, Corrupt, CredentialMissing, EnvironmentProblem, NotFound, UsageError
from tests.events import example
from tests.llm.fixtures import dropped
from tests.llm.kits import KEY, MODEL, kit, staff
from tests.llm.server import FAULTS, LlmServer, every

ASKED = [Message("user", "x" * 300)]
pytestmark = dropped
CALL = example(CallEvent)


def spend(folder: Path, times: int) -> None:
    limiter = SpendLimiter(folder, max_tokens=100)
    for number in range(times):
        name = f"{os.getpid()} {number}"
        try:
            limiter.reserve(name, Cost(10), CALL)
        except CapReached:
            return
        limiter.finish(name, Cost(7))


def test_several_processes_share_one_limiter(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    workers = [context.Process(target=spend, args=(tmp_path, 10)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    spent = SpendLimiter(tmp_path, max_tokens=100).spent().tokens
    assert 90 < spent <= 100


def test_what_a_dead_process_had_reserved_stays_reserved_until_its_run_goes_on(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        SpendLimiter(tmp_path, max_usd=1.0).reserve("r1:0:0", Cost(5, 0.6), replace(CALL, run_id="r1"))
        os._exit(0)
    limiter = SpendLimiter(tmp_path, max_usd=1.0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # a dead process that nobody has waited for is dead
    (orphan,) = limiter.orphans("r1")
    os.waitpid(child, 0)
    assert limiter.orphans("r0") == [] and limiter.orphans("r1") == [orphan] and orphan.reserved == Cost(5, 0.6)
    with pytest.raises(CapReached, match="--max-usd 1 is reached"):
        limiter.reserve("r2:0:0", Cost(5, 0.6), replace(CALL, run_id="r2"))
    limiter.reserve("r2:0:0", Cost(5, 0.3), replace(CALL, run_id="r2"))
    assert limiter.orphans("r2") == [] and limiter.spent() == Cost()
    limiter.finish(orphan.account, orphan.reserved)
    limiter.finish(orphan.account, orphan.reserved)
    assert limiter.orphans("r1") == [] and limiter.spent() == Cost(5, 0.6)


@pytest.mark.parametrize(
    ("cap", "held", "fits", "over"),
    [
        ({"max_usd": 1.0}, Cost(0, 0.4), Cost(0, 0.6), Cost(0, 0.7)),
        ({"max_tokens": 100}, Cost(40), Cost(60), Cost(61)),
    ],
)
def test_the_whole_worst_case_of_a_call_has_to_fit(cap: dict[str, Any], held: Cost, fits: Cost, over: Cost) -> None:
    limiter = SpendLimiter(None, **cap)
    limiter.reserve("a", held, CALL)
    with pytest.raises(CapReached):
        limiter.reserve("b", over, CALL)
    limiter.reserve("b", fits, CALL)
    with pytest.raises(CapReached):
        limiter.reserve("c", Cost(1, 0.01), CALL)
    limiter.settle("a", Cost(), CALL)  # it took nothing: what it had set aside is free again
    limiter.reserve("c", held, CALL)


@pytest.mark.parametrize("how", [{"run_usd": 1.0}, {"run_tokens": 100}])
def test_a_run_that_is_resumed_has_spent_what_it_had_spent(how: dict[str, Any]) -> None:
    """Calls of its earlier attempt count, lost ones too; those of another run and of the study do not."""
    call = {
        **example(CallEvent).to_record(),
        "run_id": "r0",
        "tokens": 30,
        "usd": 0.3,
        "lost_tokens": 20,
        "lost_usd": 0.2,
    }
    other = {**example(ExperimentEvent, run_id="r0").to_record(), "usd": 9.0, "tokens": 900}
    recorded = [
        call,
        {**call, "run_id": "r1"},
        other,
    ]
    resumed = Share.of(kit(run_id="r0", recorded=recorded, **how))
    with pytest.raises(ShareSpent, match="one run may spend"):
        resumed.reserve("next", Cost(60, 0.6))
    resumed.reserve("next", Cost(50, 0.5))
    anew = Share.of(kit(run_id="r2", recorded=recorded, **how))
    anew.reserve("next", Cost(100, 1.0))


def test_a_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "purse.json").write_text("{}")
    with pytest.raises(Corrupt, match=r"purse\.json: cannot be read"):
        SpendLimiter(tmp_path, max_tokens=5).reserve("r", Cost(1), CALL)


@pytest.mark.parametrize("cap", [{"max_tokens": 6000}, {"max_usd": 0.01, "prices": {MODEL: (1.0, 2.0)}}])
def test_spending_stays_below_a_cap_in_a_storm_of_faults(
    server: LlmServer, tmp_path: Path, cap: dict[str, Any]
) -> None:
    """What the server counts as made, arrived or not, is below the cap, though attempts overlap."""
    server.answer, server.delay = (lambda _: "y" * 800), 0.01
    server.fault = every(tuple(k for k in FAULTS if k != "hang"), 2)
    events: list[dict[str, Any]] = []
    client = ModelClient(kit(events, study=tmp_path, **cap), 1)
    ended: list[str] = []

    def work() -> None:
        try:
            for _ in range(40):
                client.complete(ASKED, max_tokens=250, purpose="turn")
        except NoReply as gone:
            ended.append(gone.problem.kind)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == ["cap_reached"] * 3
    dollars = server.billed[0] * 1e-6 + server.billed[1] * 2e-6
    assert sum(server.billed) <= cap.get("max_tokens", 10**9) and dollars <= cap.get("max_usd", 1.0)
    assert len(server.seen) > 10
    if "max_usd" in cap:
        told = sum(event["usd"] for event in events)
        assert 0.5 * dollars < told <= dollars + 1e-9
        assert json.loads((tmp_path / "purse.json").read_text())["usd"] >= told - 1e-9


def test_before_the_start(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(CredentialMissing, match="needs OPENAI_API_KEY"):
        prices.require_ready(staff())
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    prices.require_ready(staff())
    with pytest.raises(UsageError, match=r"--max-usd: no price is known for openai/test"):
        prices.require_ready(staff(max_usd=1.0))
    prices.require_ready(staff(max_usd=1.0, prices={MODEL: (1.0, 2.0)}))
    prices.require_ready(staff(models=("gpt-4o-mini",), max_usd=1.0))
    with pytest.raises(UsageError, match="no provider is known"):
        prices.require_ready(staff(models=("nobody-knows-it",)))
    with pytest.raises(UsageError, match="needs a model"):
        prices.require_ready(staff(models=()))


def test_a_recording_is_replayed_without_a_socket(
    server: LlmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = lambda body: f"reply {len(server.seen)}, {KEY}"
    client = ModelClient(kit(record=tmp_path), 1)
    asked = [[Message("user", text)] for text in ("a", "b", "a", f"secret {KEY}")]
    replies = [client.complete(one, max_tokens=5, purpose="turn") for one in asked]
    assert KEY not in (tmp_path / "r0.jsonl").read_text()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("ANY_SECRET", KEY)
    events: list[dict[str, Any]] = []
    again = ModelClient(kit(events, replay=tmp_path), 1)
    assert [again.complete(one, max_tokens=5, purpose="turn") for one in asked] == replies
    assert [event["text"] for event in events] == [reply.text for reply in replies]
    elsewhere = ModelClient(kit(run_id="r1", replay=tmp_path), 1)
    assert [elsewhere.complete(one, max_tokens=5, purpose="turn").text for one in (asked[2], asked[2], asked[2])] == [
        replies[0].text, replies[2].text, replies[2].text,
    ]  # fmt: skip
    with pytest.raises(NoReply, match="contains no reply to call 4"):
        again.complete([Message("user", "new")], max_tokens=5, purpose="turn")
    with pytest.raises(NotFound, match="no recording found"):
        ModelClient(kit(replay=tmp_path / "none"), 1)


def test_that_nobody_answered_is_recorded_and_replayed(server: LlmServer, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    server.fault = lambda *_: "400"
    ask = [Message("user", "a")]
    with pytest.raises(NoReply, match="refused"):
        ModelClient(kit(events, record=tmp_path), 1).complete(ask, max_tokens=5, purpose="turn")
    again: list[dict[str, Any]] = []
    with pytest.raises(NoReply) as gone:
        ModelClient(kit(again, replay=tmp_path), 1).complete(ask, max_tokens=5, purpose="turn")
    same = ("number", "status", "reason", "request", "tokens", "lost_tokens", "usd", "attempts")
    assert [again[0][name] for name in same] == [events[0][name] for name in same]
    assert isinstance(gone.value.problem, EnvironmentProblem)  # a generation goes on without, as it did
    server.fault = lambda *_: None
    ModelClient(kit(record=tmp_path), 1).complete(ask, max_tokens=5, purpose="turn")  # by a run that went on
    assert ModelClient(kit(replay=tmp_path), 1).complete(ask, max_tokens=5, purpose="turn").text


@pytest.mark.parametrize(
    ("cap", "fits"),
    [
        ({"max_tokens": 9000}, 9000),
        ({"max_usd": 0.01, "prices": {MODEL: (1.0, 2.0)}}, 5000),
        ({"run_tokens": 9000}, 9000),
    ],
)
def test_a_call_reserves_no_more_than_the_cap_leaves(
    server: LlmServer, tmp_path: Path, cap: dict[str, Any], fits: int
) -> None:
    """A reply of 32,000 tokens does not fit: the request asks for what does, until too little is left."""
    events: list[dict[str, Any]] = []
    client = ModelClient(kit(events, study=tmp_path, run_id="r0", **cap), 1)
    server.answer = lambda _: "y" * 400
    reply = client.complete(ASKED, max_tokens=32_000, purpose="turn")
    assert reply.text and 0.8 * fits < server.seen[0]["max_tokens"] < fits
    with pytest.raises(NoReply) as gone:
        while True:
            client.complete(ASKED, max_tokens=32_000, purpose="turn")
    assert isinstance(gone.value.problem, ShareSpent if "run_tokens" in cap else CapReached)
    asked = [body["max_tokens"] for body in server.seen]
    assert len(asked) > 10 and asked == sorted(asked, reverse=True) and 1000 <= asked[-1] < 1300
    dollars = server.billed[0] * 1e-6 + server.billed[1] * 2e-6
    assert dollars <= 0.01 if "max_usd" in cap else sum(server.billed) <= 9000


def test_a_reply_that_the_cap_cut_off_is_not_used(server: LlmServer, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    server.fault = lambda number, body: "truncated"
    client = ModelClient(kit(events, study=tmp_path, max_tokens=5000), 1)
    with pytest.raises(NoReply, match=r"--max-tokens 5000 is reached.* cut off at the \d+ tokens that were left"):
        client.complete(ASKED, max_tokens=8192, purpose="turn")
    (call,) = events
    assert call["status"] == "failed" and call["tokens"] > 0 and call["lost_tokens"] == 0
    assert json.loads((tmp_path / "purse.json").read_text()) | {"buried": []} == {
        "tokens": call["tokens"], "usd": 0.0, "open": {}, "buried": [],
    }  # fmt: skip
    server.fault = lambda number, body: None
    assert ModelClient(kit(study=tmp_path, max_tokens=50_000), 1).complete(ASKED, max_tokens=8192, purpose="turn").text


def test_a_call_waits_for_what_others_have_reserved(server: LlmServer, tmp_path: Path) -> None:
    """Three calls at once under a cap that has room for the worst case of one: each asks for its full length."""
    server.delay = 0.2
    client = ModelClient(kit(study=tmp_path, max_tokens=5000), 1)
    threads = [
        threading.Thread(target=client.complete, args=(ASKED,), kwargs={"max_tokens": 3000, "purpose": "turn"})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [body["max_tokens"] for body in server.seen] == [3000] * 3 and server.most_at_once == 1
