"""A study at work, as far as its ledger was read."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import mean
from typing import Any

from analysis.ledger.events import MatchArm, MatchEvent, ReplayEvent, VerificationEvent
from analysis.ledger.run_state import LedgerTail, RunState, StudyState
from analysis.report.progress import MainTurn
from analysis.study import read_study
from analysis.verdict.decision import Decision, decision_of
from analysis.verdict.verdict import VIEWS, Verdict, decided, verdict_of
from inner_loop.events import (
    CallEvent,
    DecisionEvent,
    Event,
    Experiment,
    FaultEvent,
    FindingEvent,
    NightTurnEvent,
    RunEndedEvent,
    RunStartedEvent,
)
from meta.kinds.plans import SEARCHES
from programs.common.bounded import toml_table
from programs.common.errors import Corrupt
from programs.common.files import read_regular

KINDS = frozenset({
    "study", "program", "match", "match_ended", "run_started", "run_ended", "experiment", "decision", "verification",
    "call", "fault", "finding", "champion", "steer", "generation", "mutation", "night_turn", "replay",
})  # fmt: skip
AFTERWARDS = ("ablation", "reserve")  # purposes of matches that decide nothing where there is another
MOST_NEWS = 3


@dataclass(frozen=True)
class ModelUsage:
    """What calls of models took. ``usd`` is None where a call has no price. ``token_utilization``: share of the tokens
    in calls whose reply was accepted without a repair; lost calls count at their maximum."""

    calls: int
    tokens: int
    usd: float | None
    token_utilization: float | None


def model_usage(calls: Collection[CallEvent]) -> ModelUsage:
    tokens, prices = sum(call.tokens for call in calls), [call.usd for call in calls if call.usd is not None]
    answered = {(call.run_id, call.number): call.tokens for call in calls if call.status == "ok"}
    repaired = {(call.run_id, call.number - 1) for call in calls if call.purpose.startswith("repair")}
    accepted = sum(count for call, count in answered.items() if call not in repaired)
    total = tokens + sum(call.lost_tokens for call in calls)
    usd = sum(prices, 0.0) if len(prices) == len(calls) else None
    return ModelUsage(len(calls), tokens, usd, accepted / total if total else None)


def read_settings(folder: Path) -> Mapping[str, Any]:
    """study.toml; empty where it cannot be read."""
    with suppress(OSError, Corrupt, ValueError):
        return toml_table(read_regular(folder / "study.toml").decode())
    return {}


class LiveStudy(StudyState):
    """A study as its ledger has it so far. It has no experiments of finished runs and no texts of calls, which no
    display shows."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.tail = LedgerTail(folder / "ledger", KINDS)
        self.calls_of: dict[str, list[CallEvent]] = defaultdict(list)  # by run, "" of the outer loop
        self.last_kept: deque[Experiment] = deque(maxlen=MOST_NEWS)
        self.trusts: set[str | None] = set()
        self.findings: Counter[str] = Counter()
        self.turns: list[MainTurn] = []  # of nights
        self.took_turns: set[str] = set()  # ids of programs
        self.faults = 0
        self._arms: dict[str, dict[str, RunState]] = defaultdict(dict)
        self._verdict: tuple[str | None, Verdict] | None = None  # with the time of the last event that it is from

    @classmethod
    def read(cls, folder: Path) -> LiveStudy:
        """As it is now. Raises Corrupt or OtherVersion, as `refresh` does."""
        study = cls(folder)
        study.refresh()
        return study

    def refresh(self) -> None:
        """Read on. Raises Corrupt for a record that is damaged, OtherVersion for one of another schema."""
        for event in self.tail.news():
            self.take(event)

    def take(self, event: Event) -> None:
        if isinstance(event, CallEvent):
            self.calls_of[event.run_id or ""].append(replace(event, text=""))
            return
        super().take(event)
        if isinstance(event, Experiment):
            self.trusts.add(event.trust)
        elif isinstance(event, DecisionEvent) and event.decision == "keep":
            tried = self.run(event.run_id).experiments.get(event.experiment_id)
            if tried is not None and tried not in self.last_kept:
                self.last_kept.append(tried)
        elif isinstance(event, ReplayEvent):
            self.trusts.add(event.trust)
        elif isinstance(event, VerificationEvent):
            self.trusts.add(self.run(event.run_id).trust)
        elif isinstance(event, NightTurnEvent):
            self.turns += self._main_after(event)
            self.took_turns.add(event.program_id)
        elif isinstance(event, RunStartedEvent):
            self._arms[event.arm_id][event.run_id] = self.run(event.run_id)
        elif isinstance(event, RunEndedEvent) and (run := self.run(event.run_id)).state == "finished":
            run.experiments.clear()
            run.decisions.clear()
        elif isinstance(event, FindingEvent):
            self.findings[event.finding] += 1
        self.faults += isinstance(event, FaultEvent)

    def _main_after(self, event: NightTurnEvent) -> Iterable[MainTurn]:
        """`main` has the mean metric of its seeds so far; it is computed only where `main` is another one."""
        last = next((turn for turn in reversed(self.turns) if turn.run_id == event.run_id), None)
        tried = [] if last and event.kept is None else list(self.run(event.run_id).experiments.values())
        before = [
            experiment
            for experiment in tried
            if experiment.number < event.first and experiment.source_id == tried[0].source_id
        ]
        untouched = [experiment.metric for experiment in before if experiment.metric is not None]
        main = {experiment.source_id for experiment in tried if experiment.number == event.main}
        experiments = [experiment for experiment in tried if experiment.source_id in main and experiment.fraction >= 1]
        metrics = [experiment.metric for experiment in experiments if experiment.metric is not None] or (
            [last.metric] if last else []
        )
        change = next((experiment.description for experiment in experiments if experiment.number == event.kept), None)
        seconds = event.device_seconds_charged + (last.seconds if last else 0.0)
        if metrics:
            program, start = self.name(event.program_id), last.start if last else mean(untouched or metrics)
            yield MainTurn(event.run_id, event.number, program, seconds, event.gain, change, mean(metrics), start)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        return read_settings(self.folder)

    def verdict(self, at_work: bool) -> Verdict | None:
        """What it found; None while a process works on it, and of a search that has decided nothing. Of a study
        without a champion its tables are made once for each state of its ledger."""
        if (decision := self.decision) is not None:
            return decided(decision)
        if at_work or self.config.get("kind", "evolve") in SEARCHES:
            return None
        if self._verdict is None or self._verdict[0] != self.tail.last_at:
            views = VIEWS if self.replays or self.config.get("kind") in ("ablation", "replay") else ("standings",)
            with read_study(self.folder, views=views) as con:
                self._verdict = self.tail.last_at, verdict_of(con)
        return self._verdict[1]

    @property
    def config(self) -> Mapping[str, Any]:
        return self.study.config if self.study else {}

    @property
    def begun(self) -> list[RunState]:
        return [run for run in self.runs.values() if run.started]

    def count(self, state: str) -> int:
        return sum(run.state == state for run in self.begun)

    def runs_of(self, arm: MatchArm) -> dict[str, RunState]:
        """The runs of an arm by their ids."""
        return self._arms.get(arm.arm_id, {})

    def name(self, program_id: str) -> str:
        return self.programs[program_id].name if program_id in self.programs else program_id[:7] or "-"

    @property
    def current(self) -> MatchEvent | None:
        """The running match, else the confirmation, else the last match that chose programs."""
        matches = list(self.matches.values())
        running = [match for match in matches if match.match_id not in self.ended_matches]
        deciding = [match for match in matches if match.purpose == "confirmation"]
        chose = [match for match in matches if match.purpose not in AFTERWARDS]
        return next((some[-1] for some in (running, deciding, chose, matches) if some), None)

    @property
    def decision(self) -> Decision | None:
        """The decision about the champion; None before it is made."""
        return decision_of(self.champion.body) if self.champion and "decision" in self.champion.body else None

    @property
    def utilization(self) -> float | None:
        """Share of the runs' wall time in which an experiment ran; None before any time has passed."""
        walls, busy = zip(*map(wall_and_busy_seconds, self.begun), strict=True) if self.begun else ((), ())
        return min(sum(busy) / sum(walls), 1.0) if sum(walls) else None

    def state(self, at_work: bool) -> str:
        """``at_work``: a process holds its lock. A search ends with a champion, anything else with its matches."""
        is_search = self.config.get("kind") in SEARCHES
        matches_ended = bool(self.matches) and self.matches.keys() <= self.ended_matches.keys()
        has_ended = self.champion is not None or (matches_ended and not is_search)
        return "running" if at_work else "finished" if has_ended else "stopped"


def wall_and_busy_seconds(run: RunState) -> tuple[float, float]:
    """Wall seconds of a run, and those in which an experiment ran."""
    if run.ended is not None:
        return run.ended.wall_seconds or 0.0, run.ended.experiment_wall_seconds or 0.0
    tried = [event for event in run.experiments.values() if event.started_at]
    starts = [datetime.fromisoformat(event.started_at).timestamp() for event in tried]
    ends = [start + event.wall_seconds for start, event in zip(starts, tried, strict=True)]
    return max(ends, default=0.0) - min(starts, default=0.0), sum(event.wall_seconds for event in tried)
