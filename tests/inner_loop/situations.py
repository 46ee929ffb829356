"""Situations for proposers: a bench with some history, seen as the scripted researcher shows it."""

from __future__ import annotations

from collections.abc import Sequence

from inner_loop.bench import Bench
from inner_loop.contracts import Situation
from inner_loop.events import Experiment, Proposal
from inner_loop.scripted.surroundings import Surroundings
from programs.charter import Charter
from tests.inner_loop.play import open_bench
from trainer.edits import Edit
from trainer.experiment import Trainer


def tried(trainer: Trainer, steps: Sequence[tuple[Edit, str]]) -> Bench:
    """A bench on which these edits of the head were tried in full and decided as said."""
    bench, _ = open_bench(trainer, 40)
    for edit, decision in steps:
        bench.decide(bench.experiment(Proposal(edit)), decision, "for the test")
    return bench


def seen(bench: Bench, parent: Experiment | None = None, **charter: object) -> Situation:
    return Surroundings(Charter.model_validate(charter), bench.task.edits).situation(bench, parent or bench.head)
