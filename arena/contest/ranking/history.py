"""The runs of a contest as its ledger has them. Pages follow it: results are stored nowhere else.

Of a run that has its result, the experiments are read again when a page shows them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import NotRequired

from pydantic import JsonValue
from typing_extensions import TypedDict

from analysis.ledger.run_state import LedgerTail, RunState, StudyState
from analysis.wording import duration, many, number
from arena.contest.running.arms import BOARD, CONFIRMATION, SCREENING
from arena.contest.settings import ContestConfig
from arena.study.settings import StudyConfig
from inner_loop.events import Experiment, RunEndedEvent, RunStartedEvent
from programs.common.ids import content_id
from programs.common.text import shortened, word_list

KINDS = frozenset(word_list("match entry run_started experiment decision call run_ended verification"))
MOST_EXPERIMENTS, MOST_TEXT, MOST_DIFF = 2000, 300, 8000  # shown of a run; characters of a text, of a diff


class SeedResult(TypedDict):
    """One verification of a run."""

    seed: int
    status: str
    metric: float | None
    gain: float | None


class RunResult(TypedDict):
    """A measured run; ``run``: its number in its entry."""

    run: int
    run_id: str
    gain: float | None
    claimed: float | None
    seeds: list[SeedResult]
    experiments: int
    kept: int
    baseline_metric: float | None
    final_metric: float | None
    reason: str
    constraints: NotRequired[dict[str, float]]  # reached by its final source, on average over the fresh seeds


class RunProgress(TypedDict):
    """A run that is not finished. ``run``: its number in the entry, or `screening`; ``began``: when it started or was
    resumed, ``at``: when its latest event came; ``measuring``: its final script is trained on fresh seeds."""

    run: int | str
    experiments: int
    charged: float
    began: str
    at: str
    measuring: bool
    last: NotRequired[dict[str, JsonValue]]


class ShownExperiment(TypedDict):
    """An experiment of a run. ``parent``: the number of the one whose script it changed."""

    number: int
    parent: int | None
    status: str
    metric: float | None
    fraction: float
    seconds: float
    decision: str
    reason: str
    description: str
    directive_ids: list[str]
    diff: str


class EntryRun(TypedDict):
    """A run of an entry that has ended, with its experiments. ``run``: its number among those of its ``purpose``."""

    run_id: str
    purpose: str
    run: int
    gain: float | None  # verified
    experiments: list[ShownExperiment]
    left_out: int


class RunHistory:
    """Follows the ledger of a contest; threads may share it."""

    def __init__(self, folder: Path, study: StudyConfig, config: ContestConfig) -> None:
        self.state = StudyState()
        self.study = study
        self.most_runs = {BOARD: config.runs, SCREENING: 1, CONFIRMATION: config.confirm_runs}
        self._tail = LedgerTail(folder / "ledger", KINDS)
        self._times: dict[str, tuple[str, str]] = {}  # run without its result → when it began, its latest event
        self.lock = threading.RLock()

    def follow(self) -> None:
        """Read what has been written since the last time."""
        with self.lock:
            for at, event in self._tail.dated_news():
                self.state.take(event)
                run_id = getattr(event, "run_id", None)
                if run_id is None:
                    continue
                begins = isinstance(event, RunStartedEvent) or run_id not in self._times
                self._times[run_id] = at if begins else self._times[run_id][0], at
                if self._has_result(run := self.state.runs[run_id]):
                    run.experiments.clear()
                    run.decisions.clear()
                    del self._times[run_id]

    def _has_result(self, run: RunState) -> bool:
        """Whether the run has ended and, unless it is a screening, is measured."""
        if run.started is None or run.state != "finished":
            return False
        match = self.state.matches.get(run.started.match_id)
        is_screening = match is not None and match.label == SCREENING
        return is_screening or len(run.verifications) >= self.study.seeds_on(run.started.stream)

    def run_ids(self, entry_id: str, label: str) -> list[str]:
        """All runs that the entry may have in the match of this label, in the order of its list of seeds."""
        arm_id = content_id("a", content_id("m", self.study.study_id, label), entry_id)
        return [content_id("r", arm_id, str(index)) for index in range(self.most_runs[label])]

    def gains(self, entry_id: str) -> list[float]:
        """The verified gains of the entry's runs on the board so far."""
        with self.lock:
            runs = [self.state.run(run_id) for run_id in self.run_ids(entry_id, BOARD)]
            return [gain for run in runs if (gain := run.gain) is not None]

    def results(self, entry_id: str) -> list[RunResult]:
        """The entry's measured runs on the board."""
        with self.lock:
            runs = [(run_id, self.state.run(run_id)) for run_id in self.run_ids(entry_id, BOARD)]
            return [
                run_result(run_id, number, run, run.ended)
                for number, (run_id, run) in enumerate(runs, 1)
                if run.ended is not None and run.gain is not None
            ]

    def progress(self, entry_id: str) -> list[RunProgress]:
        """The entry's screening run and its runs on the board that have no result yet."""
        with self.lock:
            names: list[tuple[str, int | str]] = [(self.run_ids(entry_id, SCREENING)[0], "screening")]
            names += [(run_id, number) for number, run_id in enumerate(self.run_ids(entry_id, BOARD), 1)]
            begun = [(run_id, name) for run_id, name in names if run_id in self._times]
            return [self._progress_of(*run) for run in begun if self.state.run(run[0]).state in ("running", "finished")]

    def _progress_of(self, run_id: str, name: int | str) -> RunProgress:
        run, (began, at) = self.state.runs[run_id], self._times[run_id]
        experiments = list(run.experiments.values())
        progress: RunProgress = {
            "run": name, "experiments": len(experiments), "charged": round(run.charged, 3), "began": began, "at": at,
            "measuring": run.state == "finished",
        }  # fmt: skip
        if experiments:
            last = experiments[-1]
            progress["last"] = {"status": last.status, "metric": last.metric, "description": last.description}
        return progress

    def ended_runs(self, entry_id: str, labels: Sequence[str]) -> list[EntryRun]:
        """The runs of an entry that have their result, in the matches of these labels, with their experiments."""
        with self.lock:
            ended = [
                (number, run_id, run)
                for label in labels
                for number, run_id in enumerate(self.run_ids(entry_id, label), 1)
                if self._has_result(run := self.state.run(run_id))
            ]
        return [self._ended_run(number, run_id, run) for number, run_id, run in ended]

    def _ended_run(self, number: int, run_id: str, run: RunState) -> EntryRun:
        assert run.started is not None
        match, recorded = self.state.matches[run.started.match_id], self._tail.run(run_id)
        experiments = sorted(recorded.experiments.values(), key=lambda event: event.number)
        return {
            "run_id": run_id,
            "purpose": match.purpose,
            "run": number,
            "gain": run.gain,
            "experiments": [shown_experiment(event, recorded) for event in experiments[:MOST_EXPERIMENTS]],
            "left_out": max(len(experiments) - MOST_EXPERIMENTS, 0),
        }


