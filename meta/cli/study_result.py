"""The result of ``metaloop evolve`` and ``metaloop improve``: verdict, standings, files, and what else is known."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from meta.cli import resolve, transfer_table
from meta.cli.longer import longer
from meta.cli.nights import show_turns
from meta.cli.output import Column, Output, Row

if TYPE_CHECKING:
    from analysis.decision import Decision
    from analysis.origin import Origin
    from analysis.run_state import StudyState
    from arena.settings import StudyConfig
    from programs.program import Program

GROWTH = """
SELECT m.generation, s.task, max(s.gain) AS gain, arg_max(s.name, s.gain) AS program, arg_max(s.n, s.gain) AS n,
    arg_max(s.low, s.gain) AS low, arg_max(s.high, s.gain) AS high
FROM standings AS s JOIN matches AS m USING (match_id) WHERE s.purpose IN ('race', 'generation') AND s.gain IS NOT NULL
GROUP BY ALL ORDER BY s.task, m.generation
"""
GROWN = "best program of each generation (chosen by these gains: they are a bit high)"
MOST_CHANGES = 4  # that are shown; of more, how many
BEST = "best train.py"
CHAIN = ("seq", "prev", "hash", "schema", "kind", "at")  # what only the ledger needs


def present(out: Output, folder: Path, applies: bool = False) -> list[str]:
    """Show the verdict, the confirmation's standings, the champion's files, and its diff; returns the commands that go
    on from here. Piped, also what a terminal has commands for, because there the result has to fit. ``applies``:
    what was found is committed next, so that no command does that.
    """
    from analysis.decision import decision_of
    from analysis.decision_text import more_runs, sentences_of
    from analysis.run_state import StudyState
    from analysis.script_text import best_scripts
    from analysis.wording import plain_text
    from arena.settings import StudyConfig
    from meta.begin import champion_of
    from meta.steering import given_line
    from programs.evolved_for import EvolvedFor

    champion, config = champion_of(folder) or {}, StudyConfig.read(folder / resolve.MARK)
    shown = Path(resolve.shown(folder))
    files = _files(shown)
    decision = decision_of(champion) if champion else None
    scripts = best_scripts(decision) if decision else []
    needed = more_runs(decision) if decision else ""
    state = StudyState.read(folder / "ledger")
    given = given_line(folder, state, str(champion.get("program_id", "")))
    changes = _changes(folder, config, str(champion.get("program_id", "")))
    by_task = transfer_table.ChampionByTask.of(folder, champion)
    if out.mode == "json":
        event = {"study": str(shown), **{k: v for k, v in champion.items() if k not in CHAIN}}
        study_fields = {"researcher": config.researcher, "files": files, "steering": given or None, "changes": changes}
        out.json({**event, **study_fields, **by_task.json})
        return []
    harm = _harm(folder, state, str(champion["program_id"])) if decision and decision.holds else ""
    verdict = str(champion.get("verdict", "no champion"))
    sentences = sentences_of(verdict, [program.name for program in state.programs.values()])
    label = EvolvedFor.of(config.researcher, config.staff.models)
    every = compared(config, Path(files["champion"])) if len(changes) > MOST_CHANGES else []
    if out.mode == "plain":
        more = {
            "details": ". ".join(sentences[1:]),
            "researcher": str(label),
            "more runs": needed,
            "best scripts": " ".join(scripts),
        }
        more |= {"harmful ideas": harm, "steering": given, "cost": cost(folder)}
        known = {name: plain_text(text) for name, text in more.items() if text}
        out.thing({"study": str(shown), "verdict": sentences[0], **known, **by_task.plain, **files})
        _print(out, folder, decision, changes, changes_title(config))
    else:
        said = [by_task.together, needed, harm, given, f"All runs were made with {label}. {cost(folder)}"]
        named = with_outcome(with_gain(files, decision, state), decision)
        told = len(changes) > MOST_CHANGES and not own_program(config)  # the sentences count them since its origin
        _show(out, folder, sentences, (changes_title(config), [] if told else changes), named, said)
    return _going_on(folder, config, decision, applies, every)


def _going_on(
    folder: Path, config: StudyConfig, decision: Decision | None, applies: bool, every: list[str]
) -> list[str]:
    """The commands that go on from a study; ``every``: that which shows all changes of its champion."""
    from analysis.decision_text import reference_gained_more
    from analysis.own_share import as_good

    start = as_good(decision) if decision and not applies else None
    own = own_program(config) if decision and decision.against_own and reference_gained_more(decision) else None
    apply = [] if applies else ready_to_apply(config, folder, resolve.typed(folder), own, worth_applying(decision))
    on_from_here = longer(folder, config, decision) if decision else []
    on_from_here = [*surer(folder, config, decision), *on_from_here]
    return [*apply, *on_from_here, *_next(folder, start, every)]


def _harm(folder: Path, state: StudyState, champion: str) -> str:
    """As the ledger has the champion: its file may have been changed or moved since."""
    from meta.rewriting import measured_harm, why_kept
    from programs.program import Program

    harm = measured_harm(folder, Program.parse(state.programs[champion].text))
    return why_kept([not one.leave_out for one in harm.values()])


def cost(folder: Path) -> str:
    """What the whole study took."""
    from analysis.report.rows import OverviewRow
    from analysis.report.source import ReportSource
    from analysis.wording import duration
    from meta.cli.longer import wall_seconds

    with resolve.connect(folder, []) as con:
        spent = ReportSource(con, "").ask_one("overview", OverviewRow)[1].device_seconds
    clock = f"{duration(wall)} of wall time and " if (wall := wall_seconds(folder)) else ""
    return f"The study took {clock}{duration(spent)} of device time, with verification."


def _files(shown: Path) -> dict[str, str]:
    """What the study has written, by what it is."""
    files = {"champion": str(shown / "champion.md"), "evidence": str(shown / "champion.evidence.md")}
    if (shown / "champion").is_dir():
        files["champion's files"] = str(shown / "champion")
    if best := next(iter(sorted(shown.glob("best*"))), None):
        files[BEST] = str(best)
    return files


def _next(folder: Path, start: Origin | None, several: Sequence[str]) -> list[str]:
    """``start``: the program that may do as well as the champion; ``several``: how all changes are shown."""
    from analysis.own_share import export_first

    name = resolve.typed(folder)
    first = export_first(start, name, resolve.unused("start.md")) if start else ""
    copy = resolve.unused(f"{folder.name}.zip")
    return [
        *[f"{first}  # the program it started from: may gain as much"] * bool(first),
        *several,
        f"metaloop standings {name} --all",
        f"metaloop report {name}  # all figures and checks",
        f"metaloop share {name} -o {copy}  # a copy for others; export --to: for a tracker",
    ]


def worth_applying(decision: Decision | None) -> bool:
    """Whether ``--apply`` would commit something: the program, or a train.py of the first task, whose gain is above
    zero."""
    if decision is None or decision.holds:
        return decision is not None
    several = decision.tasks and not decision.families
    scripts = [one for one in decision.scripts if not several or one.task == decision.tasks[0].task]
    return any((one.low or 0.0) > 0 for one in scripts)


def surer(folder: Path, config: StudyConfig, decision: Decision | None) -> list[str]:
    """How to train a best train.py again whose gain is not shown to be above zero."""
    best, scripts = folder / "best_train.py", decision.scripts if decision else ()
    if len(scripts) != 1 or (scripts[0].low or 0.0) > 0 or (scripts[0].gain or 0.0) <= 0 or not best.is_file():
        return []
    return [f"metaloop verify {resolve.typed(best)} -t {shlex.quote(config.task)}  # is the best train.py better?"]


def ready_to_apply(
    config: StudyConfig, folder: Path, name: str, better: Program | None = None, worth: bool = True
) -> list[str]:
    """How to use the result: commit an improvement on a branch of the task's repository, if it is ``worth`` that; give
    the program, as prose, to an agent of one's own: the champion, or a program that gained more (``better``). A
    built-in task is copied first, because its train.py is inside Metaloop."""
    from inner_loop.agents.recipe import FOLLOWS, own_agent
    from meta.agent_text import copied_first, copying

    repository = Path(config.task)
    inside = repository.is_dir() and any((parent / ".git").exists() for parent in (repository, *repository.parents))
    apply = [f"metaloop improve --resume {name} --apply"] if config.command == "improve" and inside and worth else []
    if not (folder / "champion.md").is_file():
        return apply
    several, chosen = better.is_set if better else (folder / "champion").is_dir(), ""
    target = "own-prose" if better else "champion-prose"
    if better:
        chosen = f" --program {better.program_id}"
    at = f"{config.task}/" if copying(config.task) else ""
    target = resolve.unused(f"{at}{target}{'.md' * (not several)}")
    prompt = f"Read {'the files in ' * several}{Path(target).name} and follow {'them' if several else 'it'}"
    agent = own_agent(prompt, config.researcher.removeprefix("command:"))
    agent = f"cd {at} && {agent}" if at else agent
    apply += copied_first(config.task)
    return [*apply, f"metaloop export {name} --for agent{chosen} -o {target}", f"{agent}  # {FOLLOWS}"]


def with_outcome(files: dict[str, str], decision: Decision | None) -> dict[str, str]:
    """The files; a champion that is not shown to be better is not shown as the winner."""
    from analysis.decision_text import reference_gained_more

    if decision is None or decision.holds:
        return files
    if decision.night:
        return {"for the next night" if name == "champion" else name: path for name, path in files.items()}
    why = "your program gained more: keep it" if decision.against_own else "stock gained more"
    why = why if reference_gained_more(decision) else "not shown to be better"
    return {f"champion ({why})" if name == "champion" else name: path for name, path in files.items()}


def with_gain(files: dict[str, str], decision: Decision | None, state: StudyState) -> dict[str, str]:
    """The files, the best train.py with its gain and the time of a training where there is one."""
    from analysis.script_text import script_gain
    from analysis.wording import plain_text
    from meta.harvest_page import training_cost

    best = decision.scripts if decision else ()
    if len(best) != 1 or BEST not in files:
        return files
    cost = training_cost(state, best[0].task)
    gain = plain_text(script_gain(best[0], why=False))
    return {**files, BEST: "\n  ".join(filter(None, (files[BEST], f"gains {gain}", cost)))}


def _show(
    out: Output,
    folder: Path,
    verdict: Sequence[str],
    titled: tuple[str, Sequence[Row]],
    files: dict[str, str],
    said: Sequence[str],
) -> None:
    """The result of a study at a terminal: the confirmation's standings, the verdict, what is ``said`` beside, the
    diff, the files."""
    from rich.text import Text

    from analysis.wording import plain_text
    from meta.cli.program import DIFF, with_before
    from meta.cli.standings import present as standings

    title, changes = titled
    if matches := _last_matches(folder, "confirmation"):
        standings(out, folder, matches, verdict_shown=True)
    show_growth(out, folder)
    show_turns(out, folder)
    headline, *sentences = verdict
    out.show(Text(f"\n{headline}", style="bold"))
    for text in filter(None, [". ".join(sentences), *said]):
        out.show(Text(plain_text(text)))
    if len(changes) > MOST_CHANGES:
        out.show(Text(f"{title}: {counted(changes)}"))
    elif changes:
        out.show(Text(f"{title}:"))
        out.rows(with_before(changes), DIFF)
    for name, path in files.items():
        out.text(f"{name}: {path}")
    out.show(Text(f"verdict: {headline}", style="bold"))  # again, as the first may have left the screen


def counted(changes: Sequence[Row]) -> str:
    """``Ideas: 8 added; settings: 1 changed, 1 added``."""
    counts: dict[str, Counter[str]] = {}
    for row in changes:
        counts.setdefault(str(row["heading"]), Counter())[str(row["change"])] += 1
    headed = (("settings" if heading == "charter" else heading, each) for heading, each in counts.items())
    return "; ".join(
        f"{heading}: {', '.join(f'{n} {change}' for change, n in each.items())}" for heading, each in headed
    )


def _print(out: Output, folder: Path, decision: Decision | None, changes: Sequence[Row], title: str) -> None:
    """What follows the keys in piped output: the caveats, the standings, the diff."""
    from analysis.decision_text import caveats
    from analysis.wording import plain_text
    from meta.cli.program import DIFF
    from meta.cli.standings import present as standings

    for caveat in caveats(decision, resolve.typed(folder)) if decision else ():
        out.thing({"note" if caveat.level == "note" else "caveat": plain_text(f"{caveat.title}. {caveat.text}")})
    if matches := _last_matches(folder, "confirmation", "reserve"):
        out.text("\nstandings of the confirmation and of held-out tasks:")
        standings(out, folder, matches, verdict_shown=True)
    show_growth(out, folder)
    show_turns(out, folder)
    if changes:
        out.text(f"\n{title}:")
        out.rows(changes, DIFF)


def _last_matches(folder: Path, *purposes: str) -> list[str]:
    query = "SELECT match_id FROM matches WHERE list_contains($1, purpose) ORDER BY started_at"
    with resolve.connect(folder, [], ["matches"]) as con:
        return [str(row["match_id"]) for row in resolve.fetch(con, query, [list(purposes)])]


def show_growth(out: Output, folder: Path) -> None:
    """The best program of each generation of the search, so that one sees the gain grow."""
    from analysis.wording import plain_number, plain_span

    with resolve.connect(folder, ["standings"]) as con:
        found = resolve.fetch(con, GROWTH)
    if len({row["generation"] for row in found}) < 2:
        return
    several = len({row["task"] for row in found}) > 1
    shown = (
        Column("generation", right=True, show=lambda number: str(number) if number else "opening race"),
        *[Column("task")] * several,
        Column("program", flex=True, style="bold"),
        Column("gain", right=True, style="green", show=plain_number),
        Column("low", person=False),
        Column("high", person=False),
        Column("95%", right=True),
        Column("n", "runs", right=True),
    )
    out.text(f"\n{GROWN}:")
    out.rows([{**row, "95%": plain_span(row["low"], row["high"])} for row in found], shown)


def compared(config: StudyConfig, champion: Path) -> list[str]:
    """The command that shows every change from the user's own program."""
    from meta.apply import PATH

    own = Path(str(config.plan.get(PATH) or ""))
    return [f"metaloop program diff {resolve.typed(own)} {resolve.typed(champion)}"] if own.is_file() else []


def changes_title(config: StudyConfig) -> str:
    """What ``_changes`` compares the champion with."""
    from analysis.decision_text import yours

    own = own_program(config)
    return f"changes from {yours(own.name) if own else 'its parent'}"


def own_program(config: StudyConfig) -> Program | None:
    """The user's own program, in a study of ``improve``."""
    from programs.program import Program

    programs = (Program.parse(text, name) for name, text in config.programs)
    return next((one for one in programs if one.program_id == config.plan.get("origin")), None)


def _changes(folder: Path, config: StudyConfig, champion: str) -> list[Row]:
    """How the champion differs from the program to improve, or else from its first parent."""
    from meta.cli.program import differences
    from programs.program import Program

    with resolve.connect(folder, [], ["programs"]) as con:
        known = {p["program_id"]: p for p in resolve.fetch(con, "SELECT * FROM programs")}
    if champion not in known:
        return []
    origin = config.plan.get("origin") or next(iter(known[champion]["parent_ids"]), None)
    if origin not in known or origin == champion:
        return []
    old, new = (Program.parse(known[i]["text"], known[i]["name"]) for i in (origin, champion))
    return differences(old, new)
