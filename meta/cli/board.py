"""The state of a study, computed from its ledger's records for ``status``, the live screen and the window.

It reads the records without types. `analysis.ledger.repeated_records` says which of two records counts.
"""

from __future__ import annotations

import shlex
import tomllib
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from analysis.ledger.repeated_records import counted_gain, has_finished, mean_over_seeds, measured_anew, ranking_stream
from analysis.statistics import Mean, mean_interval
from analysis.trust import counts, weakest
from meta.cli.record_tail import LedgerRecord, RecordedConfig, RecordTail, SpendingLimits
from meta.cli.spend import ModelUsage
from programs.errors import Corrupt, OtherVersion
from programs.files import read_regular

NEWS = 160  # letters of a kept change, which may quote an idea of any length

if TYPE_CHECKING:
    from analysis.verdict.decision import Decision


@dataclass(slots=True)
class TriedView:
    """An experiment of a run."""

    number: int
    said: str
    metric: float | None
    program_id: str = ""  # of a night: whose turn it was
    decision: str = ""


@dataclass
class RunView:
    """One run so far. ``spent``: charged device time in seconds; ``head``: the metric of its current source."""

    run_id: str
    arm_id: str
    stream: str = ""
    budget: float = 0.0
    tried: int = 0  # without the baseline
    kept: int = 0
    measured: int = 0  # with it
    spent: float = 0.0
    head: float | None = None
    baseline: float | None = None  # the metric of the untouched script
    state: str = "running"
    doing: str = ""
    experiments: dict[str, TriedView] = field(default_factory=dict)  # without those of an imported log
    verifications: dict[int, LedgerRecord] = field(default_factory=dict)  # by seed
    started_at: str = ""
    busy: float = 0.0  # wall seconds in which an experiment ran
    wall: float | None = None  # wall seconds of a run that has ended
    models: ModelUsage = field(default_factory=ModelUsage)

    @property
    def ranking(self) -> dict[int, LedgerRecord]:
        """The verifications of the stream that ranks the run, by seed."""
        streams = {seed: str(v.get("stream") or "") for seed, v in self.verifications.items()}
        stream = ranking_stream(streams.values(), self.stream)
        return {seed: v for seed, v in self.verifications.items() if streams[seed] == stream}

    @property
    def gain(self) -> float | None:
        return mean_over_seeds(
            {seed: counted_gain(v.get("status") or "ok", v.get("gain")) for seed, v in self.ranking.items()}
        )

    @property
    def trusts(self) -> set[str]:
        """Of the verifications that count."""
        outcomes = ((v.get("status") or "ok", v.get("trust") or "") for v in self.ranking.values())
        return {trust for status, trust in outcomes if counts(status, trust)}

    def claimed_gain(self, sign: float) -> float | None:
        """By the researcher's own measurements; ``sign`` +1 where lower is better."""
        return None if self.head is None or self.baseline is None else sign * (self.baseline - self.head)


@dataclass
class ArmView:
    """One arm of a match with its runs, in the order of starting."""

    arm_id: str
    program_id: str
    role: str
    runs: list[RunView] = field(default_factory=list)
    names: str | None = None  # of the programs that behave alike, where it has several

    @property
    def gains(self) -> list[float]:
        """The verified gains that the standings count: those of finished runs."""
        return [run.gain for run in self.runs if run.state == "finished" and run.gain is not None]

    @property
    def gain(self) -> float | None:
        """Their mean."""
        gains = self.gains
        return sum(gains) / len(gains) if gains else None

    @property
    def mean(self) -> Mean:
        """The mean of ``gains`` with its 95% interval."""
        return mean_interval(self.gains)

    @property
    def trust(self) -> str | None:
        return weakest(trust for run in self.runs for trust in run.trusts)

    @property
    def models(self) -> ModelUsage:
        """The model usage of its runs."""
        return ModelUsage.of(run.models for run in self.runs)

    @property
    def claims(self) -> list[float]:
        """The claimed metric of each run, those under way included."""
        return [run.head for run in self.runs if run.head is not None]

    def claimed(self, sign: float) -> float | None:
        """The best claimed metric of this arm's runs; ``sign`` +1 where lower is better."""
        heads = self.claims
        return min(heads, key=lambda m: sign * m) if heads else None


