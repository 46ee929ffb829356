"""What an experiment costs beside its training: `python bench/launch.py [TASK] [-n 30]`.

Prints CPU-seconds from launch to the first training step (fork, set-up, data, model, first step), and per experiment
the CPU that is not training budget: forks, predict, scoring, gross and as charged. Medians.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.local import LocalLauncher
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

_PROBE = """
from torch.optim.optimizer import register_optimizer_step_post_hook
def _first(*_):
    import time
    _hook.remove()
    print("first_step:", time.process_time())
_hook = register_optimizer_step_post_hook(_first)
"""


def first_step_seconds(trainer: Trainer, launcher: LocalLauncher, n: int) -> list[float]:
    """CPU-seconds of a child until its first optimizer step, with the template's share of the fork."""
    source = trainer.task.baseline()
    text = source.text()
    marker = 'if __name__ == "__main__":'
    probed: Source = source.with_text("train.py", text.replace(marker, _PROBE + marker, 1))
    seconds = []
    for seed in range(n):
        log = trainer.run(Spec(probed, seed, fraction=0.2)).log
        lines = [line for line in log.splitlines() if line.startswith("first_step:")]
        if not lines:
            raise SystemExit(f"no optimizer step seen; the end of the log:\n{log[-2000:]}")
        seconds.append(float(lines[0].split()[1]) + launcher.constant)  # the whole fork and exit: an upper bound
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="?", default="strokes")
    parser.add_argument("-n", type=int, default=30)
    given = parser.parse_args()
    task = Task.load(given.task)
    launcher = LocalLauncher(libraries=task.libraries)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(task, DataStore(task, Streams.from_seed(1), Path(folder)), launcher=launcher)
        try:
            trainer.run(Spec(task.baseline(), 0))  # generates the data, starts the template
            first = first_step_seconds(trainer, launcher, given.n)
            outcomes = [trainer.run(Spec(task.baseline(), seed)) for seed in range(given.n)]
        finally:
            launcher.close()
    bad = [outcome.reason for outcome in outcomes if outcome.status != "ok"]
    charged = statistics.median(outcome.device_seconds for outcome in outcomes)
    wall = statistics.median(outcome.wall_seconds for outcome in outcomes)
    gross = charged + 2 * launcher.constant
    print(f"task: {task.name}")
    print(f"experiments: {len(outcomes)}, failed: {len(bad)} {bad[:1] or ''}")
    print(f"launch_to_first_step_cpu_s: {statistics.median(first):.4f}")
    print(f"fork_constant_cpu_s: {launcher.constant:.4f}")
    print(f"training_budget_cpu_s: {task.budget_seconds:.4f}")
    print(f"charged_cpu_s: {charged:.4f}")
    print(f"overhead_charged_cpu_s: {charged - task.budget_seconds:.4f}")
    print(f"overhead_gross_cpu_s: {gross - task.budget_seconds:.4f}")
    print(f"wall_s: {wall:.4f}")


if __name__ == "__main__":
    main()
