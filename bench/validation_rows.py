"""What a night on few validation rows gains in truth, and how often its end says "better" without a gain.

python -m bench.validation_rows FILE [SEEDS] [WORKERS]      default 40 1; 0: shows FILE

Six tables (`bench.validation_tables`) under three laws: gains, a learner whose settings matter; null, settings that are
all equally good; harm, where every other setting is worse. A seed draws a sample of a table with 20,000 test rows, and
plays nights of TRIES changes of one or two settings of the current main with each number of validation rows. All nights
of a seed propose by the same random numbers. One line for each table, law and seed is appended to FILE; those that FILE
has are not made again. Seeds, laws and rules were fixed before anything was measured.

The keep rule and the tests of the end are the product's: one standard error of the paired difference of the rows that
the search sees; from 300 rows on 30% of them are held back for the end, below that p of the luck test is at most 2.5%,
and the claim is the gain less what luck would have shown.

"Better where the test says no" counts in all nights: better is said, and the test gain is not above 0; under null and
harm each "better" counts. Coverage: the interval contains the gain on the test rows, whose own error is added to it.
Units: each table's metric, which is a share (error rate, share of the variance). Set OMP_NUM_THREADS=1.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.verdict.gain_estimate import GainEstimate, gain_over_rows
from bench.common import figure, go_on, kept, mean_of, share_figure
from bench.validation_tables import TABLES, UNTOUCHED, VALIDATION, Learner, Sample, Settings, TieBreaker
from trainer.rows import HELD_BACK, KEPT, LEAST_HELD, held_back, luck_of_looks, luck_test, paired
from trainer.streams import Streams

if TYPE_CHECKING:
    from trainer.rows import Rows

GAINS, NULL, HARM = "gains", "null", "harm"  # laws
TRIES = 60
ROWS = (100, 300, VALIDATION)
LEVEL = 0.025  # one-sided
SEED = 70


@dataclass(frozen=True)
class End:
    """The end of one night. Gains of main over the untouched script, in the metric's unit.

    ``kept``: changes; ``search``: gain on the rows that the search saw; ``test``, ``test_se``: on the test rows.
    ``gain``, ``low``, ``high``, ``se``: the paired difference on the rows of the end test, with its 95% interval;
    ``rows``: how many these are, ``differing``: in how many of them main and the untouched script differ. ``luck``,
    ``luck_p``: of the luck test, else None.
    """

    validation_rows: int
    kept: int
    search: float
    test: float
    test_se: float
    gain: float
    low: float | None
    high: float | None
    se: float | None
    rows: int
    differing: int
    luck: float | None = None
    luck_p: float | None = None

    @property
    def claimed(self) -> float:
        return self.gain - (self.luck or 0.0)

    @property
    def is_better(self) -> bool:
        """Whether the end says "better"."""
        if self.luck_p is not None:
            return bool(self.kept) and self.luck_p <= LEVEL
        return self.low is not None and self.low > 0

    @property
    def covers(self) -> bool:
        """Whether the interval, which there must be, contains the test gain."""
        assert self.high is not None
        return abs(self.gain - self.test) <= math.hypot(self.high - self.gain, 1.96 * self.test_se)


@dataclass(frozen=True)
class Nights:
    """All nights of one sample. ``ends``: the fields of `End`."""

    table: str
    law: str
    seed: int
    ends: list[dict[str, Any]]


Job = tuple[str, str, int]  # as the fields of the line


def keeps(old: Rows, new: Rows) -> bool:
    """The keep decision of a night, by the losses of main and of the changed script in the rows that it sees."""
    difference = paired(1.0, [old], [new])
    return difference.value > 0 and difference.value >= KEPT * (difference.se or 0.0)


def end_test(untouched: Rows, main: Rows) -> GainEstimate:
    """The gain at the end of a night, by the losses in the rows of the end test."""
    return gain_over_rows(untouched - main)


def changed(settings: Settings, values: Sequence[int], rng: np.random.Generator) -> Settings:
    """One or two settings at other values."""
    made = list(settings)
    for at in rng.choice(len(values), size=int(rng.integers(1, 3)), replace=False):
        made[at] = (made[at] + int(rng.integers(1, values[at]))) % values[at]
    return tuple(made)


def night(learner: Learner | TieBreaker, seed: int, rows: int, held: np.ndarray) -> End:
    """Play one night on the first ``rows`` validation rows and test its end. ``held``: rows held back, [rows]."""
    rng, searched = np.random.default_rng([SEED, seed]), ~held

    def losses(settings: Settings) -> Rows:
        return learner.losses(settings, "validation")[:rows]

    main, keeping, tries = UNTOUCHED, 0, list[Any]()
    seen = {main}
    for _ in range(TRIES):
        candidate = changed(main, learner.values, rng)
        while candidate in seen:
            candidate = changed(main, learner.values, rng)
        seen.add(candidate)
        old, new = losses(main)[searched], losses(candidate)[searched]
        tries.append(old - new)
        if keeps(old, new):
            main, keeping = candidate, keeping + 1
    before, after = losses(UNTOUCHED), losses(main)
    search = float((before - after)[searched].mean())
    tested = held if held.any() else searched
    found = end_test(before[tested], after[tested])
    test = learner.losses(UNTOUCHED, "test") - learner.losses(main, "test")
    luck = None if held.any() else luck_test(tries, before[searched], search, seed, KEPT)
    return End(
        rows, keeping, search, float(test.mean()), float(test.std() / math.sqrt(len(test))), found.gain,
        found.low, found.high, found.se, int(tested.sum()), int((before != after)[tested].sum()),
        luck.gain if luck else None, luck.p if luck else None,
    )  # fmt: skip


def make(job: Job) -> Nights:
    table, law, seed = job
    sample = Sample(TABLES[table], seed)
    learner = Learner(sample) if law == GAINS else TieBreaker(sample, harmful=law == HARM)
    ends = []
    for rows in ROWS:
        held = held_back(Streams.from_seed(seed), table, rows, HELD_BACK if rows >= LEAST_HELD else 0.0)
        ends.append(vars(night(learner, seed, rows, held)))
    return Nights(table, law, seed, ends)


def show(lines: Sequence[Nights]) -> None:
    figure("nights", f"{sum(len(line.ends) for line in lines)} of {TRIES} tries, of {len(lines)} samples")
    for law in (GAINS, NULL, HARM):
        ends = [End(**end) for line in lines if line.law == law for end in line.ends]
        for rows in ROWS if ends else ():
            show_cell(f"{rows} rows, {law}", [end for end in ends if end.validation_rows == rows], law)


def show_cell(name: str, ends: Sequence[End], law: str) -> None:
    """The figures of one number of rows and law."""
    figure(f"{name}: gain on the rows of the search", mean_of([end.search for end in ends], 4))
    least = ">= -.02" if law != GAINS and ends[0].validation_rows == ROWS[0] else ""
    figure("  … on the test rows", mean_of([end.test for end in ends], 4), least)
    figure("  … the first minus the second", mean_of([end.search - end.test for end in ends], 4))
    said = [end for end in ends if end.is_better]
    share_figure("  … better said", [end.is_better for end in ends])
    wrong = [end.is_better and (law != GAINS or end.test <= 0) for end in ends]
    share_figure("  … where the test says no", wrong, "<= .025")
    if said:
        figure("  … then claimed minus test gain", mean_of([e.claimed - e.test for e in said], 4), "<= .005")
    if ends[0].validation_rows < LEAST_HELD:
        figure("  … luck by the luck test", mean_of([end.luck or 0.0 for end in ends], 4))
        figure("  … luck by the number of looks", mean_of([luck_of_looks(end.se or 0.0, TRIES) for end in ends], 4))
        return
    shown = [end for end in ends if end.high is not None]
    figure("  … shown minus test gain, in every night", mean_of([e.gain - e.test for e in shown], 4), "<= .005")
    for few, which in ((False, ""), (True, ", where fewer than 10 rows differ")):
        seen = [end.covers for end in shown if end.differing < 10 or not few]
        if seen:
            share_figure(f"  … the interval contains the test gain{which}", seen, "" if few else ".93 to .97")


def main() -> None:
    file = Path(sys.argv[1])
    seeds, workers = (int(word) for word in (*sys.argv[2:4], *("40", "1")[len(sys.argv) - 2 :]))
    done = {(line.table, line.law, line.seed) for line in kept(file, Nights)}
    jobs = [(table, law, seed) for seed in range(1, seeds + 1) for law in (GAINS, NULL, HARM) for table in TABLES]
    go_on(file, make, [job for job in jobs if job not in done], workers)
    show(kept(file, Nights))


if __name__ == "__main__":
    main()
