"""How often the 95% intervals that the product prints contain what is true.

python -m bench.coverage FILE WHAT [CHECKS] [SEEDS] [WORKERS] [TASK…]      default 200 16 1, strokes tabular letters
python -m bench.coverage FILE      shows FILE

WHAT is measured again and again, by fixed steps, each time from another secret (fixed numbers), so with fresh seeds and
fresh hidden rows:
    verify      the functions of `metaloop verify` on three scripts, SEEDS seeds each: with a small, a middle and a
                large gain (SCRIPTS: edits that the task declares, chosen once by training); one check trains the
                untouched script once for the three, and tries none of them untrained
    main        a night that goes on from the script with the large gain and has no time for more, so that its `main` is
                that script; SEEDS fresh seeds measure it
    match       a whole match of CHAMPION against stock, RUNS runs of EXPERIMENTS each: the difference of the two
    champion    the confirmation of CHAMPION against stock, as many runs: the difference that the study announces
Each check is one line that is appended to FILE; those that FILE has are not made again.

The truth is not known. For each check it is the mean over all other checks, whose own error (SD between checks, over
the square root of their number) is added to the interval. Beside the coverage: the SD between checks, and the standard
error that the intervals imply (half their width over 1.96: with few seeds it contains the width of Student's t). With
the noise of the data left out, the SD is larger than that.

CPU-seconds of a check (one each; strokes, tabular, letters; about 4 of them start the worker): verify 17.6, 13.7, 14.7,
with 4 seeds 7.2, 6.0, 6.1; main 19.0, 15.4, 16.4, with 4 seeds 6.2, 5.5, 5.5; match 12.2, 11.3, 12.5; champion 13.5,
12.8, 13.1.
"""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

from analysis.study import read_study
from analysis.verdict.contrast import arms_of, contrast
from arena.after.harvest import HARVEST
from arena.arms import Entry
from arena.audit.verify import How, Sample, carry_out
from arena.standalone import play_entries
from arena.study.settings import StudyConfig
from arena.study.setup import StudySetup
from arena.study.study import Study
from arena.study.task_set import TaskSet
from arena.work.executors import executor_of
from bench.common import cpu_seconds, figure, go_on, kept, share_figure
from bench.whole import QUICK, resized, silent
from meta.confirmation import confirm
from meta.kinds.contract import plan_of
from meta.kinds.new_configs import night_config
from meta.kinds.plans import NightPlan
from meta.night import play_turns
from programs.shelf import starter
from trainer.edits import Edit
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

GOAL = ".93 to .97"
TASKS = ("strokes", "tabular", "letters")
SMALL, MIDDLE, LARGE = "small", "middle", "large"
#: Edits of the untouched script, with the gains by which they were chosen (8 seeds of the untouched one, 4 of each).
SCRIPTS = {
    "strokes": {  # .006, .21, .89 nats
        SMALL: Edit({"WIDTH": 64}),
        MIDDLE: Edit({}, ("centre",)),
        LARGE: Edit(
            {"MOMENTUM": 0.9, "LABEL_SMOOTHING": 0.0, "BATCH": 256, "COOLDOWN": 0.4, "WIDTH": 128, "ROWS": 8000,
             "ACTIVATION": "silu"}, ("centre",),
        ),
    },
    "tabular": {  # .008, .07, .61 SD
        SMALL: Edit({"UNITS": 32}),
        MIDDLE: Edit({"CURVE": "gelu", "UNITS": 32}),
        LARGE: Edit({"RULE": "adam", "UNITS": 64, "SLAB": 256, "CURVE": "gelu"}, ("whiten", "level")),
    },
    "letters": {  # .10, .36, .98 nats
        SMALL: Edit({"SHAPE": "relu"}),
        MIDDLE: Edit({"CHANNELS": 32}),
        LARGE: Edit({"CHANNELS": 32, "CHUNK": 256, "SHAPE": "gelu", "CELLS": 128}, ("pairs",)),
    },
}  # fmt: skip
CHAMPION, RUNS, EXPERIMENTS = "local", 4, 4
FIRST = 700_001  # number of the first secret


@dataclass(frozen=True)
class Check:
    """One check. ``gains``: by what was measured, the gain and its 95% interval, in the task's unit."""

    what: str
    task: str
    seeds: int
    number: int
    gains: dict[str, tuple[float, float | None, float | None]]
    cpu_seconds: float


Job = tuple[str, str, int, int]  # as the fields of the line
Gains = dict[str, tuple[float, float | None, float | None]]


def script(task: Task, size: str) -> Source:
    return task.edits.apply(task.baseline(), SCRIPTS[task.name][size])


def verified(task: Task, seeds: int, number: int, _: Path) -> Gains:
    samples = [Sample(size, script(task, size), seeds) for size in SCRIPTS[task.name]]
    how = How(Streams.from_seed(FIRST + number), fixed_steps=True)
    check = carry_out(task, samples, seeds, how, lambda text: None)
    gains = {sample.label: check.gain([sample.label]) for sample in samples}
    return {label: (gain.gain, gain.low, gain.high) for label, gain in gains.items()}


