"""What evolution adds to the program it starts from, and whether the champion carries what its study knows.

python -m bench.own_share FILE [HOW] [STUDIES] [WORKERS] [COMMIT]      default steps 8 1

HOW says how studies with seeds 1, 2 ... are made, all of `evolve --quick` on strokes but the last four:
    steps       --set fixed_steps=true
    load        device time, beside five busy processes
    tasks       --quick on strokes, tabular and letters in turn, by device time; after each three studies three beside
                five busy processes; beside the gains those on the unseen member of the task's family
    default     the default plan, 12 minutes of device time by fixed steps, on strokes, tabular and letters in turn,
                from what was learnt on tasks of other families
    simulated   planted laws in this process (bench.whole); nothing is trained
    several     the same on two laws at once (even seeds) or three (odd seeds), which are by the seed modulo three
                0 unrelated: random_law(200 + 3 seed + k), with the same knobs and effects that have nothing in common
                1 alike: the first of them, each effect with a deviation of SD .05 on each further task
                2 apart: as unrelated, but each task has knobs of its own, which other tasks lack
                Gains are in stock's mean gain on each task; nothing is held out
Each study is one line appended to FILE; those that FILE has are not made again. Own share: gain of the champion minus
that of the program it started from, both in the confirmation; 0 where evolution changed nothing. With COMMIT the same
studies are also made by the code of that commit, in FILE.COMMIT, and the last figures are differences by seed: this
code minus that one, with 95% intervals. Fixed before the first study of `several`: seeds 1 to 24, quick plan, 16
experiments a run; the new code stands unless the interval of the champion's gain over stock lies below 0.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from analysis.verdict.decision import Compared, decision_of
from bench.clock import load
from bench.common import METALOOP, champion_of, checked_out, figure, go_on, kept, mean_of, share_figure, sql, tried
from bench.simulated_tasks import random_law, simulated_task
from bench.whole import EXPERIMENTS, LAWS, PLAN, whole_study
from trainer.laws.law import Change, Law
from trainer.task import Task

BEST = """
SELECT e.config FROM runs AS r JOIN experiments AS e ON e.run_id = r.run_id AND e.source_id = r.final_source_id
WHERE r.stream = 'selection' AND e.status = 'ok' AND r.verified_gain > 0 ORDER BY r.verified_gain DESC, r.run_id LIMIT 1
"""
FIRST, BUSY = 1, 5
ON, BUDGET = ("strokes", "tabular", "letters"), "12m"  # of `default`
Share = tuple[float, float | None, float | None]  # difference, its 95% interval
CHILDREN = "SELECT label, estimate FROM credit WHERE method = 'mutation' ORDER BY credit_id"
OVER_TASKS = """
SELECT label, avg(estimate / size) AS estimate FROM credit JOIN scales USING (task)
WHERE method = 'mutation' GROUP BY label ORDER BY min(credit_id)
"""
RELATIONS, DEVIATION = ("unrelated", "alike", "apart"), 0.05  # of the laws of `several`


@dataclass(frozen=True)
class Shown:
    """One study, gains in the task's unit. ``script``: gain of its best
    train.py; ``children``: operator and gain over the parent, of each child that was raced beside it; ``variant``: gain
    of the champion and of stock on the unseen member of the task's family."""

    how: str
    seed: int
    stock: float
    champion: float
    share: Share
    script: float | None
    children: list[tuple[str, float]]
    variant: tuple[float, float] | None
    seconds: float

    @property
    def task(self) -> str:
        return task_of(self.how, self.seed)


