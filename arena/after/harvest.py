"""Harvest: the best train.py that the experiments of a study allow, found by a last search and measured afresh.

The search starts from the best edits by the mixed model of all experiments and from the best final sources of all runs,
and goes on from the best of what it has trained (`inner_loop.scripted.proposers.elite`). Each training has its own
seed and is scored on the split that runs see. The finalists are trained again and chosen among by the split
`selection`; the winner is trained once more, and its gain is measured on the split `confirmation`. So neither the seeds
nor the data behind the announced figure chose anything.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from analysis.effects.experiments import edit_effects
from analysis.ledger.events import MOST_DRIFT, HarvestEvent, HarvestExperimentEvent, VerificationEvent
from analysis.statistics import Estimate
from analysis.study import read_study
from analysis.views.scope import Scope
from analysis.views.tables import rows, statement
from arena.audit.verify_study import final_source
from arena.measuring import gain_estimate, measure_baseline, recorded, split_of, train, untouched_metrics
from arena.study.setup import CHOOSING_SEEDS, FINALISTS, FRESH_SEEDS
from arena.study.task_study import TaskStudy
from arena.work.clock_rule import CpuUse, own_experiments
from arena.work.executor import Executor
from arena.work.jobs import MeasureJob, Measurement
from inner_loop.scripted.proposers.elite import PARENTS, elite_edit
from trainer.edits import Edit, EditError, Value
from trainer.source import Source
from trainer.streams import Stream
from trainer.task import Task
from trainer.trust import weakest

HARVEST = "harvest"
WAVE = 4  # children of the same parents, trained side by side
STARTS = 8  # final sources of runs
MOST_TOLD = 1e6  # SD of a drift: equal measurements have an SD of 0
_TRIES = 50  # draws of a child that was not trained before


@dataclass(frozen=True)
class HarvestCandidate:
    """A source to train; ``edit``: of the source ``parent_source_id``, else of the untouched one."""

    source: Source
    origin: str
    edit: Edit
    parent_source_id: str | None = None
    from_run: str | None = None


Starts = Callable[[], list[HarvestCandidate]]


def harvest(on: TaskStudy, executor: Executor, experiments: int) -> HarvestEvent:
    """Search with the device time of ``experiments``, verification included, measure and record, once per task.

    Raises Drained where the study is stopped meanwhile.
    """
    return Search(on, executor, HARVEST).winner(experiments * on.task.cost_seconds, lambda: starts(on))


def best_final(on: TaskStudy, executor: Executor) -> HarvestEvent | None:
    """In place of a harvest, of a night: the final source of its run, as the run's verifications measure it, which
    chose nothing. None where it is the untouched source. Raises Drained."""
    ended = on.state.harvests.get((on.task.name, HARVEST))
    with read_study(on.folder, views=()) as con:
        runs = rows(con.execute(statement("other/harvest_runs"), {"task": on.task.name, "most": STARTS}))
    better = [row for row in runs if row["final_source_id"] != on.task.baseline().source_id]
    if ended is not None or not better:
        return ended
    search, winner = Search(on, executor, HARVEST), final_of(on, better[0])
    verified = [
        event for event in on.state.run(better[0]["run_id"]).verifications.values() if event.stream == "confirmation"
    ]
    event = search.event(winner, verified, experiments=0, finalists=len(better), chosen_by=better[0]["claimed"])
    failed = event.failed + sum(outcome.status != "ok" for outcome in verified)
    event = replace(event, failed=failed, trust=weakest([event.trust, *(outcome.trust for outcome in verified)]))
    on.record(event)
    return event


def final_of(on: TaskStudy, row: Mapping[str, str]) -> HarvestCandidate:
    """The final source of a run; ``row``: of the query `harvest_runs`."""
    source = final_source(on.study, row["run_id"], row["final_source_id"], on.task)
    edit = on.task.edits.between(on.task.edits.config(on.task.baseline()), on.task.edits.config(source))
    return HarvestCandidate(source, "run", edit, from_run=row["run_id"])


def starts(on: TaskStudy) -> list[HarvestCandidate]:
    """The mixed model's best configurations and the best final sources of runs, each source once."""
    with read_study(on.folder, views=()) as con:
        runs = rows(con.execute(statement("other/harvest_runs"), {"task": on.task.name, "most": STARTS}))
        apart = con.execute("SELECT match_id FROM matches WHERE purpose = 'ablation'").fetchall()
        effects = edit_effects(Scope(con, on.task.name, tuple(match_id for (match_id,) in apart))).edits()
    bundles = (best_edits(on.task, effects), best_edits(on.task, effects, certain=True))
    candidates = [HarvestCandidate(source, "model", edit) for source, edit in bundles if edit]
    candidates += [final_of(on, row) for row in runs]
    first = {candidate.source.source_id: candidate for candidate in reversed(candidates)}
    once = [start for start in candidates if first[start.source.source_id] is start]
    return once or [untouched(on.task)]


