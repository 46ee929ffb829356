"""The result of ``metaloop evolve`` and ``metaloop improve``: the verdict, its table, the files, and the command of a
longer study that would make it clear."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.ledger.json_values import read_as
from analysis.verdict.verdict import VIEWS, Verdict, runs_to_show, verdict_of
from analysis.wording import plain_text, roughly
from meta.cli import resolve
from meta.cli.output import Column, Output
from programs.errors import MetaloopError
from trainer.sandbox import FLAG, flag

if TYPE_CHECKING:
    from analysis.verdict.decision import Decision
    from arena.settings import StudyConfig

NAMED = """
SELECT program_id, details ->> 'name' AS name, (details ->> 'holds')::BOOLEAN AS holds FROM champions
ORDER BY named_at DESC LIMIT 1
"""
TIMES = 3  # the device time, where a default study is no longer than this one, or more than MOST times as long
MOST = 20
# Of all work up to the verdict: search, confirmation, harvest and verification. A pause ends with a new segment.
ELAPSED = """
SELECT sum(epoch(written_at) - epoch(before)) AS seconds FROM (
    SELECT kind, written_at, lag(written_at) OVER (ORDER BY place) AS before FROM events)
WHERE kind <> 'segment' AND written_at <= (SELECT max(written_at) FROM events WHERE kind = 'champion')
"""

LEFT = ("program", "role", "95% interval", "champion minus it")


def present(out: Output, folder: Path, applies: bool = False) -> list[str]:
    """Show the verdict and the files of a study; returns the commands that go on from here. ``applies``: what was found
    is committed next, so that no command does that.
    """
    from arena.settings import StudyConfig

    config = StudyConfig.read(folder / resolve.MARK)
    with resolve.connect(folder, VIEWS) as con:
        found = verdict_of(con)
        named = resolve.fetch(con, NAMED)
    shown, files = resolve.shown(folder), files_of(Path(resolve.shown(folder)))
    if out.mode == "json":
        champion = named[0] if named else {}
        out.json({"study": shown, **champion, "researcher": config.researcher, "files": files, **found.record()})
        return []
    show(out, found, shown, files)
    if found.decision is None:
        return []
    return _going_on(folder, config, found.decision, applies)


def show(out: Output, found: Verdict, study: str, files: dict[str, str]) -> None:
    """The verdict at a terminal or piped: what it rests on, the table, the sentences, what weakens it, the files."""
    doubts = "; ".join(found.doubts)
    table = [{key: plain_text(value) for key, value in row.items()} for row in found.table]
    if out.mode == "plain":
        named = {"study": study, "verdict": plain_text(found.headline), "cost": found.cost, "mind": doubts}
        out.thing({key: value for key, value in named.items() if value})
        for sentence in found.sentences[1:]:
            out.thing({"found": plain_text(sentence)})
        out.thing(files)
        out.rows(table, [Column(key) for key in table[0]] if table else [])
        return
    trust = f"; scores {found.trust}" if found.trust else ""
    out.text(f"\n{study}   {found.cost}{trust}\n")
    if table:
        shown = [
            Column(key, right=key not in LEFT, wrap=key == "program", optional=key == LEFT[-1]) for key in table[0]
        ]
        out.rows(table, shown)
        out.text("")
    headline, *others = map(plain_text, found.sentences)
    for line in (headline, *[f"mind: {doubts}."] * bool(doubts), *others):
        out.text(line)
    out.text("\n" + "\n".join(f"{name:10} {path}" for name, path in files.items()))


def files_of(shown: Path) -> dict[str, str]:
    """What the study has written, by what it is."""
    files = {"champion": str(shown / "champion.md"), "evidence": str(shown / "champion.evidence.md")}
    if (shown / "champion").is_dir():
        files["its files"] = str(shown / "champion")
    if best := next(iter(sorted(shown.glob("best*"))), None):
        files["train.py"] = str(best)
    return files


def _going_on(folder: Path, config: StudyConfig, decision: Decision, applies: bool) -> list[str]:
    """The commands that go on from a study."""
    apply = [] if applies else ready_to_apply(config, folder, resolve.typed(folder), worth_applying(decision))
    name, again = resolve.typed(folder), list[str]()
    if any(one.kept for one in decision.night):
        [night] = resolve.ask(folder, "SELECT DISTINCT run_id FROM night_turns")
        words = f"metaloop ablate {resolve.short(night['run_id'])} -s {name}{flag(config.sandbox)}"
        again = [f"{words}  # which kept changes are more than luck"]
    return [*apply, *again, *longer(folder, config, decision), f"metaloop report {name}"]


def worth_applying(decision: Decision) -> bool:
    """Whether ``--apply`` would commit something: the program, or a train.py of the first task, whose gain is above
    zero."""
    return decision.has_new_program or (decision.script is not None and not decision.added_nothing)


def ready_to_apply(config: StudyConfig, folder: Path, name: str, worth: bool = True) -> list[str]:
    """How to use the result: commit an improvement on a branch of the task's repository, if it is ``worth`` that; give
    the champion, as prose, to an agent of one's own. A built-in task is copied first, because its train.py is inside
    Metaloop."""
    from inner_loop.agents.recipe import FOLLOWS, own_agent
    from meta.outcome.agent_text import copied_first, copying

    repository = Path(config.task)
    inside = repository.is_dir() and any((parent / ".git").exists() for parent in (repository, *repository.parents))
    apply = [f"metaloop improve --resume {name} --apply"] if config.command == "improve" and inside and worth else []
    if not (folder / "champion.md").is_file():
        return apply
    several = (folder / "champion").is_dir()
    at = f"{config.task}/" if copying(config.task) else ""
    target = resolve.unused(f"{at}champion-prose{'.md' * (not several)}")
    prompt = f"Read {'the files in ' * several}{Path(target).name} and follow {'them' if several else 'it'}"
    agent = own_agent(prompt, config.researcher, config.staff.agent)
    agent = f"cd {at} && {agent}" if at else agent
    apply += copied_first(config.task)
    return [*apply, f"metaloop export {name} --for agent -o {target}", f"{agent}  # {FOLLOWS}"]


def worth_more(d: Decision, times: float) -> bool:
    """Whether so many times the runs show, with 80% power, what this study did not: that the champion is better than
    the reference, or than the program that it started from."""
    lead = d.start if d.holds else d.tested
    needed = runs_to_show(d.champion, lead) if lead and (lead.low or 0.0) <= 0 else None
    return needed is not None and needed <= times * d.champion.n


def wall_seconds(folder: Path) -> float:
    """The wall time of a finished study, without pauses; 0 if it is unknown."""
    return float(resolve.ask(folder, ELAPSED)[0]["seconds"] or 0)


def longer(folder: Path, config: StudyConfig, decision: Decision) -> list[str]:
    """A longer study that starts from this one's programs and results, with its time at the rate of this
    study; nothing where it would hardly show more."""
    from meta.cli.launch import load_tasks
    from meta.kinds.cost import seconds_of
    from meta.kinds.plan import Plan, default

    bred = config.command in ("evolve", "improve")
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
    from meta.outcome.apply import PATH

    path = Path(str(config.plan.get(PATH) or ""))
    return [str(path)] if config.command == "improve" and path.is_file() else []


def _who(config: StudyConfig) -> list[str]:
    """The options of a new study with the same researcher, models or agent, and their limits."""
    staff = config.staff
    given = {
        "-r": config.researcher if config.researcher != "scripted" else "",
        "-m": ",".join(staff.models),
        "--max-usd": f"{staff.max_usd:g}" if staff.max_usd else "",
    }
    words = [word for option, value in given.items() if value for word in (option, value)]
    for setting in config.typed.get("--set", ()):
        if setting.partition("=")[0] in type(staff).model_fields:
            words += ["--set", setting]
    return [*words, *([] if config.sandbox else [FLAG])]