def match_title(label: str | None, generation: int | None, purpose: str | None = None) -> str:
    """The name of a match on every screen."""
    label = label or "match"
    label = "match" if label.startswith("match-") else {"opening": "opening race"}.get(label, label)
    label = f"held-out task ({label})" if purpose == "reserve" else label
    named = not generation or str(generation) in label
    return label if named else f"{label}, generation {generation}"


@dataclass
class MatchView:
    """One match and its arms."""

    event: LedgerRecord
    arms: dict[str, ArmView]
    state: str = "running"

    @property
    def title(self) -> str:
        return match_title(self.event.get("label"), self.event.get("generation"), self.event.get("purpose"))

    @property
    def sign(self) -> float:
        return -1.0 if (self.event.get("config") or {}).get("direction") == "higher" else 1.0

    @property
    def both_arms(self) -> list[ArmView]:
        """Stock's two arms as one, which the announced test uses; empty without two."""
        twin = next((arm for arm in self.arms.values() if arm.role == "a/a"), None)
        own = [arm for arm in self.arms.values() if twin and arm.program_id == twin.program_id]
        runs = [run for arm in own for run in arm.runs]
        return [ArmView("both-arms", own[0].program_id, "both arms", runs)] if len(own) > 1 else []


class StudyView:
    """A study so far: call ``take`` with its events in order, then read the attributes. Unknown kinds are ignored."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.study: LedgerRecord = {}
        self.programs: dict[str, LedgerRecord] = {}
        self.matches: dict[str, MatchView] = {}
        self.runs: dict[str, RunView] = {}
        self.champion: LedgerRecord | None = None
        self.faults = 0
        self.models = ModelUsage()
        self.findings: Counter[str] = Counter()
        self.steered: dict[str, str] = {}  # request → idea, program or veto
        self.trusts: set[str] = set()
        self.first_at = self.last_at = ""
        self.news: list[str] = []
        self.is_other_version = False

    def take(self, event: LedgerRecord) -> None:
        self.first_at = self.first_at or str(event.get("at", ""))
        self.last_at = str(event.get("at", self.last_at))
        handler = getattr(self, f"_on_{event.get('kind')}", None)
        if handler is not None:
            handler(event)

    def name(self, program_id: str | None) -> str:
        """A program's name; a program of an imported log may have none."""
        return str(self.programs.get(program_id or "", {}).get("name") or (program_id or "-")[:7])

    @property
    def current(self) -> MatchView | None:
        """The running match, or the last one."""
        views = list(self.matches.values())
        running = [m for m in views if m.state == "running"] or views
        return running[-1] if running else None

    @property
    def decision(self) -> Decision | None:
        """The decision about the champion; None without one."""
        from analysis.verdict.decision import decision_of

        event = cast("dict[str, Any]", self.champion or {})
        return decision_of(event) if "decision" in event else None

    @property
    def verdict(self) -> list[str]:
        """The sentences of the verdict; empty without one."""
        from analysis.verdict.verdict import decided

        return list(decided(self.decision).sentences) if self.decision else []

    @property
    def deciding(self) -> list[MatchView]:
        """The matches that the verdict was made from, one on each task; without a verdict the last match."""
        decision = self.decision
        views = self.matches.items()
        own = [view for key, view in views if decision and decision.rests_on(key)]
        return own or ([self.current] if self.current else [])

    def arms_of(self, match: MatchView) -> list[ArmView]:
        """By gain, the largest first; where the verdict takes stock's two arms together, then both as one."""
        pools = match.event.get("purpose") == "reserve" or any(view is match for view in self.deciding)
        arms = sorted(match.arms.values(), key=lambda arm: (arm.gain is None, -(arm.gain or 0.0)))
        return [*arms, *(match.both_arms if pools and self.decision is not None else [])]

    @property
    def charged(self) -> float:
        return sum(run.spent for run in self.runs.values())

    @property
    def experiments(self) -> int:
        """As the view `experiments` counts them, baselines included."""
        return sum(run.measured for run in self.runs.values())

    def count(self, state: str) -> int:
        return sum(run.state == state for run in self.runs.values())

    @property
    def caps(self) -> SpendingLimits:
        """The models' spending limits from study.toml: a resumed study may have higher ones than its ledger says."""
        limits = (self.study.get("config") or {}).get("staff")
        if self.folder is not None:
            with suppress(OSError, Corrupt, ValueError, RecursionError):
                limits = tomllib.loads(read_regular(self.folder / "study.toml").decode()).get("staff")
        return limits or {}

    @property
    def config(self) -> RecordedConfig:
        """The settings in the study's ledger; empty before they are written."""
        return self.study.get("config") or {}

    def _on_study(self, event: LedgerRecord) -> None:
        self.study = event

    @property
    def utilization(self) -> float | None:
        """Share of the runs' wall time in which an experiment ran; None before any time has passed."""
        walls = [
            run.wall if run.wall is not None else between(run.started_at, self.last_at) for run in self.runs.values()
        ]
        return min(sum(run.busy for run in self.runs.values()) / sum(walls), 1.0) if sum(walls) > 0 else None

    def _on_call(self, event: LedgerRecord) -> None:
        self.models.take(event)
        if event.get("run_id") in self.runs:
            self.runs[event["run_id"]].models.take(event)

    def _on_program(self, event: LedgerRecord) -> None:
        self.programs.setdefault(event["program_id"], event)

    def _on_match(self, event: LedgerRecord) -> None:
        arms = {
            a["arm_id"]: ArmView(a["arm_id"], a["program_id"], a.get("role", ""), names=a.get("names"))
            for a in event["arms"]
        }
        self.matches.setdefault(event["match_id"], MatchView(event, arms))

    def _on_match_ended(self, event: LedgerRecord) -> None:
        if event["match_id"] in self.matches:
            self.matches[event["match_id"]].state = str(event.get("state", "finished"))

    def _on_run_started(self, event: LedgerRecord) -> None:
        if event["run_id"] in self.runs:  # a resumed run
            known = self.runs[event["run_id"]]
            if has_finished(known.state):
                return
            known.state = "running"
            known.started_at, known.busy, known.wall = str(event.get("at", "")), 0.0, None
            return
        stream, budget = str(event.get("stream") or ""), float(event.get("device_seconds_budget") or 0)
        run = RunView(event["run_id"], event["arm_id"], stream, budget)
        run.started_at = str(event.get("at", ""))
        self.runs[run.run_id] = run
        match = self.matches.get(event.get("match_id", ""))
        if match is not None and run.arm_id in match.arms:
            match.arms[run.arm_id].runs.append(run)

    def _on_experiment(self, event: LedgerRecord) -> None:
        run = self.runs.get(event["run_id"])
        if run is None:
            return
        number = event.get("number") or 0
        said, program_id = f"exp {number}: {event.get('description') or ''}", str(event.get("program_id") or "")
        one = TriedView(number, said, event.get("metric"), program_id)
        imported = bool(event.get("decision"))  # its record includes the decision, and is never repeated
        if not imported and run.experiments.setdefault(event.get("experiment_id") or f"{number}", one) is not one:
            return
        run.tried += number != 0
        run.measured += 1
        run.spent += float(event.get("device_seconds_charged") or 0)
        run.busy += float(event.get("wall_seconds") or 0)
        self.trusts.add(str(event.get("trust") or ""))
        run.doing = one.said
        if imported:
            self._decide(run, one, event)

    def _on_decision(self, event: LedgerRecord) -> None:
        run = self.runs.get(event["run_id"])
        last = next(reversed(run.experiments), "") if run else ""
        if run and (one := run.experiments.get(event.get("experiment_id") or last)):
            self._decide(run, one, event)

    def _decide(self, run: RunView, one: TriedView, event: LedgerRecord) -> None:
        decision = event.get("decision") or ""
        if decision == one.decision:
            return
        run.kept += (decision == "keep") - (one.decision == "keep")
        again, one.decision = bool(one.decision), decision
        if again:  # the head may be an earlier one
            led = [each.metric for each in run.experiments.values() if each.decision in ("keep", "baseline")]
            run.head = next((metric for metric in reversed(led) if metric is not None), None)
        elif decision in ("keep", "baseline"):
            run.head = run.head if one.metric is None else one.metric
        if decision in ("keep", "baseline"):
            run.baseline = run.head if run.baseline is None else run.baseline
        if decision == "keep":
            self._add_news(run, one, event)

    def _add_news(self, run: RunView, one: TriedView, event: LedgerRecord) -> None:
        arm = next((m.arms[run.arm_id] for m in self.matches.values() if run.arm_id in m.arms), None)
        program_id = one.program_id or (arm.program_id if arm else "")
        who = self.name(program_id) if program_id else run.run_id[:7]
        at = str(event.get("at", ""))[11:16]
        shown = f" {one.metric:.4f}" if isinstance(one.metric, float) else ""
        doing = one.said if len(one.said) <= NEWS else f"{one.said[: NEWS - 3]}..."
        self.news = [*self.news[-2:], f"{at} {who} {run.run_id[:5]} kept {doing}{shown}"]

    def _on_run_ended(self, event: LedgerRecord) -> None:
        run = self.runs.get(event["run_id"])
        if run is not None and not has_finished(run.state):
            run.state = str(event.get("state", "finished"))
            run.spent = float(event.get("charged") or run.spent)
            if (baseline := event.get("baseline_metric")) is not None:  # a rule may have measured it several times
                run.baseline = baseline
            if (final := event.get("final_metric")) is not None:
                run.head = final
            if wall := event.get("wall_seconds"):
                run.wall, run.busy = float(wall), float(event.get("experiment_wall_seconds") or 0)
            run.doing = "done" if run.state == "finished" else run.state

    def _on_verification(self, event: LedgerRecord) -> None:
        run = self.runs.get(event["run_id"])
        if run is None:
            return
        seed, status = event.get("seed") or 0, event.get("status") or "ok"
        before = run.verifications.get(seed)
        if before is None or measured_anew(before.get("status") or "ok", status):
            run.verifications[seed] = event
            self.trusts |= run.trusts

    def _on_fault(self, _event: LedgerRecord) -> None:
        self.faults += 1

    def _on_finding(self, event: LedgerRecord) -> None:
        self.findings[str(event.get("finding"))] += 1

    def _on_steer(self, event: LedgerRecord) -> None:
        self.steered.setdefault(str(event.get("wish_id")), str(event.get("what")))

    def _on_champion(self, event: LedgerRecord) -> None:
        self.champion = event


def between(first: str, last: str) -> float:
    """Seconds from one time to another; 0 where one is not a time."""
    try:
        return max((datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds(), 0.0)
    except ValueError:
        return 0.0


def listed_board(folder: Path) -> StudyView:
    """The current state of a study folder for a list; nothing of a study that another version of metaloop made."""
    try:
        return load_board(folder)[0]
    except OtherVersion:
        board = StudyView(folder)
        board.is_other_version = True
        return board


def load_board(folder: Path) -> tuple[StudyView, RecordTail]:
    """The current state of a study folder, and the tail that reads further events. Raises OtherVersion, and Corrupt
    where its records make no sense, as those of someone else may not."""
    board, tail = StudyView(folder), RecordTail(folder / "ledger")
    try:
        for event in tail.fresh():
            board.take(event)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        what = f"{folder}: its ledger cannot be understood: {type(error).__name__}: {error}"
        raise Corrupt(what[:300], hint=f"metaloop verify {shlex.quote(str(folder))} checks it") from error
    return board, tail
