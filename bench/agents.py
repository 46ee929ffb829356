"""Known coding agents, end to end: do they follow the bench, and is everything charged that runs in their sandbox?

``python -m bench.agents [AGENT…]``: those of MODELS that are on PATH, and ``small``, an agent of the tests. Each works
on the tiny task of the tests. Its model is the test server, with a script: read the program, two experiments that help,
one that does not, and training by hand, in three ways. The kernel's task clock (perf_event_open(2)) counts the CPU time
of the sandbox, independently of the cgroup and the polling that charge it.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from bench.common import appended, figure
from inner_loop.agents import recipe as recipes
from inner_loop.events import RunEndedEvent
from inner_loop.run import run
from inner_loop.run_context import ModelConfig, RunContext
from programs.common.errors import EnvironmentProblem
from programs.program import Program
from tests.llm.apis import ApiServer
from tests.llm.shell import scripted
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.sandbox import bwrap
from trainer.sandbox.view import View
from trainer.streams import Streams
from trainer.task import Task

ROOT = Path(__file__).resolve().parents[1]
TESTS = ROOT / "tests" / "inner_loop"
PROGRAM = "# Research\n\nLower it.\n\n- Keep what is better.\n- Try larger steps first.\n"
BUDGET = 120.0
MODELS = {"codex": "gpt-5.4", "claude": "claude-sonnet-5", "opencode": "openai/gpt-5.4", "mini-swe-agent": "openai/m"}
SMALL = "small"
KEY = "sk-of-the-bench-0123456789"
#: By hand: a copy of train.py with data of its own, in front, in the background, and in children that nobody waits for.
BY_HAND = """
mkdir -p /tmp/own && cp *.py /tmp/own && cd /tmp/own && mv train.py copy.py
export METALOOP_TRAIN_DATA=/tmp/own METALOOP_TRAIN_CHECKPOINT=/tmp/own/w METALOOP_TRAIN_BUDGET={seconds}
python3 - <<'END'
from array import array
import random
def write(name, data): open(name, "wb").write(bytes(128) + data.tobytes())
write("inputs.npy", array("f", [random.gauss(0, 1) for _ in range(600)]))
write("targets.npy", array("q", [random.randrange(3) for _ in range(300)]))
END
setsid nohup python3 copy.py > /dev/null 2>&1 &
python3 copy.py
python3 - <<'END'
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(20):
    if not os.fork():
        while time.process_time() < {seconds} / 20:
            pass
        os._exit(0)
    time.sleep({seconds} / 15)
END
wait
"""
HAND_SECONDS = 3.0  # of each of the three ways
_MINI = "COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"  # mini-swe-agent's own prompt names it as its end
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241}
_EDIT = "sed -i 's/^{name} = .*/{name} = {value}/' train.py && git commit -qam '{name} {value}' && "


def commands(conversation: str) -> list[str]:
    """What the model has its agent do; in a session after the first, only look."""
    end = [f"echo {_MINI}"] if _MINI in conversation else []
    if "Experiments have been run already" in conversation:
        return ["experiment status", *end]
    return [
        "cat program.md README.md; ls",
        _EDIT.format(name="LR", value=0.1) + "experiment -m 'larger steps'",
        BY_HAND.format(seconds=HAND_SECONDS).strip(),
        _EDIT.format(name="LR", value=0.001) + "experiment; git reset -q --hard HEAD~1",
        _EDIT.format(name="MOMENTUM", value=0.9) + "uv run train.py > run.log 2>&1; grep '^nll:' run.log",
        "experiment status",
        *end,
    ]


class TaskClock:
    """CPU-seconds of a process and all its later descendants, by the kernel; those count too that nobody waits for."""

    def __init__(self, pid: int) -> None:
        attributes = bytearray(128)
        struct.pack_into("<IIQ", attributes, 0, 1, 128, 1)  # a software event, the task clock
        struct.pack_into("<Q", attributes, 40, 1 << 1)  # inherit
        buffer = (ctypes.c_char * 128).from_buffer(attributes)
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.syscall(_PERF_EVENT_OPEN[os.uname().machine], buffer, pid, -1, -1, 8)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), f"perf_event_open: {os.strerror(ctypes.get_errno())}")

    @property
    def seconds(self) -> float:
        return int.from_bytes(os.read(self._descriptor, 8), sys.byteorder) / 1e9

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass
class Sandboxes:
    """Counts the CPU time of the sandboxes that start, from the moment at which the agent's command may run."""

    clocks: list[tuple[TaskClock, float]]
    problem: str = ""

    @property
    def seconds(self) -> float:
        return sum(clock.seconds - before for clock, before in self.clocks)

    @contextmanager
    def watching(self) -> Iterator[None]:
        launch, start = bwrap.launch, View.start

        def counted(*given: Any, **named: Any) -> subprocess.Popen[bytes]:
            process = launch(*given, **named)
            try:
                self.clocks.append((TaskClock(process.pid), 0.0))
            except OSError as error:
                self.problem = error.strerror
            return process

        def started(*given: Any, **named: Any) -> tuple[subprocess.Popen[bytes], int]:
            with mock.patch.object(bwrap, "launch", counted):
                ready = start(*given, **named)
            if not self.problem:
                clock, _ = self.clocks.pop()
                self.clocks.append((clock, clock.seconds))  # setting it up is the harness's
            return ready

        with mock.patch.object(View, "start", started):
            yield


