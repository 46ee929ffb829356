"""How often the gate of `metaloop judge --last` keeps a change without effect, or a real one, and what that costs.

python -m bench.judge [LOGS]      default 10000: of each law without effect, and as many with effects; a minute a law

Each log begins with a baseline and the re-runs that its law has; TRIES changes follow, each decided by a rule. Under
null no change has an effect; planted, one change, at a random place, is better by 1, 2 or 3 SD of one measurement, and
what the rule made of it counts. A change that is kept is what the next ones are compared with, with its lucky
measurements (the winner's curse). Seeds, laws and rules were fixed before anything was measured.

Beside the gate stand rules that people use, each with the measurements that it sees. Unit of all gains: the SD of one
measurement. The law `rows` has no seeds: a script is right or wrong in each of ROWS rows, wrong in a fifth of them; a
change without effect answers 2 to 20% of the rows anew, and a real one corrects 2, 6 or 10 rows more than it spoils.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from analysis.imports.noise import MeasurementNoise, pooled
from analysis.verdict.gate import KEEP, LOOKS, UNDECIDED, decide
from bench.common import figure, share_interval
from trainer.rows import share_error

TRIES, ROWS, SEED = 10, 100, 79
EFFECTS = (1.0, 2.0, 3.0)  # SD of one measurement
CORRECTED = (2, 6, 10)  # rows
BASE = 100.0  # the metric of the untouched script, in SD; lower is better


@dataclass
class Log:
    """A loop's state: what it measured of the best script and of all, and the runs it spent."""

    rng: np.random.Generator
    law: Law
    best: list[float] = field(default_factory=list)
    groups: list[list[float]] = field(default_factory=list)  # of each script that was measured
    gains: list[float] = field(default_factory=list)  # of kept changes
    truth: float = BASE  # of the best script
    runs: int = 0

    def measure(self, truth: float) -> float:
        """One training, later than the one before."""
        self.runs += 1
        drift = self.law.drift * self.runs if self.law.drift else 0.0
        return truth + drift + float(self.rng.standard_normal())


@dataclass(frozen=True)
class Law:
    """``reruns`` of the baseline at the beginning; ``is_known``: the SD is stated; ``drift``: SD a training."""

    name: str
    reruns: int = 0
    is_known: bool = False
    drift: float = 0.0


LAWS = (
    Law("noise known", is_known=True),
    Law("three re-runs", reruns=3),
    Law("ten re-runs", reruns=10),
    Law("three re-runs, level rises .02 SD a run", reruns=3, drift=0.02),
    Law("three re-runs, level falls .02 SD a run", reruns=3, drift=-0.02),
)
Rule = Callable[[Log, float], tuple[bool, list[float]]]  # log, true value → kept?, what was measured


def gate(log: Log, truth: float) -> tuple[bool, list[float]]:
    """The planned looks, with the noise that the log shows so far."""
    values, best = [log.measure(truth)], log.best
    while True:
        groups = [*log.groups, values]
        noise = MeasurementNoise(1.0) if log.law.is_known else pooled(groups)
        found = decide(noise, statistics.fmean(best) - statistics.fmean(values), len(values), len(best))
        if found.decision != UNDECIDED:
            return found.decision == KEEP, values
        values += [log.measure(truth) for _ in range(found.more_runs)]
        best += [log.measure(log.truth) for _ in range(found.more_best_runs)]


def strict(log: Log, truth: float) -> tuple[bool, list[float]]:
    """Better than the best."""
    value = log.measure(truth)
    return value < log.best[0], [value]


def twice_mad(log: Log, truth: float) -> tuple[bool, list[float]]:
    """Better than the best by twice the median absolute deviation of all values."""
    value = log.measure(truth)
    values = [*(group[0] for group in log.groups), value]
    middle = statistics.median(values)
    mad = statistics.median(abs(each - middle) for each in values)
    return log.best[0] - value > 2 * mad, [value]


def sd_between_keeps(log: Log, truth: float) -> tuple[bool, list[float]]:
    """Better than the best by 1.5 SD of the gains kept before; by anything before there are two."""
    value = log.measure(truth)
    gain = log.best[0] - value
    needed = 1.5 * statistics.stdev(log.gains) if len(log.gains) > 1 else 0.0
    return gain > needed, [value]


