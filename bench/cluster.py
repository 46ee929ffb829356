"""``python -m bench.cluster``: a match on two real Ray nodes, one of them killed with SIGKILL in its middle.

Matches of the same study in fixed steps: by worker processes on this machine and on two Ray nodes left alone, n
times, taking turns at going first; and once on two of which one dies with everything on it. Runs, deaths, what was
lost, what was done twice, whether the standings are equal to the last bit; and what Ray takes over worker processes,
whole and between the first and the last experiment. Each match is told on stderr as it ends.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.study import query
from arena.arms import Entry
from arena.standalone import play_entries
from arena.study.setup import StudySetup
from arena.study.study import Study
from bench.common import figure, ratio
from programs.shelf import starter
from trainer.task import Task

PROGRAMS = ("stock", "local-screen", "one-line")
DEATH = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 10}
SETTINGS = {**DEATH, "worker_niceness": 0}  # a death is noticed after 5 s instead of 15 at most; workers are not nice
GAINS = "SELECT name, run_seed, state, experiments, kept, claimed_gain, verified_gain FROM runs ORDER BY run_id"
STANDINGS = "SELECT * EXCLUDE (utilization) FROM standings ORDER BY arm_id"
FINISHED = "SELECT count(*) AS n FROM runs WHERE state = 'finished'"
TWICE = """
SELECT count(*) - count(DISTINCT record->>'experiment_id') AS twice FROM events WHERE kind = 'experiment'
"""
Event = Mapping[str, Any]


@contextmanager
def two_nodes(cpus: int = 1) -> Iterator[Any]:
    """A Ray cluster of two nodes on this machine: RAY_ADDRESS names it, `cluster.second` is the one to be killed."""
    import ray
    from ray.cluster_utils import Cluster

    how = {"num_cpus": cpus, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**how, "_system_config": SETTINGS})
    cluster.second = cluster.add_node(num_cpus=cpus)
    before = {name: os.environ.get(name) for name in ("RAY_ADDRESS", "METALOOP_EXECUTOR")}
    os.environ["RAY_ADDRESS"] = cluster.address
    os.environ["METALOOP_EXECUTOR"] = "ray"
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)


def kill_node(node: Any) -> int:
    """SIGKILL a node's raylet and all that descends from it; returns how many processes that were."""
    (raylet,) = node.all_processes["raylet"]
    doomed = [raylet.process.pid]
    for pid in doomed:
        doomed += children(pid)
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return len(doomed)


def children(pid: int) -> list[int]:
    """Processes that a process has started and that live."""
    try:
        lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:
        return []
    return [int(word) for text in lists for word in text.split()]


@dataclass
class Played:
    """A match that was played: its study, its seconds, what was told of it."""

    folder: Path
    wall: float = 0.0
    notes: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)  # of experiments and ends of runs

    @property
    def between(self) -> float:
        """Seconds from the first experiment's end to the last run's."""
        return self.times[-1] - self.times[0]

    def take(self, event: Event) -> None:
        if event["kind"] == "note":
            self.notes.append(str(event["text"]))
        if event["kind"] in ("experiment", "run_ended"):
            self.times.append(time.perf_counter())


def play(study: Study, entries: list[Entry], runs: int, also: Callable[[Event], None] = lambda _: None) -> Played:
    """The match of these entries, wherever the command's jobs go."""
    played = Played(study.folder)

    def on_event(event: Event) -> None:
        played.take(event)
        also(event)

    began = time.perf_counter()
    play_entries(study, entries, runs, on_event)
    played.wall = time.perf_counter() - began
    return played


def killer(node: Any, after: int) -> Callable[[Event], None]:
    """Kills the node once so many experiments have ended."""
    left = [after]

    def look(event: Event) -> None:
        if event["kind"] == "experiment":
            left[0] -= 1
            if left[0] == 0:
                figure("killed, processes", kill_node(node))

    return look


def _study(folder: Path, seed: int, budget: float) -> Study:
    return Study.create(
        folder,
        StudySetup(
            task=Task.load("strokes"), run_budget=budget, kind="match", workers=2, seed=seed, fixed_steps=True
        ).config(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-n", type=int, default=2, help="pairs of matches, each of a seed of its own")
    parser.add_argument("--runs", type=int, default=2, help="runs of each program")
    parser.add_argument("--budget", type=float, default=1.2, help="device-seconds of a run: .1 an experiment")
    given = parser.parse_args()
    entries = [Entry(starter(name)) for name in PROGRAMS]
    with tempfile.TemporaryDirectory(prefix="metaloop-bench-") as name:

        def match(kind: str, what: str, seed: int, also: Callable[[Event], None] = lambda _: None) -> Played:
            os.environ["METALOOP_EXECUTOR"] = kind
            played = play(_study(Path(name) / f"{what}-{seed}", seed, given.budget), entries, given.runs, also)
            print(f"{what}, seed {seed}: {played.wall:.1f} s", file=sys.stderr, flush=True)
            return played

        pairs = []
        with two_nodes():
            for seed in range(1, given.n + 1):
                both: tuple[str, str] = ("local", "ray") if seed % 2 else ("ray", "local")
                done: dict[str, Played] = {kind: match(kind, kind, seed) for kind in both}
                pairs.append((done["local"], done["ray"]))
        half = query(pairs[0][0].folder, "SELECT count(*) // 2 AS half FROM experiments")[0]["half"]
        with two_nodes() as cluster:
            hit = match("ray", "killed", 1, killer(cluster.second, half))
        report(pairs, hit)


def report(pairs: Sequence[tuple[Played, Played]], hit: Played) -> None:
    """One figure a line; ``pairs``: by worker processes and on Ray."""
    runs, finished = (query(played.folder, FINISHED)[0]["n"] for played in (pairs[0][0], hit))
    figure("runs", finished, str(runs))
    figure("nodes that died", sum("died" in note or "is gone" in note for note in hit.notes), "1 or more told")
    figure("runs lost", runs - finished, "0")
    figure("experiments done twice", query(hit.folder, TWICE)[0]["twice"], "0")
    equal = sum(standings(ray.folder) == standings(local.folder) for local, ray in pairs)
    figure("matches with equal standings, Ray and worker processes", f"{equal} of {len(pairs)}", str(len(pairs)))
    figure("standings equal, one node killed and none", standings(hit.folder) == standings(pairs[0][0].folder), "True")
    figure("wall seconds, worker processes", ratio([local.wall for local, _ in pairs], 1))
    figure("wall seconds, Ray", ratio([ray.wall for _, ray in pairs], 1))
    figure("wall seconds, Ray, one node killed", round(hit.wall, 1))
    figure("Ray over worker processes, whole", ratio([ray.wall / local.wall for local, ray in pairs], 2))
    between = [ray.between / local.between for local, ray in pairs]
    figure("Ray over worker processes, first to last experiment", ratio(between, 2))


def standings(folder: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What a match came to, run by run and in all, without what a machine measures."""
    return query(folder, GAINS), query(folder, STANDINGS)


if __name__ == "__main__":
    main()
