"""Does the surrogate know anything, and is its gate worth having? Simulated studies, with and without effects.

``python -m bench.surrogate [STUDIES] [GENERATIONS]``, 40 and 2 unless told: a line per study, then per world the share
of studies whose surrogate is said to beat chance, with its 95% interval (Clopper and Pearson), and the same of the
gate before the last generation, with what the children measured that it would have turned away. Where no edit is worth
anything programs still differ in how their runs end, so that a claim there is no proof of an error.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from analysis.statistics import mean_interval
from analysis.study import open_study
from analysis.surrogate import ProgramGain, Skill, known_programs, skill
from bench.whole import quick_plan, whole_study
from meta.gate import gate_among
from trainer.planted import null_law, random_law, simulated_task
from trainer.task import Task


@dataclass(frozen=True)
class Seen:
    """At the end of a study: the skill. Before its last generation: was the gate open, and the gains of the children
    that it would have let pass and turned away (of a shut gate none)."""

    skill: Skill
    gate: bool
    passed: tuple[float, ...]
    turned_away: tuple[float, ...]

    @property
    def difference(self) -> float | None:
        """What those that pass gained more, in the mean."""
        return fmean(self.passed) - fmean(self.turned_away) if self.passed and self.turned_away else None


def one(seed: int, null: bool, generations: int, folder: Path) -> Seen:
    law = null_law(seed) if null else random_law(seed)
    task = Task.load(simulated_task(law, folder / "task"))
    plan = replace(quick_plan(task), generations=generations, confirm_runs=2, ablation_runs=0, control_runs=0)
    whole_study(task, plan, seed, folder / "study")
    with open_study(folder / "study", views=()) as con:
        known = known_programs(con, task.name)
        later = con.execute("SELECT match_id FROM matches WHERE generation >= ? OR purpose = 'confirmation'",
                            [generations]).fetchall()  # fmt: skip
        before = known_programs(con, task.name, [match_id for (match_id,) in later])
    return judged(task.name, known, before)


def judged(task: str, known: Sequence[ProgramGain], before: Sequence[ProgramGain]) -> Seen:
    task_skill, _ = skill(task, known)
    gate = gate_among(task, before)
    if gate is None:
        return Seen(task_skill, False, (), ())
    old = {k.program.program_id for k in before}
    said = [(gate(k.program), k.gain) for k in known if k.program.program_id not in old]
    return Seen(task_skill, True, tuple(g for why, g in said if not why), tuple(g for why, g in said if why))


def share(count: int, of: int) -> str:
    from scipy.stats import beta

    low = float(beta.ppf(0.025, count, of - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, of - count)) if count < of else 1.0
    return f"{count} of {of} ({count / of:.0%}, 95% {low:.0%} to {high:.0%})"


def mean_text(values: Sequence[float]) -> str:
    """The mean over studies with its 95% t interval."""
    mean = mean_interval(values)
    low, high, middle = ("unknown" if v is None else f"{v:+.3f}" for v in (mean.low, mean.high, mean.mean))
    return f"mean {middle}, 95% {low} to {high}, {mean.n} studies"


def summed(world: str, seen: Sequence[Seen]) -> str:
    ranks = mean_text([s.skill.correlation for s in seen if s.skill.correlation is not None])
    differences = [s.difference for s in seen if s.difference is not None]
    turned_away = sum(len(s.turned_away) for s in seen)
    lines = [
        f"rank correlation {ranks}",
        f"said to beat chance: {share(sum(s.skill.beats_chance for s in seen), len(seen))}",
        f"gate open before the last generation: {share(sum(s.gate for s in seen), len(seen))}; "
        f"it turns away {turned_away} of {turned_away + sum(len(s.passed) for s in seen)} children",
    ]  # fmt: skip
    if differences:
        lines.append(f"gain of those that pass minus those turned away: {mean_text(differences)}")
    return "\n".join(f"{world}: {line}" for line in lines)


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    generations = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    print("world  seed  programs  held_out    rank  low    high   beats_chance  gate  away  passed_minus_away")
    for world in ("effects", "null"):
        seen = []
        for seed in range(count):
            with tempfile.TemporaryDirectory(prefix="metaloop-bench-") as name:
                result = one(seed, world == "null", generations, Path(name))
            seen.append(result)
            s = result.skill
            figures = "  ".join("none " if v is None else f"{v:+.2f}" for v in (s.correlation, s.low, s.high))
            gate = "open" if result.gate else "shut"
            more = "" if result.difference is None else f"{result.difference:+.3f}"
            print(f"{world:7}{seed:4}{s.programs:10}  {s.held_out:9} {figures}  {s.beats_chance!s:12}  {gate}  "
                  f"{len(result.turned_away):4}  {more}", flush=True)  # fmt: skip
        print(summed(world, seen))


if __name__ == "__main__":
    main()
