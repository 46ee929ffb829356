"""``metaloop standings``: the gain of each program of a match; two studies, or several nights, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import duckdb

from analysis.effects.contributions import block_test, equal_blocks, seed_sd, turns_of
from analysis.effects.league import league_test, scored_turns
from analysis.statistics import welch_difference
from analysis.verdict.decision import LEVEL, Decision
from analysis.verdict.verdict import VIEWS, verdict_of
from analysis.views.tables import statement
from analysis.wording import plain_text
from arena.contest.listing import name_entries
from arena.contest.settings import is_export
from arena.study.settings import StudyConfig
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import argument, flag
from meta.cli.output import Output, Row
from meta.kinds.plans import AblationPlan, MatchPlan, NightPlan, Plan, stored_plan
from programs.common.errors import Imported, NotComparable, NotFound, UsageError
from programs.common.text import listed

SAME = {
    "task_id": "task", "run_budget": "run budget", "unit": "unit", "hardware_class": "hardware",
    "researcher": "researcher", "models": "models",
}  # fmt: skip
DIFFERENCES = views.View(
    "", "difference: second minus first, 95% interval (Welch). Each study has its own seeds and data, which the "
    "programs that ran in both show.", "on",
)  # fmt: skip
MATCHES = """
SELECT match_id, purpose, task, match_id IN (SELECT match_id FROM runs WHERE verified_gain IS NOT NULL) AS has_gains
FROM matches ORDER BY started_at, match_id
"""


@verb(
    ("metaloop standings studies/NAME --all", "every match, oldest first"),
    ("metaloop standings studies/A studies/B", "do the programs gain more in one of two studies"),
    ("metaloop standings studies/NIGHT-1 studies/NIGHT-2", "which of two programs is better, over nights"),
)
def standings(
    out: Output,
    study: AnyStudy,
    others: Annotated[tuple[str, ...], argument(metavar="[STUDY]...", nargs=-1)],
    match: Annotated[str | None, flag("This match  [default: the deciding one, else the last].", metavar="ID")],
    all: Annotated[bool, flag("Every match of the study.")],
) -> None:
    """Show the measured gain of each program in a match, with its 95% interval, and what that shows.

    For one night, this prints what each program did in its turns. For several nights, it also prints the pooled test.
    For two other studies, it prints the difference of their champions and of each program that ran in both."""
    folder, *further = [resolve.study_folder(name, out) for name in (study, *others)]
    if not further:
        show_standings(out, folder, match, every=all)
    elif len(further) > 1 or (programs_in_turn(folder) and programs_in_turn(further[0])):
        compare_nights(out, [folder, *further])
    else:
        compare_studies(out, folder, further[0])


# -- one study -------------------------------------------------------------------------------------------------


def show_standings(out: Output, folder: Path, match: str | None = None, *, every: bool = False) -> None:
    """Show the standings of one match (``match``: its id or the start of it; default: the deciding one, else the last),
    or of ``every`` one. Below: the verdict, or the difference of the two programs of a match. Above: a night's turns.
    """
    view, of_turns = views.view("standings"), view_of_turns(folder)
    computed = {"turns": ["contributions"], "league": ["league"]}
    with resolve.connect(folder, (*VIEWS, *computed.get(of_turns, []))) as con:
        name_entries(con, folder)
        turns = read_turns(con, folder, of_turns)
        test = league_test(scored_turns(con)) if of_turns == "league" else None
        verdict = verdict_of(con)
        matches = resolve.fetch(con, MATCHES)
        ids = [row["match_id"] for row in (matches if every else choose_matches(matches, match, verdict.decision))]
        rows = view.rows(con, [ids])
        void = {arm_id for (arm_id,) in con.execute("FROM void_arms()").fetchall()}
    if turns and out.mode != "json":
        views.show(out, turns, views.view(of_turns))
        out.text("")
    if test and out.mode != "json":
        out.thing(asdict(test))
    if (folder / resolve.CONTEST).is_file():  # first, because the ranks below are not the decision
        result = f"metaloop contest status {resolve.typed(folder)}"
        result = resolve.shown(folder / "announcement.json") if is_export(folder) else result
        out.note(f"a contest is decided by its race, not by these ranks: {result}")
    if match is None and len(matches) > len(ids) > 0:
        out.note(f"the match that decides, or the last, of {len(matches)}; --all shows all of them")
    rows = [
        {"program": views.named(row["name"], row["role"]) + (" (void)" if row["arm_id"] in void else ""), **row}
        for row in rows
    ]
    with_rows, decision = {row["match_id"] for row in rows}, verdict.decision
    is_about = verdict.match_id in with_rows or (decision is not None and any(map(decision.rests_on, with_rows)))
    sentences = list(map(plain_text, verdict.sentences)) if is_about else []
    contrast = None
    if verdict.contrast:
        lead = verdict.contrast.lead
        limits = {"difference": lead.value, "low": lead.low, "high": lead.high, "p": lead.p()}
        contrast = {**asdict(verdict.contrast), **limits}
    extra: dict[str, object] = {"study": resolve.shown(folder), "found": sentences, "contrast": contrast}
    if turns:
        extra["turns"] = turns
    if test:
        extra["league"] = asdict(test)
    nothing = "no run has ended yet" if verdict.match_id or verdict.decision else plain_text(verdict.sentences[0])
    views.show(out, rows, view, extra=extra, empty=nothing)
    if out.mode == "person" and sentences:
        caveats = [f"{caveat.title}. {caveat.text}" for caveat in verdict.caveats]
        out.text("\n".join(["", sentences[0], *caveats, *sentences[1:]]))
    for sentence in sentences if out.mode == "plain" else ():
        out.thing({"found": sentence})


def choose_matches(matches: list[dict[str, Any]], match: str | None, decision: Decision | None) -> list[dict[str, Any]]:
    """The match with this id prefix, else the one that decides the verdict, else the last one with an ended run; with
    several tasks, one on each."""
    if match is not None:
        chosen = resolve.by_prefix(match, [row["match_id"] for row in matches], "match")
        return [row for row in matches if row["match_id"] == chosen]
    ended = [row for row in matches if row["has_gains"]]
    if decision and (deciding := [row for row in ended if decision.rests_on(row["match_id"])]):
        return deciding
    # the arms of an ablation are variants of one program: metaloop credit shows their effects
    ended = [row for row in ended if row["purpose"] != "ablation"] or ended
    return list({row["task"]: row for row in ended if row["purpose"] == ended[-1]["purpose"]}.values())


# -- nights ----------------------------------------------------------------------------------------------------


def plan_in(folder: Path) -> Plan | None:
    """The plan of a study; None where it has none, as an export and an import."""
    try:
        config = StudyConfig.read(folder / resolve.MARK)
    except (NotFound, Imported):
        return None
    return stored_plan(config.kind, config.plan)


def programs_in_turn(folder: Path) -> list[str]:
    """The ids of the programs that take turns in a night, the user's first; empty for another study."""
    plan = plan_in(folder)
    return plan.turns if isinstance(plan, NightPlan) else []