@dataclass(frozen=True)
class Job:
    how: str
    seed: int

    @property
    def is_busy(self) -> bool:
        return self.how == "load" or (self.how == "tasks" and (self.seed - FIRST) // len(ON) % 2 == 1)


def task_of(how: str, seed: int) -> str:
    """Empty where nothing is trained."""
    if how in ("simulated", "several"):
        return ""
    return ON[(seed - FIRST) % len(ON)] if how in ("default", "tasks") else "strokes"


def made(job: Job) -> Shown:
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place, load(BUSY * job.is_busy):
        study = Path(place) / "study"
        shown = (simulated if job.how in ("simulated", "several") else trained)(job, study)
        statement = OVER_TASKS if job.how == "several" else CHILDREN
        grown = [(row["label"].partition(":")[0], row["estimate"]) for row in sql(study, statement)]
    return replace(shown, children=grown, seconds=round(time.perf_counter() - began, 1))


def simulated(job: Job, study: Path) -> Shown:
    """Its best train.py is the final script of the run with the highest verified gain; gains of scripts are true."""
    laws, names = [random_law(1 + job.seed % LAWS)], ["planted"]
    if job.how == "several":
        laws, names = several_laws(job.seed), ["law0", "law1", "law2"]
    folders = (
        simulated_task(law, study.parent / name, name=name, experiments=EXPERIMENTS)
        for law, name in zip(laws, names, strict=False)
    )
    task, *further = map(Task.load, folders)
    champion, claim = whole_study(task, PLAN, job.seed, study, further=further)
    [best] = sql(study, BEST)
    share = own_share(study, champion.program_id, claim.start, claim.tested)
    script = None if further else laws[0].gain(best["config"])
    return Shown(job.how, job.seed, claim.stock.or_zero, claim.champion.or_zero, share, script, [], None, 0.0)


def several_laws(seed: int) -> list[Law]:
    """The laws of a study of `several`."""
    laws, relation = [random_law(200 + 3 * seed + k) for k in range(2 + seed % 2)], RELATIONS[seed % 3]
    if relation == "apart":
        return [with_suffix(law, f"_{k}") for k, law in enumerate(laws)]
    return laws if relation == "unrelated" else [laws[0], *(alike(laws[0], law.seed) for law in laws[1:])]


def alike(law: Law, seed: int) -> Law:
    """A law with other noise and a deviation of each effect."""
    deviations = np.random.default_rng(seed).normal(0.0, DEVIATION, len(law.effects)).tolist()
    effects = {change: round(law.effects[change] + d, 4) for change, d in zip(law.effects, deviations, strict=True)}
    return replace(law, seed=seed, effects=effects)


def with_suffix(law: Law, suffix: str) -> Law:
    """The same law of knobs with longer names."""

    def renamed(change: Change) -> Change:
        return change[0] + suffix, change[1]

    return replace(
        law,
        before={knob + suffix: value for knob, value in law.before.items()},
        effects={renamed(change): effect for change, effect in law.effects.items()},
        interactions={(renamed(a), renamed(b)): effect for (a, b), effect in law.interactions.items()},
        crashes=frozenset(map(renamed, law.crashes)),
    )


def trained(job: Job, study: Path) -> Shown:
    task = task_of(job.how, job.seed)
    plan = ["--set", f"without={task}", "--budget", BUDGET] if job.how == "default" else ["--quick"]
    play = ["evolve", *plan, "-t", task, "--seed", str(job.seed), "-y", "-s", str(study)]
    play += ["--set", "fixed_steps=true"] * (job.how not in ("load", "tasks"))
    subprocess.run([METALOOP, *tried(play)], capture_output=True, text=True, check=True)
    event: dict[str, Any] = champion_of(study) or {}
    decision = decision_of(event)
    share = own_share(study, str(event["program_id"]), decision.start, decision.tested)
    script = next((one.gain for one in decision.scripts), None)
    shown = [(result.champion, result.tested) for result in decision.held_out if not result.is_tested]
    variant = next(((a.or_zero, b.gain.or_zero) for a, b in shown if a and b), None)
    gains = decision.tested.gain.or_zero, decision.champion.or_zero
    return Shown(job.how, job.seed, *gains, share, script, [], variant, 0.0)


def own_share(study: Path, champion: str, start: Compared | None, over_stock: Compared) -> Share:
    """A start that behaves like stock has no arm of its own."""
    [row] = sql(study, f"SELECT operator FROM programs WHERE program_id = '{champion}'")
    if row["operator"] in ("starter", "knowledge"):
        return 0.0, None, None
    told = start or over_stock
    return told.lead.value, *told.lead.interval()


def show(seen: Sequence[Shown], how: str) -> None:
    share_figure(f"{how}, own share above 0", [(one.share[1] or 0.0) > 0 for one in seen])
    in_stock = [one.share[0] / fmean(each.stock for each in seen) for one in seen]
    figure("own share, in stock's mean gain", mean_of(in_stock))
    figure("champion's gain, in that of stock", mean_of([one.champion / one.stock for one in seen if one.stock > 0]))
    starts = [(one.champion, one.champion - one.share[0]) for one in seen]
    figure("champion's gain, in that of its start", mean_of([one / start for one, start in starts if start > 0]))
    carried = [one.champion / one.script for one in seen if one.script]
    figure("champion's gain over that of the study's best train.py", mean_of(carried), ">= .9")
    kinds: dict[str, list[float]] = defaultdict(list)
    for one in seen:
        for operator, gain in one.children:
            kinds["all"].append(gain)
            kinds[operator].append(gain)
    for kind, gains in sorted(kinds.items()):
        figure(f"children minus parents, {kind}", mean_of(gains))
    variants = [one.variant for one in seen if one.variant]
    if variants:
        figure("unseen member of the family, champion minus stock", mean_of([a - b for a, b in variants]))
        figure("  … in stock's mean gain there", mean_of([a / fmean(b for _, b in variants) for a, _ in variants]))
    figure("seconds a study", f"{fmean(one.seconds for one in seen):.0f}")


def show_differences(studies: Sequence[Shown], earlier: Sequence[Shown]) -> None:
    """This code minus the earlier one, by seed; of all, and by the seed modulo three."""
    before = {study.seed: study for study in earlier}
    pairs = [(study, before[study.seed]) for study in studies if study.seed in before]
    for number, relation in enumerate(("all", *RELATIONS), -1):
        members = [pair for pair in pairs if number in (-1, pair[0].seed % 3)]
        over_stock = [new.champion / new.stock - old.champion / old.stock for new, old in members if new.stock > 0]
        figure(f"{relation}, difference of champion over stock", mean_of(over_stock))
        for operator in ("", "write-ideas"):
            gains = [(child_gains(new, operator), child_gains(old, operator)) for new, old in members]
            children = [fmean(new) - fmean(old) for new, old in gains if new and old]
            figure(f"{relation}, difference of children minus parents {operator}".strip(), mean_of(children))


def child_gains(study: Shown, operator: str) -> list[float]:
    """Gains over the parent of the children of a study, of one operator or of all."""
    return [gain for name, gain in study.children if name.startswith(operator)]


def play_earlier(file: Path, how: str, count: int, workers: int, commit: str) -> list[Shown]:
    """The same studies by the code of a commit, which has this bench; its lines are in a file beside ``file``."""
    other = file.with_name(f"{file.name}.{commit}")
    words = ("-P", "-m", "bench.own_share", str(other.resolve()), how, str(count), str(workers))
    with checked_out(commit) as code:
        variables = os.environ | {"PYTHONPATH": str(code)}
        subprocess.run([sys.executable, *words], cwd=code, env=variables, stdout=sys.stderr, check=True)
    return [study for study in kept(other, Shown) if study.how == how]


def main() -> None:
    file, how = Path(sys.argv[1]), (*sys.argv[2:3], "steps")[0]
    count, workers = (int(word) for word in (*sys.argv[3:5], *("8", "1")[max(0, len(sys.argv) - 3) :]))
    commits = sys.argv[5:6]
    done = {(one.how, one.seed) for one in kept(file, Shown)}
    seeds = [seed for seed in range(FIRST, FIRST + count) if (how, seed) not in done]
    go_on(file, made, [Job(how, seed) for seed in seeds], workers)
    studies = [study for study in kept(file, Shown) if study.how == how]
    for task in dict.fromkeys(study.task for study in studies):
        show([study for study in studies if study.task == task], f"{how}, {task}" if task else how)
    for commit in commits:
        show_differences(studies, play_earlier(file, how, count, workers, commit))


if __name__ == "__main__":
    main()
