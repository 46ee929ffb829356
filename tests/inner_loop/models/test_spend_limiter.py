"""Caps hold over threads and processes, and over the death of one; recordings are answered without a socket."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from inner_loop.bench import NoReply
from inner_loop.events import CallEvent, Experiment
from inner_loop.models import prices
from inner_loop.models import spend_limiter as limiters
from inner_loop.models.client import ModelClient
from inner_loop.models.contract import Message
from inner_loop.models.spend_limiter import Cost, SpendLimiter
from inner_loop.run_context import ModelConfig
from programs.common.errors import (
    CapReached,
    Corrupt,
    CredentialMissing,
    EnvironmentProblem,
    NotFound,
    ShareSpent,
    UsageError,
)
from tests.events import example
from tests.inner_loop.models.spending import spend
from tests.llm.fixtures import dropped
from tests.llm.kits import KEY, MODEL, Event, kit, model_client, staff
from tests.llm.server import FAULTS, LlmServer, every
from tests.serving import together

ASKED = [Message("user", "x" * 300)]
CAPS: list[dict[str, Any]] = [{"max_tokens": 6000}, {"max_usd": 0.01, "prices": {MODEL: (1.0, 2.0)}}]
pytestmark = dropped


class Full(Exception):
    """A call would have to wait."""


def wait(_seconds: float) -> None:
    raise Full


def started(limiter: SpendLimiter, cost: Cost, provider: str = "p") -> str:
    return limiter.start(cost, provider, wait)


@pytest.mark.parametrize(("estimate", "over"), [(9, 9), (90, 9), (0, 3 * 2 * 9)])
def test_several_processes_pass_a_cap_by_less_than_one_call(tmp_path: Path, estimate: int, over: int) -> None:
    """Of all of them, where estimates hold; where they are far too low, by the calls in flight."""
    context = multiprocessing.get_context("forkserver")
    workers = [context.Process(target=spend, args=(tmp_path, 300, estimate)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert 300 <= SpendLimiter(tmp_path).spent().tokens < 300 + over


def test_a_call_whose_process_was_killed_is_charged_its_estimate_once(tmp_path: Path) -> None:
    ready, told = os.pipe()
    child = os.fork()
    if not child:
        limiter = SpendLimiter(tmp_path, ModelConfig(max_usd=1.0))
        started(limiter, Cost(5, 0.6))
        limiter.settle(started(limiter, Cost(7, 0.1)), Cost(6, 0.2))
        os.write(told, b"x")
        signal.pause()
    os.read(ready, 1)
    limiter = SpendLimiter(tmp_path, ModelConfig(max_usd=1.0))
    assert limiter.spent() == Cost(6, 0.2)
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # a dead process that nobody has waited for is dead
    assert limiter.spent() == SpendLimiter(tmp_path).spent() == Cost(11, pytest.approx(0.8))
    os.waitpid(child, 0)
    limiter.settle(started(limiter, Cost(1, 0.1)), Cost(1, 0.3))
    with pytest.raises(CapReached, match=r"--max-usd 1 is reached: 12 tokens, \$1\.1000 are spent"):
        started(limiter, Cost())


@pytest.mark.parametrize(
    "where", ["elsewhere 1 1", f"{socket.gethostname()} {os.getpid()} "], ids=["elsewhere", "no-proc"]
)
def test_calls_of_a_process_that_cannot_be_seen_are_not_taken_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """On another machine that shares the folder, or where there is no /proc."""
    with monkeypatch.context() as patch:
        patch.setattr(limiters, "_process", lambda _: where)
        there = SpendLimiter(tmp_path)
        key = started(there, Cost(5))
        started(there, Cost(70))
    here = SpendLimiter(tmp_path)
    assert here.spent() == Cost()
    there.settle(key, Cost(3))
    assert here.spent() == Cost(3)
    monkeypatch.setattr(limiters, "FORGOTTEN_SECONDS", 0.0)
    assert here.spent() == Cost(73)


def test_a_call_waits_while_the_estimates_of_others_come_to_a_cap(tmp_path: Path) -> None:
    limiter, other = (SpendLimiter(tmp_path, ModelConfig(max_tokens=100, calls_at_once=9)) for _ in range(2))
    first = started(limiter, Cost(60))
    second = started(other, Cost(60))  # 60 of 100 are taken: there is room, and this one may exceed it
    for waiting in (limiter, other):
        with pytest.raises(Full):
            started(waiting, Cost(1))
    limiter.settle(first, Cost(10))
    limiter.settle(first, Cost(10))  # only the first one counts
    third = started(limiter, Cost(60))
    for key in (second, third):
        limiter.settle(key, Cost(50))
    with pytest.raises(CapReached, match="--set max_tokens=100 is reached: 110 tokens"):
        started(limiter, Cost())
    assert limiter.spent() == Cost(110)


def test_so_many_calls_of_one_provider_at_once_over_all_processes(tmp_path: Path) -> None:
    limiter, other = (SpendLimiter(tmp_path, ModelConfig(calls_at_once=2)) for _ in range(2))
    keys = [started(one, Cost()) for one in (limiter, other)]
    with pytest.raises(Full):
        started(other, Cost())
    started(other, Cost(), "another")
    limiter.settle(keys[1], Cost())
    started(other, Cost())


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
    other = {**example(Experiment, run_id="r0").to_record(), "usd": 9.0, "tokens": 900}
    recorded = [call, {**call, "run_id": "r1"}, other]
    resumed = SpendLimiter.of(kit(run_id="r0", recorded=recorded, **how))
    resumed.settle(started(resumed, Cost(45, 0.45)), Cost(45, 0.45))
    last = started(resumed, Cost(60, 0.6))
    with pytest.raises(Full):
        started(resumed, Cost())
    resumed.settle(last, Cost(60, 0.6))
    with pytest.raises(ShareSpent, match="one run may spend"):
        started(resumed, Cost())
    for free in (kit(run_id="r2", recorded=recorded, **how), kit(run_id="", recorded=recorded, **how)):
        anew = SpendLimiter.of(free)
        anew.settle(started(anew, Cost()), Cost(99, 0.99))
        started(anew, Cost())


def test_a_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    for text in ("[]", "", '{"tokens": 5, "usd": 0.1, "open": {}}'):
        (tmp_path / "purse.json").write_text(text)
        with pytest.raises(Corrupt, match=r"purse\.json: cannot be read"):
            started(SpendLimiter(tmp_path), Cost(1))


@pytest.mark.parametrize("cap", CAPS)
def test_spending_passes_a_cap_by_less_than_one_call_in_a_storm_of_faults(
    server: LlmServer, tmp_path: Path, cap: dict[str, Any]
) -> None:
    """What the server counts as made, arrived or not, though attempts overlap."""
    server.answer, server.delay = (lambda _: "y" * 800), 0.01
    server.fault = every(tuple(k for k in FAULTS if k != "hang"), 2)
    events = list[Event]()
    client = model_client(events, study=tmp_path, **cap)
    ended: list[str] = []

    def work(_: int) -> None:
        try:
            for _ in range(40):
                client.complete(ASKED, max_tokens=250, purpose="turn")
        except NoReply as gone:
            ended.append(gone.problem.kind)

    together(3, work)
    assert ended == ["cap_reached"] * 3
    dollars, call = server.billed[0] * 1e-6 + server.billed[1] * 2e-6, 400
    assert sum(server.billed) < cap.get("max_tokens", 10**9) + call and dollars < cap.get("max_usd", 1.0) + 2e-6 * call
    assert len(server.seen) > 10
    if "max_usd" in cap:
        told = sum(event["usd"] for event in events)
        assert 0.5 * dollars < told <= dollars + 1e-9
        assert SpendLimiter(tmp_path).spent().usd >= told - 1e-9


def client_of(folder: Path, url: str, most: int, number: int) -> None:
    """A worker: three calls at a time until the cap is reached."""
    os.environ |= {"OPENAI_API_BASE": url, "OPENAI_API_KEY": KEY}
    client = ModelClient(kit(run_id=f"r{number}", study=folder, max_tokens=most, call_timeout=60.0), number)

    def work(_: int) -> None:
        try:
            while True:
                client.complete(ASKED, max_tokens=250, purpose="turn")
        except NoReply:
            return

    together(3, work)


@pytest.mark.slow
def test_workers_with_a_model_pass_a_cap_by_less_than_one_call_each(server: LlmServer, tmp_path: Path) -> None:
    """One of them is killed in the middle of its calls, whose estimates are charged."""
    server.answer, server.delay = (lambda _: "y" * 800), 0.05
    context = multiprocessing.get_context("forkserver")
    workers = [context.Process(target=client_of, args=(tmp_path, server.url, 12_000, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    while len(server.seen) < 6:
        time.sleep(0.01)
    workers[0].kill()
    for worker in workers:
        worker.join()
    spent = SpendLimiter(tmp_path).spent().tokens
    assert 12_000 <= spent < 12_000 + 3 * 400 and sum(server.billed) <= spent
    assert json.loads((tmp_path / "purse.json").read_text())["open"] == {}


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
    tape = tmp_path / "a" / "tape"
    client = model_client(record=tape)
    asked = [[Message("user", text)] for text in ("a", "b", "a", f"secret {KEY}")]
    replies = [client.complete(one, max_tokens=5, purpose="turn") for one in asked]
    assert KEY not in (tape / "r0.jsonl").read_text()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("ANY_SECRET", KEY)
    events = list[Event]()
    again = model_client(events, replay=tape)
    assert [again.complete(one, max_tokens=5, purpose="turn") for one in asked] == replies
    assert [event["text"] for event in events] == [reply.text for reply in replies]
    with pytest.raises(NoReply, match="contains no reply to call 4"):
        again.complete([Message("user", "new")], max_tokens=5, purpose="turn")
    with pytest.raises(NotFound, match="no recording found"):
        model_client(replay=tmp_path / "none")
    with (tape / "r0.jsonl").open("a") as file:
        file.write('{"kind": "call", "number": 4')  # torn when its process was killed
        file.flush()
        assert model_client(replay=tape).complete(asked[0], max_tokens=5, purpose="turn") == replies[0]
        file.write("\n")
    with pytest.raises(Corrupt, match=r"r0\.jsonl:5: not a recorded call"):
        model_client(replay=tape)


def test_that_nobody_answered_is_recorded_and_replayed(server: LlmServer, tmp_path: Path) -> None:
    events = list[Event]()
    server.fault = lambda *_: "400"
    ask = [Message("user", "a")]
    with pytest.raises(NoReply, match="refused"):
        model_client(events, record=tmp_path).complete(ask, max_tokens=5, purpose="turn")
    again = list[Event]()
    with pytest.raises(NoReply) as gone:
        model_client(again, replay=tmp_path).complete(ask, max_tokens=5, purpose="turn")
    same = ("number", "status", "reason", "request", "tokens", "lost_tokens", "usd", "attempts")
    assert [again[0][name] for name in same] == [events[0][name] for name in same]
    assert isinstance(gone.value.problem, EnvironmentProblem)  # a generation goes on without, as it did
    server.fault = lambda *_: None
    model_client(record=tmp_path).complete(ask, max_tokens=5, purpose="turn")  # by a run that went on
    assert model_client(replay=tmp_path).complete(ask, max_tokens=5, purpose="turn").text
