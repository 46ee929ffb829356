"""Default studies of planted directives: starters, races, elites and children by the arena's own racer, nothing run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from analysis.effects import designs
from analysis.ledger import Ledger
from analysis.statistics import mean_interval, posterior
from arena.race import ArmScore, SequentialHalving, Stage
from bench import planted_events
from bench.planted_laws import DirectiveLaw
from meta.kinds.size import DEFAULT


@dataclass
class Study:
    """Programs are sets of directives. ``ledger`` None: only the runs are kept, for thousands of replicates."""

    law: DirectiveLaw
    rng: np.random.Generator
    ledger: Ledger | None = None
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)
    gains: dict[str, list[float]] = field(default_factory=dict)

    def add(self, directives: Sequence[str], parents: Sequence[str] = (), generation: int = 0) -> str:
        name = f"p{len(self.held)}"
        self.held[name], self.gains[name] = tuple(directives), []
        if self.ledger is not None:
            write_program(self.ledger, name, directives, generation=generation, parent_ids=list(parents))
            if parents:
                planted_events.mutation(self.ledger, name, parents, generation, attempt=len(self.held))
        return name

    def race(self, match_id: str, programs: Sequence[str], stages: Sequence[Stage], **more: Any) -> None:
        """A match by sequential halving: shared run seeds, a drift of the match, gains drawn from the law."""
        drift = self.law.runs.drift * float(self.rng.standard_normal())
        shared = self.rng.standard_normal(max(stage.runs for stage in stages))
        racer, here = SequentialHalving(stages), dict[str, list[float]]((who, []) for who in programs)
        if self.ledger is not None:
            planted_events.match(self.ledger, match_id, {f"a-{match_id}-{who}": who for who in programs}, **more)
        while wanted := racer.next_round([ArmScore(who, True, tuple(here[who])) for who in programs]):
            for who, runs in wanted.items():
                first = len(here[who])
                drawn = self.law.draw(self.held[who], runs - first, self.rng, shared[first:runs], drift)
                for seed, gain in enumerate(drawn.tolist(), first):
                    here[who].append(gain)
                    self.take(match_id, who, seed, gain)

    def take(self, match_id: str, who: str, seed: int, gain: float) -> None:
        self.gains[who].append(gain)
        if self.ledger is not None:
            write_run(self.ledger, match_id, who, seed, gain)

    def ranked(self) -> list[tuple[str, float, float]]:
        """(program, shrunken mean, its se), best first."""
        means = {who: mean_interval(own) for who, own in self.gains.items() if own}
        scores = posterior(list(means.values()))
        rows = [(who, s.shrunk.or_zero, s.shrunk.se or 0.0) for who, s in zip(means, scores, strict=True)]
        return sorted(rows, key=lambda row: -row[1])

    def evolve(self, own: Sequence[str] = ()) -> str:
        """A study of the default plan's size; ``own``: the user's program, a starter. Returns the champion."""
        names = list(self.law.effects)
        starters = [self.add(own)] if own else []
        while len(starters) < DEFAULT.starters:
            starters.append(self.add([d for d in names if self.rng.random() < 0.5]))
        self.race("m0", starters, DEFAULT.opening.stages)
        for generation in range(1, DEFAULT.generations + 1):
            ranked = self.ranked()
            elites = [who for who, _, _ in ranked[: DEFAULT.elites]]
            children = [self.breed(ranked, generation) for _ in range(DEFAULT.children)]
            self.race(f"m{generation}", [*children, *elites], DEFAULT.generation.stages, generation=generation)
        return self.ranked()[0][0]

    def breed(self, ranked: Sequence[tuple[str, float, float]], generation: int) -> str:
        """Parents by Thompson sampling; a child deletes one directive, takes one or two, or crosses two parents."""
        draws = [mean + sd * self.rng.standard_normal() for _, mean, sd in ranked]
        first, second = (ranked[int(i)][0] for i in np.argsort(draws)[::-1][:2])
        own, other = set(self.held[first]), set(self.held[second])
        kind, names = self.rng.integers(3), list(self.law.effects)
        if kind == 2:
            child = {d for d in names if d in (own if self.rng.random() < 0.5 else other)}
            return self.add([d for d in names if d in child], (first, second), generation)
        pool = sorted(own) if kind == 0 and own else sorted(set(names) - own)
        changed = self.rng.permutation(pool)[: 1 if kind == 0 else int(self.rng.integers(1, 3))]
        child = own ^ set(changed.tolist())
        return self.add([d for d in names if d in child], (first,), generation)

    def ablate(self, program: str, runs: int, seed: int) -> dict[str, float]:
        """A planned ablation of a program's directives, as the arena plays and writes it; directive → estimate.

        Its programs and runs go to the ledger and not into the study's own lists: nothing chooses by them.
        """
        factors = self.held[program]
        design = designs.plan(factors, runs, seed)
        drift, shared = self.law.runs.drift * self.rng.standard_normal(), self.rng.standard_normal(design.blocks)
        arms = {f"x-{program}-{i}": row for i, row in enumerate(design.arms)}
        if self.ledger is not None:
            named = {f"a-ablation-{who}": who for who in arms}
            planted_events.match(self.ledger, "ablation", named, purpose="ablation", generation=None)
            self.ledger.append({
                "kind": "ablation", "ablation_id": "x1", "method": "factorial", "match_id": "ablation",
                "program_id": program, "task": "strokes", "stream": "selection", "factors": list(factors),
                "plan": {"blocks": design.blocks, "order": design.order, "runs": design.runs},
            }, sync=False)  # fmt: skip
        held: list[tuple[bool, ...]] = []
        gains: list[float] = []
        seeds: list[int] = []
        for who, (row, count) in arms.items():
            directives = [d for d, yes in zip(factors, row, strict=True) if yes]
            drawn = self.law.draw(directives, count, self.rng, shared[:count], float(drift))
            held, gains, seeds = held + [row] * count, gains + drawn.tolist(), seeds + list(range(count))
            if self.ledger is not None:
                write_program(self.ledger, who, directives, parent_ids=[program], operator="ablation")
                for seed, gain in enumerate(drawn.tolist()):
                    write_run(self.ledger, "ablation", who, seed, gain)
        estimates = zip(factors, designs.estimate(held, gains, seeds), strict=True)
        return {directive: effect.or_zero for directive, effect in estimates if effect is not None}


def write_program(ledger: Ledger, name: str, directives: Sequence[str], **more: Any) -> None:
    rows = [
        {"directive_id": d, "heading": "Ideas", "kind": "idea", "text": d, "position": i}
        for i, d in enumerate(directives)
    ]
    planted_events.program(ledger, name, rows, **more)


def write_run(ledger: Ledger, match_id: str, who: str, seed: int, gain: float) -> None:
    arm, run_id = f"a-{match_id}-{who}", f"r-{match_id}-{who}-{seed}"
    planted_events.start(ledger, run_id, match_id, arm, who, seed)
    planted_events.end(ledger, run_id, claimed=gain)
    planted_events.verify(ledger, run_id, arm, who, [gain])


def on_disk(folder: Path, law: DirectiveLaw, rng: np.random.Generator) -> Study:
    """A study that is written through the real ledger; its caller closes ``ledger``."""
    ledger = Ledger(folder / "ledger", "main")
    ledger.append({"kind": "study", "study_id": "y1", "config": {}, "version": "0"}, sync=False)
    return Study(law, rng, ledger)
