"""The rows that `status`, the live display, `ls` and the window show of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from analysis.ledger.events import MatchArm, MatchEvent
from analysis.ledger.run_state import RunState
from analysis.statistics import mean_interval
from analysis.trust import weakest
from analysis.wording import duration
from meta.cli.output import now
from meta.cli.spend import ModelUsage
from meta.kinds.contract import KINDS, named_kind
from meta.ui.live import LiveStudy

Row = dict[str, Any]
CONTROLS = ("without-ideas", "ablation")  # operators of variants that only compare; no program of the study
NEWS = 160  # letters of a kept change, which may quote an idea of any length


def match_title(label: str | None, generation: int | None, purpose: str | None = None) -> str:
    """The name of a match on every screen."""
    label = label or "match"
    label = "match" if label.startswith("match-") else {"opening": "opening race"}.get(label, label)
    label = f"held-out task ({label})" if purpose == "reserve" else label
    named = not generation or str(generation) in label
    return label if named else f"{label}, generation {generation}"


def status_row(study: LiveStudy, at_work: bool) -> Row:
    """The state of a study. ``usd`` is None where a price is unknown; models are left out where none was called."""
    match, found, work = study.current, study.verdict(at_work), remaining(study)
    usage = ModelUsage.of(study.usage.values())
    ran = study.took_turns | {run.started.program_id for run in study.begun if run.started}
    state = study.state(at_work)
    stops = [run.ended.reason for run in study.begun if run.ended and run.state == "stopped" and run.ended.reason]
    controls = () if match and match.purpose == "ablation" else CONTROLS
    row = {
        "study": str(study.folder),
        "state": state,
        "stopped_because": stops[-1] if stops and not at_work else None,
        "as_of": now(),
        "last_event_at": study.tail.last_at or study.settings.get("created_at"),
        "task": match.task if match else None,
        "match_id": match.match_id if match else None,
        "purpose": match.purpose if match else None,
        "generation": match.generation if match else None,
        "matches": len(study.matches),
        "programs": sum(event.operator not in controls for one, event in study.programs.items() if one in ran),
        "runs_finished": study.count("finished"),
        "workers": study.config.get("workers"),
        "devices_per_run": study.config.get("devices", 1),
        "runs_running": study.count("running") if at_work else 0,
        "runs_unfinished": 0 if at_work else study.count("running"),
        "runs_planned": work.runs if work else None,
        "seconds_left": 0.0 if state == "finished" else work.seconds_left if work else None,
        "experiments": sum(run.measured for run in study.begun),
        "replays": sum(map(len, study.replays.values())),
        "device_seconds_charged": round(study.charged, 3),
        "device_seconds_unused": round(study.forfeited, 3),
        "faults": study.faults,
        "findings": study.findings.total(),
        "trust": weakest(study.trusts),
        "champion": study.champion.body.get("program_id") if study.champion else None,
        "verdict": found.sentences[0] if found else None,
    }
    if usage.calls:
        row |= {"calls": usage.calls, "tokens": usage.tokens, "usd": usage.usd}
        row |= {"utilization": study.utilization, "token_utilization": usage.used}
    if study.is_import:
        row |= dict.fromkeys(("device_seconds_charged", "device_seconds_unused"))
        row |= dict.fromkeys(("runs_finished", "runs_running", "runs_unfinished"))
        row |= {"purpose": "import", "trust": "self-reported", **study.imported}
    return row


def arm_rows(study: LiveStudy, match: MatchEvent) -> list[Row]:
    """A row for each arm of a match, the largest gain first. Gains are means over its runs, ``claimed`` is the best
    metric that one of them measured; ``n`` and ``claims`` count the runs behind them."""
    rows = [_arm_row(study, match, arm) for arm in match.arms]
    return sorted(rows, key=lambda row: (row["gain"] is None, -(row["gain"] or 0.0)))


def _arm_row(study: LiveStudy, match: MatchEvent, arm: MatchArm) -> Row:
    own, sign = study.runs_of(arm), sign_of(match)
    runs = list(own.values())
    gain = mean_interval([run.gain for run in runs if run.state == "finished" and run.gain is not None])
    heads = [run.claimed for run in runs if run.claimed is not None]
    claims = [claim for run in runs if (claim := run.claimed_gain(sign)) is not None]
    usage = ModelUsage.of(study.usage[run_id] for run_id in own if run_id in study.usage)
    at_work = [doing(run) for run in runs if run.state == "running"]
    program = study.programs.get(arm.program_id)
    parents = program.parent_ids if program and arm.role in ("", "program") else ()
    return {
        "program": arm.names or study.name(arm.program_id),
        "program_id": arm.program_id,
        "role": arm.role,
        "operator": program.operator if program else None,
        "from": " x ".join(map(study.name, parents)) or arm.role,
        "runs": len(runs),
        "ended": sum(run.state == "finished" for run in runs),
        "kept": sum(run.kept for run in runs),
        "tried": sum(run.tried for run in runs),
        "claimed": min(heads, key=lambda metric: sign * metric, default=None),
        "claimed_gain": sum(claims) / len(claims) if claims else None,
        "claims": len(claims),
        "gain": gain.mean,
        "low": gain.low,
        "high": gain.high,
        "n": gain.n,
        "state": weakest(run.trust for run in runs),
        "spent": sum(run.charged for run in runs),
        "doing": at_work[-1] if at_work else "done" if runs else "waiting",
        **({"tokens": usage.tokens, "usd": usage.usd} if usage.calls else {}),
    }


def run_rows(study: LiveStudy, match: MatchEvent) -> list[Row]:
    """A row for each run of a match, the last that began first."""
    return [
        {
            "run_id": run_id,
            "program": arm.names or study.name(arm.program_id),
            "gain": run.gain,
            "claimed_gain": run.claimed_gain(sign_of(match)),
            "state": run.state,
            "kept": run.kept,
            "tried": run.tried,
            "spent": run.charged,
            "doing": doing(run) if run.state == "running" else "done",
        }
        for arm in match.arms
        for run_id, run in reversed(study.runs_of(arm).items())
    ]


def sign_of(match: MatchEvent) -> float:
    """+1 where lower is better."""
    return -1.0 if match.config.direction == "higher" else 1.0


def doing(run: RunState) -> str:
    """The last experiment of a run under way."""
    last = next(reversed(run.experiments.values()), None)
    return f"exp {last.number}: {last.description}" if last else ""


def news(study: LiveStudy) -> list[str]:
    """The last kept changes, a line each, the newest last."""
    lines = []
    for tried in study.last_kept:
        started = study.run(tried.run_id).started
        who = study.name(tried.program_id or (started.program_id if started else ""))
        change = f"exp {tried.number}: {tried.description}"
        change = change if len(change) <= NEWS else f"{change[: NEWS - 3]}..."
        metric = "" if tried.metric is None else f" {tried.metric:.4f}"
        lines.append(f"{tried.started_at[11:16]} {who} {tried.run_id[:5]} kept {change}{metric}")
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