def view_of_turns(folder: Path) -> str:
    """The view that has what each program did in its turns; empty where the programs are variants of one."""
    plan = plan_in(folder)
    if isinstance(plan, AblationPlan):
        return ""
    return "league" if isinstance(plan, MatchPlan) and plan.turns else "turns"


def read_turns(con: duckdb.DuckDBPyConnection, folder: Path, view: str = "turns") -> list[Row]:
    """What each program did in its turns; no rows for another study."""
    return [{"night": resolve.shown(folder), **row} for row in views.view(view).rows(con)] if view else []


def compare_nights(out: Output, folders: Sequence[Path]) -> None:
    """The one test over several nights of the same two programs. Raises UsageError unless all are such nights."""
    if len(set(folders)) < len(folders):
        raise UsageError("one night is named twice", hint="name each once")
    pairs = {tuple(programs_in_turn(folder)[:2]) for folder in folders}
    if pairs == {()} or len(pairs) > 1:
        studies = listed(map(resolve.shown, folders), len(folders))
        raise UsageError(f"{studies} are not nights of the same two programs", hint="name one study, or such nights")
    [(reference, tested)] = pairs
    nights, rows, names = [], list[Row](), dict[str, str]()
    for folder in folders:
        with resolve.connect(folder, ["contributions"]) as con:
            rows += read_turns(con, folder)
            turns = turns_of(con)
            nights.append((turns, seed_sd(con, turns[0].run_id) if turns else None))
            names |= dict(con.execute("SELECT program_id, name FROM programs").fetchall())
    p = block_test(nights, reference, tested) if equal_blocks(nights, reference, tested) else None
    if p is None:
        compared = f"{names[tested]} against {names[reference]}"
        verdict = f"no test of {compared} was possible: they had as many turns in no block"
    else:
        verdict = f"{names[tested]} is {'' if p < LEVEL else 'not '}shown to be better than {names[reference]}"
    result = {"verdict": verdict, "p": p, "nights": len(nights)}
    views.show(out, rows, views.view("turns"), extra=result)
    if out.mode != "json":
        out.thing(result)


# -- two studies -----------------------------------------------------------------------------------------------


def compare_studies(out: Output, first: Path, second: Path) -> None:
    """The difference of the champions, and of each program that ran in the deciding matches of both studies. Raises
    NotComparable where the studies have no task in common on equal terms."""
    old, new = (resolve.ask(folder, statement("verdict/comparable_runs")) for folder in (first, second))
    pairs = [(old_row, other) for old_row in old for other in new if old_row["task"] == other["task"]]
    differ = {words for old_row, other in pairs for key, words in SAME.items() if old_row[key] != other[key]}
    alike = [(old_row, other) for old_row, other in pairs if all(old_row[key] == other[key] for key in SAME)]
    studies = [resolve.shown(first), resolve.shown(second)]
    if not alike:
        why = f"their {' and '.join(sorted(differ))} differ" if differ else "they have no task with results in common"
        raise NotComparable(f"{' and '.join(studies)} cannot be compared: {why}")
    champions = [
        difference_row(old_row, other, f"champions: {old_row['name']} / {other['name']}")
        for old_row, other in alike
        if old_row["is_champion"] and other["is_champion"]
    ]
    same = [
        difference_row(old_row, other, old_row["name"])
        for old_row, other in alike
        if old_row["program_id"] == other["program_id"]
    ]
    empty = "no program ran in both, and one has no champion"
    views.show(out, [*champions, *same], DIFFERENCES, extra={"studies": studies}, empty=empty)


def difference_row(first: dict[str, Any], second: dict[str, Any], program: str) -> dict[str, object]:
    """The gains of two programs on a task (rows of `in_both`), the second minus the first."""
    old, new = first["gains"], second["gains"]
    difference = welch_difference(new, old)
    return {
        "on": f"gain on {first['task']}, in {first['unit']}", "task": first["task"], "program": program,
        "first": sum(old) / len(old), "second": sum(new) / len(new), "difference": difference.value,
        "low": difference.low, "high": difference.high,
        "p": difference.p(), "runs": f"{len(old)} / {len(new)}",
    }  # fmt: skip
