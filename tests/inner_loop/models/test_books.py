"""purse.json and the `call` events add up: after a storm and after a stop; after a kill purse.json has more."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inner_loop.bench import NoReply
from inner_loop.events import Event as AnyEvent
from inner_loop.models.client import ModelClient, Stopped
from inner_loop.models.contract import Message
from inner_loop.models.spend_limiter import Cost, SpendLimiter
from tests.llm.fixtures import dropped
from tests.llm.kits import MODEL, Event, kit, model_client
from tests.llm.server import FAULTS, LlmServer, every
from tests.serving import together

pytestmark = dropped
PRICES = {MODEL: (1.0, 2.0)}


def books(folder: Path, events: list[Event]) -> tuple[Cost, Cost]:
    """What the purse says, and what the events come to; no account is open."""
    assert json.loads((folder / "purse.json").read_text())["open"] == {}
    spent = SpendLimiter(folder).spent()
    told = [(e["tokens"] + e["lost_tokens"], (e["usd"] or 0.0) + (e["lost_usd"] or 0.0)) for e in events]
    tokens, dollars = (sum(one) for one in zip(*told, strict=True))
    return Cost(spent.tokens, round(spent.usd, 9)), Cost(tokens, round(dollars, 9))


def ask(client: ModelClient, number: int = 0) -> str:
    message = Message("user", f"hello {number}")
    return client.numbered(number, [message], max_tokens=50, purpose="turn").text


@pytest.mark.parametrize("prices", [PRICES, pytest.param({}, marks=pytest.mark.slow)])
def test_after_a_storm(server: LlmServer, tmp_path: Path, prices: dict[str, Any]) -> None:
    server.fault = every((*FAULTS, "400"), 2)
    events = list[Event]()
    client = model_client(events, study=tmp_path, prices=prices, max_tokens=20_000, call_timeout=2.0)

    def work(first: int) -> None:
        for number in range(first, 24, 3):
            try:
                ask(client, number)
            except NoReply:
                continue

    together(3, work)
    purse, told = books(tmp_path, events)
    assert purse == told and len(events) == 24 and {event["status"] for event in events} >= {"ok", "failed"}
    lost = [event for event in events if event["lost_tokens"]]
    assert lost and all((event["lost_usd"] is None) == (not prices) for event in lost)
    assert sum(event["tokens"] for event in events) <= sum(server.billed) <= purse.tokens


def test_after_a_stop_in_backoff(server: LlmServer, tmp_path: Path) -> None:
    """It leaves what it took and what it met, and is made again by a run that goes on."""
    server.fault, server.retry_after = (lambda number, _: ("malformed", "429")[number] if number < 2 else None), "60"
    events = list[Event]()
    client = model_client(events, study=tmp_path, patience=100.0, prices=PRICES)

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
    assert ask(model_client(events, study=tmp_path, recorded=list(events), prices=PRICES)) == "hello"
    purse, told = books(tmp_path, events)
    assert purse == told and len(events) == 2


def test_a_call_that_was_never_made_leaves_nothing(server: LlmServer, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("told", [False, True])
def test_after_a_kill(server: LlmServer, tmp_path: Path, told: bool) -> None:
    """Another process dies after its call was paid, before or after its event: purse.json has its cost once, and the
    run that goes on makes the call again if no event has its reply."""
    ledger = tmp_path / "events.jsonl"
    model_client()
    child = os.fork()
    if not child:

        def emit(event: AnyEvent) -> None:
            if told:
                ledger.write_text(json.dumps(event.to_record()))
            os._exit(0)

        ask(ModelClient(replace(kit(study=tmp_path, prices=PRICES), emit=emit), 1))
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    spent = SpendLimiter(tmp_path).spent()
    recorded = [json.loads(ledger.read_text())] if told else []
    events = list(recorded)
    assert ask(model_client(events, study=tmp_path, recorded=recorded, prices=PRICES)) == "hello"
    purse, told_ = books(tmp_path, events)
    assert len(server.seen) == 2 - told and sum(server.billed) == purse.tokens
    assert told_ == Cost(spent.tokens, round(spent.usd, 9)) and purse.tokens == (2 - told) * spent.tokens
