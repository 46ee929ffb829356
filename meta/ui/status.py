"""What a study is doing now: the typed facts that `status`, the live screen, `ls` and the window show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from analysis.ledger.events import MatchArm, MatchEvent
from analysis.ledger.run_state import RunState
from analysis.statistics import mean_interval
from analysis.wording import duration
from meta.kinds.cost import OVERHEAD
from meta.kinds.plans import stored_plan
from meta.ui.live import LiveStudy, model_usage
from trainer.trust import weakest

CONTROLS = ("without-ideas", "ablation")  # operators of variants that only compare; no program of the study
LONGEST_CHANGE = 160  # letters of a kept change, which may quote an idea of any length
OF_DISPLAYS = ("started_at", "tasks", "usage", "limits", "finding_counts", "match", "match_state", "found", "work",
               "arms", "kept_changes")  # fmt: skip


class StudyStatus:
    """The state of a study at one moment. Times are ISO 8601, or seconds where the name contains it."""

    def __init__(self, study: LiveStudy, at_work: bool, with_arms: bool = False) -> None:
        """``at_work``: whether a process holds its lock. ``with_arms``: also the arms of the current match, which take
        a millisecond each."""
        match, verdict, work = study.current, study.verdict(at_work), remaining(study)
        under_way, limits = study.count("running"), study.settings.get("llm") or study.config.get("llm") or {}
        stops = [run.ended.reason for run in study.begun if run.ended and run.state == "stopped" and run.ended.reason]
        controls = () if match and match.purpose == "ablation" else CONTROLS
        ran = study.took_turns | {run.started.program_id for run in study.begun if run.started}
        self.study = str(study.folder)
        self.state = study.state(at_work)  # running, finished or stopped
        self.stopped_because = stops[-1] if stops and not at_work else None
        self.as_of = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.last_event_at: str | None = study.tail.last_at or study.settings.get("created_at")
        self.task = match.task if match else None
        self.match_id = match.match_id if match else None
        self.purpose = match.purpose if match else None
        self.generation = match.generation if match else None
        self.matches = len(study.matches)
        self.programs = sum(event.operator not in controls for key, event in study.programs.items() if key in ran)
        self.runs_finished = study.count("finished")
        self.workers: int | None = study.config.get("workers")
        self.devices_per_run: int = study.config.get("devices", 1)
        self.runs_running = under_way if at_work else 0
        self.runs_unfinished = 0 if at_work else under_way
        self.runs_planned = work.runs if work else None
        self.seconds_left = 0.0 if self.state == "finished" else work.seconds_left if work else None
        self.experiments = sum(run.measured for run in study.begun)
        self.replays = sum(map(len, study.replays.values()))
        self.device_seconds_charged = round(sum(run.charged for run in study.begun), 3)
        self.device_seconds_unused = round(sum(run.ended.forfeited for run in study.begun if run.ended), 3)
        self.faults = study.faults
        self.findings = study.findings.total()
        self.trust = weakest(study.trusts)
        self.champion = str(study.champion.body.get("program_id")) if study.champion else None
        self.verdict = verdict.sentences[0] if verdict else None
        self.utilization = study.utilization
        # of displays alone
        self.started_at = study.study.started_at if study.study else ""
        self.tasks = list(dict.fromkeys(event.task for event in study.matches.values()))
        self.usage = model_usage([call for calls in study.calls_of.values() for call in calls])
        self.limits: Mapping[str, Any] = limits  # of models: max_tokens and max_usd; higher ones where it was resumed
        self.finding_counts = dict(study.findings)
        self.match = match
        self.match_state = match_state(study, match, at_work) if match else ""
        self.found = verdict
        self.work = work
        self.arms = arm_statuses(study, match) if match and with_arms else []
        self.kept_changes = kept_changes(study)

    def record(self) -> dict[str, Any]:
        """The facts for scripts, those of models only where one was called."""
        record = {key: value for key, value in vars(self).items() if key not in OF_DISPLAYS}
        if self.usage.calls:
            return record | vars(self.usage)
        del record["utilization"]
        return record

    @property
    def elapsed(self) -> str:
        """From the beginning to now, of a study at rest to its last event: h:mm:ss."""
        end = self.as_of if self.state == "running" else self.last_event_at
        try:
            passed = datetime.fromisoformat(end or "") - datetime.fromisoformat(self.started_at)
        except ValueError:
            return "0:00:00"
        seconds = max(int(passed.total_seconds()), 0)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


class ArmStatus:
    """An arm of a match. Gains are means over its runs, ``claimed`` is the best metric that one of them measured;
    ``n`` and ``claims`` count the runs behind them. ``spent``: device-seconds charged."""

    def __init__(self, study: LiveStudy, match: MatchEvent, arm: MatchArm) -> None:
        runs, sign = list(study.runs_of(arm).values()), sign_of(match)
        gain = mean_interval([run.gain for run in runs if run.state == "finished" and run.gain is not None])
        heads = [run.claimed for run in runs if run.claimed is not None]
        claims = [claim for run in runs if (claim := run.claimed_gain(sign)) is not None]
        under_way = [experiment_text(run) for run in runs if run.state == "running"]
        program = study.programs.get(arm.program_id)
        parents = program.parent_ids if program and arm.role in ("", "program") else ()
        self.program = arm.names or study.name(arm.program_id)
        self.program_id = arm.program_id
        self.role = arm.role
        self.operator = program.operator if program else None
        self.parents = " x ".join(map(study.name, parents)) or arm.role
        self.runs = len(runs)
        self.ended = sum(run.state == "finished" for run in runs)
        self.kept = sum(run.kept for run in runs)
        self.tried = sum(run.tried for run in runs)
        self.claimed = min(heads, key=lambda metric: sign * metric, default=None)
        self.claimed_gain = sum(claims) / len(claims) if claims else None
        self.claims = len(claims)
        self.gain, self.low, self.high, self.n = gain.value, gain.low, gain.high, gain.n
        self.state = weakest(run.trust for run in runs)  # of trust
        self.spent = sum(run.charged for run in runs)
        self.doing = under_way[-1] if under_way else "done" if runs else "waiting"
        self.usage = model_usage([call for run_id in study.runs_of(arm) for call in study.calls_of.get(run_id, ())])

    def record(self) -> dict[str, Any]:
        record = {"from" if key == "parents" else key: value for key, value in vars(self).items() if key != "usage"}
        return record | ({"tokens": self.usage.tokens, "usd": self.usage.usd} if self.usage.calls else {})


class RunStatus:
    """A run of a match. ``spent``: device-seconds charged."""

    def __init__(self, run_id: str, program: str, run: RunState, sign: float) -> None:
        self.run_id, self.program = run_id, program
        self.gain, self.claimed_gain = run.gain, run.claimed_gain(sign)
        self.state = run.state
        self.kept, self.tried, self.spent = run.kept, run.tried, run.charged
        self.doing = experiment_text(run) if run.state == "running" else "done"


def match_title(match: MatchEvent) -> str:
    """The name of a match on every screen."""
    label = match.label or "match"
    label = "match" if label.startswith("match-") else {"opening": "opening race"}.get(label, label)
    label = f"held-out task ({label})" if match.purpose == "reserve" else label
    is_complete = not match.generation or str(match.generation) in label
    return label if is_complete else f"{label}, generation {match.generation}"


def match_state(study: LiveStudy, match: MatchEvent, at_work: bool) -> str:
    if (ended := study.ended_matches.get(match.match_id)) is not None:
        return ended.state
    if not at_work:
        return "stopped"
    runs = {run.state for arm in match.arms for run in study.runs_of(arm).values()}
    return "measuring final scripts" if runs == {"finished"} else "running"


def arm_statuses(study: LiveStudy, match: MatchEvent) -> list[ArmStatus]:
    """The arms of a match, the largest gain first."""
    arms = [ArmStatus(study, match, arm) for arm in match.arms]
    return sorted(arms, key=lambda arm: (arm.gain is None, -(arm.gain or 0.0)))


def run_statuses(study: LiveStudy, match: MatchEvent) -> list[RunStatus]:
    """The runs of a match, of each arm the last that began first."""
    return [
        RunStatus(run_id, arm.names or study.name(arm.program_id), run, sign_of(match))
        for arm in match.arms
        for run_id, run in reversed(study.runs_of(arm).items())
    ]


def sign_of(match: MatchEvent) -> float:
    """+1 where lower is better."""
    return -1.0 if match.config.direction == "higher" else 1.0


def experiment_text(run: RunState) -> str:
    """The last experiment of a run under way."""
    last = next(reversed(run.experiments.values()), None)
    return f"exp {last.number}: {last.description}" if last else ""


def kept_changes(study: LiveStudy) -> list[str]:
    """The last kept changes, a line for each, the newest last."""
    lines = []
    for experiment in study.last_kept:
        started = study.run(experiment.run_id).started
        program = study.name(experiment.program_id or (started.program_id if started else ""))
        change = f"exp {experiment.number}: {experiment.description}"
        change = change if len(change) <= LONGEST_CHANGE else f"{change[: LONGEST_CHANGE - 3]}..."
        metric = "" if experiment.metric is None else f" {experiment.metric:.4f}"
        lines.append(f"{experiment.started_at[11:16]} {program} {experiment.run_id[:5]} kept {change}{metric}")
    return lines


@dataclass(frozen=True)
class RemainingWork:
    """``runs``: of the whole plan; ``ended``: of them; ``done``: these, and the shares of those under way."""

    runs: int
    ended: int
    done: float
    seconds_left: float | None  # None before the first run has ended

    @property
    def left(self) -> str:
        """The time left, in words."""
        if self.seconds_left is None:
            return f"not known yet, {self.done / self.runs:.0%} of the work is done"
        return "the last steps" if self.done >= self.runs else f"about {duration(self.seconds_left)}"


def remaining(study: LiveStudy) -> RemainingWork | None:
    """None where the plan does not say how many runs there will be."""
    runs = planned_runs(study.config, max((len(match.arms) for match in study.matches.values()), default=0))
    if not runs:
        return None
    ended = [run.ended for run in study.begun if run.ended]
    under_way = [(run.charged, run.started) for run in study.begun if run.started and not run.ended]
    shares = [
        min(spent / begun.device_seconds_budget, 1.0) for spent, begun in under_way if begun.device_seconds_budget
    ]
    done = min(len(ended) + sum(shares), float(runs))
    walls = [end.wall_seconds for end in ended if end.wall_seconds]
    workers = int(study.config.get("workers") or 1)
    left = (runs - done) * sum(walls) / len(walls) / workers * OVERHEAD if walls else None
    return RemainingWork(runs, len(ended), done, left)


def planned_runs(config: Mapping[str, Any], arms: int) -> int | None:
    """Runs of the whole study, by the settings that its ledger has; None where its plan does not say how many there
    will be. ``arms``: of its largest match."""
    plan = stored_plan(config.get("kind"), config.get("plan"))
    return plan.planned_runs(config, arms) if plan else None
