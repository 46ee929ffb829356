"""Nights: what `metaloop improve` makes of one, against the user's program running alone all night.

python -m bench.nights FILE [NIGHTS] [EXPERIMENTS] [MEMBERS] [FAMILY…]
default: 48 nights of 96, four members of each of three families
python -m bench.nights simulated [NIGHTS]
default: 1,000 nights of 96 experiments on planted tasks; nothing is trained
python -m bench.nights idle [NIGHTS]
default: 3 nights of 24 experiments of three seconds with a stand-in model that thinks for 20% of a training

The user's program is prose, which the scripted researcher carries out as the plain loop. Each night is `improve` on
one member of a family, after the shipped knowledge without that family, with the device time of EXPERIMENTS full
experiments; and one run of the user's program with all of it, which trains no script twice. Real training; one line
for each night is appended to FILE, and those that FILE has are not made again. Members whose untouched script fails are
passed over. Both scripts are trained again under fresh seeds (10,000 resamples of the tasks and of the nights of each;
shares with Clopper and Pearson's interval).

A simulated program is k times better than one of whose proposals all but one in k are wrong ideas; NOISE is the SD of a
training, where an edit gains .1 on average.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analysis.effects.contributions import NightTurnRow, block_test
from analysis.verdict.decision import LEVEL
from bench.common import METALOOP, figure, go_on, kept, mean_of, metaloop, night_turns, share_figure, sql
from bench.simulated_tasks import random_law, simulated_task
from bench.whole import LAWS
from inner_loop.events import Event
from inner_loop.run import run
from programs.program import Program
from programs.settings import set_charter
from trainer.data import DataStore
from trainer.edits import format_value
from trainer.experiment import Trainer
from trainer.laws.law import Law
from trainer.streams import Streams
from trainer.task import Task
from trainer.variants import init_like

FAMILIES, FIRST, MEMBERS = ("tabular", "strokes", "letters"), 301, 4
SEED, RESAMPLES = 17, 10_000
NOISE, SPENT_AT_END = 0.1, 8  # trainings that measure main, of 96
PROGRAM = "# My loop\n\nChange one thing of train.py at a time. Keep a change if the loss is lower.\n"
TRAINING = 3.0  # seconds of CPU time
BUSY = f"""import time
LR = 0.1
WIDTH = 8
WARMUP = 0.05
SEED = 1
while time.process_time() < {TRAINING}:
    pass
