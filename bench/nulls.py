"""Studies with no true difference that announce an improvement; the claim is tested at 2.5%.

python -m bench.nulls [WHOLE] [DRAWN] [WORKERS]      default 1000 4000 2

Two levels. Whole: studies of tasks where no edit is worth anything, through bench, arena, ledger, evidence, mutators
and confirmation, of a plan smaller than quick (runs of 10 experiments). Drawn: runs drawn from a law, then the real
racer, empirical-Bayes choice and claim, for several shapes of noise.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import numpy as np

from analysis.planted import RunLaw
from bench.common import figure
from bench.simulated import LAWS, speed, studies, told
from meta.claim import Against, claim
from meta.plan import QUICK, Plan
from meta.simulate import Design, World, simulate
from trainer.planted import COST, null_law

GOAL = "<= 0.05"
SMALL: Plan = replace(
    QUICK, starters=5, opening_runs=3, opening_keep=2, opening_more=4, aa_runs=2, children=3, elites=1, child_runs=3,
    child_keep=2, child_more=5, confirm_runs=10, ablation_runs=2, run_budget=10 * COST,
)  # fmt: skip
SHAPES = {
    "normal": RunLaw(sd=0.33),
    "a tenth fails": RunLaw(sd=0.33, failing=0.1),
    "skewness 1": RunLaw(sd=0.33, skew=1.0),
    "skewness -1": RunLaw(sd=0.33, skew=-1.0),
    "run seeds shared": RunLaw(sd=0.33, common=0.5),
}


UNTOUCHED = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (1.0, 0.0))  # shares of runs that end at the baseline: stock, champion


def shared_baseline(stock: float, champion: float, count: int, known: bool, runs: int = 20) -> list[bool]:
    """Claims where no source is worth anything and arms differ in how often a run ends at the untouched baseline.

    Such a run gains exactly 0, any other the error of the shared baseline (8 seeds) and its own (2 seeds). ``known``:
    whether the claim is told of it, as a study's is.
    """
    rng, held = np.random.Generator(np.random.PCG64(11)), []
    for _ in range(count):
        baseline = rng.standard_normal(8)
        ended = {"control": rng.random(runs) >= stock, "champion": rng.random(runs) >= champion}
        gains = {
            role: np.where(touched, baseline.mean() + rng.standard_normal(runs) / 2**0.5, 0.0).tolist()
            for role, touched in ended.items()
        }
        shares = {role: float(touched.mean()) for role, touched in ended.items()}
        held.append(claim(gains, Against(tuple(baseline.tolist()), shares) if known else None).holds)
    return held


def main() -> None:
    whole, drawn, workers = (int(word) for word in (*sys.argv[1:], *("1000", "4000", "2")[len(sys.argv) - 1 :]))
    for name, law in SHAPES.items() if drawn else ():
        found = simulate(
            World(runs=law), Design(confirm=10), replicates=0, null_replicates=drawn, seconds=600.0, seed=7
        )
        (claims, *_) = found.figures
        shown = f"{claims.value:.4f} [{claims.low:.4f}, {claims.high:.4f}] of {claims.n}"
        figure(f"drawn_null_claims, {name}", shown, GOAL)
    for stock, champion in UNTOUCHED if drawn else ():
        name = f"{stock:.0%} of stock's runs, {champion:.0%} of the champion's end at the baseline"
        told(f"drawn_null_claims, {name}", shared_baseline(stock, champion, drawn, True), GOAL)
        told("  … by a test that takes the baseline as known", shared_baseline(stock, champion, drawn, False))
    if not whole:
        return
    law = "all effects 0, noise .02, trajectory .02 per edit, 5% of sources crash"
    figure("law", f"{law}; {LAWS} tasks of 16 knobs; {SMALL.runs} runs of {round(SMALL.run_budget / COST)} experiments")
    began = time.monotonic()
    made = list(studies([null_law(seed) for seed in range(1, LAWS + 1)], whole, workers, SMALL))
    told("whole_null_claims", [e.holds for e in made], GOAL)
    speed(made, time.monotonic() - began, workers)


if __name__ == "__main__":
    main()
