"""Spending stays below its caps over threads, processes and their deaths; purse.json and the `call` events agree."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import socket
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from inner_loop.bench import NoReply
from inner_loop.events import CallEvent, Experiment
from inner_loop.events import Event as AnyEvent
from inner_loop.models import prices
from inner_loop.models import spend_limiter as limiters
from inner_loop.models.client import ModelClient, Stopped
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
from tests.llm.fixtures import dropped
from tests.llm.kits import KEY, MODEL, Event, kit, model_client, staff
from tests.llm.server import FAULTS, LlmServer, every
from tests.serving import together

pytestmark = dropped
PRICES = {MODEL: (1.0, 2.0)}
MOST, AT_ONCE = 9, 2  # tokens of a call; calls of one provider at the same time


class Full(Exception):
    """A call would have to wait."""


def wait(_seconds: float) -> None:
    raise Full


def started(limiter: SpendLimiter, cost: Cost, provider: str = "p") -> str:
    return limiter.start(cost, provider, wait)


# --- the limiter -----------------------------------------------------------------------------------------------------


class Worker:
    """A process with a limiter, which does what it is sent. Once killed it is dead, though nobody has waited for it."""

    def __init__(self, folder: Path, cap: int) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = os.fork()
        self.open: dict[str, tuple[str, int]] = {}  # key → provider, estimate
        if not self.process:
            limiter = SpendLimiter(folder, ModelConfig(max_tokens=cap, calls_at_once=AT_ONCE))
            while request := theirs.recv():
                theirs.send(self.answer(limiter, *request))
            os._exit(0)

    @staticmethod
    def answer(limiter: SpendLimiter, what: str, text: str, tokens: int) -> str:
        """Start a call of a provider (its key, `full` or `cap`), or settle that with a key; ``text`` is either."""
        if what == "settle":
            limiter.settle(text, Cost(tokens))
            return ""
        try:
            return limiter.start(Cost(tokens), text, wait)
        except (Full, CapReached) as error:
            return "full" if isinstance(error, Full) else "cap"

    def ask(self, *request: Any) -> str:
        self.pipe.send(request)
        return str(self.pipe.recv())

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOWAIT)


class Spending(RuleBasedStateMachine):
    """Real processes reserve, settle, are killed and are followed by others. Each answer is the one that a sum of what
    was settled, what the killed had reserved and what is reserved requires; so the cap is passed by less than one call
    where estimates hold, and else by less than one a worker."""

    @initialize(cap=st.integers(1, 60), hold=st.booleans())
    def begin(self, cap: int, hold: bool) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="metaloop-")
        self.cap, self.estimates_hold = cap, hold
        self.spent, self.settled = 0, ""
        self.workers, self.dead = list[Worker](), list[Worker]()

    def teardown(self) -> None:
        for worker in [*self.workers, *self.dead]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process, signal.SIGKILL)
            os.waitpid(worker.process, 0)
            worker.pipe.close()
        self.folder.cleanup()

    def drawn(self, data: st.DataObject) -> Worker:
        return data.draw(st.sampled_from(self.workers))

    @precondition(lambda self: len(self.workers) < 3)
    @rule()
    def begin_worker(self) -> None:
        self.workers.append(Worker(Path(self.folder.name), self.cap))

    @precondition(lambda self: self.workers)
    @rule(data=st.data(), provider=st.sampled_from("pq"), estimate=st.integers(0, MOST))
    def reserve(self, data: st.DataObject, provider: str, estimate: int) -> None:
        worker = self.drawn(data)
        if worker.open:
            return
        calls = [call for other in self.workers for call in other.open.values()]
        taken = self.spent + sum(tokens for _, tokens in calls)
        full = taken >= self.cap or sum(name == provider for name, _ in calls) >= AT_ONCE
        expected = "cap" if self.spent >= self.cap else "full" if full else "key"
        answer = worker.ask("start", provider, estimate)
        assert (answer if answer in ("cap", "full") else "key") == expected
        if expected == "key":
            worker.open[answer] = provider, estimate

    @precondition(lambda self: any(worker.open for worker in self.workers))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in self.workers if worker.open]))
        key, (_, estimate) = worker.open.popitem()
        cost = data.draw(st.integers(0, estimate if self.estimates_hold else MOST))
        worker.ask("settle", key, cost)
        self.spent, self.settled = self.spent + cost, key

    @precondition(lambda self: self.workers and self.settled)
    @rule(data=st.data())
    def settle_again(self, data: st.DataObject) -> None:
        self.drawn(data).ask("settle", self.settled, MOST)

    @precondition(lambda self: self.workers)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        worker = self.drawn(data)
        worker.kill()
        self.workers.remove(worker)
        self.dead.append(worker)
        self.spent += sum(tokens for _, tokens in worker.open.values())

    @invariant()
    def spending_agrees(self) -> None:
        if not hasattr(self, "folder"):
            return
        assert SpendLimiter(Path(self.folder.name)).spent() == Cost(self.spent)
        calls_above = 1 if self.estimates_hold else 3
        assert self.spent < self.cap + calls_above * MOST


TestSpending = Spending.TestCase
TestSpending.settings = settings(stateful_step_count=20, max_examples=settings().max_examples // 2)


def spend(folder: Path, cap: int, estimate: int) -> None:
    """Calls of 1 to 9 tokens, in two threads, until the cap is reached."""
    limiter, rng = SpendLimiter(folder, ModelConfig(max_tokens=cap)), random.Random(os.getpid())

    def work(_: int) -> None:
        with contextlib.suppress(CapReached):
            while True:
                limiter.settle(limiter.start(Cost(estimate), "p", time.sleep), Cost(rng.randint(1, MOST)))

    together(2, work)


def test_cap_with_processes_at_once_is_passed_by_calls_in_flight(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    workers = [context.Process(target=spend, args=(tmp_path, 150, 0)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert 150 <= SpendLimiter(tmp_path).spent().tokens < 150 + 3 * 2 * MOST


@pytest.mark.parametrize(
    "process", ["elsewhere 1 1", f"{socket.gethostname()} {os.getpid()} "], ids=["elsewhere", "no-proc"]
)
def test_call_of_unseen_process_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, process: str) -> None:
    """On another machine that shares the folder, or where there is no /proc; after an hour it counts as killed."""
    with monkeypatch.context() as patch:
        patch.setattr(limiters, "_process", lambda _: process)
        there = SpendLimiter(tmp_path)
        key = started(there, Cost(5))
        started(there, Cost(70))
    here = SpendLimiter(tmp_path)
    assert here.spent() == Cost()
    there.settle(key, Cost(3))
    assert here.spent() == Cost(3)
    monkeypatch.setattr(limiters, "FORGOTTEN_SECONDS", 0.0)
    assert here.spent() == Cost(73)


@pytest.mark.parametrize(
    ("caps", "message"),
    [({"max_usd": 1.0}, r"--max-usd 1 is reached: 12 tokens, \$1\.1000 are spent"),
     ({"max_tokens": 12}, "--set max_tokens=12 is reached: 12 tokens")],
)  # fmt: skip
def test_cap_that_is_reached_names_its_option(tmp_path: Path, caps: dict[str, Any], message: str) -> None:
    limiter = SpendLimiter(tmp_path, ModelConfig(**caps))
    limiter.settle(started(limiter, Cost(11, 0.8)), Cost(12, 1.1))
    with pytest.raises(CapReached, match=message):
        started(limiter, Cost())


@pytest.mark.parametrize("caps", [{"run_usd": 1.0}, {"run_tokens": 100}])
def test_share_of_a_resumed_run_contains_its_earlier_calls(caps: dict[str, Any]) -> None:
    """Lost ones too; those of another run and of the study do not count."""
    cost = {"tokens": 30, "usd": 0.3, "lost_tokens": 20, "lost_usd": 0.2}
    call = {**example(CallEvent).to_record(), "run_id": "r0", **cost}
    other = {**example(Experiment, run_id="r0").to_record(), "usd": 9.0, "tokens": 900}

    def limiter(run_id: str) -> SpendLimiter:
        return SpendLimiter.of(kit(run_id=run_id, recorded=[call, {**call, "run_id": "r1"}, other], **caps))

    resumed = limiter("r0")
    resumed.settle(started(resumed, Cost(45, 0.45)), Cost(45, 0.45))
    last = started(resumed, Cost(60, 0.6))
    with pytest.raises(Full):
        started(resumed, Cost())
    resumed.settle(last, Cost(60, 0.6))
    with pytest.raises(ShareSpent, match="one run may spend"):
        started(resumed, Cost())
    for free in (limiter("r2"), limiter("")):
        free.settle(started(free, Cost()), Cost(99, 0.99))
        started(free, Cost())


# --- the client ------------------------------------------------------------------------------------------------------


def sums(folder: Path, events: list[Event]) -> tuple[Cost, Cost]:
    """The spending by purse.json, in which no call is open, and by the events."""
    assert json.loads((folder / "purse.json").read_text())["open"] == {}
    spent = SpendLimiter(folder).spent()
    costs = [(e["tokens"] + e["lost_tokens"], (e["usd"] or 0.0) + (e["lost_usd"] or 0.0)) for e in events]
    tokens, dollars = (sum(column) for column in zip(*costs, strict=True))
    return Cost(spent.tokens, round(spent.usd, 9)), Cost(tokens, round(dollars, 9))


def ask(client: ModelClient, number: int = 0) -> str:
    message = Message("user", f"hello {number}")
    return client.numbered(number, [message], max_tokens=50, purpose="turn").text


@pytest.mark.parametrize("caps", [{"max_tokens": 6000}, {"max_usd": 0.01, "prices": PRICES}])
def test_cap_in_a_storm_is_passed_by_one_call(server: LlmServer, tmp_path: Path, caps: dict[str, Any]) -> None:
    """By what the server counts, arrived or not, though attempts overlap; purse.json and the events agree."""
    server.answer, server.delay = (lambda _: "y" * 800), 0.01
    server.fault = every((*(fault for fault in FAULTS if fault != "hang"), "400"), 2)
    events, ends = list[Event](), list[str]()
    client = model_client(events, study=tmp_path, **caps)

    def work(_: int) -> None:
        end = ""
        while end != "cap_reached":
            try:
                client.complete([Message("user", "x" * 300)], max_tokens=250, purpose="turn")
            except NoReply as error:
                end = error.problem.kind
        ends.append(end)

    together(3, work)
    assert ends == ["cap_reached"] * 3 and len(server.seen) > 10
    dollars, call = server.billed[0] * 1e-6 + server.billed[1] * 2e-6, 400
    assert sum(server.billed) < caps.get("max_tokens", 10**9) + call
    assert dollars < caps.get("max_usd", 1.0) + 2e-6 * call
    by_purse, by_events = sums(tmp_path, events)
    assert by_purse == by_events and by_purse.tokens >= sum(server.billed) >= sum(event["tokens"] for event in events)
    lost = [event for event in events if event["lost_tokens"]]
    assert lost and all((event["lost_usd"] is None) == ("prices" not in caps) for event in lost)
    assert {event["status"] for event in events} >= {"ok", "failed"}


def test_call_stopped_in_backoff_is_recorded_and_made_again(server: LlmServer, tmp_path: Path) -> None:
    server.fault, server.retry_after = (lambda number, _: ("malformed", "429")[number] if number < 2 else None), "60"
    events, how = list[Event](), {"study": tmp_path, "prices": PRICES}
    client = model_client(events, patience=100.0, **how)

    def stop() -> None:
        while len(server.seen) < 2:
            time.sleep(0.01)
        client.close()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(Stopped):
        ask(client)
    stopping.join()
    (event,) = events
    assert event["status"] == "failed" and "the run ended" in event["reason"] and event["attempts"] == 2
    assert [f.split(": ")[1] for f in event["faults"]] == ["malformed", "rate"]
    assert event["lost_tokens"] > 50 and event["lost_usd"] > 0
    assert ask(model_client(events, recorded=list(events), **how)) == "hello"
    by_purse, by_events = sums(tmp_path, events)
    assert by_purse == by_events and len(events) == 2


def test_call_stopped_before_its_start_leaves_no_event(server: LlmServer, tmp_path: Path) -> None:
    events = list[Event]()
    client = model_client(events, study=tmp_path, calls_at_once=1)
    client.close()
    server.delay = 0.2
    busy = threading.Thread(target=ask, args=(model_client(study=tmp_path, calls_at_once=1), 1))
    busy.start()
    while not server.at_once:
        pass
    with pytest.raises(Stopped):
        ask(client)
    busy.join()
    assert events == []


@pytest.mark.parametrize("recorded", [False, True])
def test_call_paid_by_a_killed_process_is_charged_once(server: LlmServer, tmp_path: Path, recorded: bool) -> None:
    """The process dies before or after the call's event; a run that goes on repeats the call if no event has its
    reply."""
    ledger = tmp_path / "events.jsonl"
    model_client()
    child = os.fork()
    if not child:

        def emit(event: AnyEvent) -> None:
            if recorded:
                ledger.write_text(json.dumps(event.to_record()))
            os._exit(0)

        ask(ModelClient(replace(kit(study=tmp_path, prices=PRICES), emit=emit), 1))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    spent = SpendLimiter(tmp_path).spent()
    before = [json.loads(ledger.read_text())] if recorded else []
    events = list(before)
    assert ask(model_client(events, study=tmp_path, recorded=before, prices=PRICES)) == "hello"
    by_purse, by_events = sums(tmp_path, events)
    assert len(server.seen) == 2 - recorded and sum(server.billed) == by_purse.tokens
    assert by_events == Cost(spent.tokens, round(spent.usd, 9)) and by_purse.tokens == (2 - recorded) * spent.tokens


def test_models_at_the_start_need_key_and_price(litellm_loaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(CredentialMissing, match="needs OPENAI_API_KEY"):
        prices.require_ready(staff())
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    known: tuple[dict[str, Any], ...] = ({}, {"prices": PRICES}, {"models": ("gpt-4o-mini",)})
    for more in known:
        prices.require_ready(staff(**more, max_usd=1.0 if more else None))
    refused: dict[str, dict[str, Any]] = {
        "--max-usd: no price is known for openai/test": {"max_usd": 1.0},
        "no provider is known": {"models": ("nobody-knows-it",)},
        "needs a model": {"models": ()},
    }
    for message, more in refused.items():
        with pytest.raises(UsageError, match=message):
            prices.require_ready(staff(**more))


# --- recordings ------------------------------------------------------------------------------------------------------


def test_recording_is_replayed_offline(server: LlmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(client: ModelClient, text: str) -> str:
        return client.complete([Message("user", text)], max_tokens=5, purpose="turn").text

    server.answer = lambda body: f"reply {len(server.seen)}, {KEY}"
    server.fault = lambda number, _: "400" if number == 4 else None
    tape, texts = tmp_path / "a" / "tape", ("a", "b", "a", f"secret {KEY}")
    recorded, events = list[Event](), list[Event]()
    client = model_client(recorded, record=tape)
    replies = [asked(client, text) for text in texts]
    with pytest.raises(NoReply, match="refused"):
        asked(client, "c")
    assert KEY not in (tape / "r0.jsonl").read_text()
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a socket was opened"))
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("ANY_SECRET", KEY)
    replaying = model_client(events, replay=tape)
    assert [asked(replaying, text) for text in texts] == replies == [event["text"] for event in events]
    with pytest.raises(NoReply) as error:
        asked(replaying, "c")
    same = ("number", "status", "reason", "request", "tokens", "lost_tokens", "usd", "attempts")
    assert [events[4][name] for name in same] == [recorded[4][name] for name in same]
    assert isinstance(error.value.problem, EnvironmentProblem)  # a generation goes on without, as it did
    with pytest.raises(NoReply, match="contains no reply to call 5"):
        asked(replaying, "new")
    with pytest.raises(NotFound, match="no recording found"):
        model_client(replay=tmp_path / "none")
    with (tape / "r0.jsonl").open("a") as file:
        file.write('{"kind": "call", "number": 4')  # torn when its process was killed
        file.flush()
        assert asked(model_client(replay=tape), "a") == replies[0]
        file.write("\n")
    with pytest.raises(Corrupt, match=r"r0\.jsonl:6: not a recorded call"):
        model_client(replay=tape)