print("loss:", 1 + (LR - 0.3) ** 2 + 0.1 / WIDTH + (WARMUP - 0.2) ** 2 + SEED * 7919 % 13 / 1000)
"""


@dataclass(frozen=True)
class Night:
    """Verified gains of main and of the plain loop's script; main's by the score that chose it (None: not recorded),
    and the SD of one training."""

    family: str
    member: int
    night: int
    experiments: int
    trained: bool
    best: float
    plain: float
    claimed: float | None
    sd: float


def night(job: tuple[str, int, int, int]) -> Night:
    family, member, number, experiments = job
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task = init_like(folder / f"{family}-{member}", family, member)
        (folder / "mine.md").write_text(PROGRAM)
        budget = f"{experiments * task.cost_seconds:.4f}s"
        common = ["-t", str(task.folder), "--seed", str(number), "-y"]
        words = ["improve", str(folder / "mine.md"), "--budget", budget, "--set", f"without={family}", *common]
        done = subprocess.run(
            [METALOOP, *words, "-s", str(folder / "study")], capture_output=True, text=True, check=False
        )
        if "baseline fails" in done.stderr:
            return Night(*job, False, 0.0, 0.0, 0.0, 0.0)
        if done.returncode:
            raise RuntimeError(f"{family} {member}, night {number}: {done.stderr[-300:]}")
        metaloop("match", str(folder / "mine.md"), "--no-controls", "-n", "1", "-b", budget, *common,
                 "-s", str(folder / "plain"))  # fmt: skip
        [ours] = sql(folder / "study", "SELECT verified_gain AS gain, claimed_gain AS claimed FROM runs")
        [plain] = sql(folder / "plain", "SELECT verified_gain AS gain FROM runs")
        [noise] = sql(folder / "study", "SELECT sd FROM seed_noise()")
        return Night(*job, True, ours["gain"], plain["gain"], ours["claimed"], noise["sd"])


def main(file: str, nights: int = 48, experiments: int = 96, members: int = MEMBERS, *families: str) -> None:
    families = families or FAMILIES
    path, each = Path(file), -(-nights // (len(families) * members))
    for family in families:
        member, complete = FIRST, 0
        while complete < members:
            for number in range(1, each + 1):
                there = {(one.family, one.member, one.night, one.experiments) for one in kept(path, Night)}
                if (family, member, number, experiments) not in there:
                    go_on(path, night, [(family, member, number, experiments)], 1)
            own = [one for one in kept(path, Night) if (one.family, one.member) == (family, member)]
            complete += all(one.trained for one in own)
            member += 1
    made = [one for one in kept(path, Night) if one.trained and one.experiments == experiments]
    tasks = [[one for one in made if (one.family, one.member) == key] for key in {(o.family, o.member) for o in made}]
    tasks.sort(key=lambda own: (own[0].family, own[0].member))
    figure(f"{len(made)} nights on {len(tasks)} tasks, gain of main over the plain loop's", ratio(tasks), ">= 1.1")
    share_figure("main at least as good as the plain loop's script", [one.best >= one.plain for one in made], ">= .75")
    claims = [(one.claimed - one.best) / one.sd for one in made if one.sd and one.claimed is not None]
    if claims:
        figure("claimed minus verified gain, in SDs of a training", mean_of(claims), "<= .5")


def ratio(tasks: Sequence[Sequence[Night]]) -> str:
    """Ratio of the mean gain of main to that of the plain loop, each task's divided by the mean gain of the plain loop
    there. An upper bound of "inf" says that its mean may be 0."""
    rng = np.random.default_rng(SEED)
    units = [float(np.mean([one.plain for one in own])) for own in tasks]

    def once(picked: Sequence[tuple[Sequence[Night], float]]) -> float:
        top, bottom = (
            sum(float(np.mean([getattr(one, which) for one in own])) / abs(unit) for own, unit in picked)
            for which in ("best", "plain")
        )
        return top / bottom if bottom > 0 else float("inf")

    whole = list(zip(tasks, units, strict=True))
    if not all(units) or once(whole) == float("inf"):
        return "unknown, the plain loop gained nothing"
    drawn = []
    for _ in range(RESAMPLES):
        chosen = [whole[at] for at in rng.integers(len(whole), size=len(whole))]
        drawn.append(once([([own[i] for i in rng.integers(len(own), size=len(own))], unit) for own, unit in chosen]))
    low, high = np.quantile(drawn, [0.025, 0.975], method="inverted_cdf")  # nothing between a number and infinity
    return f"{once(whole):.2f} [{low:.2f}, {high:.2f}]"


def idle(count: int, shares: Sequence[float] = (0.0, 0.2)) -> None:
    """Share of a night's wall time without a training, where the model answers at once and where it thinks."""
    from tests.llm.crowd import answer
    from tests.llm.server import LlmServer
    from tests.meta.foreign_study import surroundings

    for share in shares:
        seen = []
        for number in range(count):
            with tempfile.TemporaryDirectory() as temporary, LlmServer(answer) as server:
                folder = Path(temporary)
                (folder / "theirs").mkdir()
                (folder / "theirs" / "train.py").write_text(BUSY)
                (folder / "mine.md").write_text(PROGRAM)
                metaloop("task", "init", "--from", str(folder / "theirs"), "--metric", "loss", "--direction", "lower",
                         "--seed", "train.py:SEED", "--noise", "unknown")  # fmt: skip
                server.delay = share * TRAINING
                words = ["improve", "mine.md", "-t", "theirs", "-m", "openai/test", "--budget", f"{24 * TRAINING:.0f}s",
                         "--seed", str(number), "-y", "-s", "study"]  # fmt: skip
                subprocess.run([METALOOP, *words], cwd=folder, env=surroundings(server.url), check=True,
                               capture_output=True)  # fmt: skip
                [row] = sql(folder / "study", "SELECT utilization FROM standings WHERE purpose = 'night'")
                seen.append(1 - row["utilization"])
        each = ", ".join(f"{one:.3f}" for one in seen)
        figure(
            f"idle, the model thinks for {share:.0%} of a training", f"{mean_of(seen)}: {each}", "<= .03" * (share > 0)
        )


@dataclass(frozen=True)
class Simulated:
    """A night: the true gain of main, the turns, and the SD between seeds."""

    gain: float
    turns: list[NightTurnRow]
    sd: float


PLAIN = Program.parse(PROGRAM, "plain")


def diluted(law: Law, name: str, wrong: float) -> Program:
    """The plain loop, with such a share of wrong ideas among its proposals."""
    worst = sorted(law.effects, key=lambda change: law.effects[change])[:12]
    pairs = [pair for pair in itertools.combinations(worst, 2) if pair[0][0] != pair[1][0]]
    ideas = "".join(f"- Try {' '.join(map(term, each))}.\n" for each in [*([one] for one in worst), *pairs])
    text = f"# {name}\n\n## Ideas\n\n{ideas}"
    return Program.parse(set_charter(text, "proposers", {"queue": wrong, "random": round(1 - wrong, 3)}), name)


def term(change: tuple[str, object]) -> str:
    name, value = change
    shown = "on" if value is True else format_value(value)  # type: ignore[arg-type]
    return f"`{name.lower()}={shown}`"


