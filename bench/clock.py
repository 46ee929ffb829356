"""Honest verifications that the rule of `arena.work.clock_rule` refuses: `python -m bench.clock [N] [--load 8]`.

Sources of strokes with one to three edits drawn at random; each is trained once as an experiment and, if that is
scored, four times as a verification under other seeds, by real training. Prints how much CPU the verifications used
beyond the experiment in their first training, how many of these were repeated, and how many of N were refused.
``--load`` starts so many processes that do nothing but compute.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from arena.work.clock_rule import CpuUse, excess, overrun, verification
from bench.common import figure
from trainer.data import DataStore
from trainer.edits import Edit, EditError
from trainer.experiment import Outcome, Spec, Trainer
from trainer.outcome import Cache
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

TIMES = 4  # verifications of a source
_SPIN = "while True: pass"


def sources(task: Task, seed: int) -> Iterator[Source]:
    """The untouched source with one to three knobs set to values of the task's own list."""
    rng = np.random.default_rng(seed)
    while True:
        chosen = rng.choice(len(task.edits.knobs), int(rng.integers(1, 4)), replace=False)
        knobs = [task.edits.knobs[index] for index in sorted(chosen)]
        values = {k.name: k.values[int(rng.integers(len(k.values)))] for k in knobs if k.kind != "patch"}
        try:
            yield task.edits.apply(
                task.baseline(), Edit(values, apply=tuple(k.name for k in knobs if k.kind == "patch"))
            )
        except EditError:
            continue


@contextmanager
def load(processes: int) -> Iterator[None]:
    """So many processes that compute, ended by their own ids."""
    started = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def use(outcome: Outcome, seed: int | None = None) -> CpuUse:
    return CpuUse(outcome.training_seconds, outcome.prediction_seconds, seed)


def verifications(trainer: Trainer, count: int, seed: int) -> Iterator[tuple[Outcome, Outcome, Outcome]]:
    """(experiment, first training, what was made of it) of honest sources, ``count`` times; failures are left out."""
    streams, made = Streams.from_seed(seed), 0
    for number, source in enumerate(sources(trainer.task, seed)):
        known = streams.seed("search", "train", number)
        own = trainer.run(Spec(source, known))
        for k in range(TIMES if own.status == "ok" else 0):
            spec = Spec(source, streams.seed("confirmation", "verify", number, k), "confirmation")
            first = trainer.run(spec)
            if first.status == "ok":
                again = overrun([use(own)], first)
                yield own, first, verification(trainer, spec, [use(own, known)]) if again else first
                made += 1
            if made == count:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("number", type=int, nargs="?", default=5000, help="verifications")
    parser.add_argument("--load", type=int, default=0, help="processes that compute meanwhile")
    parser.add_argument("--seed", type=int, default=14, help="of sources and trainings")
    given = parser.parse_args()
    task, repeated = Task.load("strokes"), 0
    over: list[list[float | None]] = []
    refused: list[str] = []
    failed: list[str] = []  # for another reason when they were trained again
    loads: list[float] = []
    with tempfile.TemporaryDirectory() as folder, load(given.load):
        data = DataStore(task, Streams.from_seed(given.seed), Path(folder))
        with Trainer(task, data, cache=Cache(Path(folder) / "cache")) as trainer:
            for own, first, verified in verifications(trainer, given.number, given.seed):
                over.append([excess([use(own)], first, key) for key in ("training_seconds", "prediction_seconds")])
                repeated += bool(overrun([use(own)], first))
                refused += [verified.reason] if verified.reason.startswith("clock:") else []
                failed += (
                    [verified.reason] if verified.status != "ok" and not verified.reason.startswith("clock:") else []
                )
                loads.append(os.getloadavg()[0])
    figure("verifications", f"{len(over)} of strokes, load {np.mean(loads):.1f} ({min(loads):.1f} to {max(loads):.1f})")
    for name, values in zip(("training", "prediction"), np.array(over).T, strict=True):
        low, middle, high, most = np.quantile(values, (0.01, 0.5, 0.99, 1.0))
        shown = f"{low:.4f}, {middle:.4f}, {high:.4f}, {most:.4f}"
        figure(f"{name}_beyond_experiment", f"{shown} CPU-s (1%, 50%, 99%, most)")
    figure("repeated", f"{repeated} of {len(over)}")
    figure("refused", f"{len(refused)} of {len(over)}", "1 of 5000")
    figure("failed_when_repeated", f"{len(failed)} of {len(over)}")
    for text in (refused + failed)[:20]:
        print(f"  {text}")


if __name__ == "__main__":
    main()
