"""Streaming against chunks on the same text, from the same kind of process: `python -m bench.scoring [TASK] [-n 9]`.

A baseline is trained for a few steps; then both ways take turns. Prints medians of wall seconds from the start of a
process to its last loss, their ratio, the difference in bits per byte, and what a verified score takes more than a
scored one.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.common import figure
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.scorers.language_model import LanguageModel, Text
from trainer.scoring import Referee, Score
from trainer.streams import Stream, Streams
from trainer.task import Task

GOAL = 2.5  # times the chunks' time that streaming may take


class Timed(LanguageModel):
    """Scores a checkpoint in turns by chunks and by streaming, and keeps the clock."""

    def __init__(self, scoring: dict[str, Any], repetitions: int) -> None:
        super().__init__(scoring)
        self.repetitions = repetitions
        self.seconds_of: dict[str, list[float]] = {}
        self.bits_of: dict[str, float] = {}

    def score(self, referee: Referee) -> Score:
        text = Text.read(referee.split).head(self.stream_bytes)
        ways: dict[str, Callable[[], Any]] = {
            "chunks": lambda: self.losses(referee.predict(text.inputs), text.targets),
            "streaming": lambda: self.streamed(referee, text),
        }
        for _ in range(self.repetitions + 1):
            for name, way in ways.items():
                began = time.perf_counter()
                losses = way()
                self.seconds_of.setdefault(name, []).append(time.perf_counter() - began)
                self.bits_of[name] = text.bits_per_byte(losses)
        rows, symbols = text.inputs.shape
        figure("text", f"{rows} rows of {symbols} symbols, {int(text.sizes.sum())} bytes")
        return Score(self.bits_of["streaming"], "scored")


def whole(trainer: Trainer, stream: Stream, repetitions: int) -> float:
    """Median CPU-seconds of an experiment of ten steps with its score; ``stream`` says which kind of score."""
    spec = Spec(trainer.task.baseline(), 1, stream, fraction=10 / trainer.task.steps)
    outcomes = [trainer.run(spec) for _ in range(repetitions)]
    bad = [outcome.reason for outcome in outcomes if outcome.status != "ok"]
    if bad:
        raise SystemExit(bad[0])
    return statistics.median(outcome.spent_seconds for outcome in outcomes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="?", default="tinylm")
    parser.add_argument("-n", type=int, default=9)
    given = parser.parse_args()
    task = Task.load(given.task)
    with tempfile.TemporaryDirectory() as folder:
        data = DataStore(task, Streams.from_seed(1), Path(folder))
        with Trainer(task, data, fixed_steps=True) as trainer:
            usual, timed = trainer.scorer, Timed(task.scoring, given.n)
            trainer.scorer = timed
            whole(trainer, "search", 1)
            trainer.scorer = usual
            verified = whole(trainer, "confirmation", 3) - whole(trainer, "search", 3)
    medians = {name: statistics.median(seconds[1:]) for name, seconds in timed.seconds_of.items()}  # the first warms up
    for name, median in medians.items():
        figure(f"{name}_wall_s", f"{median:.4f}")
    figure("streaming_against_chunks", f"{medians['streaming'] / medians['chunks']:.2f}", f"<= {GOAL}")
    figure("difference_bpb", f"{abs(timed.bits_of['chunks'] - timed.bits_of['streaming']):.2e}")
    figure("verified_over_scored_cpu_s", f"{verified:.3f}")


if __name__ == "__main__":
    main()
