"""How long an experiment without torch takes to its first step: `python -m bench.microgpt [-n 15]`.

Milliseconds of wall from the start of the process until the first training step is granted, and until it is done: by
hand (`python train.py` in a copy of the task's folder, its data in the cache) and by the warm launcher, from the
request on. Medians and the worst; the goal is 60 ms to the start of the first step.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.common import figure
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.streams import Streams
from trainer.task import Task

TASK, STEPS = "microgpt", "2"
_MARKER = 'if __name__ == "__main__":'
# what the first call of clock.done is asked at, and the second one, when a step is done
_PROBE = """
def _told(done=clock.done):
    import time
    print("at:", time.clock_gettime(time.CLOCK_MONOTONIC), flush=True)
    return done()
clock.done = _told


"""


@dataclass(frozen=True)
class Start:
    """Milliseconds from the start of a process to its first training step, and to that step's end."""

    granted: float
    done: float


def _read(output: str, began: float) -> Start:
    times = [float(line.split()[1]) for line in output.splitlines() if line.startswith("at:")]
    if len(times) < 2:
        raise SystemExit(f"no two steps seen; the end of the output:\n{output[-2000:]}")
    return Start(1000 * (times[0] - began), 1000 * (times[1] - began))


def by_hand(folder: Path, source: str, n: int) -> list[Start]:
    """`python train.py` in a folder of its own, ``n`` times after a first one that generates the data."""
    own_folder = folder / "by-hand"
    shutil.copytree(Task.load(TASK).folder, own_folder, ignore=shutil.ignore_patterns("__pycache__"))
    (own_folder / "train.py").write_text(source)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("METALOOP_")}
    environment |= {"METALOOP_CACHE": str(folder / "cache"), "METALOOP_TRAIN_STEPS": STEPS}
    starts = []
    for _ in range(n + 1):
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "train.py"], cwd=own_folder, env=environment, capture_output=True, text=True, check=True
        )
        starts.append(_read(done.stdout, began))
    return starts[1:]


def launched(folder: Path, source: str, n: int) -> tuple[list[Start], float]:
    """By the sandboxed launcher, ``n`` times; and the milliseconds that its template takes to start."""
    task = Task.load(TASK)
    with Trainer(task, DataStore(task, Streams.from_seed(1), folder / "data")) as trainer:
        data, began = trainer.data.train(), time.monotonic()
        trainer.launcher.start(data)
        template = 1000 * (time.monotonic() - began)
        starts = []
        for seed in range(n):
            request = trainer._request(Spec(task.baseline().with_text("train.py", source), seed, fraction=0.1))
            began = time.monotonic()
            starts.append(_read(trainer.launcher.run(request).log, began))
    return starts, template


def _tell(name: str, starts: list[Start]) -> None:
    granted, done = [one.granted for one in starts], [one.done for one in starts]
    figure(f"{name}_to_first_step", f"{statistics.median(granted):.1f} ms (worst {max(granted):.1f})")
    figure(f"{name}_to_its_end", f"{statistics.median(done):.1f} ms (worst {max(done):.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=15)
    given = parser.parse_args()
    source = Task.load(TASK).baseline().text().replace(_MARKER, _PROBE.lstrip() + _MARKER, 1)
    with tempfile.TemporaryDirectory() as folder:
        figure("starts", given.n)
        _tell("by_hand", by_hand(Path(folder), source, given.n))
        starts, template = launched(Path(folder), source, given.n)
        figure("template_start_and_self_test", f"{template:.0f} ms, once")
        _tell("launched", starts)


if __name__ == "__main__":
    main()
