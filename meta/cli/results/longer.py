"""The command of a longer study that starts from one whose result it would make clear."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger.json_values import read_as
from analysis.verdict.verdict import runs_to_show
from analysis.wording import roughly
from meta.cli import resolve
from programs.errors import MetaloopError

if TYPE_CHECKING:
    from analysis.verdict.decision import Decision
    from arena.settings import StudyConfig

TIMES = 3  # the device time, where a default study is no longer than this one, or more than MOST times as long
MOST = 20
# Of all work up to the verdict: search, confirmation, harvest and verification. A pause ends with a new segment.
ELAPSED = """
SELECT sum(epoch(written_at) - epoch(before)) AS seconds FROM (
    SELECT kind, written_at, lag(written_at) OVER (ORDER BY place) AS before FROM events)
WHERE kind <> 'segment' AND written_at <= (SELECT max(written_at) FROM events WHERE kind = 'champion')
"""


def worth_more(d: Decision, times: float) -> bool:
    """Whether so many times the runs show, with 80% power, what this study did not: that the champion is better than
    the reference, or than the program that it started from."""
    lead = d.start if d.holds else d.tested
    needed = runs_to_show(d.champion, lead) if lead and (lead.low or 0.0) <= 0 else None
    return needed is not None and needed <= times * d.champion.n


def wall_seconds(folder: Path) -> float:
    """The wall time of a finished study, without pauses; 0 if it is unknown."""
    with resolve.connect(folder, []) as con:
        return float(resolve.fetch(con, ELAPSED)[0]["seconds"] or 0)


def longer(folder: Path, config: StudyConfig, decision: Decision) -> list[str]:
    """A longer study that starts from this one's programs and results, with its time at the rate of this
    study; nothing over families of tasks, and where it would hardly show more."""
    from meta.cli.training.launch import load_tasks
    from meta.study.cost import seconds_of
    from meta.study.plan import Plan, default

    bred = config.command in ("evolve", "improve") and not config.families
    if not bred:
        return []
    own = _own(config)
    named = ",".join([config.task, *(other.task for other in config.further)])
    try:
        task, *further = load_tasks(named)
        plan = read_as(Plan, config.plan)
    except (MetaloopError, OSError, ValueError):  # its task is elsewhere now
        return []
    if not (elapsed := wall_seconds(folder)) or (config.command == "improve" and not own):
        return []
    spent, whole = (seconds_of(one.works(task, further)) for one in (plan, default(task)))
    if plan.night:  # the next one goes on from its main
        size = ["--budget", f"{math.ceil(spent)}s"]
        words = ["metaloop", config.command, *own, "--from", resolve.shown(folder), *size, *_who(config)]
        return [f"{shlex.join(words)}  # the next night, from this one's main"]
    size = [] if 1.5 * spent <= whole <= MOST * spent else ["--budget", f"{math.ceil(TIMES * spent)}s"]
    seconds = whole if not size else TIMES * spent
    if not worth_more(decision, seconds / spent):
        return []
    words = ["metaloop", config.command, *own, "--from", resolve.shown(folder), *size, *_who(config)]
    clock = roughly(seconds * elapsed / spent)
    much = f"{seconds / spent:.2g} times the device time, about {clock} at its pace"
    return [f"{shlex.join(words)}  # longer, from this study: {much}"]


def _own(config: StudyConfig) -> list[str]:
    """The user's program, of `improve`."""
    from meta.results.apply import PATH

    path = Path(str(config.plan.get(PATH) or ""))
    return [str(path)] if config.command == "improve" and path.is_file() else []


def _who(config: StudyConfig) -> list[str]:
    researcher = [] if config.researcher == "scripted" else ["-r", config.researcher]
    return [*researcher, *(["-m", ",".join(config.staff.models)] if config.staff.models else [])]