def untouched(task: Task) -> HarvestCandidate:
    return HarvestCandidate(task.baseline(), "untouched", Edit())


def best_edits(task: Task, effects: dict[tuple[str, str], Estimate], certain: bool = False) -> tuple[Source, Edit]:
    """The untouched source with the value of each knob that has the best posterior mean, if that is a gain.

    ``certain``: only values whose 95% interval is above zero. An edit that conflicts with better ones is left out.
    """
    best: dict[str, tuple[float, Edit]] = {}
    for knob in task.edits.knobs:
        for (name, text), effect in effects.items():
            value = knob.legal(json.loads(text)) if name == knob.name.lower() else None
            least = (effect.low or 0.0) if certain else effect.or_zero
            if value is None or least <= 0.0 or effect.or_zero <= best.get(knob.name, (0.0, None))[0]:
                continue
            single = Edit({}, (knob.name,)) if knob.kind == "patch" else Edit({knob.name: value})
            best[knob.name] = effect.or_zero, single
    baseline = source = task.baseline()
    for _, edit in sorted(best.values(), key=lambda pair: -pair[0]):
        try:
            source = task.edits.apply(source, edit)
        except EditError:
            continue
    return source, task.edits.between(task.edits.config(baseline), task.edits.config(source))


class Trainings:
    """The trainings of one search on one task. What the ledger has of it is not trained again."""

    def __init__(self, on: TaskStudy, executor: Executor, name: str) -> None:
        self.on = on
        self.task = on.task
        self.executor = executor
        self.name = name
        self.known = on.state.harvested[on.task.name, name]

    def train(
        self,
        stage: str,
        stream: Stream,
        first: int,
        trainings: Sequence[tuple[HarvestCandidate, int]],
        splits: Mapping[int, str] = MappingProxyType({}),
    ) -> list[HarvestExperimentEvent]:
        """Train those that the ledger does not have, and record each. ``splits``: seed → its hidden split, where that
        is not the study's own. Raises Drained."""
        numbered = dict(enumerate(trainings, first))
        wanted = {
            (stage, number): MeasureJob(
                f"{self.name}-{self.task.name}-{stage}-{number}",
                candidate.source.files,
                stream,
                seed,
                task=self.on.task_id,
                own=self.own(candidate) if stream != "search" else (),
                split=splits.get(seed, ""),
            )
            for number, (candidate, seed) in numbered.items()
        }

        def event(key: tuple[str, int], measured: Measurement) -> HarvestExperimentEvent:
            split = wanted[key].split or None
            return self.experiment(numbered[key[1]][0], stage, stream, key[1], measured, split)

        return train(self.on, self.executor, wanted, self.known, event)

    def own(self, candidate: HarvestCandidate) -> tuple[CpuUse, ...]:
        """CPU that the candidate's experiments of the search used; without any, those of the run that ended with it."""
        source_id = candidate.source.source_id
        searched = (event for (stage, _), event in sorted(self.known.items()) if stage == "search")
        own_runs = own_experiments(searched, source_id)
        if own_runs or candidate.from_run is None:
            return own_runs
        return own_experiments(self.on.state.run(candidate.from_run).experiments.values(), source_id)

    def experiment(
        self,
        candidate: HarvestCandidate,
        stage: str,
        stream: Stream,
        number: int,
        measured: Measurement,
        split: str | None,
    ) -> HarvestExperimentEvent:
        return HarvestExperimentEvent(
            task=self.task.name,
            search=self.name,
            stage=stage,
            number=number,
            stream=stream,
            source_id=candidate.source.source_id,
            origin=candidate.origin,
            parent_source_id=candidate.parent_source_id,
            from_run=candidate.from_run,
            edit=candidate.edit,
            config=self.task.edits.config(candidate.source),
            device_seconds_charged=measured.charged_seconds,
            training_seconds=measured.training_seconds,
            prediction_seconds=measured.prediction_seconds,
            split=split,
            **recorded(measured),
        )


