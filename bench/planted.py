"""Coverage of 95% intervals for paired directive effects, planted truth: child minus its freshly re-run parent.

python -m bench.planted [STUDIES]      default 60: at least 2,000 children

Law: 20 directives of absolute effects 1, .9, .8, .4, .3, .2 between-run sd (signs and places drawn), the rest 0; runs
normal, sd 1 but for the shapes named. Each study evolves: 8 generations of 5 children, each a parent with one directive
more or less; parents are chosen by the measured shrunken mean, as the outer loop does, and run again beside their
children on the same run seeds. A row of the view `credit` (method mutation, design paired) is one interval.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.effects.mutation import mutation_credits
from analysis.ledger import Ledger
from analysis.study import open_study
from analysis.views.scope import Scope
from arena.race import shrunken
from bench.common import figure, share_interval
from bench.planted_events import Population
from bench.planted_laws import DirectiveLaw, RunLaw, planted_directives

GENERATIONS, CHILDREN, RUNS, FIRST = 8, 5, 6, 6
SHAPES = {
    "normal": RunLaw(sd=1.0),
    "seeds shared, drift": RunLaw(sd=1.0, common=0.5, drift=0.5),
    "a twentieth fails": RunLaw(sd=1.0, failing=0.05),
}


@dataclass(frozen=True)
class Row:
    """One child: was its effect in the interval, and how far was the estimate from it."""

    design: str
    covered: bool
    zero_excluded: bool
    truth: float
    error: float


def evolved(folder: Path, law: DirectiveLaw, seed: int, paired: bool) -> dict[str, float]:
    """A study's ledger; returns each child's true effect over its parent."""
    rng = np.random.Generator(np.random.PCG64(seed))
    names, truth = sorted(law.effects), {}
    with Ledger(folder / "ledger", "main") as ledger:
        ledger.append({"kind": "study", "study_id": "y", "config": {}, "version": "0"}, sync=False)
        people = Population(ledger, law, rng)
        for i in range(FIRST):
            people.add(f"p0-{i}", sorted(rng.choice(names, size=6, replace=False).tolist()))
        people.play("m0", list(people.held), RUNS)
        for generation in range(1, GENERATIONS + 1):
            parents = best(people, CHILDREN)
            children = [f"p{generation}-{i}" for i in range(len(parents))]
            for child, parent in zip(children, parents, strict=True):
                held = set(people.held[parent]) ^ {str(rng.choice(names))}
                people.add(child, sorted(held), [parent], generation)
                truth[child] = law.expected(held) - law.expected(people.held[parent])
            beside = list(dict.fromkeys(parents)) if paired else []
            people.play(f"m{generation}", [*children, *beside], RUNS, generation)
    return truth


def best(people: Population, count: int) -> list[str]:
    """The programs of highest shrunken mean, by what was measured of them: selection, luck included."""
    known = list(people.gains)
    scores = shrunken([people.gains[who] for who in known])
    order = sorted(range(len(known)), key=lambda i: -scores[i])
    return [known[i] for i in order[:count]]


def rows_of(law: DirectiveLaw, seed: int, paired: bool) -> Iterator[Row]:
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        truth = evolved(Path(folder), law, seed, paired)
        with open_study(folder, views=()) as con:
            for credit in mutation_credits(Scope(con, "strokes")):
                if credit.low is not None and credit.high is not None:
                    true = truth[credit.child_id]
                    inside, off = credit.low <= true <= credit.high, credit.low > 0 or credit.high < 0
                    yield Row(credit.design, inside, off, true, credit.estimate - true)


def coverage_figures(name: str, rows: list[Row], design: str, goal: str) -> None:
    """Coverage, false positives and bias of the rows of one design."""
    seen = [row for row in rows if row.design == design]
    covered, null = sum(row.covered for row in seen), [row for row in seen if row.truth == 0.0]
    low, high = share_interval(covered, len(seen))
    bias = sum(row.error for row in seen) / len(seen)
    false = sum(row.zero_excluded for row in null)
    a, b = share_interval(false, len(null))
    figure(f"coverage, {name}", f"{covered / len(seen):.4f} [{low:.4f}, {high:.4f}] of {len(seen)}", goal)
    figure(f"  false positives, {name}", f"{false / len(null):.4f} [{a:.4f}, {b:.4f}] of {len(null)}; bias {bias:+.4f}")


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    began = time.monotonic()
    for name, runs in SHAPES.items():
        made = [
            row for seed in range(count)
            for row in rows_of(planted_directives(np.random.default_rng(seed), runs=runs), seed, paired=True)
        ]  # fmt: skip
        coverage_figures(f"paired, {name}", made, "paired", ".93 to .97")
    stale = [
        row for seed in range(count)
        for row in rows_of(planted_directives(np.random.default_rng(seed)), seed, paired=False)
    ]  # fmt: skip
    coverage_figures("parents not run again, normal", stale, "observational", "none: what pairing is for")
    figure("seconds", round(time.monotonic() - began, 1))


if __name__ == "__main__":
    main()
