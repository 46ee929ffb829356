"""The outer loop: race programs, estimate what caused the gain, write better ones, confirm the best on fresh seeds.

What a study has beside it, such as models that write programs, pages and nights, is played by `meta.kinds.play_study`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from analysis.evidence.task_evidence import Evidence
from analysis.ledger.writing_events import GenerationEvent
from analysis.study import read_study
from analysis.verdict.claim import Claim
from arena.arms import Entry
from arena.race import RACE_RULES, RaceStart
from arena.study.study import Study
from arena.study.task_set import TaskSet, evidence_of
from arena.study.task_study import tasks_of
from arena.work.executor import Executor, Progress
from meta.archive import Archive, not_behind, runs_by_seed
from meta.breed import Refusal, breed, write_down
from meta.confirmation import FINAL, confirm, kept_apart
from meta.kinds.plans import EvolvePlan, Race
from meta.mutators.base import ModelMutator
from meta.mutators.mix import Mix, named_operators
from meta.novelty import Novelty, novelty_on
from meta.population import admit_starters, descendants, entries
from meta.steering import allowed, given, take_in, vetoed
from programs.program import Program
from programs.shelf import starter

Writers = Callable[[int, Evidence], Sequence[ModelMutator]]
Worth = Callable[[Evidence], Refusal | None]


def search(
    study: Study,
    plan: EvolvePlan,
    executor: Executor,
    progress: Progress,
    *,
    writers: Writers = lambda generation, facts: (),
    worth: Worth = lambda facts: None,
) -> tuple[Program, Claim]:
    """Play a study, from wherever it stopped, to its champion and the claim about it: the opening race, the
    generations, and the confirmation of the best program.

    ``writers``: the mutators with models, by generation and its evidence. ``worth``: by the evidence, what says why a
    child is not worth a race beside its parent. Raises Drained where a stop was requested.
    """
    evolution = Evolution(study, plan, executor, progress, writers, worth)
    evolution.race_starters()
    for generation in range(1, plan.generations + 1):
        evolution.race_children(generation)
    champion = evolution.best()
    return champion, confirm(evolution.tasks, executor, champion, plan, progress)


@dataclass
class Evolution:
    """The generations of one study; see `search`."""

    study: Study
    plan: EvolvePlan
    executor: Executor
    progress: Progress
    writers: Writers = lambda generation, facts: ()
    worth: Worth = lambda facts: None
    tasks: TaskSet = field(init=False)
    novelty: Novelty = field(init=False)
    twins: dict[str, str] = field(init=False, default_factory=dict)  # starters that behave like one that runs

    def __post_init__(self) -> None:
        self.tasks = TaskSet.of(self.study)
        self.novelty = novelty_on(tasks_of(self.study))

    def race_starters(self) -> None:
        """Generation 0: race the starters that behave differently, with stock twice (A/A)."""
        admit_starters(self.study, self.plan.origin, apart=kept_apart(self.study, self.plan))
        starters = self.programs(self.study.state.generations[0].program_ids)
        entered, self.twins = entries(starters, self.novelty)
        for later, first in self.twins.items():
            names = [self.study.state.programs[program_id].name for program_id in (later, first)]
            note = f"{names[0]} is not run, because it behaves exactly like {names[1]} on the tasks of this study"
            self.progress({"kind": "note", "text": note})
        self.race("opening", [*entered, Entry(starter("stock"), "a/a")], self.plan.opening, 0)

    def race_children(self, generation: int) -> None:
        """Write children from the evidence, then race them beside the elites, which run again."""
        if generation not in self.study.state.generations:
            self.write_children(generation)
        closed = self.study.state.generations[generation]
        children, elites = self.programs(closed.program_ids), self.programs(closed.elite_ids)
        for child in children:
            self.novelty.meet(child)
        racers = [Entry(program) for program in [*children, *elites]]
        self.race(f"generation-{generation}", racers, self.plan.generation, generation)

    def write_children(self, generation: int) -> None:
        """Write the children of a generation, and choose the old programs that are raced beside them. One event records
        both, so that a resumed study does not propose again.

        The old programs are the possible parents, so that every child is compared with parents in the same match; the
        incumbent is always one of them.
        """
        study, lineage = self.study, self.user_lineage()
        archive, facts = self.archive()
        requests = take_in(study, generation)
        rng = np.random.default_rng(study.streams.seed("search", "stock", generation))
        stock = allowed(study, archive).breeding_stock(rng, self.plan.elites, self.plan.generation.runs, lineage)
        mix = Mix(named_operators(self.plan.operators), self.writers(generation, facts), generation - 1)
        steered = [given(request, study, self.novelty) for request in requests if request.what == "program"]
        bred = breed(
            study,
            stock,
            facts,
            self.novelty,
            mix,
            generation=generation,
            count=max(0, self.plan.children - sum(not attempt.refusal for attempt in steered)),
            first_among=lineage,
            gate=partial(vetoed, study),
            worth=self.worth(facts),
        )
        children = tuple(child.program_id for child in write_down(study, [*steered, *bred], generation))
        study.record(GenerationEvent(generation=generation, program_ids=children, elite_ids=tuple(stock.runners())))

    def best(self) -> Program:
        """The program of highest posterior gain that may become the champion: any but stock; but its parent, where
        that gained as much on the run seeds of the matches in which both ran.

        After its confirmation has begun, the champion is fixed, because that stream is used once.
        """
        for arm in self.study.state.arms("confirmation"):
            if arm.role == "champion":
                return self.study.program(arm.program_id)
        archive = allowed(self.study, self.archive()[0])
        stock = starter("stock").program_id
        among = self.user_lineage() or [program_id for program_id in archive.programs if program_id != stock]
        ranked = archive.best(among) or archive.best()
        with read_study(self.study.folder, views=()) as con:
            pairs = runs_by_seed(con)
        possible = archive.programs.keys() & set(among)  # a parent that was vetoed is no champion either
        parents = {program_id: row.parent_ids for program_id, row in self.study.state.programs.items()}
        return archive.programs[not_behind(ranked[0].program_id, parents, possible, pairs)]

    def race(self, label: str, racers: Sequence[Entry], race: Race, generation: int) -> None:
        """Play the matches of a race or generation; its runs are divided by halving."""
        purpose = "generation" if generation else "race"
        matches = self.tasks.enter(label, racers, purpose=purpose, stream="selection", generation=generation)
        arms = {arm.arm_id: arm.raced for arm in matches[0].arms}
        raced = sum(arms.values())
        keep, most = min(race.keep, raced), race.most_runs(raced)
        seed, workers = self.study.streams.seed("search", "race", label), self.study.config.workers
        racer = RACE_RULES.get("halving")(RaceStart(arms, race.runs, keep, race.more, most, workers, seed))
        self.tasks.play(self.executor, matches, racer, self.progress)

    def archive(self) -> tuple[Archive, Evidence]:
        """The posterior of every program that ran, and the evidence, from the ledger as it is now."""
        # A confirmation may not influence the choice of the champion, not even after a resume.
        last = [match_id for match_id, event in self.study.state.matches.items() if event.purpose in FINAL]
        with read_study(self.study.folder, views=()) as con:
            facts = evidence_of(self.study, con, last)
        accepted = [mutation for mutation in self.study.state.mutations if mutation.accepted]
        children = Counter(parent_id for mutation in accepted for parent_id in mutation.parent_ids)
        # The user's own program may be a parent even if it behaves like another one and was not run.
        twins = {later: first for later, first in self.twins.items() if later == self.plan.origin}
        known = [*(score.program_id for score in facts.programs), *twins]
        programs = {program_id: self.study.program(program_id) for program_id in known}
        return Archive(programs, facts.programs, children, twins), facts

    def programs(self, program_ids: Iterable[str]) -> list[Program]:
        return [self.study.program(program_id) for program_id in program_ids]

    def user_lineage(self) -> list[str] | None:
        """Ids of the user's own program and its descendants; None if the study does not improve a given program."""
        return descendants(self.plan.origin, self.study.state.programs) if self.plan.origin else None
