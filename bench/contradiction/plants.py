"""Makes the planted studies: whole ones of simulated tasks, whose confirmation is then given the planted gains."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from analysis.ledger import Ledger, read
from analysis.verdict.claim import LEVEL, claim
from analysis.verdict.decision import EarlierRuns
from arena.study.study import Study
from bench import planted_events
from bench.contradiction.laws import Plant
from bench.simulated_tasks import random_law, simulated_task
from bench.whole import QUICK, begin_night, begin_study, play_study, resized
from meta.kinds.size import LEAST_EXPERIMENTS
from meta.steering import ask
from programs.program import Program
from trainer.laws.law import Law
from trainer.task import Task

WRITTEN = ("seq", "prev", "hash", "schema", "at")
IDEAS = """---
metaloop:
  proposers: {queue: 0.9, random: 0.1}
---
# Mine

Take care.

## Ideas

- Try `LADDER1=0.5`.
"""
OWN = "---\nmetaloop:\n  proposers: {local: 1.0}\n---\n# Mine\n\nTake care.\n"


PLAN = resized(
    QUICK, opening_runs=2, opening_more=2, generations=0, children=2, elites=1, generation_runs=2, generation_keep=1,
    generation_more=2, final={"champion": 6, "control": 6, "without-ideas": 2},
)  # fmt: skip


def planted_task(folder: Path, name: str, seed: int) -> Task:
    return Task.load(simulated_task(random_law(seed), folder / name, name=name, experiments=8))


def base(folder: Path, kind: str) -> Path:
    """A study of this shape that has ended, its gains as they came."""
    home, study = planted_task(folder, {"tasks": "north"}.get(kind, "home"), 2), folder / "study"
    make: Callable[..., Study] = partial(begin_study, study, home, run_budget=0.8)
    own = Program.parse(IDEAS if kind == "own" else OWN, "mine")
    if kind in ("one", "single"):
        begun = make(resized(PLAN, final={"a/a": 1}) if kind == "single" else PLAN, seed=3)
    elif kind == "own":
        begun = make(PLAN, seed=3, programs=[own])
    elif kind == "improve":
        begun = make(resized(PLAN, generations=1, final={"own": 6}), seed=2, programs=[own])
    elif kind == "tasks":
        begun = make(PLAN, seed=1, further=[planted_task(folder, "south", 5)])
    elif kind == "reserve":
        shown = planted_task(folder, "variant", 4)
        begun = make(resized(PLAN, shown_runs=6), seed=1, held_out=[planted_task(folder, "far", 3)], shown=shown)
    else:
        far = planted_task(folder, "far", 3)
        begun = make(resized(PLAN, generations=1), seed=1, held_out=[far], programs=[own])
        ask(study, "program", IDEAS.replace("Mine", "Given"), name="given", because="it won elsewhere")
    play_study(begun)
    return study


def night_study(folder: Path, *, cost: float, gain: float) -> Path:
    """A night that has ended, of a program with one idea, which gains ``gain``. ``cost``: of a training by task.toml,
    with which the plan counts; it takes 0.1 device-seconds."""
    law = Law({"A": 1.0}, {("A", 2.0): gain}, seed=1, noise=0.01)
    simulated_task(law, folder / "task")
    toml = folder / "task" / "task.toml"
    toml.write_text(toml.read_text("utf-8").replace("cost = 0.1", f"cost = {cost}"), "utf-8")
    task, own = Task.load(folder / "task"), Program.parse(IDEAS.replace("LADDER1=0.5", "A=2"), "mine")
    play_study(begin_night(folder / "study", task, LEAST_EXPERIMENTS * task.cost_seconds, own, seed=3))
    return folder / "study"


def planted(plant: Plant, made: Callable[[str], Path], folder: Path) -> Path:
    """The study of ``plant`` in ``folder``; ``made``: the base of a shape, which is copied."""
    if plant.base == "match":
        return match_only(plant, folder)
    shutil.copytree(made(plant.base), folder, symlinks=True)
    events = list(read(folder / "ledger"))
    shutil.rmtree(folder / "ledger")
    (folder / "ledger").mkdir()
    with Ledger(folder / "ledger", "main") as ledger:
        for event in rewritten(events, plant):
            ledger.append(event, sync=False)
    play_study(Study.open(folder))
    return folder


def rewritten(events: list[dict[str, Any]], plant: Plant) -> Iterator[dict[str, Any]]:
    """The events with the planted gains, without the decision."""
    final = {e["match_id"]: e for e in events if e["kind"] == "match" and e["purpose"] in ("confirmation", "reserve")}
    arms = {a["arm_id"]: (str(e["task"]), str(a["role"])) for e in final.values() for a in e["arms"]}
    streams = {(e["task"], e["stream"]) for e in final.values()}
    order: dict[str, list[str]] = defaultdict(list)
    given = at_level(plant) if plant.at_level else plant.gains
    for event in events:
        kept = {key: value for key, value in event.items() if key not in WRITTEN}
        if event["kind"] in ("segment", "champion"):
            continue
        if event["kind"] == "baseline" and plant.baseline and (event["task"], event["stream"]) in streams:
            kept["metric"] = plant.baseline[event["seed"] % len(plant.baseline)]
        if event["kind"] == "run_ended" and plant.claimed is not None:
            kept["claimed_gain"] = plant.claimed
        if event["kind"] == "verification" and event["arm_id"] in arms:
            task, role = arms[event["arm_id"]]
            gains = plant.on.get(task, given).get(role)
            runs = order[event["arm_id"]]
            runs += [event["run_id"]] if event["run_id"] not in runs else []
            if gains is not None:
                gain = gains[runs.index(event["run_id"])]
                lost = gain is None
                kept |= {"gain": 0.0 if lost else gain, "status": "timeout" if lost else "ok", "trust": plant.trust}
        yield kept


def at_level(plant: Plant) -> Mapping[str, Any]:
    """The gains with the champion's shifted until p is within 0.1% of the level, on the side that the plant names."""
    low, high = -2.0, 2.0
    side = LEVEL * (1 + 0.001 * plant.at_level)

    def shifted(by: float) -> dict[str, Any]:
        return {**plant.gains, "champion": [g + by for g in plant.gains["champion"] if g is not None]}

    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if claim(shifted(middle)).p > side else (low, middle)
    return shifted(high if plant.at_level < 0 else low)


