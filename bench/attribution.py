"""Attribution against planted truth.

python -m bench.attribution [factorial|named|turns ...] [REPLICATES]    default: all

turns: an ablation of twelve sentences by 512 turns, as `metaloop ablate -m MODEL` plans it for two tasks. Scores
are drawn from the recorded turns of the league (bench.league), whose mean falls from block to block; four sentences add
the effect that the plan calls detectable, half of it with a turn that has them, and take it without them.

The law (bench/planted_laws.py, the coarse level: from directives straight to gains, nothing is run): 20
directives, six with absolute effects 1, .9, .8, .4, .3, .2, signs and places drawn, 14 with none; the noise between
runs has sd 1, what all runs of a match share has sd 0.5. Effects add up.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from analysis.effects import designs
from analysis.statistics import Estimate, holm
from analysis.study import query
from bench import league
from bench.common import figure, share_figure, share_interval
from bench.planted_laws import SIX_OF_TWENTY, RunLaw, planted_directives
from bench.planted_study import Study, on_disk
from meta.kinds.ablation import detectable_effect
from meta.kinds.power import TURN_SD

APART = RunLaw(sd=1.0, drift=0.5)
REPLICATES, STUDIES, LEDGERS = 2000, 1000, 200
ABLATION = 120  # runs
TURN_REPLICATES = 100
PROGRAM_SD = 0.3  # of what a program adds to each of its turns: about that of the season of twelve sentences
NAMED = "SELECT directive_id, estimate FROM credit WHERE method = 'factorial'"


def factorial(replicates: int = REPLICATES) -> None:
    """11 directives, 48 runs, unit noise: the planned design against leaving out one at a time with the same runs."""
    rng, factors = np.random.default_rng(2), [f"d{i}" for i in range(11)]
    errors: dict[str, list[float]] = defaultdict(list)
    hits = []
    for replicate in range(replicates):
        law = planted_directives(rng, SIX_OF_TWENTY, count=11, runs=RunLaw(sd=1.0))
        factors = list(law.effects)
        truth = np.array([law.effects[d] for d in factors])
        design = designs.plan(factors, 48, replicate)
        rows = [row for k in range(design.blocks) for row in (design.mirror if k % 2 else design.plain)]
        blocks = [k for k in range(design.blocks) for _ in range(design.order)]
        gains = np.array(rows) @ truth + rng.standard_normal(48)
        for value, effect in zip(truth, designs.estimate(rows, gains.tolist(), blocks), strict=True):
            assert effect is not None
            errors["factorial"].append(effect.or_zero - value)
            hits.append((effect.low or 0.0) <= value <= (effect.high or 0.0))
        whole = rng.standard_normal(4).mean()
        errors["leave-one-out"] += [whole - rng.standard_normal(4).mean() for _ in factors]
    for name, goal in (("factorial", "<= 0.3"), ("leave-one-out", "")):
        rmse = math.sqrt(float(np.mean(np.square(errors[name]))))
        figure(f"{name}_rmse", f"{rmse:.3f} over {replicates} ablations of 11 directives, 48 runs, sd 1", goal)
    figure("factorial_coverage", f"{np.mean(hits):.4f}")


def named(studies: int = STUDIES) -> None:
    """Are the three largest of twenty the three largest of a planned ablation?

    Of the user's program, a starter of the study, which holds all twenty; and of the champion.
    """
    hits_by_method: dict[str, list[bool]] = defaultdict(list)
    for replicate in range(studies):
        study, champion = planted(replicate)
        best = top(study.law.effects)
        for name, program in (("all_20", "p0"), ("the_champion", champion)):
            hits_by_method[f"ablation_of_{name}"].append(top(study.ablate(program, ABLATION, 1)) == best)
    for name, hits in hits_by_method.items():
        low, high = share_interval(sum(hits), len(hits))
        goal = ">= 0.80" if name == "ablation_of_all_20" else ""
        figure(f"top3_{name}", f"{np.mean(hits):.3f} [{low:.3f}, {high:.3f}] of {len(hits)} default studies", goal)
    same = [through_the_ledger(replicate) for replicate in range(min(LEDGERS, studies))]
    low, high = share_interval(sum(same), len(same))
    shown = f"{np.mean(same):.3f} [{low:.3f}, {high:.3f}]: the first {len(same)} of them, from the view credit"
    figure("top3_through_the_ledger", shown, ">= 0.80")


def planted(replicate: int, folder: Path | None = None) -> tuple[Study, str]:
    """A default study under a law of its own, and its champion; the first program holds all directives."""
    rng = np.random.default_rng([3, replicate])
    law = planted_directives(rng, runs=APART)
    study = Study(law, rng) if folder is None else on_disk(folder, law, rng)
    return study, study.evolve(own=list(law.effects))


def turns(replicates: int = TURN_REPLICATES) -> None:
    """The power that a plan of turns states, and whether its intervals contain the truth, at scores of real turns: of
    independent turns, and of turns to which each program adds something of its own."""
    recorded = league.table_of(league.recorded())
    rng, names = np.random.default_rng(4), [f"d{i}" for i in range(12)]
    for label, own in (("turns", 0.0), ("turns_alike", PROGRAM_SD)):
        seen, hits, any_null, independent = list[bool](), list[bool](), list[bool](), list[bool]()
        for replicate in range(replicates):
            design = replace(designs.plan(names, 512, replicate), of_turns=True)
            effect = detectable_effect(design) * TURN_SD
            truth = np.array([effect] * 4 + [0.0] * 8)
            taken = design.turn_blocks * (design.blocks // 2)
            rows = [row for block in taken for row in block]
            blocks = [at for at, block in enumerate(taken) for _ in block]
            scores = np.array([rng.choice(recorded[:, at % league.BLOCKS].ravel()) for at in blocks])
            added = {row: rng.normal(0.0, own) for row in rows}
            scores += (np.array(rows) - 0.5) @ truth + [added[row] for row in rows]
            fitted = designs.estimate(rows, scores.tolist(), blocks, rows)
            hits += contains(truth.tolist(), fitted)
            independent += contains(truth.tolist(), designs.estimate(rows, scores.tolist(), blocks))
            seen += [(each.low or 0.0) > 0.0 for each in fitted[:4] if each]
            any_null.append(min(holm([(each.p() if each else None) or 1.0 for each in fitted[4:]])) < 0.05)
        share_figure(f"{label}_power", seen, "0.80" if not own else "")
        share_figure(f"{label}_coverage", hits, "0.95")
        share_figure(f"{label}_coverage_if_taken_as_independent", independent, "0.95" if not own else "")
        share_figure(f"{label}_any_null_sentence_announced", any_null, "<= 0.05")


def contains(truth: Sequence[float], fitted: Sequence[Estimate | None]) -> list[bool]:
    intervals = [effect.interval() if effect else (None, None) for effect in fitted]
    return [(low or 0.0) <= value <= (high or 0.0) for value, (low, high) in zip(truth, intervals, strict=True)]


def through_the_ledger(replicate: int) -> bool:
    with tempfile.TemporaryDirectory(dir=memory()) as folder:
        study, _ = planted(replicate, Path(folder))
        study.ablate("p0", ABLATION, 1)
        assert study.ledger is not None
        study.ledger.close()
        rows = query(Path(folder), NAMED)
    return top({r["directive_id"]: r["estimate"] for r in rows}) == top(study.law.effects)


def top(values: Mapping[str, float], count: int = 3) -> set[str]:
    return set(sorted(values, key=lambda d: -abs(values[d]))[:count])


def memory() -> Path | None:
    """A folder in memory where there is one: the studies are thrown away."""
    return Path("/dev/shm") if Path("/dev/shm").is_dir() else None


def main(words: Sequence[str]) -> None:
    parts = {"factorial": factorial, "named": named, "turns": turns}
    counts = [int(word) for word in words if word.isdecimal()]
    for word in [word for word in words if word in parts] or list(parts):
        parts[word](*counts)


if __name__ == "__main__":
    main(sys.argv[1:])