def main_of_night(task: Task, seeds: int, number: int, folder: Path) -> Gains:
    """Two programs that never have a turn: the budget is that of the untouched script and of `main`."""
    budget = task.steps_of(1.0) * task.seconds_per_step + task.cost_seconds  # the first is charged by its steps
    programs, begun = [starter("stock"), starter(CHAMPION)], script(task, LARGE)
    config = night_config(
        programs, task=task, run_budget=budget, fresh_seeds=seeds, own=programs[0], seed=FIRST + number,
        fixed_steps=True,
    )  # fmt: skip
    config, plan = config.model_copy(update={"start": [*begun.files]}), plan_of(config)
    assert isinstance(plan, NightPlan)
    with Study.create(folder, config) as study:
        for program in programs:
            study.admit(program, generation=0, operator="starter")
        with executor_of(study, silent) as executor:
            play_turns(study, plan, executor, silent)
        event = study.state.harvests[task.name, HARVEST]
    if event.source_id != begun.source_id or event.gain is None:
        raise RuntimeError(f"{task.name}, check {number}: main is another script")
    return {"main": (event.gain, event.low, event.high)}


def matched(task: Task, seeds: int, number: int, folder: Path) -> Gains:
    entries = [Entry(starter(CHAMPION)), Entry(starter("stock"))]
    study = Study.create(folder, config_of("match", task, number, entries))
    [match] = play_entries(study, entries, RUNS, silent)
    with read_study(folder, views=["standings"]) as con:
        arms = arms_of(con, match.match_id)
    assert arms is not None
    found = contrast(arms)
    return {f"{CHAMPION} - stock": (found.lead.value, *found.lead.interval())}


def confirmed(task: Task, seeds: int, number: int, folder: Path) -> Gains:
    final = {"champion": RUNS, "control": RUNS, "without-ideas": 0, "a/a": 0, "start": 0}
    champion = starter(CHAMPION)
    config = config_of("evolve", task, number, [Entry(champion), Entry(starter("stock"))])
    with Study.create(folder, config) as study, executor_of(study, silent) as executor:
        claim = confirm(TaskSet.of(study), executor, champion, resized(QUICK, final=final), silent)
    return {"champion - stock": (claim.tested.lead.value, *claim.tested.lead.interval())}


def config_of(kind: str, task: Task, number: int, entries: Sequence[Entry]) -> StudyConfig:
    programs, budget = [entry.program for entry in entries], EXPERIMENTS * task.cost_seconds
    return StudySetup(kind, task, budget, seed=FIRST + number, fixed_steps=True, programs=programs).config()


WHAT: dict[str, Callable[[Task, int, int, Path], Gains]] = {
    "verify": verified,
    "main": main_of_night,
    "match": matched,
    "champion": confirmed,
}
BY_SEEDS = ("verify", "main")  # what SEEDS changes


def make(job: Job) -> Check:
    what, task, seeds, number = job
    began = cpu_seconds()
    with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
        gains = WHAT[what](Task.load(task), seeds, number, Path(folder) / "study")
    return Check(what, task, seeds, number, gains, round(cpu_seconds() - began, 2))


def show(checks: Sequence[Check]) -> None:
    for what, task, seeds in dict.fromkeys((check.what, check.task, check.seeds) for check in checks):
        own = [check for check in checks if (check.what, check.task, check.seeds) == (what, task, seeds)]
        for label in own[0].gains:
            named = f"{what}, {task}, {label}" + (f", {seeds} seeds" if seeds else "")
            show_interval(named, [check.gains[label] for check in own])
        figure(f"{what}, {task}, CPU-seconds a check", f"{fmean(check.cpu_seconds for check in own):.1f}")
    for what in dict.fromkeys(check.what for check in checks):
        keys = dict.fromkeys((check.task, check.seeds) for check in checks if check.what == what)
        seen = list[bool]()
        for key in keys:
            own = [check for check in checks if (check.what, check.task, check.seeds) == (what, *key)]
            for label in own[0].gains if len(own) > 2 else ():
                seen += covered([check.gains[label] for check in own])
        if seen:
            share_figure(f"{what}, all", seen, GOAL)


def show_interval(name: str, gains: Sequence[tuple[float, float | None, float | None]]) -> None:
    values = [gain for gain, _, _ in gains]
    if len(values) < 3:
        figure(name, f"{fmean(values):.4f}, too few checks")
        return
    share_figure(f"{name}: the 95% interval contains the mean of the other checks", covered(gains), GOAL)
    halves = [(high - low) / 2 for _, low, high in gains if low is not None and high is not None]
    implied = f"{fmean(halves) / 1.96:.4f}" if halves else "unknown"
    figure(f"  … mean {fmean(values):.4f}, SD between checks", f"{stdev(values):.4f}, standard error implied {implied}")


def covered(gains: Sequence[tuple[float, float | None, float | None]]) -> list[bool]:
    """Whether each interval contains the mean gain of the other checks, with the error of that mean."""
    values, seen = [gain for gain, _, _ in gains], []
    for at, (gain, low, high) in enumerate(gains):
        if low is None or high is None:
            seen.append(False)
            continue
        others = values[:at] + values[at + 1 :]
        error = 1.96 * stdev(others) / math.sqrt(len(others))
        away = fmean(others) - gain
        seen.append(abs(away) <= math.hypot(high - gain if away > 0 else gain - low, error))
    return seen


def main() -> None:
    file, words = Path(sys.argv[1]), sys.argv[2:]
    if words:
        what = words[0]
        checks, seeds, workers = (int(word) for word in (*words[1:4], *("200", "16", "1")[len(words[1:4]) :]))
        seeds = seeds if what in BY_SEEDS else 0
        done = {(one.what, one.task, one.seeds, one.number) for one in kept(file, Check)}
        jobs = [(what, task, seeds, number) for number in range(checks) for task in words[4:] or TASKS]
        go_on(file, make, [job for job in jobs if job not in done], workers)
    show(kept(file, Check))


if __name__ == "__main__":
    main()
