"""The live screen of a study, as wide as the terminal (80 columns by default)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from analysis.ledger.events import MatchEvent
from analysis.table_cells import usd
from analysis.wording import count, duration, many, number, share
from meta.cli.output import Column, clean, fit, table
from meta.cli.views import named
from meta.ui.status import ArmStatus, StudyStatus, match_title
from trainer.trust import gain_name, marked

if TYPE_CHECKING:
    from rich.console import RenderableType

MOST_ARMS = 14
ARM_COLUMNS = (
    Column("program", wrap=True, style="bold"),
    Column("ended", right=True),
    Column("kept", right=True),
    Column("claimed", right=True),
    Column("gain", right=True, style="green"),
    Column("doing", wrap=True, style="dim"),
    Column("spent", "charged", right=True, optional=True, show=duration),
    Column("from", optional=True),
)


def screen(status: StudyStatus, title: str, *, width: int = 80) -> RenderableType:
    """Header, meter, the current match arm by arm, and the last kept experiments."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [
        Text(line, no_wrap=True, overflow="ellipsis") for line in header(status, title, width)
    ]
    if status.match is not None:
        parts.append(
            Text(match_line(status.match, status.match_state), style="bold", no_wrap=True, overflow="ellipsis")
        )
        arms = status.arms[:MOST_ARMS]
        titles = {"claimed": f"best claimed\n{status.match.config.metric:.16}",
                  "gain": f"{gain_name(status.trust)}\n(runs)"}  # fmt: skip
        hidden = {"doing": all(arm.doing == "done" for arm in arms),
                  "from": all(arm.parents == arm.role for arm in arms)}  # fmt: skip
        columns = [
            replace(column, title=titles.get(column.key, column.title))
            for column in ARM_COLUMNS if not hidden.get(column.key)
        ]  # fmt: skip
        parts.append(table(list(map(arm_cells, arms)), columns, width))
        if len(status.arms) > MOST_ARMS:
            parts.append(Text(f"  and {len(status.arms) - MOST_ARMS} more", style="dim"))
    parts += [Text(fit(clean(line), width), style="dim") for line in status.kept_changes]
    return Group(*parts)


def arm_cells(arm: ArmStatus) -> dict[str, object]:
    """An arm's figures with the number of runs behind each: a run has a claim while it is under way, and a gain after
    its end."""
    claimed, gain = number(arm.claimed, 4), number(arm.gain, 4, sign=True)
    return {
        **arm.record(),
        "program": named(arm.program, arm.role),
        "ended": f"{arm.ended}/{arm.runs}",
        "kept": f"{arm.kept}/{arm.tried}",
        "claimed": f"{claimed} ({arm.claims})" if arm.claims else claimed,
        "gain": f"{gain} ({arm.n})" if arm.n else gain,
    }


def header(status: StudyStatus, title: str, width: int) -> Iterator[str]:
    """The lines above the match: title and elapsed time, device time, runs against the plan, models, problems."""
    left = f"metaloop {title}"
    yield left + status.elapsed.rjust(max(width - len(left), 9))
    spent = f"device time charged to the runs {duration(status.device_seconds_charged)}"
    if status.device_seconds_unused:
        spent += f", {duration(status.device_seconds_unused)} of it unused"
    yield spent
    work = status.work if status.state == "running" else None
    ended = f"{status.runs_finished} of {many(work.runs, 'run')}" if work else many(status.runs_finished, "run")
    yield f"{ended} ended, {status.runs_running} running, {many(status.experiments, 'experiment')}"
    if work:
        left = f"time left: {work.left} "
        yield left + meter(work.done / work.runs, max(width - len(left) - 2, 10))
    if status.replays:
        yield f"{many(status.replays, 'training')} of an ablation"
    if status.usage.calls:
        yield from models_lines(status)
    if status.stopped_because:
        yield fit(clean(f"stopped: {status.stopped_because}"), width)
    if status.faults:
        yield f"infrastructure faults: {status.faults} (retried, not charged)"
    if status.findings:
        kinds = ", ".join(f"{kind} ({n})" for kind, n in sorted(status.finding_counts.items()))
        yield fit(clean(f"findings: {kinds}"), width)
    if remark := marked(status.trust):
        yield remark


def models_lines(status: StudyStatus) -> Iterator[str]:
    """The calls, tokens and dollars against their limits, and the shares of device time and tokens that were used."""
    usage, limits = status.usage, status.limits
    most_tokens = f" of {count(limits['max_tokens'])}" if limits.get("max_tokens") else ""
    most_usd = f" of {usd(limits['max_usd'])}" if limits.get("max_usd") else ""
    yield f"models {many(usage.calls, 'call')}, {count(usage.tokens)}{most_tokens} tokens, {usd(usage.usd)}{most_usd}"
    accepted = f"{share(usage.token_utilization)} of the tokens in accepted replies"
    yield f"used   device {share(status.utilization)} of the time, {accepted}"


def match_line(match: MatchEvent, state: str) -> str:
    """The match by its name, its size and its state."""
    size = f"{many(len(match.arms), 'arm')}, {duration(match.run_budget)} a run"
    return f"{match_title(match)}   {size}, on {match.task}   {state}"


def meter(done: float, width: int) -> str:
    """``[=====      ]``; ``done``: a share."""
    return "[" + ("=" * round(done * width)).ljust(width) + "]"
