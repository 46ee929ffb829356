"""The live screen of a study, as wide as the terminal (80 columns by default)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from analysis.trust import gain_name, marked, weakest
from analysis.wording import many, plain_number
from meta.cli import capacity, render, spend
from meta.cli.board import ArmView, MatchView, StudyView
from meta.cli.options import duration
from meta.cli.output import Column, Row, clean, table
from meta.cli.views import named
from meta.planned_work import PlannedWork

if TYPE_CHECKING:
    from rich.console import RenderableType

MARKS = {"finished": "*", "running": ">"}
MOST_ARMS = 14
MOST_PARENT = 11  # characters of a parent's name
WIDE = 110  # characters from which the parents of programs are shown
OTHERS = 56  # characters of the other columns beside a name, where the parents are left out
CONTROLS = ("without-ideas", "ablation")  # operators of variants that only compare; no program of the study


def _ended(marks: str) -> str:
    """``6/7``: ended runs of those that were started."""
    started = len(marks.replace(".", ""))
    return f"{started - marks.count('>')}/{started}"


ARM_COLUMNS = (
    Column("program", style="bold"),
    Column("from", wrap=True),
    Column("runs", "ended", right=True, show=_ended),
    Column("tried", "kept", right=True),
    Column("claimed", right=True),
    Column("gain", "verified gain", right=True, style="green"),
    Column("state", optional=True),
    Column("spent", right=True, optional=True),
    Column("doing", wrap=True, style="dim"),
)


def screen(
    board: StudyView, title: str, *, width: int = 80, plan: PlannedWork | None = None, left: str = "", now: str = ""
) -> RenderableType:
    """Header (``left``: the time left), meter, the current match arm by arm, and the last kept experiments. ``now``:
    the time, of a study at work."""
    from rich.console import Group
    from rich.text import Text

    lines = header(board, title, width, plan, now) + ([f"time left: {left}"] if left else [])
    parts: list[RenderableType] = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines]
    match = board.current
    if match is not None:
        parts.append(Text(match_line(match), style="bold", no_wrap=True, overflow="ellipsis"))
        arms = list(match.arms.values())[:MOST_ARMS]
        rows = [_arm_row(board, match, arm) for arm in arms]
        left_out = set() if any(row["doing"] != "done" for row in rows) else {"doing"}
        if width < WIDE:  # names need the room more
            left_out |= {"from", "state"}
            most = max(width - OTHERS, 2 * MOST_PARENT)
            rows = [
                {**row, "program": render.fit_name(named(str(row["program"]), arm.role), most)}
                for row, arm in zip(rows, arms, strict=True)
            ]
        columns = [c for c in ARM_COLUMNS if c.key not in left_out]
        rows = [_with_counts(row, arm) for row, arm in zip(rows, arms, strict=True)]
        metric = str((match.event.get("config") or {}).get("metric") or "metric")
        titles = {"claimed": f"best claimed\n{metric:.16}", "gain": f"{gain_name(weakest(board.trusts))}\n(runs)"}
        columns = [replace(c, title=titles.get(c.key, c.title)) for c in columns]
        parts.append(table(rows, columns, width))
        if len(match.arms) > MOST_ARMS:
            parts.append(Text(f"  and {len(match.arms) - MOST_ARMS} more", style="dim"))
    parts += [Text(render.fit(clean(line), width), style="dim") for line in board.news]
    return Group(*parts)


def header(board: StudyView, title: str, width: int, plan: PlannedWork | None = None, now: str = "") -> list[str]:
    """The lines above the match: title and elapsed time, device time and runs against the plan, models, problems."""
    plan = plan or {}
    left = f"metaloop {title}"
    lines = [left + elapsed(board, now).rjust(max(width - len(left), 9))]
    planned = float(plan.get("device_seconds") or 0)
    done, running = board.count("finished"), board.count("running")
    ended = f"{done} of {many(plan['runs'], 'run')}" if plan.get("runs") else many(done, "run")
    runs = f"{ended} ended, {running} running, {many(board.experiments, 'experiment')}"
    spent = f"device time charged to the runs {duration(board.charged)}"
    if planned:
        spent += f" of {duration(planned)} "
        spent += render.meter(board.charged, planned, max(width - len(spent) - 2, 10))
    lines += [spent, runs]
    if (devices := int(board.config.get("devices") or 1)) > 1:
        workers = capacity.workers_text(int(board.config.get("workers") or 1), devices)
        lines.append(f"{workers}, for its parallel experiments")
    if board.models.calls:
        lines += models_lines(board)
    if board.faults:
        lines.append(f"infrastructure faults: {board.faults} (retried, not charged)")
    if board.findings:
        listed = ", ".join(f"{kind} ({n})" for kind, n in sorted(board.findings.items()))
        lines.append(render.fit(clean(f"findings: {listed}"), width))
    said = marked(weakest(board.trusts))
    return [*lines, said] if said else lines


def models_lines(board: StudyView) -> list[str]:
    """The calls, tokens and dollars against their limits, and the shares of device time and tokens that were used."""
    models = board.models
    caps = board.caps
    of_tokens = f" of {spend.tokens(caps['max_tokens'])}" if caps.get("max_tokens") else ""
    usd = spend.dollars(models.usd) + (f" of ${caps['max_usd']:g}" if caps.get("max_usd") else "")
    taken = f"{spend.share(models.used)} of the tokens in accepted replies"
    return [
        f"models {many(models.calls, 'call')}, {spend.tokens(models.tokens)}{of_tokens} tokens, {usd}",
        f"used   device {spend.share(board.utilization)} of the time, {taken}",
    ]


def elapsed(board: StudyView, now: str = "") -> str:
    """From the first event to the last, or to now, h:mm:ss."""
    try:
        first, last = (datetime.fromisoformat(t) for t in (board.first_at, now or board.last_at))
    except ValueError:
        return "0:00:00"
    seconds = max(int((last - first).total_seconds()), 0)
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def match_line(match: MatchView) -> str:
    event = match.event
    runs = [run.state for arm in match.arms.values() for run in arm.runs]
    at_rest = match.state == "running" and bool(runs) and "running" not in runs
    state = "measuring final scripts" if at_rest else match.state
    budget = duration(event.get("run_budget"))
    return f"{match.title}   {many(len(match.arms), 'arm')}, {budget} a run, on {event.get('task')}   {state}"


def arm_rows(board: StudyView, match: MatchView) -> list[Row]:
    """One row per arm, for the screen and for ``status --json``."""
    return [_arm_row(board, match, arm) for arm in match.arms.values()]


def _arm_row(board: StudyView, match: MatchView, arm: ArmView) -> Row:
    claimed = arm.claimed(match.sign)
    at_work = [run.doing for run in arm.runs if run.state == "running"]
    return {
        "program": arm.names or board.name(arm.program_id),
        "from": origin(board, arm),
        "runs": "".join(MARKS.get(run.state, "x") for run in arm.runs) or ".",
        "tried": f"{sum(r.kept for r in arm.runs)}/{sum(r.tried for r in arm.runs)}",
        "claimed": plain_number(claimed, 4),
        "gain": plain_number(arm.gain, 4, sign=True),
        "state": arm.trust or "-",
        "spent": duration(sum(r.spent for r in arm.runs)),
        "doing": at_work[-1] if at_work else ("done" if arm.runs else "waiting"),
        **({"tokens": models.tokens, "usd": models.usd} if (models := arm.models).calls else {}),
    }


def _with_counts(row: Row, arm: ArmView) -> Row:
    """With the number of runs behind each figure: a run has a claim while it is under way, and a gain after its end."""
    counts = {"claimed": len(arm.claims), "gain": len(arm.gains)}
    return {**row, **{key: f"{row[key]} ({n})" for key, n in counts.items() if n}}


def origin(board: StudyView, arm: ArmView) -> str:
    """The parents of an arm's program, else its role."""
    parents = board.programs.get(arm.program_id, {}).get("parent_ids") or []
    if arm.role not in ("", "program") or not parents:
        return arm.role or "program"
    return " x ".join(render.fit_name(board.name(p), MOST_PARENT) for p in parents[:2])


