"""Coverage of the champion's one-sided 95% lower bound on its ratio to stock, and of the interval of one script's gain.

python -m bench.ratios [REPLICATES]      default 10000

Law: stock's true gain is 1, the champion's R. A run that ends at another source than the baseline gains b + its true
gain + its own normal error of sd .33, where b is the error of the mean of the shared baseline seeds, each normal with
the sd named; the others gain exactly 0 (the true gains are such that the arm's mean is as named). As many runs of each,
as a quick study's confirmation has. Before: a bound that takes the baseline as known; after: the claim's own.

The script is as good as the untouched one: so many trainings of each, normal with one sd, and how often the 95%
interval of its gain is above zero, with the mean of the untouched script taken as known and with its error (as in the
view `harvest`).
"""

from __future__ import annotations

import sys

import numpy as np

from analysis.statistics import Ratio, mean_beside, mean_interval, ratio, share_interval
from bench.common import figure
from meta.claim import Against, claim

RUNS, SD, SEED = 10, 0.33, 17
RATIOS = (1.0, 2.0, 4.0)
#: name: (baseline seeds, sd of each, share of stock's and of the champion's runs that end elsewhere)
LAWS = {
    "8 quiet seeds": (8, 0.1, 1.0, 1.0),
    "8 seeds as noisy as runs": (8, 0.33, 1.0, 1.0),
    "8 noisy seeds": (8, 0.7, 1.0, 1.0),
    "4 seeds as noisy as runs": (4, 0.33, 1.0, 1.0),
    "8 noisy seeds, half of stock's runs end at the baseline": (8, 0.7, 0.5, 1.0),
}
SCRIPTS = ((8, 8), (4, 8), (4, 4), (2, 5))  # trainings of the untouched script, of the best one
Arm = tuple[list[float], float]


def arm(rng: np.random.Generator, mean: float, share: float, error: float) -> Arm:
    """(gains, share that ended elsewhere) of one arm whose expected gain is ``mean``."""
    touched = rng.random(RUNS) < share
    gains = np.where(touched, mean / share + error + SD * rng.standard_normal(RUNS), 0.0)
    return gains.tolist(), float(touched.mean())


def drawn(rng: np.random.Generator, truth: float, law: tuple[int, float, float, float]) -> tuple[Ratio, Ratio]:
    """The ratio of one drawn confirmation, with the baseline taken as known and as measured."""
    count, sd, stocks, champions = law
    baseline = sd * rng.standard_normal(count)
    stock, best = arm(rng, 1.0, stocks, baseline.mean()), arm(rng, truth, champions, baseline.mean())
    measured = Against(tuple(baseline.tolist()), {"champion": best[1], "control": stock[1]})
    claimed = claim({"champion": best[0], "control": stock[0]}, measured)
    return ratio(best[0], stock[0]), claimed.ratio


def holds(estimate: Ratio, truth: float) -> bool:
    return estimate.lower is None or estimate.lower <= truth


def above_zero(count: int, untouched: int, trained: int) -> tuple[int, int]:
    """Of ``count`` scripts that gain nothing, those whose interval is above zero: by the trainings alone, and by
    `gain_interval`'s rule."""
    rng, known, welch = np.random.Generator(np.random.PCG64(SEED)), 0, 0
    for _ in range(count):
        base, metrics = rng.standard_normal(untouched).tolist(), rng.standard_normal(trained).tolist()
        gains = [sum(base) / untouched - metric for metric in metrics]
        known += (mean_interval(gains).low or 0.0) > 0.0
        mean = mean_beside(gains, base)
        welch += (mean.low or 0.0) > 0.0
    return known, welch


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10000
    for untouched, trained in SCRIPTS:
        known, welch = above_zero(count, untouched, trained)
        for above, label, goal in ((known, "taken as known", ""), (welch, "with its error", "<= .025")):
            low, high = share_interval(above, count)
            name = f"null_scripts_above_zero, {untouched} untouched, {trained} trainings, baseline {label}"
            figure(name, f"{above / count:.4f} [{low:.4f}, {high:.4f}] of {count}", goal)
    for name, law in LAWS.items():
        for truth in RATIOS:
            rng = np.random.Generator(np.random.PCG64(SEED))
            made = [drawn(rng, truth, law) for _ in range(count)]
            for which, label in ((0, "taken as known"), (1, "with its error")):
                held, none = sum(holds(m[which], truth) for m in made), sum(m[which].lower is None for m in made)
                low, high = share_interval(held, count)
                shown = f"{held / count:.4f} [{low:.4f}, {high:.4f}] of {count}; {none} without a bound"
                goal = ">= .93" if which else ""
                figure(f"ratio_coverage, {name}, ratio {truth:g}, baseline {label}", shown, goal)


if __name__ == "__main__":
    main()
