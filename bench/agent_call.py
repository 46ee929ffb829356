"""What one `experiment` of a coding agent costs besides training: in the sandbox, through the door, a commit each.

``python -m bench.agent_call [CALLS]``. The agent is a shell script that edits a constant, commits and asks; the wall
time of its calls is compared with what the trainer took for them. The task is the tiny one of the tests.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import appended
from inner_loop.run import run
from inner_loop.run_context import ModelConfig, RunContext
from programs.program import Program
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.streams import Streams
from trainer.task import Task

TASK = Path(__file__).resolve().parents[1] / "tests" / "inner_loop" / "blobs"
AGENT = """#!/bin/bash
for i in $(seq %d); do
  sed -i "s/^LR = .*/LR = 0.0$((1000 + i))/" train.py
  git commit -qam "try $i"
  start=$(date +%%s%%N)
  experiment > /dev/null
  echo "call $(( $(date +%%s%%N) - start ))"
done
for i in $(seq 20); do
  start=$(date +%%s%%N); experiment status > /dev/null; echo "status $(( $(date +%%s%%N) - start ))"
done
"""


class Timed(Trainer):
    """Notes the wall seconds of each experiment in ``took``."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.took: list[float] = []

    def run(self, spec: Spec, *, use_cache: bool = True) -> Outcome:
        began = time.perf_counter()
        outcome = super().run(spec, use_cache=use_cache)
        self.took.append(time.perf_counter() - began)
        return outcome


def main(calls: int) -> None:
    with tempfile.TemporaryDirectory(prefix="metaloop-bench-") as text:
        folder = Path(text)
        agent = folder / "bin" / "agent"
        agent.parent.mkdir()
        agent.write_text(AGENT % calls)
        agent.chmod(0o755)
        events: list[dict[str, Any]] = []
        emit = appended(events)
        task, streams = Task.load(TASK), Streams.from_seed(7)
        context = RunContext(
            ModelConfig(agent=str(agent), agent_network="none"),
            run_id="r0",
            folder=folder / "run",
            emit=emit,
        )
        with Timed(task, DataStore(task, streams, folder / "splits"), fixed_steps=True) as trainer:
            run(
                Program.parse("# Research\n\nLower it.\n"), trainer, run_id="r0", run_seed=1, streams=streams,
                budget_seconds=(calls + 2) * 0.2, researcher="command", emit=emit, folder=folder / "run",
                context=context,
            )  # fmt: skip
        said = next((folder / "run" / "agent").glob("session-*-1.out")).read_text().split("\n")
        trained = trainer.took[1 : calls + 1]
    whole = [int(line.split()[1]) / 1e6 for line in said if line.startswith("call")]
    status = [int(line.split()[1]) / 1e6 for line in said if line.startswith("status")]
    beside = [a - 1000 * b for a, b in zip(whole, trained, strict=True)]
    session = next(e for e in events if e["kind"] == "agent" and e["what"] == "session")
    print(f"calls                       {len(whole)}")
    print(f"one call, wall              {statistics.median(whole):7.1f} ms median")
    print(f"training in it, wall        {1000 * statistics.median(trained):7.1f} ms median")
    p90 = sorted(beside)[int(0.9 * len(beside))]
    print(f"besides training            {statistics.median(beside):7.1f} ms median, {p90:.1f} ms p90")
    print(f"experiment status           {statistics.median(status):7.1f} ms median")
    print(f"the session's wall          {session['wall_seconds']:7.2f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 40)