def run_result(run_id: str, number: int, run: RunState, ended: RunEndedEvent) -> RunResult:
    """A measured run: verified gain, in total and per fresh seed, and claimed gain."""
    measured = list(run.verifications.values())
    result: RunResult = {
        "run": number,
        "run_id": run_id,
        "gain": run.gain,
        "claimed": ended.claimed_gain,
        "seeds": [{"seed": v.seed, "status": v.status, "metric": v.metric, "gain": v.gain} for v in measured],
        "experiments": ended.experiments,
        "kept": ended.kept,
        "baseline_metric": ended.baseline_metric,
        "final_metric": ended.final_metric,
        "reason": ended.reason,
    }
    reached = [v.constraints for v in measured if v.constraints]
    names = list(dict.fromkeys(name for values in reached for name in values))
    if names:
        result["constraints"] = {name: fmean(values[name] for values in reached if name in values) for name in names}
    return result


def shown_experiment(event: Experiment, run: RunState) -> ShownExperiment:
    """What a page shows of an experiment."""
    decision = run.decisions.get(event.experiment_id)
    return {
        "number": event.number,
        "parent": event.parent_number,
        "status": event.status,
        "metric": event.metric,
        "fraction": event.fraction,
        "seconds": event.device_seconds_charged,
        "decision": (decision.decision if decision else "") or ("" if event.number else "baseline"),
        "reason": shortened((decision.reason if decision else "") or event.reason, MOST_TEXT),
        "description": shortened(event.description, MOST_TEXT),
        "directive_ids": list(event.directive_ids),
        "diff": event.diff[:MOST_DIFF],
    }


def progress_of(run: RunProgress, now: datetime) -> str:
    """How far a run is, for pages, and how long ago it last reported."""
    name = "Screening run" if run["run"] == "screening" else f"Run {run['run']}"
    tried = many(run["experiments"], "experiment")
    since = duration(max(1, math.ceil((now - datetime.fromisoformat(run["at"])).total_seconds())))
    if run["measuring"]:
        return f"{name}: {tried} done; for {since}, its final script has been trained again on fresh seeds"
    sentence, last = f"{name}: {tried}, {duration(run['charged'])} charged", run.get("last")
    if not last:
        return f"{sentence}; nothing new for {since}"
    metric, what = last.get("metric"), last.get("description")
    figure = f" {number(metric, 4)}" if isinstance(metric, int | float) else ""
    return f"{sentence}; latest, {since} ago: {last.get('status')}{figure}{f', {what}' if what else ''}"
