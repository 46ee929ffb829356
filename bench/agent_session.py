"""What a session of a coding agent costs beside what the agent does: worktree, sandbox, the last question to its git.

``python -m bench.agent_session [RUNS]``. The agent is a shell script that makes one experiment of a simulated task,
which takes microseconds, and leaves; so all of a run's wall time is the harness's, git's and the shell's.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.common import appended, figure
from inner_loop.run import run
from inner_loop.run_context import ModelConfig, RunContext
from programs.program import Program
from trainer.data import DataStore
from trainer.planted import random_law, simulated_task
from trainer.simulated import trainer_for
from trainer.streams import Streams
from trainer.task import Task

AGENT = """#!/bin/bash
begun=$(date +%s%N)
echo "# more" >> train.py; git commit -qam more; experiment > /dev/null
echo "agent $(( $(date +%s%N) - begun ))"
"""


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory(prefix="metaloop-bench-") as text:
        folder = Path(text)
        agent = folder / "bin" / "agent"
        agent.parent.mkdir()
        agent.write_text(AGENT)
        agent.chmod(0o755)
        task = Task.load(simulated_task(random_law(1), folder / "task", experiments=2))
        taken = [_one(task, agent, folder / f"run{number}") for number in range(runs)]
    for at, name in enumerate(("whole run", "session from start to end", "what the agent did in it", "besides")):
        figure(f"{name}, s", f"{statistics.median(one[at] for one in taken):.3f} (median of {runs})")


def _one(task: Task, agent: Path, folder: Path) -> tuple[float, float, float, float]:
    """Wall seconds of a run of one session: all, the agent's sandbox, the agent's own, and all but its own."""
    events: list[dict[str, Any]] = []
    emit = appended(events)
    streams = Streams(bytes(16))
    context = RunContext(
        ModelConfig(agent=str(agent), agent_network="none"),
        run_id="r0",
        folder=folder,
        emit=emit,
    )
    with trainer_for(task, DataStore(task, streams, folder / "none"), fixed_steps=True) as trainer:
        began = time.perf_counter()
        result = run(
            Program.parse("# One\n\nTry one thing.\n"), trainer, run_id="r0", run_seed=1, streams=streams,
            budget_seconds=task.run_budget, researcher="command", emit=emit, folder=folder, context=context,
        )  # fmt: skip
        whole = time.perf_counter() - began
    assert result.experiments == 2, result
    (session,) = [event for event in events if event["kind"] == "agent" and event["what"] == "session"]
    (said,) = (folder / "agent").glob("session-*.out")
    own = int(said.read_text().split()[1]) / 1e9
    return whole, session["wall_seconds"], own, whole - own


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
