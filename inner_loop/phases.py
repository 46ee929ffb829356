"""The phases of a run: the proposers and rules that a program asks for while a share of the budget is being spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inner_loop import keep, proposers
from inner_loop.behaviour import resolved_ideas
from inner_loop.bench import Bench
from inner_loop.citations import Citations
from inner_loop.contracts import KeepRule, Proposer
from inner_loop.trials import Trials
from programs.charter import Charter, Keep
from programs.program import Program
from trainer.task import Task


@dataclass(frozen=True)
class RunPhase:
    """``until``: the share of the run's budget that is charged when it ends. ``because``: cited for proposals that cite
    nothing themselves."""

    until: float
    charter: Charter
    citations: Citations
    because: tuple[str, ...]
    proposer: Proposer
    rule: KeepRule
    trials: Trials


def run_phases(program: Program, task: Task) -> list[RunPhase]:
    """The phases of a program, at least one. A proposer or keep rule that several phases ask for is made once and keeps
    its memory, so the queue goes on where it was."""
    charters, citations = program.charter.by_phase(), Citations(program)
    given = [phase.overrides for phase in program.charter.phases] or [{}]
    inner = [citations.within(overrides) for overrides in given]
    because = [cited.cite("proposers", "focus") for cited in inner]
    mixtures = proposers.make_each(
        [charter for _, charter in charters],
        resolved_ideas(program, task),
        because[0] if len(because) == 1 else (),
        program.program_id,
    )
    rules: dict[Keep, KeepRule] = {}
    phases = []
    for at, (until, charter) in enumerate(charters):
        rule = rules.setdefault(charter.keep, keep.make(charter.keep, inner[at]))
        trials = Trials(charter, rule, inner[at])
        phases.append(RunPhase(until, charter, inner[at], because[at], mixtures[at], rule, trials))
    return phases


def current(phases: Sequence[RunPhase], bench: Bench) -> RunPhase:
    """The phase by the charges of the run's recorded experiments, so that a resumed run is in the same one."""
    spent = bench.meter.charged / bench.budget_seconds
    return next((phase for phase in phases if spent < phase.until), phases[-1])
