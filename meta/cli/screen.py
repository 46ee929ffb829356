"""The live screen of a study, as wide as the terminal (80 columns by default)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from analysis.ledger.events import MatchEvent
from analysis.trust import gain_name, marked, weakest
from analysis.wording import many, plain_number
from meta.cli import capacity, spend
from meta.cli.options import duration
from meta.cli.output import Column, clean, fit, table
from meta.cli.views import named
from meta.ui.live import LiveStudy
from meta.ui.live_rows import arm_rows, match_title, news, status_row

if TYPE_CHECKING:
    from rich.console import RenderableType

Goal = Mapping[str, float]  # runs and device_seconds of the plan
MOST_ARMS = 14
WIDE = 110  # characters from which the parents of programs are shown
OTHERS = 56  # characters of the other columns beside a name, where the parents are left out
LEAST_NAME = 22
ARM_COLUMNS = (
    Column("program", style="bold"),
    Column("from", wrap=True),
    Column("ended", right=True),
    Column("kept", right=True),
    Column("claimed", right=True),
    Column("gain", right=True, style="green"),
    Column("state", optional=True),
    Column("spent", right=True, optional=True, show=duration),
    Column("doing", wrap=True, style="dim"),
)


def screen(
    study: LiveStudy,
    title: str,
    *,
    width: int = 80,
    plan: Goal | None = None,
    left: str = "",
    now: str = "",
) -> RenderableType:
    """Header (``left``: the time left), meter, the current match arm by arm, and the last kept experiments. ``now``:
    the time, of a study at work."""
    from rich.console import Group
    from rich.text import Text

    lines = header(study, title, width, plan, now) + ([f"time left: {left}"] if left else [])
    parts: list[RenderableType] = [Text(line, no_wrap=True, overflow="ellipsis") for line in lines]
    match = study.current
    if match is not None:
        parts.append(Text(match_line(study, match, bool(now)), style="bold", no_wrap=True, overflow="ellipsis"))
        rows = arm_rows(study, match)
        names = width - (0 if width >= WIDE else OTHERS)
        shown = [_cells(row, max(names, LEAST_NAME)) for row in rows[:MOST_ARMS]]
        left_out = set() if any(row["doing"] != "done" for row in shown) else {"doing"}
        left_out |= set() if width >= WIDE else {"from", "state"}  # names need the room more
        gain = gain_name(weakest(study.trusts))
        titles = {"claimed": f"best claimed\n{match.config.metric:.16}", "gain": f"{gain}\n(runs)", "spent": "charged"}
        columns = [replace(c, title=titles.get(c.key, "")) for c in ARM_COLUMNS if c.key not in left_out]
        parts.append(table(shown, columns, width))
        if len(rows) > MOST_ARMS:
            parts.append(Text(f"  and {len(rows) - MOST_ARMS} more", style="dim"))
    parts += [Text(fit(clean(line), width), style="dim") for line in news(study)]
    return Group(*parts)


def _cells(row: Mapping[str, Any], names: int) -> dict[str, Any]:
    """An arm's figures with the number of runs behind each: a run has a claim while it is under way, and a gain after
    its end."""
    figures = {"claimed": (plain_number(row["claimed"], 4), row["claims"]),
               "gain": (plain_number(row["gain"], 4, sign=True), row["n"])}  # fmt: skip
    return {
        **row,
        "program": fit_name(named(row["program"], row["role"]), names),
        "ended": f"{row['ended']}/{row['runs']}",
        "kept": f"{row['kept']}/{row['tried']}",
        **{key: f"{text} ({n})" if n else text for key, (text, n) in figures.items()},
    }


def header(study: LiveStudy, title: str, width: int, plan: Goal | None = None, now: str = "") -> list[str]:
    """The lines above the match: title and elapsed time, device time and runs against the plan, models, problems."""
    plan, row = plan or {}, status_row(study, at_work=bool(now))
    left = f"metaloop {title}"
    spent = f"device time charged to the runs {duration(study.charged)}"
    planned = float(plan.get("device_seconds") or 0)
    spent += f" of {duration(planned)}" if planned else ""
    spent += f", {duration(unused)} of it unused" if (unused := row["device_seconds_unused"]) else ""
    spent += f" {meter(study.charged, planned, max(width - len(spent) - 3, 10))}" if planned else ""
    done = row["runs_finished"]
    ended = f"{done} of {many(plan['runs'], 'run')}" if plan.get("runs") else many(done, "run")
    lines = [
        left + elapsed(study, now).rjust(max(width - len(left), 9)),
        spent,
        f"{ended} ended, {row['runs_running']} running, {many(row['experiments'], 'experiment')}",
    ]
    if row["replays"]:
        lines.append(f"{many(row['replays'], 'training')} of an ablation")
    if (devices := int(row["devices_per_run"])) > 1:
        lines.append(f"{capacity.workers_text(int(row['workers'] or 1), devices)}, for its parallel experiments")
    if "calls" in row:
        lines += models_lines(row, study.limits)
    if row["stopped_because"]:
        lines.append(fit(clean(f"stopped: {row['stopped_because']}"), width))
    if study.faults:
        lines.append(f"infrastructure faults: {study.faults} (retried, not charged)")
    if study.findings:
        listed = ", ".join(f"{kind} ({n})" for kind, n in sorted(study.findings.items()))
        lines.append(fit(clean(f"findings: {listed}"), width))
    return [*lines, *filter(None, [marked(row["trust"])])]


def models_lines(row: Mapping[str, Any], limits: Mapping[str, Any]) -> list[str]:
    """The calls, tokens and dollars against their limits, and the shares of device time and tokens that were used."""
    of_tokens = f" of {spend.tokens(limits['max_tokens'])}" if limits.get("max_tokens") else ""
    usd = spend.dollars(row["usd"]) + (f" of ${limits['max_usd']:g}" if limits.get("max_usd") else "")
    taken = f"{spend.share(row['token_utilization'])} of the tokens in accepted replies"
    return [
        f"models {many(row['calls'], 'call')}, {spend.tokens(row['tokens'])}{of_tokens} tokens, {usd}",
        f"used   device {spend.share(row['utilization'])} of the time, {taken}",
    ]


def elapsed(study: LiveStudy, now: str = "") -> str:
    """From the beginning to the last record, or to now, h:mm:ss."""
    try:
        first = datetime.fromisoformat(study.study.started_at if study.study else "")
        seconds = max(int((datetime.fromisoformat(now or study.tail.last_at) - first).total_seconds()), 0)
    except ValueError:
        return "0:00:00"
    return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


def match_line(study: LiveStudy, match: MatchEvent, at_work: bool) -> str:
    """The match by its name, its size and its state. ``at_work``: whether a process works on the study."""
    runs = [run.state for arm in match.arms for run in study.runs_of(arm).values()]
    state = study.state_of(match)
    if state == "running" and (not at_work or {*runs} == {"finished"}):
        state = "measuring final scripts" if at_work else "stopped"
    title = match_title(match.label, match.generation, match.purpose)
    return f"{title}   {many(len(match.arms), 'arm')}, {duration(match.run_budget)} a run, on {match.task}   {state}"


def meter(done: float, total: float, width: int = 40) -> str:
    """``[=====      ]``."""
    share = min(max(done / total, 0.0), 1.0) if total > 0 else 0.0
    return "[" + ("=" * round(share * width)).ljust(width) + "]"


def fit_name(name: str, width: int) -> str:
    """``name`` cut to ``width`` characters; its version, by which the programs of a study differ, stays."""
    if len(name) <= width:
        return name
    version = re.search(r"-v\d+$", name)
    end = version.group() if version and len(version.group()) < width - 2 else ""
    return f"{name[: width - 1 - len(end)]}…{end}"
