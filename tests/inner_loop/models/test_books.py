"""purse.json and the `call` events add up: after a storm, after a stop, after a kill at any moment."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inner_loop.events import CallEvent, Emit
from inner_loop.models.call import Call, cost_of
from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.contract import Message, NoReply, request_id
from inner_loop.models.spend_limiter import Cost, SpendLimiter
from tests.events import typed
from tests.llm.fixtures import dropped
from tests.llm.kits import MODEL, kit
from tests.llm.server import FAULTS, LlmServer, every

pytestmark = dropped
PRICES = {MODEL: (1.0, 2.0)}
Event = dict[str, Any]


def books(folder: Path, events: list[Event]) -> tuple[Cost, Cost]:
    """What the purse says, and what the events come to; no account is open."""
    purse = json.loads((folder / "purse.json").read_text())
    assert purse["open"] == {}
    told = sum((cost_of(event) for event in typed(events) if isinstance(event, CallEvent)), Cost())
    return Cost(purse["tokens"], round(purse["usd"], 9)), Cost(told.tokens, round(told.usd, 9))


def ask(client: ModelClient, number: int = 0) -> str:
    message = Message("user", f"hello {number}")
    return client.numbered(number, [message], max_tokens=50, purpose="turn").text


@pytest.mark.parametrize("prices", [PRICES, pytest.param({}, marks=pytest.mark.slow)])
def test_after_a_storm(server: LlmServer, tmp_path: Path, prices: dict[str, Any]) -> None:
    server.fault = every((*FAULTS, "400"), 2)
    events: list[Event] = []
    client = ModelClient(kit(events, study=tmp_path, prices=prices, max_tokens=20_000, call_timeout=2.0), 1)

    def work(first: int) -> None:
        for number in range(first, 24, 3):
            try:
                ask(client, number)
            except NoReply:
                continue

    threads = [threading.Thread(target=work, args=(first,)) for first in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    purse, told = books(tmp_path, events)
    assert purse == told and len(events) == 24 and {event["status"] for event in events} >= {"ok", "failed"}
    lost = [event for event in events if event["lost_tokens"]]
    assert lost and all((event["lost_usd"] is None) == (not prices) for event in lost)
    assert sum(event["tokens"] for event in events) <= sum(server.billed) <= purse.tokens


def test_after_a_stop_in_backoff(server: LlmServer, tmp_path: Path) -> None:
    """It leaves what it took and what it met, and is made again by a run that goes on."""
    server.fault, server.retry_after = (lambda number, _: ("malformed", "429")[number] if number < 2 else None), "60"
    events: list[Event] = []
    client = ModelClient(kit(events, study=tmp_path, patience=100.0, prices=PRICES), 1)

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
    assert event["status"] == "failed" and "the run ended" in event["reason"]
    assert event["attempts"] == 2 and [f.split(": ")[1] for f in event["faults"]] == ["malformed", "rate"]
    assert event["lost_tokens"] > 50 and event["lost_usd"] > 0
    assert ask(ModelClient(kit(events, study=tmp_path, recorded=list(events), prices=PRICES), 1)) == "hello"
    purse, told = books(tmp_path, events)
    assert purse == told and len(events) == 2


def test_a_call_that_was_never_made_leaves_nothing(server: LlmServer, tmp_path: Path) -> None:
    events: list[Event] = []
    client = ModelClient(kit(events, study=tmp_path, calls_at_once=1), 1)
    client.close()
    server.delay = 0.2
    busy = threading.Thread(target=ask, args=(ModelClient(kit(study=tmp_path, calls_at_once=1), 1), 1))
    busy.start()
    while not server.at_once:
        pass
    with pytest.raises(Stopped):
        ask(client)
    busy.join()
    assert events == []


def _in_flight(limiter: SpendLimiter, call: Call, told: Emit) -> None:
    limiter.reserve(call.account, Cost(100, 0.1), call.so_far())


def _between_attempts(limiter: SpendLimiter, call: Call, told: Emit) -> None:
    _in_flight(limiter, call, told)
    call.attempts, call.faults = 1, [f"{MODEL}: malformed: x"]
    call.lose(100, 0.1)
    limiter.settle(call.account, Cost(100, 0.1), call.so_far())


def _second_attempt(limiter: SpendLimiter, call: Call, told: Emit) -> None:
    _between_attempts(limiter, call, told)
    _in_flight(limiter, call, told)


def _told_but_open(limiter: SpendLimiter, call: Call, told: Emit) -> None:
    _second_attempt(limiter, call, told)
    call.attempts = 2
    call.add(40, 0.04)
    told(replace(call.event(None, "ok", ""), text="hello", model=MODEL))


@pytest.mark.parametrize("moment", [_in_flight, _between_attempts, _second_attempt, _told_but_open])
def test_after_a_kill(server: LlmServer, tmp_path: Path, moment: Callable[..., None]) -> None:
    """Another process dies there; the run that goes on tells of the call once, whatever it had come to."""
    asked = [Message("user", "hello 0")]
    ledger = tmp_path / "events.jsonl"
    first = ModelClient(kit(study=tmp_path), 1)
    child = os.fork()
    if not child:
        request = request_id(first.context.config.models, asked, 50)
        call = Call("r0", 0, "turn", asked, 50, request, random.Random(0), "r0:0:0")
        moment(SpendLimiter(tmp_path), call, lambda event: ledger.write_text(json.dumps(event.to_record())))
        os._exit(0)
    os.waitpid(child, 0)
    recorded = [json.loads(ledger.read_text())] if ledger.exists() else []
    events = list(recorded)
    again = ModelClient(kit(events, study=tmp_path, recorded=list(recorded), prices=PRICES), 1)
    later = ModelClient(kit(events, study=tmp_path, recorded=list(recorded), prices=PRICES), 1)
    (event,) = events  # the later client finds nothing left to tell of, and knows which accounts were used
    assert later._account(0) == again._account(0) == "r0:0:1"
    expected = {_in_flight: (1, 100), _between_attempts: (1, 100), _second_attempt: (2, 200), _told_but_open: (2, 140)}
    assert (event["attempts"], event["tokens"] + event["lost_tokens"]) == expected[moment]
    assert ask(again) == "hello" and len(server.seen) == (moment is not _told_but_open)
    purse, told = books(tmp_path, events)
    assert purse == told and purse.usd >= 0.1
