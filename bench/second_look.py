"""False claims of studies that may be confirmed a second time, where their A/A check failed.

python -m bench.second_look [STUDIES] [SEED]      default 20000 14; nothing is trained

Champion and stock gain the same. First look: the claim with its A/A check; where the check fails, a second look on
fresh runs. Printed by law of the runs: how often the check fails, claims of the first look, and claims of the whole
study, which must stay at 2.5%. In the last law the arms of stock really differ in the first look: nothing promises a
level there; it shows how often the check notices.

python -m bench.second_look checks [PAIRS] [SEED]      default 20000 14

How often the A/A check fails, and Welch's test in its place, where both arms have one law.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable

import numpy as np

from analysis.decision import CheckedArm, check_of
from analysis.statistics import satterthwaite, t_test
from bench.common import figure
from bench.simulated import share_figure
from meta.claim import Claim, claim

GOAL = "<= 0.025"
Draw = Callable[[np.random.Generator, int], np.ndarray]
ARMS = ((3, 3), (4, 4), (10, 4), (20, 4), (30, 4), (12, 12))  # runs of stock and of its A/A arm
PLANS = {"quick": (10, 10, 4), "default": (20, 20, 4)}


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n)


def wide(rng: np.random.Generator, n: int) -> np.ndarray:
    return 2.0 * rng.standard_normal(n)


def left(rng: np.random.Generator, n: int) -> np.ndarray:
    """Skewness -2: an exponential turned round."""
    return 1.0 - rng.standard_exponential(n)


def heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    """Student's t with 3 degrees of freedom."""
    return rng.standard_t(3, n)


LAWS: dict[str, tuple[Draw, Draw, float]] = {
    "normal": (normal, normal, 0.0),
    "champion twice as wide": (wide, normal, 0.0),
    "both skewed to the left": (left, left, 0.0),
    "champion skewed to the left": (left, normal, 0.0),
    "normal, A/A arm of the first look off by 2 sd": (normal, normal, -2.0),
}


def look(rng: np.random.Generator, sizes: tuple[int, int, int], ours: Draw, stock: Draw, off: float) -> Claim:
    champion, control, twin = sizes
    return claim({
        "champion": ours(rng, champion).tolist(), "control": stock(rng, control).tolist(),
        "a/a": (stock(rng, twin) + off).tolist(),
    })  # fmt: skip


def study(rng: np.random.Generator, sizes: tuple[int, int, int], law: tuple[Draw, Draw, float]) -> tuple[bool, ...]:
    """(the check fails, the first look claims, the study claims)."""
    ours, stock, off = law
    first = look(rng, sizes, ours, stock, off)
    failed = first.check is not None and not first.check.passed
    second = look(rng, sizes, ours, stock, 0.0).holds if failed else False
    return failed, first.holds, first.holds or second


def welch_fails(first: np.ndarray, second: np.ndarray) -> bool:
    errors = [(float(arm.var(ddof=1)) / len(arm), len(arm) - 1.0) for arm in (first, second)]
    se = math.sqrt(sum(error for error, _ in errors))
    p = t_test(float(second.mean() - first.mean()), se, satterthwaite(errors))
    return p is not None and p < 0.01


def check_fails(first: np.ndarray, second: np.ndarray) -> bool:
    return not check_of(*(
        CheckedArm(None, None, "", "", len(arm), float(arm.mean()), float(arm.std(ddof=1)) / math.sqrt(len(arm)))
        for arm in (first, second)
    )).passed  # fmt: skip


def checks(count: int, seed: int) -> None:
    for number, (name, draw) in enumerate((("normal", normal), ("skewness -2", left), ("heavy tails", heavy))):
        for first, second in ARMS:
            rng = np.random.Generator(np.random.PCG64([seed, number, first, second]))
            pairs = [(draw(rng, first), draw(rng, second)) for _ in range(count)]
            for test, fails in (("A/A check", check_fails), ("Welch", welch_fails)):
                share_figure(f"{name}, {first} and {second} runs, {test} fails", [fails(*pair) for pair in pairs])


def main() -> None:
    if sys.argv[1:2] == ["checks"]:
        checks(*(int(word) for word in (*sys.argv[2:], *("20000", "14")[len(sys.argv) - 2 :])))
        return
    count, seed = (int(word) for word in (*sys.argv[1:], *("20000", "14")[len(sys.argv) - 1 :]))
    for plan, sizes in PLANS.items():
        figure("runs", f"{plan}: champion {sizes[0]}, stock {sizes[1]}, A/A {sizes[2]}")
        for number, (name, law) in enumerate(LAWS.items()):
            rng = np.random.Generator(np.random.PCG64([seed, number, sizes[0]]))
            failed, first, whole = zip(*(study(rng, sizes, law) for _ in range(count)), strict=True)
            share_figure(f"{name}: check fails", failed)
            share_figure(f"{name}: claims of the first look", first)
            share_figure(f"{name}: claims of the study", whole, "" if law[2] else GOAL)


if __name__ == "__main__":
    main()
