"""Whether credit is right: whole simulated studies where nothing works, and where the truth is planted.

python -m bench.credit FILE [COUNT] [WORKERS]      default 1000 2
    COUNT null studies by turns over the laws named below and the plans small and quick, and a fifth as many planted
    ones. Each is one line appended to FILE; those that FILE has are not made again. 0: shows FILE.

Of every study all rows of the view `credit` are read, as they stand when it has ended. Printed: in how many null
studies any row has q < .05, and how many 95% intervals leave out the truth, by method and design. The truth of an edit
is its effect on the untouched source, that of a directive what the law says of the changes that cite it. Seeds are
fixed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.study import open_study
from analysis.views.tables import rows
from bench.common import TRIED, figure, go_on, kept, share_figure
from bench.nulls import SMALL, SMALL_BUDGET
from bench.simulated_tasks import null_law, random_law, simulated_task
from bench.whole import EXPERIMENTS, PLAN, whole_study
from trainer.laws.law import Law
from trainer.task import Task

NULLS: Mapping[str, Callable[[int], Law]] = {
    "plain": lambda seed: null_law(seed, trajectory=0.0, crash_rate=0.0),
    "run x edit": lambda seed: null_law(seed, crash_rate=0.0),
    "heavy tails": lambda seed: null_law(seed, crash_rate=0.0, tail=3.0),
    "5% crash": lambda seed: null_law(seed),
    "screens": lambda seed: null_law(seed, slow=0.3, misleading=0.08),
}
PLANTED: Mapping[str, Callable[[int], Law]] = {
    "planted, effects add up": lambda seed: random_law(seed, interactions=0),
    "planted, pairs interact": random_law,
}
PLANS = ("small", "quick")
FIRST = 60_001  # seed of the first study
LAWS = 20  # tasks of each kind
CITED = """
SELECT c.directive_id, c.run_id, c.source_id, any_value(c.config) AS config, any_value(p.config) AS before
FROM (SELECT *, unnest(list_distinct(directive_ids)) AS directive_id FROM experiments) AS c
JOIN experiments AS p ON p.run_id = c.run_id AND p.number = c.parent_number
WHERE c.match_id NOT IN (SELECT match_id FROM matches WHERE stream IN ('confirmation', 'reserve'))
GROUP BY ALL HAVING bool_and(c.status = 'ok')
"""


@dataclass(frozen=True)
class Job:
    law: str
    plan: str
    seed: int


@dataclass(frozen=True)
class Seen:
    """One study. ``rows``: method and design → (intervals, those that leave the truth out, intervals of a truth that is
    not 0, those of them that leave it out, rows with q < .05 of a truth that is 0)."""

    law: str
    plan: str
    seed: int
    rows: dict[str, tuple[int, int, int, int, int]]
    screens: int
    cpu_seconds: float


def make(job: Job) -> Seen:
    began = time.process_time()
    law = (NULLS | PLANTED)[job.law](1 + job.seed % LAWS)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="credit-", dir=memory if memory.is_dir() else None) as name:
        task = Task.load(simulated_task(law, Path(name) / "task", experiments=EXPERIMENTS))
        plan, budget = (SMALL, SMALL_BUDGET) if job.plan == "small" and not TRIED else (PLAN, None)
        whole_study(task, plan, job.seed, Path(name) / "study", run_budget=budget)
        with open_study(Path(name) / "study", views=("credit",)) as con:
            credit = rows(con.execute("SELECT * FROM credit"))
            true = truths(law, credit, rows(con.execute(CITED)))
            [[screens]] = con.execute("SELECT count(*) FROM experiments WHERE fraction < 1").fetchall()
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * 5)
    for row in credit:
        truth = true.get(row["credit_id"])
        if truth is None or row["low"] is None:
            continue
        out = not row["low"] <= truth <= row["high"]
        false_positive = truth == 0.0 and row["q"] is not None and row["q"] < 0.05
        own = (1, out, truth != 0.0, out and truth != 0.0, false_positive)
        count = counts[f"{row['method']}, {row['design']}"]
        count[:] = [a + int(b) for a, b in zip(count, own, strict=True)]
    kinds = {key: (n[0], n[1], n[2], n[3], n[4]) for key, n in counts.items()}
    return Seen(job.law, job.plan, job.seed, kinds, screens, time.process_time() - began)


def truths(law: Law, credit: Sequence[Mapping[str, Any]], cited: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """credit_id → what is true; of a planted law those of edits and directives alone are known."""
    null = not any(law.effects.values())
    gains: dict[str, float] = defaultdict(float)
    for row in cited:
        held, before = (
            value if isinstance(value, dict) else json.loads(value) for value in (row["config"], row["before"])
        )
        gains[row["directive_id"]] += law.gain(held) - law.gain(before)
    true_effects = {}
    for row in credit:
        if row["method"] == "edit":
            true_effects[row["credit_id"]] = 0.0 if null else effect(law, row["knob"], row["value"])
        elif row["method"] == "directive":
            true_effects[row["credit_id"]] = 0.0 if null else round(gains[row["directive_id"]] / row["n"], 12)
        elif null:
            true_effects[row["credit_id"]] = 0.0
    return true_effects


def effect(law: Law, knob: str, value: str) -> float:
    """The planted effect of an edit as a row of credit names it."""
    for name, known in law.before.items():
        if name == knob and isinstance(known, bool):
            return law.effect((name, True))
        if name == knob:
            return law.effect((name, value if isinstance(known, str) else float(value)))
    raise KeyError(knob)


def jobs(count: int) -> Iterator[Job]:
    """The null studies by turns, and after every fifth a planted one."""
    for i in range(count):
        names = list(NULLS)
        yield Job(names[i % len(names)], PLANS[i // len(names) % 2], FIRST + i)
        if i % 5 == 4:
            yield Job(list(PLANTED)[i // 5 % 2], PLANS[i // 10 % 2], FIRST + 500_000 + i)


def show(seen: Sequence[Seen]) -> None:
    null = [each for each in seen if each.law in NULLS]
    for name in (*NULLS, *PLANS, "all"):
        some = [each for each in null if name in (each.law, each.plan, "all")]
        if some:
            goal = "<= 5%, upper bound <= 6.5%" if name == "all" else ""
            share_figure(
                f"null studies with a significant row, {name}", [has_false_positive(each) for each in some], goal
            )
    for group, made, goal in (
        ("null", null, "<= 7%"),
        ("planted", [each for each in seen if each.law in PLANTED], "3 to 7%; of truths that are not 0 <= 10%"),
    ):
        for kind in sorted({kind for each in made for kind in each.rows}):
            sums = [sum(each.rows.get(kind, (0,) * 5)[i] for each in made) for i in range(5)]
            nonzero = (
                f"; of truths that are not 0: {sums[3]} of {sums[2]} = {share(sums[3], sums[2])}" if sums[2] else ""
            )
            text = f"{sums[1]} of {sums[0]} = {share(sums[1], sums[0])}{nonzero}; q < .05 of 0: {sums[4]}"
            figure(f"intervals that leave the truth out, {group}, {kind}", text, goal)
    figure("experiments cut short", sum(each.screens for each in seen))
    figure("CPU-seconds a study", round(sum(each.cpu_seconds for each in seen) / max(1, len(seen)), 2))


def has_false_positive(seen: Seen) -> bool:
    return any(counts[4] for counts in seen.rows.values())


def share(part: int, whole: int) -> str:
    return f"{part / whole:.4f}" if whole else "none"


def main() -> None:
    file = Path(sys.argv[1])
    count, workers = (int(word) for word in (*sys.argv[2:], *("1000", "2")[len(sys.argv) - 2 :]))
    done = {(seen.law, seen.plan, seen.seed) for seen in kept(file, Seen)}
    go_on(file, make, [job for job in jobs(count) if (job.law, job.plan, job.seed) not in done], workers)
    show(kept(file, Seen))


if __name__ == "__main__":
    main()
