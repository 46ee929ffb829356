"""Streaming against chunks on the same text, from the same kind of process: `python -m bench.scoring [TASK] [-n 9]`.

Prints medians of wall seconds over alternating repetitions, their ratio, and the difference in bits per byte.
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
from tests.forked import ForkedReferee
from trainer.data import DataStore
from trainer.language_model import LanguageModel, Text
from trainer.streams import Streams
from trainer.task import Task

GOAL = 2.5  # times the chunks' time that streaming may take

_SOURCE = """
import sys
sys.path.insert(0, {folder!r})
{text}
_load = load
load = lambda path: _load(path) if path else GPT().eval()
"""


def seconds(function: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = function()
    return time.perf_counter() - began, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", nargs="?", default="tinylm")
    parser.add_argument("-n", type=int, default=9)
    given = parser.parse_args()
    task = Task.load(given.task)
    scorer = LanguageModel(task.scoring)
    source = _SOURCE.format(folder=str(task.folder), text=task.baseline().text())
    with tempfile.TemporaryDirectory() as folder:
        split = DataStore(task, Streams.from_seed(1), Path(folder)).split("search")
        referee = ForkedReferee(source, split, split, task.scoring["classes"], chunk=task.scoring["chunk"])
        text = Text.read(split).head(scorer.stream_bytes)
        ways = {
            "chunks": lambda: scorer.losses(referee.predict(text.inputs), text.targets),
            "streaming": lambda: scorer.streamed(referee, text),
        }
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.n + 1):
            scores = {}
            for name, way in ways.items():
                took, losses = seconds(way)
                times[name].append(took)
                scores[name] = text.bits_per_byte(losses)
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}  # the first warms up
    figure("text", f"{text.inputs.shape[0]} rows of {text.inputs.shape[1]} symbols, {int(text.sizes.sum())} bytes")
    for name, median in medians.items():
        figure(f"{name}_wall_s", f"{median:.4f}")
    figure("streaming_against_chunks", f"{medians['streaming'] / medians['chunks']:.2f}", f"<= {GOAL}")
    figure("difference_bpb", f"{abs(scores['chunks'] - scores['streaming']):.2e}")


if __name__ == "__main__":
    main()
