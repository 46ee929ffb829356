"""The outer loop: race programs, estimate what caused the gain, write better ones, confirm the best on fresh seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np

from analysis.ledger.writing_events import GenerationEvent
from analysis.report.evidence import Evidence
from analysis.report.evidence_text import RowIds, page
from analysis.study import read_study
from arena.arms import Entry
from arena.drain import drain_on_interrupt
from arena.executor import ClosingExecutor, Executor, Progress
from arena.executors import executor_of
from arena.race import RACE_RULES, RaceStart, Stage
from arena.study import Study
from arena.task_set import TaskSet, evidence_of
from arena.task_study import tasks_of
from meta.archive import Archive, not_behind, runs_by_seed
from meta.breed import breed, write_down
from meta.champion import crown
from meta.claim import Champion, Claim
from meta.confirmation import FINAL, best_scripts, confirm, kept_apart
from meta.expected_gain import ExpectedGain
from meta.kinds.plan import RACE_RULE, TURNS, Plan
from meta.lineage import Lineage, admit
from meta.mutators.llm.author import Author
from meta.mutators.mix import Mix, named_operators
from meta.night import night_seen, play_night
from meta.novelty import novelty_on
from meta.population import descendants, entries
from meta.reserve import confirm_on_reserved
from meta.steering import allowed, given, take_in, vetoed
from programs.program import Program
from programs.shelf import in_library, starter


def evolve(study: Study, plan: Plan, starters: Sequence[Program], progress: Progress) -> Champion:
    """Run a study, from wherever it stopped, to its champion."""
    epoch = int(datetime.fromisoformat(study.config.created_at).timestamp())
    with study, drain_on_interrupt(study, progress), Lineage(study.folder / "programs.git", epoch) as lineage:
        with executor_of(study, progress) as executor:
            if plan.night:
                return night(study, plan, starters, executor, lineage, progress)
            champion, claim = search(study, plan, starters, executor, lineage, progress)
            best_scripts(TaskSet.of(study), executor, plan, progress)

        def at(reserved: TaskSet) -> ClosingExecutor:
            return executor_of(study, progress, reserved.studies)

        held_out = confirm_on_reserved(study, at, lineage, champion, claim, plan, progress)
        progress({"kind": "note", "text": "computing the verdict, its evidence and champion.md"})
        return crown(study, lineage, champion, claim, held_out)


def search(
    study: Study, plan: Plan, starters: Sequence[Program], executor: Executor, lineage: Lineage, progress: Progress
) -> tuple[Program, Claim]:
    """The opening race, the generations, and the confirmation of the best program."""
    loop = Evolution(study, plan, executor, lineage, progress)
    loop.open(starters)
    for generation in range(1, plan.generations + 1):
        loop.advance(generation)
    champion = loop.best()
    return champion, confirm(TaskSet.of(study), executor, lineage, champion, plan, progress)


def night(
    study: Study, plan: Plan, starters: Sequence[Program], executor: Executor, lineage: Lineage, progress: Progress
) -> Champion:
    """All programs take turns on one lineage, in one run; then `main` is measured, and what each program did."""
    Evolution(study, plan, executor, lineage, progress).admit(starters)
    play_night(study, executor, progress)
    progress({"kind": "note", "text": "computing what each program contributed"})
    seen = night_seen(study, lineage, progress)
    admit(study, lineage, seen.following, 0, "next", [seen.parent.program_id], "for the next night")
    return crown(study, lineage, seen.following, seen.claim, night=seen)


@dataclass
class Evolution:
    """The generations of one study."""

    study: Study
    plan: Plan
    executor: Executor
    lineage: Lineage
    progress: Progress

    def __post_init__(self) -> None:
        self.tasks = TaskSet.of(self.study)
        self.novelty = novelty_on(tasks_of(self.study))
        self.author = Author(self.study, self.plan.children, self.progress)
        self.own: str | None = self.study.config.plan.get("origin")
        self.twins: dict[str, str] = {}  # starters that behave like an earlier one and were not run

    def open(self, starters: Sequence[Program]) -> None:
        """Generation 0: admit the starters and race those that behave differently, with stock twice (A/A). A program
        that is `kept_apart` runs in the confirmation only."""
        self.admit(starters)
        entered, self.twins = entries(self.listed(self.study.state.generations[0].program_ids), self.novelty)
        for later, first in self.twins.items():
            names = [self.study.state.programs[program_id].name for program_id in (later, first)]
            note = f"{names[0]} is not run, because it behaves exactly like {names[1]} on the tasks of this study"
            self.progress({"kind": "note", "text": note})
        self.race("opening", [*entered, Entry(starter("stock"), "a/a")], self.plan.opening, 0)

    def admit(self, starters: Sequence[Program]) -> None:
        if 0 in self.study.state.generations:
            return
        for program in starters:
            operator, parents = self.origin_of(program)
            admit(self.study, self.lineage, program, 0, operator, parents, operator)
        apart = kept_apart(self.study, self.plan)
        self.close_generation(0, [one for one in starters if one.program_id != apart], ())

    def origin_of(self, program: Program) -> tuple[str, tuple[str, ...]]:
        """Operator and parents of a starter. The one with ideas learnt on measured tasks is written from the user's;
        so was the champion of a past study of the user's program."""
        config, program_id, own = self.study.config, program.program_id, (self.own,) if self.own else ()
        if (past := config.from_study) and program_id == past.program_id != self.own:
            return "past-champion", own if self.own == past.origin else ()
        if config.knowledge and program_id == config.knowledge.program_id:
            return "knowledge", own
        takes_turns = program_id in config.plan.get(TURNS, [])[1:]
        if own and takes_turns and not in_library(program):
            return "other-search", own
        return "starter", ()

    def advance(self, generation: int) -> None:
        """Write children from the evidence, then race them beside the elites, which run again."""
        if generation not in self.study.state.generations:
            self.write(generation)
        closed = self.study.state.generations[generation]
        children, elites = self.listed(closed.program_ids), self.listed(closed.elite_ids)
        for child in children:
            self.novelty.meet(child)
        racers = [Entry(program) for program in [*children, *elites]]
        self.race(f"generation-{generation}", racers, self.plan.generation, generation)

    def write(self, generation: int) -> None:
        """The children of a generation, and the old programs that are raced beside them.

        These are the possible parents, so that every child is compared with parents in the same match; the incumbent is
        always one of them.
        """
        archive, facts = self.archive()
        wishes, own = take_in(self.study, generation), self.lineage_of_own()
        rng = np.random.default_rng(self.study.streams.seed("search", "stock", generation))
        archive = allowed(self.study, archive).breeding_stock(rng, self.plan.elites, self.plan.child_runs, own)
        writers = self.author.writers(generation, facts)
        mix = Mix(named_operators(self.study.config.plan.get("operators", ())), writers, generation - 1)
        steered = [given(wish, self.study, self.novelty) for wish in wishes if wish.what == "program"]
        bred = breed(
            self.study,
            archive,
            facts,
            self.novelty,
            mix,
            generation=generation,
            count=max(0, self.plan.children - sum(not one.refusal for one in steered)),
            first_among=own,
            gate=partial(vetoed, self.study),
            worth=self.worth(facts),
        )
        children = write_down(self.study, self.lineage, [*steered, *bred], generation)
        folder = self.study.folder / "evidence"  # for people to read
        folder.mkdir(exist_ok=True)
        (folder / f"generation-{generation}.md").write_text(page(facts, RowIds(whole=True)), encoding="utf-8")
        self.close_generation(generation, children, self.listed(archive.runners()))

    def worth(self, facts: Evidence) -> Callable[[Program, Program], str] | None:
        """Why a child is not worth a race beside its parent, by what the study knows; None where that says nothing of
        its runs: with several tasks, or where a model follows the program."""
        fitted = facts.effects is not None and facts.effects.fitted is not None
        if not fitted or self.tasks.several or self.novelty.researcher != "scripted":
            return None
        return ExpectedGain(self.tasks.tasks[0], facts).problem

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
        among = self.lineage_of_own() or [p for p in archive.programs if p != stock]
        ranked = archive.best(among) or archive.best()
        with read_study(self.study.folder, views=()) as con:
            pairs = runs_by_seed(con)
        possible = archive.programs.keys() & set(among)  # a parent that was vetoed is no champion either
        parents = {p: row.parent_ids for p, row in self.study.state.programs.items()}
        return archive.programs[not_behind(ranked[0].program_id, parents, possible, pairs)]

    def race(self, label: str, racers: Sequence[Entry], stages: Sequence[Stage], generation: int) -> None:
        """Play the matches of a race or generation; its runs are divided by halving."""
        purpose = "generation" if generation else "race"
        tasks = self.tasks
        matches = tasks.enter(label, racers, purpose=purpose, stream="selection", generation=generation)
        arms, (first, best) = {arm.arm_id: arm.raced for arm in matches[0].arms}, stages
        raced = sum(arms.values())
        keep = raced if best.keep is None else min(best.keep, raced)
        most = raced * first.runs + keep * max(0, best.runs - first.runs)
        seed, config = self.study.streams.seed("search", "race", label), self.study.config
        start = RaceStart(arms, first.runs, keep, best.runs, most, config.workers, seed)
        racer = RACE_RULES.get(RACE_RULE)(start)
        tasks.play(self.executor, matches, racer, self.progress)

    def archive(self) -> tuple[Archive, Evidence]:
        """The posterior of every program that ran, and the evidence, from the ledger as it is now."""
        # A confirmation may not influence the choice of the champion, not even after a resume.
        last = [m for m, event in self.study.state.matches.items() if event.purpose in FINAL]
        with read_study(self.study.folder, views=()) as con:
            facts = evidence_of(self.study, con, last)
        bred = Counter(p for m in self.study.state.mutations if m.accepted for p in m.parent_ids)
        # The user's own program may be a parent even if it behaves like another one and was not run.
        twins = {later: first for later, first in self.twins.items() if later == self.own}
        known = [*(score.program_id for score in facts.programs), *twins]
        return Archive({p: self.study.program(p) for p in known}, facts.programs, bred, twins), facts

    def close_generation(self, number: int, children: Sequence[Program], elites: Sequence[Program]) -> None:
        """Record the programs of a generation at once, so that a resumed study does not propose again."""
        ids = [tuple(program.program_id for program in programs) for programs in (children, elites)]
        self.study.record(GenerationEvent(generation=number, program_ids=ids[0], elite_ids=ids[1]))

    def listed(self, program_ids: Iterable[str]) -> list[Program]:
        return [self.study.program(p) for p in program_ids]

    def lineage_of_own(self) -> list[str] | None:
        """Ids of the user's own program and its descendants; None if the study does not improve a given program."""
        return None if self.own is None else descendants(self.own, self.study.state.programs)
