"""Tries every other value of every knob once, in the task's order, and keeps what is better: a plain baseline."""

from __future__ import annotations

from inner_loop.bench import Bench
from inner_loop.comparison import gain_over
from inner_loop.events import Proposal
from inner_loop.moves import others
from inner_loop.run_context import RunContext
from inner_loop.scripted.keep.better import verdict
from programs.program import Program
from trainer.task import Task


class Sweep:
    """It does not read the program. The bench raises BudgetSpent when the run is over."""

    def work(self, bench: Bench) -> None:
        for knob in bench.task.edits.knobs:
            for move in others(knob, bench.head.config):
                head = bench.head
                candidate = bench.experiment(Proposal(move.edit, parent=head))
                found = verdict(gain_over(bench, candidate, head), 0.0, bench.task.unit)
                bench.decide(candidate, "keep" if found.keep else "discard", found.reason)
                if found.keep:
                    bench.move_head(candidate)


def make(program: Program, task: Task, seed: int, context: RunContext) -> Sweep:
    return Sweep()
