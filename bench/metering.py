"""What programs are charged against what they take: `python -m bench.metering [--unsafe] [--only daemon ...]`.

Honest and fleeing programs of about a CPU-second run through the Trainer, in the sandbox and (with --unsafe) without
it. The truth is a cgroup that this script puts around the template: it counts every thread, whoever waits for it. In
the sandbox a fork is refused; the fleeing programs then burn in their own process. Both figures are without the
constant of an empty experiment, each by its own count, and both have our own scoring added.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.common import figure
from trainer import variants
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.jobs.job import Ended, ForkedJob, Limits
from trainer.sandbox.cgroup import Cgroup
from trainer.sandbox.local import LocalLauncher
from trainer.scoring.referee import LEAST, meters_agree
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

PROGRAMS = Path(__file__).with_name("metering_programs.py")
BUDGET_SECONDS = 1.2  # of main(): training fills what the program leaves of it
GOAL = 0.03  # the two counts differ by at most this share
FORKS = 7


@dataclass
class Count:
    """One process: what the meter and the cgroup say, CPU-seconds."""

    metered: float
    true: float


class Counted(LocalLauncher):
    """A launcher whose template is in a cgroup of ours, read around every process."""

    def __init__(self, group: Cgroup, *, sandbox: bool) -> None:
        super().__init__(sandbox=sandbox)
        self.group = group
        self.counts: list[Count] = []

    def run(self, job: ForkedJob, attend: Callable[[], bool] | None = None) -> Ended:
        self.start()
        assert self.group is not None
        before = self.group.cpu_seconds() or 0.0
        ended = super().run(job, attend)
        self.counts.append(Count(ended.cpu_seconds, (self.group.cpu_seconds() or 0.0) - before))
        return ended


def programs() -> dict[str, str]:
    """Name and code of each program: the bodies of the functions of metering_programs.py, and what they share."""
    shared, *rest = PROGRAMS.read_text("utf-8").split("\n\n\ndef program_")
    return {part.partition("(")[0]: f"{shared}\n\n\ndef program_{part}" for part in rest}


def _source(task: Task, name: str, code: str) -> Source:
    """The baseline, which first carries out the program."""
    source = task.baseline()
    begin = f"def main():\n    program_{name}()\n"
    text = (
        source.text()
        .replace("def main():\n", begin, 1)
        .replace('if __name__ == "__main__"', f'{code}\n\n\nif __name__ == "__main__"')
    )
    return source.with_text("train.py", text)


def _measure(task: Task, folder: Path, *, sandbox: bool, only: list[str] | None) -> float:
    """Run every program; returns the largest relative error."""
    group = Cgroup.create("metering")
    if group is None or group.cpu_seconds() is None:
        sys.exit("no writable cgroup here: nothing to compare with")
    launcher = Counted(group, sandbox=sandbox)
    worst = 0.0
    try:
        with Trainer(task, DataStore(task, Streams.from_seed(1), folder), launcher=launcher) as trainer:
            trainer.run(Spec(task.baseline(), seed=1))
            launcher.counts.clear()
            for _ in range(FORKS):
                launcher.run(ForkedJob(["noop"], limits=Limits(10.0, 60.0)))
            empty = statistics.median(count.true for count in launcher.counts)
            figure("constant", f"{launcher.constant:.4f} CPU-s metered, {empty:.4f} by the cgroup")
            for name, code in programs().items():
                if not only or name in only:
                    error = _one(trainer, launcher, name, _source(task, name, code), empty)
                    worst = max(worst, error, key=abs)
    finally:
        launcher.close()
    return worst


def _one(trainer: Trainer, launcher: Counted, name: str, source: Source, empty: float) -> float:
    """Run one program, print both figures; their relative error, negative where less was charged than used."""
    launcher.counts.clear()
    outcome = trainer.run(Spec(source, seed=1))
    counted = [
        count.metered if meters_agree(count.metered, count.true) else max(count.metered, count.true)
        for count in launcher.counts
    ]
    metered = sum(max(LEAST, seconds - launcher.constant) for seconds in counted)
    scoring = outcome.device_seconds_spent - metered
    true = sum(count.true - empty for count in launcher.counts) + scoring
    error = outcome.device_seconds_spent / true - 1
    how = outcome.status + (f", {len(outcome.findings)} findings" if outcome.findings else "")
    figure(name, f"charged {outcome.device_seconds_spent:.4f}, cgroup {true:.4f}, error {error:+.2%} ({how})")
    if outcome.status not in ("ok", "crash", "invalid", "timeout"):
        print(f"  {outcome.reason}")
    return error


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--unsafe", action="store_true", help="also without the sandbox")
    parser.add_argument("--only", nargs="+", help="these programs")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        task = Task.load(variants.init(Path(folder) / "spiral"))
        task = replace(task, budget_seconds=BUDGET_SECONDS, hard_factor=6.0)
        for sandbox in (True, False) if given.unsafe else (True,):
            print("sandboxed" if sandbox else "without a sandbox")
            worst = _measure(task, Path(folder) / f"data-{sandbox}", sandbox=sandbox, only=given.only)
            figure("worst", f"{worst:+.2%}", f"within {GOAL:.0%}")


if __name__ == "__main__":
    main()
