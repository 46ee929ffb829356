"""What the launch of a command's experiment costs, in parts: ``python -m bench.command_tasks [-n 20] [--against DIR]``.

Two tasks: a command that does nothing, and a train.py that computes for a quarter of a CPU-second. Wall times in ms,
medians. ``--against`` names another checkout of Metaloop: the two take turns, experiment by experiment, in processes of
their own. The parts are those of one launch, in their order; `own start` is that of the command's program itself, and
lasts while the cgroup is made. What is charged beyond the CPU time that train.py works is ours.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOML = """
[task]
name = "{name}"
metric = "loss"
editable = ["train.py"]
read_only = []
[budget]
seconds = 0.25
hard_factor = 40.0
[score]
kind = "printed"
pattern = '^loss: ([0-9.]+)'
[run]
command = "{command}"
"""
TRAIN = """
import time
print("began:", time.monotonic())
while time.process_time() < 0.25:
    sum(range(1000))
print("loss: 1.0")
"""
COMMANDS = {"trivial": "echo loss: 1", "train": "python train.py"}
WORK = 0.25  # CPU-seconds of train.py, its own start included
PARTS = ("view", "process", "sandbox and its first process", "cgroup", "own start", "work", "end")


def folder_of(name: str, root: Path) -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "task.toml").write_text(TOML.format(name=name, command=COMMANDS[name]))
    (folder / "train.py").write_text(TRAIN)
    return folder


class Watch:
    """Moments of one experiment: the functions of a launch are wrapped, which both checkouts have."""

    def __init__(self) -> None:
        from trainer import bwrap, command_process
        from trainer.command_view import CommandView

        self.at: dict[str, tuple[float, float]] = {}
        for owner, name, label in (
            (CommandView, "__init__", "view"), (bwrap, "launch", "process"),
            (command_process, "_wait_for", "sandbox and its first process"),
            (command_process._Run, "__init__", "cgroup"),
            (command_process._Run, "_watch", "watch"), (command_process._Run, "_end", "end"),
        ):  # fmt: skip
            setattr(owner, name, self._timed(getattr(owner, name), label))

    def _timed(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def timed(*words: Any, **more: Any) -> Any:
            began = time.monotonic()
            try:
                return function(*words, **more)
            finally:
                self.at[label] = began, time.monotonic()

        return timed

    def parts(self, log: str) -> dict[str, float]:
        """Seconds of each part; what the command said of itself tells its own start from its work."""
        seconds = {label: end - began for label, (began, end) in self.at.items() if label != "watch"}
        said = {line.split(":")[0]: float(line.split()[1]) for line in log.splitlines() if ": " in line}
        ready, ended = self.at["sandbox and its first process"][1], self.at["watch"][1]
        began = said.get("began", ended)
        return {**seconds, "own start": began - ready, "work": ended - began}


def child(root: Path) -> None:
    """One experiment for each name on stdin, its figures on stdout."""
    from trainer.command import CommandTrainer
    from trainer.data import DataStore
    from trainer.experiment import Spec
    from trainer.streams import Streams
    from trainer.task import Task

    watch, trainers = Watch(), {}
    for line in sys.stdin:
        name = line.strip()
        if name not in trainers:
            task = Task.load(root / name)
            trainers[name] = CommandTrainer(task, DataStore(task, Streams.from_seed(1), root / "data"))
            trainers[name].launcher.start()
        began = time.monotonic()
        outcome = trainers[name].run(Spec(trainers[name].task.baseline(), 1))
        wall = time.monotonic() - began
        if outcome.status != "ok":
            sys.exit(f"{name}: {outcome.status}: {outcome.reason}")
        figures = {"wall": wall, "charged": outcome.device_seconds, **watch.parts(outcome.log)}
        print(json.dumps(figures), flush=True)


class Side:
    """A checkout at work in a process of its own."""

    def __init__(self, code: Path, root: Path) -> None:
        words = [sys.executable, __file__, "--child", str(root)]
        environment = {**os.environ, "PYTHONPATH": str(code)}
        self.process = subprocess.Popen(
            words, env=environment, cwd=code, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.taken: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}

    def once(self, name: str, count: bool) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        figures = json.loads(self.process.stdout.readline())
        self.taken[name] += [figures] if count else []

    def median(self, name: str, key: str) -> float:
        return statistics.median(figures.get(key, 0.0) for figures in self.taken[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=20)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        root, here = Path(folder), Path(__file__).resolve().parent.parent
        for name in COMMANDS:
            folder_of(name, root)
        sides = [Side(code.resolve(), root) for code in (given.against, here) if code]
        for k in range(given.n + 1):
            for name in COMMANDS:
                for side in sides if k % 2 else reversed(sides):
                    side.once(name, count=k > 0)
        show(sides)
        for side in sides:
            side.process.communicate()


def show(sides: list[Side]) -> None:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"medians of {len(sides[0].taken['train'])}, ms{'; before and after' * (len(sides) > 1)}; load {load}")
    for name in COMMANDS:
        for key in ("wall", *PARTS):
            values = "  ".join(f"{side.median(name, key) * 1e3:7.1f}" for side in sides)
            print(f"{name:8s} {key:30s} {values}")
        for side in sides:
            charged, wall = side.median(name, "charged"), side.median(name, "wall")
            launch = wall - side.median(name, "work") - side.median(name, "own start")
            beyond = max(0.0, charged - (WORK if name == "train" else 0.0))
            shown = f"launch and end {launch / wall:.0%} of wall; charged {charged * 1e3:.1f} ms"
            print(f"{name:8s} {shown}, {beyond * 1e3:.1f} of them not the script's work")


if __name__ == "__main__":
    main()
