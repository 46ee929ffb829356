"""Runs with a model: use of the device, overhead of a turn, replay, faults, caps. A local server stands for the model.

python -m bench.chat [PART …]      parts: device overhead replay faults caps; default all, about four minutes
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from analysis.study import query
from bench.common import figure
from inner_loop.kit import Kit, Staff
from inner_loop.models.client import Client
from inner_loop.models.contract import Message, NoReply
from inner_loop.models.provider import litellm
from inner_loop.run import RunResult, run
from programs.program import Program
from tests.llm.kits import KEY, MODEL, staff
from tests.llm.server import FAULTS, LlmServer, every
from tests.llm.studies import FIGURES, STANDINGS, THREE, found, planted, race
from trainer.data import DataStore
from trainer.experiment import Spec
from trainer.outcome import Outcome
from trainer.simulated import SimulatedTrainer
from trainer.streams import Streams
from trainer.task import Task

SECONDS = 2.0  # that the model thinks, and that an experiment takes
EXPERIMENTS = 30


class Slow(SimulatedTrainer):
    """A device that is held for a while by each experiment."""

    seconds = 0.0

    def run(self, spec: Spec, *, use_cache: bool = True) -> Outcome:
        time.sleep(self.seconds)
        return super().run(spec, use_cache=use_cache)


@contextmanager
def served(**how: Any) -> Iterator[LlmServer]:
    litellm()
    with LlmServer(**how) as server:
        os.environ.update(OPENAI_API_BASE=server.url, OPENAI_API_KEY=KEY)
        yield server


def played(task: Task, team: Staff, folder: Path, seconds: float, number: int = 0) -> tuple[RunResult, list[Any]]:
    """One run of the three researchers with a git repository of its own."""
    events: list[Any] = []
    streams = Streams.from_seed(number)
    with Slow(task, DataStore(task, streams, folder / "data"), fixed_steps=True) as trainer:
        trainer.seconds = seconds
        name = f"r{number}"
        result = run(
            Program.parse(THREE), trainer, run_id=name, run_seed=number, streams=streams, researcher="chat",
            budget_seconds=task.run_budget, emit=events.append, folder=folder / name,
            kit=Kit(staff=team, run_id=name, emit=events.append, study=folder),
        )  # fmt: skip
    return result, events


def device(place: Path) -> None:
    """Three researchers, one device: the share of the run's wall time in which an experiment runs."""
    task = planted(place / "task", EXPERIMENTS)
    with served(delay=SECONDS):
        played(planted(place / "warm", 2), staff(call_timeout=60), place, 0.0, 99)
        result, _ = played(task, staff(call_timeout=60), place, SECONDS)
    share = result.experiment_wall_seconds / result.wall_seconds
    told = f"{share:.1%} of {result.wall_seconds:.1f} s, {result.experiments} experiments"
    figure("device_utilization", f"{told}, the first wait for a model included", ">= 90%")


def overhead(place: Path) -> None:
    """Wall time of a turn besides model and training: prompt, LiteLLM, parsing, ledger-less events, git, purse."""
    task = planted(place / "task", 200)
    with served() as server:
        played(planted(place / "warm", 4), staff(call_timeout=60), place, 0.0, 99)
        began = time.perf_counter()
        text = Program.parse("# P\n\nLower the loss, one change at a time.\n")
        events: list[Any] = []
        streams = Streams.from_seed(1)
        team = staff(call_timeout=60, max_tokens=10**9)
        with Slow(task, DataStore(task, streams, place / "data"), fixed_steps=True) as trainer:
            result = run(
                text, trainer, run_id="r1", run_seed=1, streams=streams, researcher="chat", folder=place / "r1",
                budget_seconds=task.run_budget, emit=events.append,
                kit=Kit(staff=team, run_id="r1", emit=events.append, study=place),
            )  # fmt: skip
        wall = time.perf_counter() - began
        alone = bare(server, 100)
    calls = [event for event in events if event["kind"] == "call"]
    whole = (wall - result.experiment_wall_seconds) / len(calls)
    figure("turn_ms", f"{1000 * whole:.1f} besides training, {len(calls)} turns, purse and git included")
    model = statistics.fmean(alone)
    figure("model_ms", f"{1000 * model:.1f} of it until the server has answered the same request without LiteLLM")
    figure("overhead_ms_per_turn", f"{1000 * (whole - model):.1f}", "<= 30, LiteLLM's own time included")


def bare(server: LlmServer, times: int) -> list[float]:
    """Seconds of plain HTTP requests, the last one that the server saw: what the model itself takes."""
    import http.client
    import json

    body = json.dumps(server.seen[-1])
    address = server.url.removeprefix("http://").removesuffix("/v1")
    connection = http.client.HTTPConnection(address)
    took: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        took.append(time.perf_counter() - began)
    connection.close()
    return took