def standard_errors(k: float) -> Rule:
    """Three runs of each; better by k standard errors of the difference of their means."""

    def rule(log: Log, truth: float) -> tuple[bool, list[float]]:
        log.best += [log.measure(log.truth) for _ in range(3 - len(log.best))]
        values, best = [log.measure(truth) for _ in range(3)], log.best[:3]
        se = ((statistics.variance(values) + statistics.variance(best)) / 3) ** 0.5
        return statistics.fmean(best) - statistics.fmean(values) > k * se, values

    return rule


def similar(log: Log, truth: float) -> tuple[bool, list[float]]:
    """A prompt says that values within a half per cent are similar (here .5 SD), and that a similar one is no gain."""
    value = log.measure(truth)
    return value < log.best[0] * 0.995, [value]


RULES: dict[str, Rule] = {
    "gate of judge": gate,
    "2 x MAD": twice_mad,
    "1.5 x SD between keeps": sd_between_keeps,
    "1 SE, 3 runs each": standard_errors(1.0),
    "2 SE, 3 runs each": standard_errors(2.0),
    "strict best": strict,
    "similarity in a prompt": similar,
}


def played(rule: Rule, law: Law, seed: int, effect: float) -> tuple[list[bool], list[int]]:
    """(whether each change was kept, the runs that its decision took); with an effect only those of the changed one."""
    rng = np.random.default_rng([SEED, seed])
    log, kept, spent = Log(rng, law), list[bool](), list[int]()
    planted = int(rng.integers(TRIES)) if effect else -1
    log.best = [log.measure(BASE) for _ in range(1 + law.reruns)]
    log.groups.append(log.best)
    for number in range(TRIES):
        before, truth = log.runs, log.truth - effect * (number == planted)
        best_before = statistics.fmean(log.best)
        is_kept, values = rule(log, truth)
        log.groups.append(values)
        if is_kept:
            log.gains.append(best_before - statistics.fmean(values))
            log.best, log.truth = values, truth
        if not effect or number == planted:
            kept.append(is_kept)
            spent.append(log.runs - before)
    return kept, spent


def decided_by_rows(seed: int, corrected: int) -> dict[str, bool]:
    """Of one change of a deterministic script on ROWS rows: whether each rule that has no re-runs keeps it."""
    rng = np.random.default_rng([SEED, 1, seed])
    old = rng.random(ROWS) < 0.2
    touched = rng.random(ROWS) < rng.uniform(0.02, 0.2)
    new = np.where(touched, rng.random(ROWS) < 0.2, old)
    new[rng.permutation(np.flatnonzero(new))[:corrected]] = False
    before, after = float(old.mean()), float(new.mean())
    noise = MeasurementNoise(n_rows=ROWS, rows_sd=max(share_error(value, ROWS) for value in (before, after)))
    return {
        "gate of judge --rows": decide(noise, before - after, 1, 1).decision == KEEP,
        "strict best": after < before,
        "one SE of one script": before - after >= share_error(before, ROWS),
        "similarity in a prompt": after < before * 0.995,
    }


def share(kept: Sequence[bool]) -> str:
    low, high = share_interval(sum(kept), len(kept))
    return f"{sum(kept) / len(kept):.3f} [{low:.3f}, {high:.3f}]"


def show(logs: int) -> None:
    """The table of each law, one rule a line."""
    print(
        "false: share of changes without effect that are kept; then the share of changes of 1, 2, 3 SD; runs a decision"
    )
    for law in LAWS:
        for name, rule in RULES.items():
            null = [played(rule, law, seed, 0.0) for seed in range(logs)]
            false, spent = [k for kept, _ in null for k in kept], [s for _, runs in null for s in runs]
            power = [
                share([played(rule, law, seed, effect)[0][0] for seed in range(k, logs, len(EFFECTS))])
                for k, effect in enumerate(EFFECTS)
            ]
            shown = f"false {share(false)}, of effects {', '.join(power)}, runs {np.mean(spent):.2f}"
            figure(f"{law.name}, {name}", shown)
    for name in decided_by_rows(0, 0):
        rates = [share([decided_by_rows(seed, more)[name] for seed in range(logs)]) for more in (0, *CORRECTED)]
        figure(f"{ROWS} rows, {name}", f"false {rates[0]}, of {CORRECTED} rows corrected {', '.join(rates[1:])}")


if __name__ == "__main__":
    assert LOOKS[0].runs == 1
    show(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
