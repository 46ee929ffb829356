"""``metaloop standings``: the gain of each program of a match; two studies, or several nights, side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from analysis.statistics import interval, t_test, welch_difference
from analysis.tables import statement
from analysis.verdict.decision import LEVEL, Decision, decision_of
from analysis.verdict.verdict import VIEWS, Verdict, verdict_of
from analysis.wording import listed, plain_text
from meta.cli import resolve, views
from meta.cli.commands import verb
from meta.cli.flags import AnyStudy
from meta.cli.options import argument, flag
from meta.cli.output import Output, Row
from programs.errors import NotComparable, UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from arena.settings import StudyConfig

SAME = {
    "task_id": "task", "run_budget": "run budget", "unit": "unit", "hardware_class": "hardware",
    "researcher": "researcher", "models": "models",
}  # fmt: skip
HOW = views.View(
    "", "difference: second minus first, 95% interval (Welch). Each study has its own seeds and data, which the "
    "programs that ran in both show.", "on",
)  # fmt: skip
MATCHES = "SELECT match_id, purpose, task FROM matches ORDER BY started_at, match_id"


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
    from arena.contest.settings import MARK, is_export

    folder = resolve.study_folder(study, out)
    if others:
        further = [resolve.study_folder(name, out) for name in others]
        if len(further) == 1 and not (is_night(folder) and is_night(further[0])):
            compare(out, (folder, further[0]))
        else:
            together(out, [folder, *further])
        return
    turns = turns_in([folder])
    if turns and out.mode != "json":
        show_turns(out, turns)
        out.text("")
    if (folder / MARK).is_file():  # first, because the ranks below are not the decision
        where = resolve.shown(folder / "announcement.json")
        where = where if is_export(folder) else f"metaloop contest status {resolve.typed(folder)}"
        out.note(f"a contest is decided by its race, not by these ranks: {where}")
    present(out, folder, None if all else _chosen(folder, match, out), turns=turns)


def present(out: Output, folder: Path, matches: list[str] | None, turns: Sequence[Row] = ()) -> None:
    """Show the standings of these matches (None: all), and below what they show: the verdict, or the difference of the
    two programs of a match. ``turns``: of a night, for its JSON."""
    from arena.contest.listing import labels_by_arm

    how = views.view("standings")
    with resolve.connect(folder, VIEWS) as con:
        played = [
            row["match_id"] for row in resolve.fetch(con, MATCHES) if matches is None or row["match_id"] in matches
        ]
        rows = how.rows(con, [matches, json.dumps(labels_by_arm(folder, played))])
        found = verdict_of(con)
        void = {arm_id for (arm_id,) in con.execute("FROM void_arms()").fetchall()}
    shows = [plain_text(one) for one in found.sentences] if tells(found, [row["match_id"] for row in rows]) else []
    contrast = asdict(found.contrast) if found.contrast else None
    nothing = "no run has ended yet" if found.match_id or found.decision else plain_text(found.sentences[0])
    named = [
        {"program": views.named(row["name"], row["role"]) + " (void)" * (row["arm_id"] in void), **row} for row in rows
    ]
    extra = {"study": resolve.shown(folder), "found": shows, "contrast": contrast} | ({"turns": turns} if turns else {})
    views.show(out, named, how, extra=extra, empty=nothing)
    if out.mode == "person" and shows:
        caveats = [f"{caveat.title}. {caveat.text}" for caveat in found.caveats]
        out.text("\n".join(["", shows[0], *caveats, *shows[1:]]))
    for sentence in shows if out.mode == "plain" else ():
        out.thing({"found": sentence})


def tells(found: Verdict, played: Sequence[str]) -> bool:
    """Whether the verdict is about one of these matches."""
    return found.match_id in played or any(found.decision and found.decision.rests_on(one) for one in played)


def announced(con: DuckDBPyConnection) -> Decision | None:
    """The decision about the last champion; None without a champion, or where its record has no claim."""
    row = con.execute("SELECT details FROM champions ORDER BY named_at DESC LIMIT 1").fetchone()
    event = json.loads(row[0]) if row else {}
    return decision_of(event) if "decision" in event else None


def _chosen(folder: Path, match: str | None, out: Output) -> list[str]:
    """The match with this id prefix, else the one that decides the verdict, else the last one with an ended run; with
    several tasks, one on each."""
    with resolve.connect(folder, []) as con:
        matches, decision = resolve.fetch(con, MATCHES), announced(con)
        ended = "SELECT DISTINCT match_id FROM runs WHERE verified_gain IS NOT NULL"
        played = {row["match_id"] for row in resolve.fetch(con, ended)}
    if match is not None:
        return [resolve.by_prefix(match, [m["match_id"] for m in matches], "match")]
    done = [m for m in matches if m["match_id"] in played]
    last = [m for m in done if decision and decision.rests_on(m["match_id"])]
    if not last:
        # the arms of an ablation are variants of one program: metaloop credit shows their effects
        done = [m for m in done if m["purpose"] != "ablation"] or done
        last = list({m["task"]: m for m in done if m["purpose"] == done[-1]["purpose"]}.values())
    if len(matches) > len(last) > 0:
        out.note(f"the match that decides, or the last, of {len(matches)}; --all shows all of them")
    return [m["match_id"] for m in last]


# -- nights ----------------------------------------------------------------------------------------------------


def is_night(folder: Path) -> bool:
    from arena.settings import StudyConfig

    path = folder / resolve.MARK
    return path.is_file() and bool(StudyConfig.read(path).plan.get("night"))


def turns_in(folders: Sequence[Path]) -> list[Row]:
    """What each program did in these nights; no rows for other studies."""
    rows = list[Row]()
    for folder in folders:
        with resolve.connect(folder, ["contributions"]) as con:
            rows += [{"night": resolve.shown(folder), **row} for row in views.view("turns").rows(con)]
    return rows


def show_turns(out: Output, rows: Sequence[Row], shows: Row | None = None) -> None:
    """Print what each program did in nights, and what that ``shows``."""
    if rows:
        views.show(out, rows, views.view("turns"), extra=shows)
    if shows and out.mode != "json":
        out.thing(shows)


def together(out: Output, folders: Sequence[Path]) -> None:
    """The one test over several nights of the same two programs. Raises UsageError where they have not two in common.

    Nights on other tasks or from the untouched script add to the evidence; those of one lineage hardly do.
    """
    from analysis.effects.contributions import block_test, equal_blocks, seed_sd, turns_of
    from arena.settings import StudyConfig
    from meta.kinds.plan import TURNS

    if len(set(folders)) < len(folders):
        raise UsageError("one night is named twice", hint="name each once")
    configs = {folder: StudyConfig.read(folder / "study.toml") for folder in folders}
    pairs = {tuple(config.plan.get(TURNS, ())[:2]) for config in configs.values()}
    if len(pairs) > 1 or len(next(iter(pairs))) < 2:
        shown = listed(map(resolve.shown, folders), len(folders))
        raise UsageError(f"{shown} are not nights of the same two programs", hint="name one study, or such nights")
    [(first, tested)] = pairs
    nights = []
    for folder in folders:
        with resolve.connect(folder, []) as con:
            turns = turns_of(con)
            nights.append((turns, seed_sd(con, turns[0].run_id) if turns else None))
            names = dict(con.execute("SELECT program_id, name FROM programs").fetchall())
    p = block_test(nights, first, tested) if equal_blocks(nights, first, tested) else None
    known = list(configs.values())
    lineages = len({root(config, known) for config in known})
    if p is None:
        verdict = f"no test of {names[tested]} against {names[first]} was possible: they had as many turns in no block"
    else:
        verdict = f"{names[tested]} is {'' if p < LEVEL else 'not '}shown to be better than {names[first]}"
    show_turns(out, turns_in(folders), {"verdict": verdict, "p": p, "nights": len(nights), "lineages": lineages})


def root(config: StudyConfig, known: Sequence[StudyConfig]) -> str:
    """The id of the first of these nights from which this one goes on."""
    before = {one.study_id: one for one in known}
    while config.from_study and config.start and config.from_study.study_id in before:
        config = before[config.from_study.study_id]
    return config.study_id


# -- two studies -----------------------------------------------------------------------------------------------


def compare(out: Output, folders: tuple[Path, Path]) -> None:
    """The difference of the champions, and of each program that ran in the deciding matches of both studies. Raises
    NotComparable where the studies have no task in common on equal terms."""
    first, second = (resolve.ask(folder, statement("in_both")) for folder in folders)
    pairs = [(one, other) for one in first for other in second if one["task"] == other["task"]]
    why = {words for one, other in pairs for key, words in SAME.items() if one[key] != other[key]}
    alike = [(one, other) for one, other in pairs if all(one[key] == other[key] for key in SAME)]
    if not alike:
        reason = f"their {' and '.join(sorted(why))} differ" if why else "they have no task with results in common"
        raise NotComparable(f"{' and '.join(map(resolve.shown, folders))} cannot be compared: {reason}")
    champions = [compared(*pair, "champions: ") for pair in alike if pair[0]["is_champion"] and pair[1]["is_champion"]]
    same = [compared(*pair) for pair in alike if pair[0]["program_id"] == pair[1]["program_id"]]
    extra = {"studies": [*map(resolve.shown, folders)]}
    views.show(out, [*champions, *same], HOW, extra=extra, empty="no program ran in both, and one has no champion")


def compared(one: dict[str, Any], other: dict[str, Any], what: str = "") -> dict[str, object]:
    difference, se, df = welch_difference(other["gains"], one["gains"])
    low, high = interval(difference or 0.0, se, df)
    first, second = (sum(each["gains"]) / len(each["gains"]) for each in (one, other))
    named = f"{what}{one['name']} / {other['name']}" if what else one["name"]
    return {
        "on": f"gain on {one['task']}, in {one['unit']}", "task": one["task"], "program": named, "first": first,
        "second": second, "difference": difference, "low": low, "high": high, "p": t_test(difference or 0.0, se, df),
        "runs": f"{len(one['gains'])} / {len(other['gains'])}",
    }  # fmt: skip