def status_item(board: StudyView, folder: str, running: bool) -> Row:
    """The state of a study as one JSON object."""
    match = board.current
    state = "running" if running else "finished" if has_ended(board) else "stopped"
    return {
        "study": folder,
        "state": "other version" if board.is_other_version else state,
        "as_of": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "last_event_at": board.last_at or None,
        "task": match.event.get("task") if match else None,
        "match_id": match.event["match_id"] if match else None,
        "purpose": match.event.get("purpose") if match else None,
        "generation": match.event.get("generation") if match else None,
        "matches": len(board.matches),
        "programs": len(_run_programs(board)),
        "runs_finished": board.count("finished"),
        "workers": board.config.get("workers"),
        "devices_per_run": board.config.get("devices", 1),
        "runs_running": board.count("running") if running else 0,
        "runs_unfinished": 0 if running else board.count("running"),
        "experiments": board.experiments,
        "device_seconds_charged": round(board.charged, 3),
        "faults": board.faults,
        "findings": board.findings.total(),
        "trust": weakest(board.trusts),
        "champion": (board.champion or {}).get("program_id"),
        "verdict": board.verdict[0] if board.verdict else None,
        **_models_item(board),
    }


def have_run(board: StudyView) -> set[str]:
    """The programs of which a run has begun."""
    return {arm.program_id for match in board.matches.values() for arm in match.arms.values() if arm.runs}


def _run_programs(board: StudyView) -> set[str]:
    """The programs with a run: one that would do the same as another is not run, and others still wait for theirs."""
    ran = have_run(board)
    return {one for one, event in board.programs.items() if one in ran and event.get("operator") not in CONTROLS}


def _models_item(board: StudyView) -> Row:
    """The models' usage; empty without calls. ``usd`` is None where a price is unknown."""
    models = board.models
    if not models.calls:
        return {}
    utilization = {"utilization": board.utilization, "token_utilization": models.used}
    return {"calls": models.calls, "tokens": models.tokens, "usd": models.usd, **utilization}


def has_ended(board: StudyView) -> bool:
    """A search ends with a champion, anything else with its matches."""
    searches = board.config.get("command") in ("evolve", "improve")
    return board.champion is not None or (not searches and _all_ended(board))


def _all_ended(board: StudyView) -> bool:
    return bool(board.matches) and all(m.state != "running" for m in board.matches.values())
