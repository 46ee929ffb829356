"""False claims of studies that may be confirmed a second time, where their A/A check failed.

python -m bench.second_look [STUDIES] [SEED]      default 20000 14; nothing is trained

Champion and stock gain the same. First look: the claim with its A/A check; where the check fails, a second look on
fresh runs. Printed by law of the runs: how often the check fails, claims of the first look, and claims of the whole
study, which must stay at 2.5%. In the last law the arms of stock really differ in the first look: nothing promises a
level there; it shows how often the check notices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from bench.common import figure
from bench.simulated import told
from meta.claim import Claim, claim

GOAL = "<= 0.025"
Draw = Callable[[np.random.Generator, int], np.ndarray]
PLANS = {"quick": (10, 10, 4), "default": (20, 20, 4)}


def normal(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n)


def wide(rng: np.random.Generator, n: int) -> np.ndarray:
    return 2.0 * rng.standard_normal(n)


def left(rng: np.random.Generator, n: int) -> np.ndarray:
    """Skewness -2: an exponential turned round."""
    return 1.0 - rng.standard_exponential(n)


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


def main() -> None:
    count, seed = (int(word) for word in (*sys.argv[1:], *("20000", "14")[len(sys.argv) - 1 :]))
    for plan, sizes in PLANS.items():
        figure("runs", f"{plan}: champion {sizes[0]}, stock {sizes[1]}, A/A {sizes[2]}")
        for number, (name, law) in enumerate(LAWS.items()):
            rng = np.random.Generator(np.random.PCG64([seed, number, sizes[0]]))
            failed, first, whole = zip(*(study(rng, sizes, law) for _ in range(count)), strict=True)
            told(f"{name}: check fails", failed)
            told(f"{name}: claims of the first look", first)
            told(f"{name}: claims of the study", whole, "" if law[2] else GOAL)


if __name__ == "__main__":
    main()
