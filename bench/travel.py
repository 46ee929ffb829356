"""Whether a list learnt on other families of tasks helps on a family that it never saw.

python -m bench.travel FILE [EXPERIMENTS] [TASKS] [KIND]      default: 16 8 learnt; each family is left out in turn

The program: `metaloop knowledge ideas` of the shipped knowledge without the family. The tasks: of each family's members
from FIRST on, the first TASKS whose untouched script trains. On each, RUNS runs of the program and of stock under the
same seeds and budget (EXPERIMENTS full experiments), judged by verified gains. Real training; one line for each task is
appended to FILE, and those that FILE has are not made again.

Kinds: learnt; flat (the same without conditions); weak (learnt from WEAK tasks of each other family alone); wrong
(learnt from effects with the opposite sign); own and own-flat
(learnt on the family itself, members 1 to 12); bare (the same process without any idea). With -followed, the list is
followed however many of its ideas fail (charter field doubt_ideas). NAME.md: that file of bench/results.
learnt/flat, own/own-flat, A.md/B.md: two programs in one match, where the second one takes stock's place in figures.

Kind builtin: tasks of the shelf and of examples/tasks themselves, each TASKS times with other seeds, after the shipped
knowledge (for `strokes` without its own family; the others have none in it, and `kernel` has no role to which it could
apply). Their figure is the mean over tasks of the ratios.

Intervals: 10,000 resamples of the tasks within each family and of the runs within each task (builtin: of the tasks,
too). Ratios of mean gains, in the metric's unit: SD for tabular, nats for the others.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.knowledge import SHIPPED, read
from analysis.report.coverage import choose, task_values
from bench.common import METALOOP, TRIED, figure, go_on, kept, over_tasks, sql
from meta.learnt import sentence, with_list
from programs.edit import without_ideas
from programs.settings import set_charter
from programs.shelf import starter
from trainer.task import Task
from trainer.variants import Variant, init_like

FAMILIES, FIRST, RUNS = ("tabular", "strokes", "letters")[: 1 if TRIED else 3], 101, 1 if TRIED else 2
BUILTIN = ("strokes", "tinylm", "examples/tasks/microgpt", "examples/tasks/kernel")
WEAK = 1
SEED, RESAMPLES = 16, 10_000
GOALS = {16: "mean >= 2.0, lower bound >= 1.5", 24: ">= 1.7, >= 1.35", 60: ">= 1.3, > 1.05"}


@dataclass(frozen=True)
class Travelled:
    """One task: verified gains of the runs, and the share of the budget after which the program's kept script was as
    good as stock's last one (1.0: not within it), both by the scores that the researcher saw."""

    family: str
    member: int
    experiments: int
    trained: bool
    program: list[float]
    stock: list[float]
    reached: list[float]
    kind: str = "learnt-followed"


def program(family: str, kind: str) -> str:
    """The program of a kind."""
    if kind.endswith(".md"):
        return (Path(__file__).parent / "results" / kind).read_text("utf-8")
    words = kind.split("-")
    if "bare" in words:
        return without_ideas(starter("idea-queue")).text
    others = [name for name in FAMILIES if name != family]
    tasks = task_values(read([SHIPPED], without=others if "own" in words else [family]))
    if "weak" in words:
        tasks = [task for name in others for task in [one for one in tasks if one.family == name][:WEAK]]
    if "wrong" in words:
        tasks = [
            replace(task, worth={group: {v: -w for v, w in known.items()} for group, known in task.worth.items()})
            for task in tasks
        ]
    text = with_list(starter("idea-queue"), [*map(sentence, choose(tasks, conditions="flat" not in words))])
    return set_charter(text, "doubt_ideas", False) if "followed" in words else text