class Search(Trainings):
    """One search on one task."""

    def __init__(self, on: TaskStudy, executor: Executor, name: str) -> None:
        super().__init__(on, executor, name)
        # by source id: its sign * metric, inf if it failed
        self.trained: dict[str, tuple[HarvestCandidate, list[float]]] = {}

    def winner(self, seconds: float, starts: Starts) -> HarvestEvent:
        ended = self.on.state.harvests.get((self.task.name, self.name))
        if ended is not None:
            return ended
        last = FINALISTS * CHOOSING_SEEDS + FRESH_SEEDS
        number = self.search(seconds - last * self.task.cost_seconds, starts)
        finalists = self.best(FINALISTS) or [untouched(self.task)]
        chosen = self.again(finalists, "choose", "selection", CHOOSING_SEEDS)
        means = [gain_estimate(self.on, "selection", events).gain for events in chosen]
        best = means.index(max(means))
        [measured] = self.again([finalists[best]], "measure", "confirmation", FRESH_SEEDS)
        event = self.event(
            finalists[best], measured, experiments=number, finalists=len(finalists), chosen_by=means[best]
        )
        self.on.record(event)
        return event

    def drift(self) -> float:
        """By how many SD the untouched files, trained again now, are worse than before the winner was measured."""
        before = untouched_metrics(self.on.state, self.task.name, "confirmation", {""})
        seeds = [self.on.streams.seed("confirmation", self.name, "drift", k) for k in range(len(before))]
        events = self.train("drift", "confirmation", 0, [(untouched(self.task), seed) for seed in seeds])
        now = [event.metric for event in events if event.metric is not None]
        sd = math.sqrt(
            statistics.fmean(statistics.variance(values) if len(values) > 1 else 0.0 for values in (before, now))
        )
        change = self.task.sign * (statistics.fmean(now) - statistics.fmean(before)) if now else math.inf
        return max(-MOST_TOLD, min(change / max(sd, sys.float_info.min), MOST_TOLD)) if change else 0.0

    def search(self, seconds: float, starts: Starts) -> int:
        """Train the starting sources, on half the device time at most, then children of the best, wave by wave; returns
        the number of experiments."""
        coming = self.starting(max(1, int(seconds / 2 / self.task.cost_seconds)), starts)
        number, spent = 0, 0.0
        while (room := int((seconds - spent) / self.task.cost_seconds + 1e-9)) > 0:
            wave = coming[number : number + min(WAVE, room)] or self.children(number, min(WAVE, room))
            if not wave:
                break
            seeds = [self.on.streams.seed("search", self.name, self.task.name, number + i) for i in range(len(wave))]
            events = self.train("search", "search", number, list(zip(wave, seeds, strict=True)))
            for candidate, event in zip(wave, events, strict=True):
                self.keep(candidate, event)
            spent += sum(event.device_seconds_charged for event in events)
            number += len(wave)
        return number

    def keep(self, candidate: HarvestCandidate, event: HarvestExperimentEvent) -> None:
        loss = math.inf if event.metric is None else self.task.sign * event.metric
        self.trained.setdefault(event.source_id, (candidate, []))[1].append(loss)

    def starting(self, most: int, starts: Starts) -> list[HarvestCandidate]:
        """The first candidates: those of the ledger, and more unless it has children of them already."""
        begun = [event for (stage, _), event in sorted(self.known.items()) if stage == "search"]
        known = [self.rebuilt(event) for event in begun if event.origin != "elite"]
        return known if len(known) < len(begun) else known + starts()[:most][len(known) :]

    def rebuilt(self, event: HarvestExperimentEvent) -> HarvestCandidate:
        """The candidate of a recorded experiment."""
        if event.from_run:
            source = final_source(self.on.study, event.from_run, event.source_id, self.task)
        else:
            parent = self.trained[event.parent_source_id][0].source if event.parent_source_id else self.task.baseline()
            source = self.task.edits.apply(parent, event.edit)
        return HarvestCandidate(source, event.origin, event.edit, event.parent_source_id, event.from_run)

    def children(self, first: int, count: int) -> list[HarvestCandidate]:
        """Children of the best candidates, each a source that was not trained before; fewer if none is left."""
        parents = self.best(PARENTS) or [untouched(self.task)]
        configs = [self.task.edits.config(parent.source) for parent in parents]
        next_children: dict[str, HarvestCandidate] = {}
        for number in range(first, first + count):
            recorded = self.known.get(("search", number))
            child = self.rebuilt(recorded) if recorded else self.child(number, parents, configs, next_children)
            if child is None:
                break
            next_children[child.source.source_id] = child
        return list(next_children.values())

    def child(
        self,
        number: int,
        parents: Sequence[HarvestCandidate],
        configs: Sequence[Mapping[str, Value]],
        made: Mapping[str, HarvestCandidate],
    ) -> HarvestCandidate | None:
        rng = np.random.default_rng(self.on.streams.seed("search", self.name, self.task.name, "child", number))
        for _ in range(_TRIES):
            drawn = elite_edit(self.task.edits, configs, rng)
            if drawn is None:
                continue
            parent, edit = parents[drawn[0]].source, drawn[1]
            try:
                source = self.task.edits.apply(parent, edit)
            except EditError:
                continue
            if source.source_id not in self.trained and source.source_id not in made:
                return HarvestCandidate(source, "elite", edit, parent.source_id)
        return None

    def best(self, count: int) -> list[HarvestCandidate]:
        """The candidates with the best mean metric of the search, without those that failed."""
        means = [(statistics.fmean(losses), source_id) for source_id, (_, losses) in self.trained.items()]
        ranked = sorted(pair for pair in means if math.isfinite(pair[0]))
        return [self.trained[source_id][0] for _, source_id in ranked[:count]]

    def again(
        self, candidates: Sequence[HarvestCandidate], stage: str, stream: Stream, seeds: int
    ) -> list[list[HarvestExperimentEvent]]:
        """The trainings of each candidate under fresh seeds that they share, each seed on other hidden rows."""
        fresh = [self.on.streams.seed(stream, self.name, self.task.name, k) for k in range(seeds)]
        splits = {seed: split_of(self.on, stream, self.name, k, 0) for k, seed in enumerate(fresh)}
        measure_baseline(self.on, self.executor, stream, "", splits.values())
        trainings = [(candidate, seed) for candidate in candidates for seed in fresh]
        events = self.train(stage, stream, 0, trainings, splits)
        return [events[at : at + seeds] for at in range(0, len(events), seeds)]

    def event(
        self,
        winner: HarvestCandidate,
        trained: Sequence[HarvestExperimentEvent | VerificationEvent],
        *,
        experiments: int,
        finalists: int,
        chosen_by: float,
    ) -> HarvestEvent:
        drift = self.drift() if self.task.timed else None
        drifted = drift is not None and abs(drift) > MOST_DRIFT
        mean, all_of_it = gain_estimate(self.on, "confirmation", trained), self.known.values()
        measured = [event for event in all_of_it if event.stage == "measure"]
        return HarvestEvent(
            task=self.task.name,
            search=self.name,
            stream="confirmation",
            source_id=winner.source.source_id,
            origin=winner.origin,
            config=self.task.edits.config(winner.source),
            files=winner.source.files,
            experiments=experiments,
            finalists=finalists,
            chosen_by=chosen_by,
            gain=mean.gain,
            se=None if drifted else mean.se,
            low=None if drifted else mean.low,
            high=None if drifted else mean.high,
            n=mean.n,
            failed=sum(event.status != "ok" for event in measured),
            trust=weakest(event.trust for event in measured),
            device_seconds_charged=math.fsum(event.device_seconds_charged for event in all_of_it),
            device_seconds_spent=math.fsum(event.device_seconds_spent for event in all_of_it),
            drift=drift,
            noise=mean.noise,
            start=mean.start,
            end=mean.end,
            held_rows=mean.held_rows,
        )
