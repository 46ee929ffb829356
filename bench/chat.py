"""Runs with a model: use of the device, overhead of a turn, tokens. A local server stands for the model.

python -m bench.chat [PART …]      parts: device overhead tokens; default all
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import trainer
from arena.work.lease import CHAT_RUNS
from bench.common import figure
from inner_loop.events import Event, RunEndedEvent
from inner_loop.models.provider import litellm
from inner_loop.run import run
from inner_loop.run_context import ModelConfig, RunContext
from programs.program import Program
from programs.shelf import starter
from tests.llm.kits import KEY, staff
from tests.llm.researcher import prompt_of
from tests.llm.server import LlmServer
from tests.llm.studies import THREE, planted
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.streams import Streams
from trainer.task import Task

REPEATS = THREE.replace("# Org", "---\nmetaloop: {no_repeat: false}\n---\n# Org")  # the stand-in runs out of new edits
SECONDS = 2.0  # that the model thinks, and that an experiment takes
EXPERIMENTS = 30


class Slow(Trainer):
    """A device that is held for a while by each experiment, of one run at a time."""

    seconds = 0.0
    device = threading.Lock()

    def run(self, spec: Spec, *, use_cache: bool = True, alone: bool = False) -> Outcome:
        with self.device:
            time.sleep(self.seconds)
        return super().run(spec, use_cache=use_cache)


@contextmanager
def served(**how: Any) -> Iterator[LlmServer]:
    litellm()
    with LlmServer(**how) as server:
        os.environ.update(OPENAI_API_BASE=server.url, OPENAI_API_KEY=KEY)
        yield server


@contextmanager
def served_apart(delay: float) -> Iterator[str]:
    """The same server in a process of its own, so that what it takes is not counted as ours; its address."""
    litellm()
    command = [sys.executable, "-m", "tests.llm.server", str(delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        os.environ.update(word.split("=", 1) for word in process.stdout.readline().split())
        try:
            yield os.environ["OPENAI_API_BASE"]
        finally:
            process.terminate()


def played(
    task: Task, team: ModelConfig, folder: Path, seconds: float, number: int = 0
) -> tuple[RunEndedEvent, list[Any]]:
    """One run of the three researchers with a git repository of its own."""
    events: list[Any] = []
    streams = Streams.from_seed(number)
    with Slow(task, DataStore(task, streams, folder / "data"), fixed_steps=True) as trainer:
        trainer.seconds = seconds
        name = f"r{number}"
        result = run(
            Program.parse(REPEATS), trainer, run_id=name, run_seed=number, streams=streams, researcher="chat",
            budget_seconds=task.run_budget, emit=lambda event: events.append(event.to_record()), folder=folder / name,
            context=RunContext(team, name, study=folder, emit=lambda event: events.append(event.to_record())),
        )  # fmt: skip
    return result, events


def device(root: Path) -> None:
    """Runs of three roles on one device: the share of the wall time in which it is held."""
    for runs in (1, CHAT_RUNS):
        task, began = planted(root / f"task{runs}", EXPERIMENTS // runs), time.perf_counter()
        with served_apart(SECONDS), ThreadPoolExecutor(runs) as pool:
            wait([pool.submit(played, task, staff(), root, SECONDS, run) for run in range(runs)])
        wall = time.perf_counter() - began
        shown = f"{EXPERIMENTS * SECONDS / wall:.1%} of {wall:.1f} s, the first wait for a model included"
        figure(f"device_utilization_runs_{runs}", shown, ">= 95%" if runs > 1 else "")


def overhead(root: Path) -> None:
    """A turn besides model and training: prompt, LiteLLM, reading the reply, caps, git; without a ledger's fsync."""
    task, turns = planted(root / "task", 200), 199
    with served_apart(0.0) as url:
        played(planted(root / "warm", 4), staff(call_timeout=60), root, 0.0, 99)
        events: list[Any] = []
        ends: list[float] = []

        def emit(event: Event) -> None:
            events.append(event)
            if event.kind == "decision":
                ends.append(time.perf_counter())

        streams, cpu = Streams.from_seed(1), time.process_time()
        team = staff(call_timeout=60, max_tokens=10**9)
        with Slow(task, DataStore(task, streams, root / "data"), fixed_steps=True) as trainer:
            run(
                Program.parse("# P\n\nLower the loss.\n"), trainer, run_id="r1", run_seed=1, streams=streams,
                researcher="chat", folder=root / "r1", budget_seconds=task.run_budget, emit=emit,
                context=RunContext(config=team, run_id="r1", emit=emit, study=root),
            )  # fmt: skip
        cpu = (time.process_time() - cpu) / turns
        model = statistics.median(bare(url, 100))
    took = [later - before for before, later in pairwise(ends)]
    figure(
        "turn_ms", f"median {1000 * statistics.median(took):.1f}, mean {1000 * statistics.fmean(took):.1f}, no training"
    )
    figure("model_ms", f"{1000 * model:.1f} of it, what the server takes to answer plain HTTP")
    figure(
        "overhead_ms_per_turn", f"{1000 * (statistics.median(took) - model):.1f}", "<= 30, LiteLLM's own time included"
    )
    figure("overhead_cpu_ms_per_turn", f"{1000 * cpu:.1f}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def bare(url: str, times: int) -> list[float]:
    """Seconds of plain HTTP requests with a prompt of a turn's size."""
    import http.client
    import json

    messages = [{"role": "system", "content": "x" * 5000}, {"role": "user", "content": "y" * 3000}]
    body = json.dumps({"model": "test", "messages": messages})
    connection = http.client.HTTPConnection(url.removeprefix("http://").removesuffix("/v1"))
    took: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        took.append(time.perf_counter() - began)
    connection.close()
    return took


def tokens(root: Path) -> None:
    """Input tokens of a turn on strokes, by the server's count (four characters each), with and without a small
    context, which must hold every prompt and its longest reply by a count of three bytes each."""
    task = Task.load(Path(trainer.__file__).parent / "tasks" / "strokes")
    runs: list[tuple[str, int | None]] = [(name, None) for name in ("stock", "idea-queue", "three")] + [
        (name, 4096) for name in ("stock", "idea-queue")
    ]
    for number, (name, context) in enumerate(runs):
        program = Program.parse(THREE) if name == "three" else starter(name)
        streams, folder = Streams.from_seed(4), root / f"r{number}"
        with served() as server, Trainer(task, DataStore(task, streams, root / "data"), fixed_steps=True) as device:
            result = run(
                program, device, run_id=folder.name, run_seed=3, streams=streams, researcher="chat", folder=folder,
                budget_seconds=16 * task.cost_seconds, emit=lambda _: None,
                context=RunContext(staff(reply_tokens=2000, context_tokens=context), folder.name, study=root),
            )  # fmt: skip
        prompts = [prompt_of(body) for body in server.seen if len(body["messages"]) == 2]
        most = max(
            len(text.encode()) // 3 + body["max_tokens"] for text, body in zip(prompts, server.seen, strict=False)
        )
        shown = f"{statistics.fmean(len(text) / 4 for text in prompts):.0f} in {result.experiments} experiments"
        figure(f"turn_tokens_{name}{f'_in_{context}' if context else ''}", f"{shown}, at most {most} with the reply",
               f"<= {context} with the reply" if context else "<= 2500")  # fmt: skip


PARTS = {"device": device, "overhead": overhead, "tokens": tokens}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        with tempfile.TemporaryDirectory() as root:
            PARTS[name](Path(root))


if __name__ == "__main__":
    main()