def simulated(law: Law, task: Task, seed: int, programs: Sequence[Program], experiments: int) -> Simulated:
    """One night of the programs, or one run of a single one."""
    streams, events = Streams.from_seed(seed), list[Event]()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(task, DataStore(task, streams, Path(folder)))
        ended = run(
            programs[0], trainer, run_id=f"r{seed}", run_seed=seed, streams=streams, emit=events.append, folder=None,
            budget_seconds=experiments * task.cost_seconds, beside=programs[1:],
        )  # fmt: skip
    return Simulated(law.gain(task.edits.config(ended.final)), night_turns(events), NOISE)


def nights(kind: str, count: int, first: int = 1) -> Iterator[tuple[Simulated, Sequence[Program]]]:
    """Nights of two programs. ``kind``: copies, or how many times the second is as good as the first."""
    with tempfile.TemporaryDirectory() as folder:
        for at in range(LAWS):
            law = random_law(1 + at, noise=NOISE)
            task = Task.load(simulated_task(law, Path(folder) / f"{at}"))
            pairs = {
                "copies": (PLAIN, Program.parse(PROGRAM + "\nAs the first.\n", "copy")),
                "2": (diluted(law, "half", 0.5), PLAIN),
                "3": (diluted(law, "third", 0.667), PLAIN),
                "half": (PLAIN, diluted(law, "half", 0.5)),
                "wrong": (PLAIN, diluted(law, "wrong", 0.95)),
            }
            programs = pairs[kind]
            for seed in range(first + at, first + count, LAWS):
                yield simulated(law, task, seed, programs, 96 - SPENT_AT_END), programs


def tests(count: int) -> None:
    """How often the second program is called better, and what a worse one costs."""
    said = [
        block_test([(one.turns, one.sd)], a.program_id, b.program_id) < LEVEL for one, (a, b) in nights("copies", count)
    ]
    share_figure("copies, better said", said, "<= .05, upper bound <= .065")
    for times, goal in (("2", (".18", ".55")), ("3", (".36", ".90"))):
        seen = [(one, pair) for one, pair in nights(times, count)]
        ones = [block_test([(one.turns, one.sd)], a.program_id, b.program_id) < LEVEL for one, (a, b) in seen]
        share_figure(f"{times} times as good, one night", ones, f">= {goal[0]}")
        share_figure(f"{times} times as good, five nights", list(five(seen)), f">= {goal[1]}")
    alone = dict(enumerate(runs(PLAIN, count)))
    for kind in ("half", "wrong"):
        pairs = [(one.gain, alone[seed].gain) for seed, (one, _) in enumerate(nights(kind, count))]
        figure(
            f"second program {kind}: gain of main over that of the first alone",
            of_sums(pairs),
            ">= .9" * (kind == "half"),
        )


def five(seen: Sequence[tuple[Simulated, Sequence[Program]]]) -> Iterator[bool]:
    """The test over five nights at a time, each on another task. Programs go by their place."""
    step = len(seen) // 5
    for at in range(step):
        group = [seen[at + k * step] for k in range(5)]
        named = [
            (
                [
                    NightTurnRow(**{**vars(row), "program_id": "b" if row.program_id == b.program_id else "a"})
                    for row in one.turns
                ],
                one.sd,
            )
            for one, (_, b) in group
        ]
        yield block_test(named, "a", "b") < LEVEL


def runs(program: Program, count: int) -> Iterator[Simulated]:
    """The same nights of one program alone, which trains no script twice, with all 96 experiments."""
    with tempfile.TemporaryDirectory() as folder:
        for at in range(LAWS):
            law = random_law(1 + at, noise=NOISE)
            task = Task.load(simulated_task(law, Path(folder) / f"{at}"))
            for seed in range(1 + at, 1 + count, LAWS):
                yield simulated(law, task, seed, [program], 96)


def of_sums(pairs: Sequence[tuple[float, float]]) -> str:
    rng, both = np.random.default_rng(SEED), np.array(pairs)
    drawn = [both[rng.integers(len(both), size=len(both))].sum(axis=0) for _ in range(RESAMPLES)]
    low, high = np.quantile([a / b for a, b in drawn], [0.025, 0.975])
    a, b = both.sum(axis=0)
    return f"{a / b:.3f} [{low:.3f}, {high:.3f}] of {len(both)}"


if __name__ == "__main__":
    if sys.argv[1] == "simulated":
        tests(int((*sys.argv[2:3], "1000")[0]))
    elif sys.argv[1] == "idle":
        idle(int((*sys.argv[2:3], "3")[0]))
    else:
        main(sys.argv[1], *map(int, sys.argv[2:5]), *sys.argv[5:])  # type: ignore[arg-type]