@dataclass(frozen=True)
class Played:
    """One run of an agent. ``events``: its ledger; ``server``: what its model was asked."""

    result: RunEndedEvent
    events: list[dict[str, Any]]
    sandboxes: Sandboxes
    server: ApiServer
    wall_seconds: float

    def sum(self, kind: str, field: str) -> float:
        return sum(event[field] for event in self.events if event["kind"] == kind)

    @property
    def sandbox_charged(self) -> float:
        """The last of a run's totals."""
        totals = [e["charged_seconds"] for e in self.events if e["kind"] == "agent" and e["what"] == "sandbox"]
        return max(totals, default=0.0)


def play(name: str, folder: Path) -> Played:
    """A run of the tiny task under that agent, in measured device time."""
    task, streams = replace(Task.load(TESTS / "blobs"), hard_extra=1.0), Streams.from_seed(7)
    events: list[dict[str, Any]] = []
    emit, counted = appended(events), Sandboxes([])
    small = str(_small(folder)) if name == SMALL else ""
    config = ModelConfig(agent=small, models=(MODELS.get(name, "openai/m"),), max_tokens=10**7)
    context = RunContext(config, run_id="r0", folder=folder / "run", emit=emit)
    with ExitStack() as stack:
        server = stack.enter_context(ApiServer(scripted(commands)))
        keys = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "OPENAI_BASE_URL": server.url}
        stack.enter_context(mock.patch.dict(os.environ, keys | {"ANTHROPIC_BASE_URL": server.root}))
        stack.enter_context(counted.watching())
        trainer = stack.enter_context(Trainer(task, DataStore(task, streams, folder / "splits")))
        began = time.perf_counter()
        result = run(
            Program.parse(PROGRAM), trainer, run_id="r0", run_seed=1, streams=streams, budget_seconds=BUDGET,
            researcher="command" if small else f"command:{name}", emit=emit, folder=folder / "run", context=context,
        )  # fmt: skip
        return Played(result, events, counted, server, time.perf_counter() - began)


def _small(folder: Path) -> Path:
    agent = folder / "bin" / "agent"
    agent.parent.mkdir()
    agent.write_bytes((TESTS / "agents" / "tool_loop.py").read_bytes())
    agent.chmod(0o755)
    return agent


def show(name: str, version: str, played: Played) -> None:
    result, used = played.result, played.sandboxes.seconds
    kept = [e for e in played.events if e["kind"] == "decision" and e["decision"] == "keep"]
    sessions = [e for e in played.events if e["kind"] == "agent" and e["what"] == "session"]
    free = max(0.0, used - played.sandbox_charged)
    figure(f"{name}, version", version)
    figure(
        f"{name}, ran to its end", f"{'yes' if result.state == 'finished' else 'no'} ({result.state} {result.reason})"
    )
    figure(f"{name}, experiments besides the baseline", result.experiments - 1)
    figure(f"{name}, kept", len(kept))
    figure(f"{name}, sessions", len(sessions))
    figure(f"{name}, charged device seconds", f"{result.charged - result.forfeited:.2f}")
    figure(f"{name}, of them experiments", f"{played.sum('experiment', 'device_seconds_charged'):.2f}")
    figure(f"{name}, of them the sandbox", f"{played.sandbox_charged:.2f} (by {sessions[0]['counted_by']})")
    if played.sandboxes.problem:
        figure(f"{name}, CPU seconds of the sandbox", f"unknown: {played.sandboxes.problem}")
    else:
        figure(f"{name}, CPU seconds of the sandbox", f"{used:.2f}")
        figure(f"{name}, charged to nobody", f"{free:.2f} s, {100 * free / used:.1f}%")
    tokens = int(played.sum("call", "tokens_in") + played.sum("call", "tokens_out"))
    figure(f"{name}, calls", f"{len(played.server.seen)}, tokens {tokens} of {sum(played.server.billed)} billed")
    figure(f"{name}, wall seconds", f"{played.wall_seconds:.1f}")


def version_of(name: str) -> str:
    """Raises EnvironmentProblem if it is not installed."""
    if name == SMALL:
        return "of the tests"
    program, _ = recipes.find(recipes.load(name))
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\d+\.\d+\.\d+", said)
    return match[0] if match else "unknown"


def main() -> None:
    for name in sys.argv[1:] or [SMALL, *MODELS]:
        try:
            version = version_of(name)
        except EnvironmentProblem as missing:
            figure(name, f"not run: {missing.message} ({missing.hint})")
            continue
        with tempfile.TemporaryDirectory(prefix="metaloop-bench-") as folder:
            played = play(name, Path(folder))
            show(name, version, played)


if __name__ == "__main__":
    main()