def replay(place: Path) -> None:
    """A recorded study once more, with every way to open a socket closed."""
    tape = place / "tape"
    os.environ["METALOOP_RECORD"] = str(tape)
    with served(fault=every(tuple(k for k in FAULTS if k != "hang"), 5)):
        first = found(place / "one", call_timeout=60)
        race(first, runs=4)
    del os.environ["METALOOP_RECORD"], os.environ["OPENAI_API_KEY"], os.environ["OPENAI_API_BASE"]
    os.environ["METALOOP_REPLAY"] = str(tape)
    real, opened = socket.socket, Counter[str]()

    class Counted(real):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            opened["socket"] += 1
            super().__init__(*args, **kwargs)

    socket.socket = Counted  # type: ignore[misc]
    try:
        again = found(place / "two", task=first.task, call_timeout=60)
        race(again, runs=4)
    finally:
        socket.socket = real  # type: ignore[misc]
        del os.environ["METALOOP_REPLAY"]
    same = [query(again.folder, sql) == query(first.folder, sql) for sql in (STANDINGS, FIGURES)]
    rows = len(query(first.folder, FIGURES))
    figure("replay_standings_identical", same[0], "True")
    figure("replay_rows_identical", f"{same[1]}, {rows} experiments, verifications and calls", "True")
    figure("replay_sockets_opened", opened["socket"], "0")


def faults(place: Path, calls: int = 1000) -> None:
    """Every third request meets one of the nine faults by turns, until a thousand calls were made."""
    task = planted(place / "task", 100)
    counts: Counter[str] = Counter()
    met: Counter[str] = Counter()
    number = 0
    with served(fault=every(FAULTS, 3)) as server:
        while counts["calls"] < calls:
            team = staff(call_timeout=1.0, patience=300.0)
            try:
                result, events = played(task, team, place, 0.0, number)
            except Exception as error:  # the figure counts them
                counts["crashed"] += 1
                print(f"crashed: {type(error).__name__}: {error}", file=sys.stderr)
                continue
            finally:
                number += 1
            kinds = Counter(event["kind"] for event in events)
            counts["calls"] += kinds["call"]
            counts["experiments"] += kinds["experiment"]
            counts["lost"] += 100 - kinds["experiment"] + abs(kinds["experiment"] - kinds["decision"])
            counts["stopped"] += result.state != "finished"
        met.update(server.met)
    figure("fault_calls", f"{counts['calls']} in {number} runs, {len(server.seen)} requests")
    figure("faults_met", ", ".join(f"{kind} {count}" for kind, count in sorted(met.items())), "9 kinds")
    figure("fault_runs_crashed", counts["crashed"], "0")
    figure("fault_runs_ended_early", counts["stopped"], "0")
    figure("fault_experiments_lost", f"{counts['lost']} of {counts['experiments']}", "0")


def caps(place: Path) -> None:
    """Eight threads in two clients spend against a cap in a storm; the server counts what it has made."""
    prices = {MODEL: (1.0, 2.0)}
    for number, cap in enumerate(({"max_tokens": 200_000}, {"max_usd": 0.2})):
        folder = place / str(number)
        folder.mkdir()
        with served(fault=every(tuple(k for k in FAULTS if k != "hang"), 3), delay=0.01) as server:
            server.answer = lambda _: "y" * 2000
            team = staff(prices=prices, calls_at_once=8, call_timeout=60, **cap)
            spend(team, folder)
            made = sum(server.billed), server.billed[0] * 1e-6 + server.billed[1] * 2e-6
        if "max_tokens" in cap:
            figure("spent_tokens", f"{made[0]} of {cap['max_tokens']}, {len(server.seen)} requests", "never over")
        else:
            figure("spent_usd", f"{made[1]:.5f} of {cap['max_usd']}, {len(server.seen)} requests", "never over")


def spend(team: Staff, folder: Path) -> None:
    """Two clients, as two workers have them, four threads each, until the purse is empty."""

    def work(client: Client) -> None:
        try:
            while True:
                client.complete([Message("user", "x" * 1000)], max_tokens=600, purpose="turn")
        except NoReply:
            return

    clients = [Client(Kit(staff=team, run_id=f"r{n}", study=folder), n) for n in range(2)]
    threads = [threading.Thread(target=work, args=(client,)) for client in clients for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


PARTS = {"device": device, "overhead": overhead, "replay": replay, "faults": faults, "caps": caps}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as place:
            PARTS[name](Path(place))


if __name__ == "__main__":
    main()