def travelled(job: tuple[str, int, int, str]) -> Travelled:
    family, member, experiments, kind = job
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if kind == "builtin":
            task = Task.load(family)
        else:
            task = init_like(folder / f"{family}-{member}", Variant(family, member=member))
        first, _, other = kind.partition("/")
        (folder / "learnt.md").write_text(program(family, first))
        study = folder / "study"
        if other:
            (folder / "stock.md").write_text(program(family, other))
        play = [METALOOP, "match", str(folder / "learnt.md"), str(folder / "stock.md") if other else "stock"]
        play += ["--no-controls", "-t", str(task.folder)]
        play += ["-n", str(RUNS), "-b", f"{experiments * task.cost_seconds:.4f}s", "--seed", str(member)]
        play += ["-s", str(study), "-j", "2", "-y", "-q"]
        done = subprocess.run(play, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{family} {member}: {done.stderr.strip().splitlines()[0]}", file=sys.stderr)
            return Travelled(family, member, experiments, False, [], [], [], kind)
        gains: dict[str, list[float]] = {"learnt": [], "stock": []}
        for row in sql(study, "SELECT name, verified_gain FROM runs ORDER BY run_id"):
            gains[row["name"]].append(row["verified_gain"])
        reached = _reached(study, task)
        return Travelled(family, member, experiments, True, gains["learnt"], gains["stock"], reached, kind)


def _reached(study: Path, task: Task) -> list[float]:
    """For each pair of runs with the same seed, the share of the program's spend until it was as good as stock's."""
    made = sql(
        study,
        "SELECT runs.name, runs.run_seed AS seed, e.metric, e.decision, e.device_seconds_charged AS seconds "
        "FROM experiments AS e JOIN runs USING (run_id) ORDER BY runs.run_id, e.number",
    )
    shares = []
    for seed in sorted({row["seed"] for row in made}):
        ours, theirs = ([r for r in made if (r["name"], r["seed"]) == (name, seed)] for name in ("learnt", "stock"))
        good = [task.sign * row["metric"] for row in theirs if row["decision"] in ("keep", "baseline")]
        spent, total = 0.0, sum(row["seconds"] for row in ours)
        share = 1.0
        for row in ours:
            spent += row["seconds"]
            if row["decision"] in ("keep", "baseline") and task.sign * row["metric"] <= min(good):
                share = spent / total
                break
        shares.append(share)
    return shares


def main(file: str, experiments: int = 16, tasks: int = 8, kind: str = "learnt") -> None:
    path = Path(file)
    families = BUILTIN if kind == "builtin" else FAMILIES
    for family in families:
        member = FIRST
        while True:
            key = (family, experiments, kind)
            known = [one for one in kept(path, Travelled) if (one.family, one.experiments, one.kind) == key]
            trained = sum(one.trained for one in known)
            if trained >= tasks:
                break
            member = max((one.member for one in known), default=FIRST - 1) + 1
            go_on(path, travelled, [(family, member, experiments, kind)], 1)
    chosen = (experiments, kind, True)
    measured = [one for one in kept(path, Travelled) if (one.experiments, one.kind, one.trained) == chosen]
    for family in families:
        figure(
            f"{family} left out, times {'the other list' if '/' in kind else 'stock'}",
            _ratio([one for one in measured if one.family == family]),
        )
    cells = sum(len(one.stock) for one in measured)
    if kind == "builtin":
        figure(f"mean over {len(families)} tasks, {cells} cells", _mean_ratio(measured), ">= 1.5, >= 1.2")
    else:
        figure(
            f"all, {len(measured)} tasks, {cells} cells",
            _ratio(measured),
            "" if "/" in kind else GOALS.get(experiments, ""),
        )
    shares = sorted(share for one in measured for share in one.reached)
    figure("share of the budget until stock's last score, median", f"{np.median(shares):.2f}", "<= 0.25")


def _ratio(measured: list[Travelled]) -> str:
    rng = np.random.default_rng(SEED)
    families = [[one for one in measured if one.family == family] for family in dict.fromkeys((*FAMILIES, *BUILTIN))]
    drawn = []
    for _ in range(RESAMPLES):
        sums = np.zeros(2)
        for tasks in families:
            for at in rng.integers(len(tasks), size=len(tasks)) if tasks else ():
                runs = rng.integers(RUNS, size=RUNS)
                sums += [sum(tasks[at].program[run] for run in runs), sum(tasks[at].stock[run] for run in runs)]
        drawn.append(sums[0] / sums[1] if sums[1] > 0 else np.inf)
    stock = sum(sum(one.stock) for one in measured)
    if stock <= 0:
        return "unknown, stock gained nothing"
    whole = sum(sum(one.program) for one in measured) / stock
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{whole:.2f} [{low:.2f}, {high:.2f}]"


def _mean_ratio(measured: list[Travelled]) -> str:
    gains = [  # by task: a row of runs, program and stock
        np.array([run for one in measured if one.family == task for run in zip(one.program, one.stock, strict=True)])
        for task in BUILTIN
    ]

    def once(tasks: Sequence[np.ndarray]) -> float:
        means = [runs.mean(0) for runs in tasks]
        return float(np.mean([ours / theirs if theirs > 0 else np.inf for ours, theirs in means]))

    return over_tasks(gains, once, SEED, RESAMPLES)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:4]), *sys.argv[4:5])
