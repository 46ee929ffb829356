"""What sharing the luck of proposals between two programs would be worth: correlation of their gains, run by run.

python -m bench.pairing [RUNS]     on simulated tasks, 24 experiments a run

Arms of a match share run seeds, that is training seeds. Here both programs also draw their proposals from one seed
(`shared`), beside draws of their own (`own`). With a correlation r a paired comparison needs 1 - r times the runs.
`arena.match.kin_of` rests on this: arms share their luck where one charter field is all that differs.
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np

from bench.common import figure
from inner_loop.run import run
from programs.diff import diff
from programs.edit import set_charter
from programs.program import Program
from programs.shelf import starter
from trainer.data import DataStore
from trainer.experiment import Trainer
from trainer.planted import random_law, simulated_task, term
from trainer.simulated import trainer_for
from trainer.streams import Streams
from trainer.task import Task

LAWS, STREAMS = 4, Streams.from_seed(1)


def gain(task: Task, trainer: Trainer, program: Program, luck: str, seed: int) -> float:
    """The law's gain of what a run ends with; ``luck`` settles its proposals, ``seed`` its training."""
    ended = run(program, trainer, run_id=luck, run_seed=seed, streams=STREAMS, budget_seconds=task.run_budget,
                emit=lambda _: None, folder=None)  # fmt: skip
    assert task.law is not None
    before, after = (
        task.law.simulate(task.edits.config(s), s.source_id, seed=1, stream="reserve", fraction=1.0, block="").metric
        for s in (task.baseline(), ended.final)
    )
    return task.sign * (float(before or 0.0) - float(after or 0.0))


def pairs(task: Task) -> dict[str, tuple[Program, Program]]:
    """Near-identical programs first, then strangers."""
    assert task.law is not None
    stock, local = starter("stock"), starter("local")
    gains = task.law.effects
    good = sorted((change for change in gains if gains[change] > 0), key=lambda change: -gains[change])[:12]
    queue = starter("idea-queue").text.split("## Ideas")[0] + "## Ideas\n\n"
    ideas = [f"- Try `{term(change)}`.\n" for change in good]
    shares = set_charter(local.text, "proposers", {"local": 0.75, "random": 0.25})
    return {
        "a field that acts rarely": (stock, Program.parse(set_charter(stock.text, "no_repeat", True), "b")),
        "shares of proposers": (local, Program.parse(shares, "b")),
        "one idea of twelve": (Program.parse(queue + "".join(ideas), "a"),
                               Program.parse(queue + "".join(ideas[:5] + ideas[6:]), "b")),
        "strangers": (stock, local),
    }  # fmt: skip


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    correlations: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    changes: dict[str, int] = {}
    for law in range(LAWS):
        with tempfile.TemporaryDirectory() as name:
            task = Task.load(simulated_task(random_law(law), Path(name) / "task"))
            trainer = trainer_for(task, DataStore(task, STREAMS, Path(name) / "data"))
            for kind, (a, b) in pairs(task).items():
                ours = [gain(task, trainer, a, f"r{i}", i) for i in range(runs)]
                same = [gain(task, trainer, b, f"r{i}", i) for i in range(runs)]
                own = [gain(task, trainer, b, f"s{i}", i) for i in range(runs)]
                correlations[kind].append((float(np.corrcoef(ours, same)[0, 1]), float(np.corrcoef(ours, own)[0, 1])))
                apart = diff(a, b)
                changes[kind] = len(apart.added) + len(apart.removed) + len(apart.changed)
    for kind, rs in correlations.items():
        shared, alone = (" ".join(f"{pair[k]:.2f}" for pair in rs) for k in (0, 1))
        figure(
            kind, f"shared {shared}; own {alone}; {runs} runs on each of {LAWS} laws; {changes[kind]} directives differ"
        )


if __name__ == "__main__":
    main()
