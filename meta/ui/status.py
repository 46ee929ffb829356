"""What a study is doing now: the typed facts that `status`, the live screen, `ls` and the window show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from analysis.ledger.events import MatchArm, MatchEvent
from analysis.ledger.run_state import RunState
from analysis.statistics import mean_interval
from analysis.trust import weakest
from analysis.verdict.verdict import Verdict
from analysis.wording import duration
from meta.kinds.contract import KINDS, named_kind
from meta.ui.live import LiveStudy, ModelUsage, model_usage

CONTROLS = ("without-ideas", "ablation")  # operators of variants that only compare; no program of the study
LONGEST_CHANGE = 160  # letters of a kept change, which may quote an idea of any length
OF_DISPLAYS = ("started_at", "tasks", "usage", "limits", "finding_counts", "match", "match_state", "found", "work",
               "arms", "kept_changes")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """The state of a study at one moment. Times are ISO 8601, in seconds where a name says so."""

    study: str  # its folder
    state: str  # running, finished or stopped
    stopped_because: str | None
    as_of: str
    last_event_at: str | None
    task: str | None
    match_id: str | None
    purpose: str | None
    generation: int | None
    matches: int
    programs: int
    runs_finished: int
    workers: int | None
    devices_per_run: int
    runs_running: int
    runs_unfinished: int
    runs_planned: int | None
    seconds_left: float | None
    experiments: int
    replays: int
    device_seconds_charged: float
    device_seconds_unused: float
    faults: int
    findings: int
    trust: str | None
    champion: str | None
    verdict: str | None
    utilization: float | None
    # of displays alone
    started_at: str
    tasks: Sequence[str]
    usage: ModelUsage
    limits: Mapping[str, Any]  # of models: max_tokens and max_usd
    finding_counts: Mapping[str, int]
    match: MatchEvent | None
    match_state: str
    found: Verdict | None
    work: RemainingWork | None
    arms: tuple[ArmStatus, ...]
    kept_changes: tuple[str, ...]

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


@dataclass(frozen=True, kw_only=True)
class ArmStatus:
    """An arm of a match. Gains are means over its runs, ``claimed`` is the best metric that one of them measured;
    ``n`` and ``claims`` count the runs behind them. ``spent``: device-seconds charged."""

    program: str
    program_id: str
    role: str
    operator: str | None
    parents: str  # or the role; the key ``from`` of its record
    runs: int
    ended: int
    kept: int
    tried: int
    claimed: float | None
    claimed_gain: float | None
    claims: int
    gain: float | None
    low: float | None
    high: float | None
    n: int
    state: str | None  # of trust
    spent: float
    doing: str
    tokens: int | None  # None where no model was called
    usd: float | None

    def record(self) -> dict[str, Any]:
        hidden = ("tokens", "usd") if self.tokens is None else ()
        values = {key: value for key, value in vars(self).items() if key not in hidden}
        return {"from" if key == "parents" else key: value for key, value in values.items()}


@dataclass(frozen=True)
class RunStatus:
    """A run of a match. ``spent``: device-seconds charged."""

    run_id: str
    program: str
    gain: float | None
    claimed_gain: float | None
    state: str
    kept: int
    tried: int
    spent: float
    doing: str


def study_status(study: LiveStudy, at_work: bool, with_arms: bool = False) -> StudyStatus:
    """``at_work``: whether a process holds its lock. ``with_arms``: also the arms of the current match, which take a
    millisecond each."""
    match, found, work = study.current, study.verdict(at_work), remaining(study)
    ran = study.took_turns | {run.started.program_id for run in study.begun if run.started}
    state, under_way = study.state(at_work), study.count("running")
    stops = [run.ended.reason for run in study.begun if run.ended and run.state == "stopped" and run.ended.reason]
    controls = () if match and match.purpose == "ablation" else CONTROLS
    return StudyStatus(
        study=str(study.folder),
        state=state,
        stopped_because=stops[-1] if stops and not at_work else None,
        as_of=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        last_event_at=study.tail.last_at or study.settings.get("created_at"),
        task=match.task if match else None,
        match_id=match.match_id if match else None,
        purpose=match.purpose if match else None,
        generation=match.generation if match else None,
        matches=len(study.matches),
        programs=sum(event.operator not in controls for key, event in study.programs.items() if key in ran),
        runs_finished=study.count("finished"),
        workers=study.config.get("workers"),
        devices_per_run=study.config.get("devices", 1),
        runs_running=under_way if at_work else 0,
        runs_unfinished=0 if at_work else under_way,
        runs_planned=work.runs if work else None,
        seconds_left=0.0 if state == "finished" else work.seconds_left if work else None,
        experiments=sum(run.measured for run in study.begun),
        replays=sum(map(len, study.replays.values())),
        device_seconds_charged=round(study.charged, 3),
        device_seconds_unused=round(study.forfeited, 3),
        faults=study.faults,
        findings=study.findings.total(),
        trust=weakest(study.trusts),
        champion=str(study.champion.body.get("program_id")) if study.champion else None,
        verdict=found.sentences[0] if found else None,
        utilization=study.utilization,
        started_at=study.study.started_at if study.study else "",
        tasks=list(dict.fromkeys(match.task for match in study.matches.values())),
        usage=model_usage([call for calls in study.calls_of.values() for call in calls]),
        limits=study.limits,
        finding_counts=dict(study.findings),
        match=match,
        match_state=match_state(study, match, at_work) if match else "",
        found=found,
        work=work,
        arms=arm_statuses(study, match) if match and with_arms else (),
        kept_changes=kept_changes(study),
    )


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


def arm_statuses(study: LiveStudy, match: MatchEvent) -> tuple[ArmStatus, ...]:
    """The arms of a match, the largest gain first."""
    arms = [_arm_status(study, match, arm) for arm in match.arms]
    return tuple(sorted(arms, key=lambda arm: (arm.gain is None, -(arm.gain or 0.0))))


def _arm_status(study: LiveStudy, match: MatchEvent, arm: MatchArm) -> ArmStatus:
    runs_by_id, sign = study.runs_of(arm), sign_of(match)
    runs = list(runs_by_id.values())
    gain = mean_interval([run.gain for run in runs if run.state == "finished" and run.gain is not None])
    heads = [run.claimed for run in runs if run.claimed is not None]
    claims = [claim for run in runs if (claim := run.claimed_gain(sign)) is not None]
    usage = model_usage([call for run_id in runs_by_id for call in study.calls_of.get(run_id, ())])
    under_way = [experiment_text(run) for run in runs if run.state == "running"]
    program = study.programs.get(arm.program_id)
    parents = program.parent_ids if program and arm.role in ("", "program") else ()
    return ArmStatus(
        program=arm.names or study.name(arm.program_id),
        program_id=arm.program_id,
        role=arm.role,
        operator=program.operator if program else None,
        parents=" x ".join(map(study.name, parents)) or arm.role,
        runs=len(runs),
        ended=sum(run.state == "finished" for run in runs),
        kept=sum(run.kept for run in runs),
        tried=sum(run.tried for run in runs),
        claimed=min(heads, key=lambda metric: sign * metric, default=None),
        claimed_gain=sum(claims) / len(claims) if claims else None,
        claims=len(claims),
        gain=gain.mean,
        low=gain.low,
        high=gain.high,
        n=gain.n,
        state=weakest(run.trust for run in runs),
        spent=sum(run.charged for run in runs),
        doing=under_way[-1] if under_way else "done" if runs else "waiting",
        tokens=usage.tokens if usage.calls else None,
        usd=usage.usd if usage.calls else None,
    )


def run_statuses(study: LiveStudy, match: MatchEvent) -> list[RunStatus]:
    """The runs of a match, of each arm the last that began first."""
    return [
        RunStatus(
            run_id=run_id,
            program=arm.names or study.name(arm.program_id),
            gain=run.gain,
            claimed_gain=run.claimed_gain(sign_of(match)),
            state=run.state,
            kept=run.kept,
            tried=run.tried,
            spent=run.charged,
            doing=experiment_text(run) if run.state == "running" else "done",
        )
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


def kept_changes(study: LiveStudy) -> tuple[str, ...]:
    """The last kept changes, a line for each, the newest last."""
    lines = []
    for experiment in study.last_kept:
        started = study.run(experiment.run_id).started
        program = study.name(experiment.program_id or (started.program_id if started else ""))
        change = f"exp {experiment.number}: {experiment.description}"
        change = change if len(change) <= LONGEST_CHANGE else f"{change[: LONGEST_CHANGE - 3]}..."
        metric = "" if experiment.metric is None else f" {experiment.metric:.4f}"
        lines.append(f"{experiment.started_at[11:16]} {program} {experiment.run_id[:5]} kept {change}{metric}")
    return tuple(lines)


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
    from meta.kinds.cost import OVERHEAD  # many studies have no plan

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
    if config.get("kind") not in KINDS:
        return None
    kind = named_kind(config["kind"])
    try:
        plan = kind.plan_type.model_validate(config.get("plan"))
    except ValidationError:
        return None
    return kind.planned_runs(plan, config, arms)