def match_only(plant: Plant, folder: Path, earlier: Sequence[EarlierRuns] = ()) -> Path:
    """A match without a champion, as `metaloop match` or a study that was stopped leaves it; ``earlier``: runs that
    `--add` counts."""
    with Ledger(folder / "ledger", "main") as ledger:
        config = {"kind": "match", "plan": {"added": [asdict(one) for one in earlier]}}
        study = {"study_id": "y1", "config": config, "version": "0", "started_at": "2026-01-01T00:00:00Z"}
        ledger.append({"kind": "study", **study}, sync=False)
        program_of = {who: who.removesuffix(" again") for who in plant.gains}
        for who in dict.fromkeys(program_of.values()):
            planted_events.program(ledger, who)
        roles = {"stock": "control", "stock again": "a/a"}
        arms = {f"a-{who}": program_of[who] for who in plant.gains}
        in_roles = {f"a-{who}": roles[who] for who in plant.gains if who in roles}
        planted_events.match(
            ledger, "m1", arms, in_roles, config={"direction": "lower", "metric": "nll", "unit": "nats"}
        )
        for who, gains in plant.gains.items():
            for number, gain in enumerate(gains):
                run = f"r-{who}-{number}"
                planted_events.start(ledger, run, "m1", f"a-{who}", program_of[who], number)
                planted_events.end(ledger, run, claimed=gain or 0.0)
                planted_events.verify(ledger, run, f"a-{who}", program_of[who], [gain or 0.0], trust="scored")
        ledger.append({"kind": "match_ended", "match_id": "m1", "state": "finished"}, sync=False)
        for who in plant.void:
            ledger.append({"kind": "act", "what": "void", "arm_ids": [f"a-{who}"]}, sync=False)
    return folder
