"""``metaloop standings``: the ranking of a match with ties, intervals and claimed gains."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from analysis.statistics import mean_together
from analysis.verdict.contrast import Arms
from analysis.verdict.decision import Decision, decision_of
from analysis.verdict.verdict import VIEWS, Verdict, verdict_of
from analysis.wording import decimals, plain_number, plain_span, plain_text, typical
from meta.cli import render, resolve, spend, trust
from meta.cli.flags import AnyStudy
from meta.cli.nights import is_night, show_turns, together
from meta.cli.options import argument, duration, flag, verb
from meta.cli.output import Column, Output, columns, table
from meta.cli.standings_text import StandingLine, leading, name_of, remarks
from meta.cli.two_studies import compare
from meta.live_rows import match_title

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from meta.cli.output import Row

Models = dict[tuple[str, str], spend.ModelUsage]  # by match and arm

PLAIN = columns("""
    match_id rank_low rank_high name role gain low high se n claimed words trust task stream device_seconds_charged
    program_id arm_id
""")
QUERY = """
SELECT s.*, m.started_at, m.generation, m.unit, m.label FROM standings AS s JOIN matches AS m USING (match_id)
WHERE $1 IS NULL OR list_contains($1, s.match_id)
ORDER BY m.started_at, s.match_id, s.gain IS NULL, s.gain DESC, s.arm_id
"""
CALLS = """
SELECT r.match_id, r.arm_id, c.run_id, c.number, c.purpose, c.status, c.tokens, c.lost_tokens, c.usd
FROM calls AS c JOIN runs AS r USING (run_id) WHERE $1 IS NULL OR list_contains($1, r.match_id)
"""
MATCHES = "SELECT match_id, purpose, generation, stream, task FROM matches ORDER BY started_at, match_id"
OTHERS = 68  # characters that the other columns take of a line
PLOT_LEAST, PLOT_MOST = 12, 40
WIDE = 96  # characters from which a table has all its columns


class ArmCall(spend.ModelCallRow):
    match_id: str
    arm_id: str


@verb(
    ("metaloop standings studies/NAME --all", "every match, oldest first"),
    ("metaloop standings studies/A studies/B", "do the programs gain more in one of two studies"),
    ("metaloop standings studies/NIGHT-1 studies/NIGHT-2", "which of two programs is better, over nights"),
)
def standings(
    out: Output,
    study: AnyStudy,
    nights: Annotated[tuple[str, ...], argument(metavar="[STUDY]...", nargs=-1)],
    match: Annotated[str | None, flag("This match  [default: the deciding one, else the last].", metavar="ID")],
    all: Annotated[bool, flag("Every match of the study.")],
) -> None:
    """Show the measured gain of each program in a match, with its 95% interval. The match that
    decides the verdict has one planned test, so it shows no ranks. In other matches
    (--match, --all), each program has a range of ranks. The range begins after the programs
    that are significantly better: a program whose range begins at 1 may be the best. The
    gains that the runs claimed themselves are not used for ranking.

    Of a night, shows what each program did in its turns; of several, also what they show together. Of two other
    studies, shows the difference of their champions and of each program that ran in both."""
    from arena.contest.settings import MARK, ContestConfig, is_export

    folder = resolve.study_folder(study, out)
    if nights:
        further = [resolve.study_folder(name, out) for name in nights]
        if len(further) == 1 and not (is_night(folder) and is_night(further[0])):
            compare(out, (folder, further[0]))
        else:
            together(out, [folder, *further])
        return
    show_turns(out, folder)
    if (folder / MARK).is_file():  # first, because ranks and intervals below are others than those of the decision
        where = f"metaloop contest status {resolve.typed(folder)}"
        if is_export(folder):
            where = resolve.shown(folder / "announcement.json")
        looks = len(ContestConfig.read(folder).looks)
        wider = " The intervals of the race are wider, because they allow for each look at its results."
        out.note(
            f"a contest is decided by its race, not by these ranks: {where}."
            f"{wider if looks > 1 else ''} The ranks compare all pairs of rows, stock's included"
        )
    present(out, folder, None if all else _chosen(folder, match, out))


def present(out: Output, folder: Path, matches: list[str] | None, others: Sequence[Arms] = ()) -> None:
    """Show the standings of these matches (None: all), and below what they show: the verdict, or the difference of the
    two programs of a match. ``others``: runs of the two in earlier studies."""
    from rich.text import Text

    from arena.contest.listing import labels_by_arm

    with resolve.connect(folder, VIEWS) as con:
        rows = resolve.fetch_as(con, StandingLine, QUERY, [matches])
        (ended,) = resolve.fetch(con, "SELECT count(*) FILTER (state = 'imported') AS imported FROM runs")
        models = _models(resolve.fetch_as(con, ArmCall, CALLS, [matches]))
        said = {
            match: trust.lines(con, resolve.shown(folder), trust.IN_MATCH, trust.OF_MATCH, [match])
            for match in dict.fromkeys(row["match_id"] for row in rows)
        }
        found = verdict_of(con, others)
    decision = found.decision
    played = list(dict.fromkeys(row["match_id"] for row in rows))
    entries = labels_by_arm(folder, played)
    every = [named_by_entry(row, entries.get(row["arm_id"])) for row in rows]
    rows = [row for match_id in played for row in every if row["match_id"] == match_id]
    nothing = "imported runs have claims only, no verified gains" if ended["imported"] else "no run has ended yet"
    if out.mode != "person":
        no_ranks = unranked(rows)
        rows = [{**row, "rank_low": None, "rank_high": None} if row["match_id"] in no_ranks else row for row in rows]
        with_models = [{**row, "token_utilization": _used(models, row)} for row in rows]
        columns = (*PLAIN, *spend.PLAIN) if models else PLAIN
        shows = [plain_text(one) for one in found.sentences] if tells(found, played) else []
        extra = {
            "study": resolve.shown(folder),
            "found": shows,
            "contrast": asdict(found.contrast) if found.contrast else None,
        }
        out.rows(with_models if models else rows, columns, extra=extra, empty=nothing)
        for sentence in shows if out.mode == "plain" else ():
            out.thing({"found": sentence})
        return
    if not rows:
        out.note(f"{nothing}: metaloop {'log' if ended['imported'] else 'status'}")
    for match_id in played:
        if match_id != played[0]:
            out.show(Text())
        of_match = [row for row in rows if row["match_id"] == match_id]
        made_from = decision if decision and decision.rests_on(match_id) else None
        show_match(out, of_match, said[match_id], models, made_from)
    if tells(found, played):
        out.show(Text("\n" + plain_text(" ".join(found.sentences))))
        for caveat in found.caveats:
            out.show(Text(plain_text(f"{caveat.title}. {caveat.text}"), style="dim"))


def tells(found: Verdict, played: Sequence[str]) -> bool:
    """Whether the verdict is about one of these matches."""
    return found.match_id in played or any(found.decision and found.decision.rests_on(one) for one in played)


def named_by_entry(row: StandingLine, label: str | None) -> StandingLine:
    """The row under the name that a contest's pages use; ``label`` is None in other studies."""
    return row if label is None else {**row, "name": label}


def unranked(rows: Sequence[StandingLine]) -> set[str]:
    """The matches with a champion: ranks test all pairs, and these have one planned test, or none, also before the
    verdict is made."""
    return {row["match_id"] for row in rows if row["role"] == "champion"}


def announced(con: DuckDBPyConnection) -> Decision | None:
    """The decision about the last champion; None without a champion, or where its record has no claim."""
    row = con.execute("SELECT details FROM champions ORDER BY named_at DESC LIMIT 1").fetchone()
    event = json.loads(row[0]) if row else {}
    return decision_of(event) if "decision" in event else None


def show_match(
    out: Output,
    rows: Sequence[StandingLine],
    said: Sequence[str],
    models: Models,
    decision: Decision | None = None,
) -> None:
    """Show one match at a terminal: title, table with drawn intervals, model usage if any, and remarks.

    ``said``: lines on trust and findings; ``decision``: made from this match.
    """
    from rich.text import Text

    first = rows[0]
    held_out = first["purpose"] == "reserve"
    names = {"reserve": "match", "race": match_title(first.get("label"), None)}
    purpose = names.get(first["purpose"] or "match", first["purpose"] or "match")
    number = "" if not first["generation"] else f" {first['generation']}"
    generation = f", generation{number}" if number and purpose != "generation" else number
    trusts = [trust for trust in dict.fromkeys(row["trust"] for row in rows) if trust]
    state = "".join(f", {trust}" for trust in trusts)  # a narrow terminal drops the column `state`
    on = "" if first["stream"] == first["purpose"] else f", {first['stream']} data"
    unit = f"; gain in {first['unit']}" if first.get("unit") else ""
    decides = ", decides the verdict" if decision else ""
    title = f"{purpose}{generation} on {'held-out task ' * held_out}{first['task']}{on}{state}{decides}{unit}"
    out.show(Text(f"{title}   {resolve.short(first['match_id'])}", style="bold"))
    lead = leading(rows)
    open_ = decision is None and not unranked(rows)
    if open_ and lead:
        out.show(Text(lead))
    width = out.console.width
    ranked = open_ and any((row["rank_low"] or 1) > 1 for row in rows)  # else every program could have any rank
    digits = decision.digits if decision and not decision.tasks else decimals(typical(r["se"] for r in rows))
    shown = rows if open_ else [*rows, *both_arms(rows)]
    out.show(table(*_table(shown, width, digits, ranked), width))
    called = [row for row in rows if (row["match_id"], row["arm_id"]) in models]
    if called:
        took = [_took(row, models) for row in called]
        out.show(table(took, spend.COLUMNS, width))
    for line in [*said, *remarks(rows)]:
        out.show(Text(line, style="dim"))


def both_arms(rows: Sequence[StandingLine]) -> list[StandingLine]:
    """Stock's two arms as one row, which the announced test uses."""
    twin = next((row for row in rows if row["role"] == "a/a"), None)
    own = [row for row in rows if twin and row["program_id"] == twin["program_id"]]
    if twin is None or len(own) < 2:
        return []
    mean = mean_together((row["gain"], row["se"], row["n"]) for row in own)
    both = {**twin, "role": "both arms", "n": mean.n, "gain": mean.mean, "se": mean.se, "low": mean.low}
    return [cast("StandingLine", both | {"high": mean.high, "claimed": None, "device_seconds_charged": None})]


def _table(
    rows: Sequence[StandingLine], width: int, digits: int, ranked: bool = True
) -> tuple[list[Row], list[Column]]:
    """Rows and columns of one match, with drawn intervals, for a table of ``width`` characters."""
    plot = min(max(width - OTHERS, PLOT_LEAST), PLOT_MOST)
    axis = render.Axis.of_intervals([(r["low"], r["gain"], r["high"]) for r in rows], plot)
    columns = [
        *([Column("rank", right=True)] if ranked else []),
        Column("program", flex=True, style="bold"),
        Column("gain", right=True, style="green"),
        Column("95%", "95%, between\nruns", right=True),
        Column("plot", title=axis.header()),
        Column("claimed", "claimed\ngain", right=True, style="dim"),
        Column("n", "runs", right=True),
        Column("state", optional=True),
        Column("words", right=True, optional=True),
        Column("spent", right=True, optional=True, show=duration),
    ]
    if width < WIDE:  # the title and the last remark have the same information
        columns = [column for column in columns if not column.optional]
    return [_row(r, axis, digits) for r in rows], columns


def _models(calls: Sequence[ArmCall]) -> Models:
    """The model usage of each arm."""
    usage: Models = defaultdict(spend.ModelUsage)
    for call in calls:
        usage[call["match_id"], call["arm_id"]].take(call)
    return dict(usage)


def _used(models: Models, row: StandingLine) -> float | None:
    took = models.get((row["match_id"], row["arm_id"]))
    return took.used if took else None


def _took(row: StandingLine, models: Models) -> Row:
    """An arm's row in the table of model usage; ``device`` is a share of time, ``answers`` a share of tokens."""
    took = models[row["match_id"], row["arm_id"]]
    return {
        "program": name_of(row),
        "calls": took.calls,
        "tokens": spend.tokens(took.tokens),
        "dollars": spend.dollars(took.usd),
        "device": spend.share(row.get("utilization")),
        "answers": spend.share(took.used),
    }


def _row(r: StandingLine, axis: render.Axis, digits: int) -> Row:
    return {
        "rank": rank_text(r["rank_low"], r["rank_high"]),
        "program": name_of(r),
        "gain": plain_number(r["gain"], digits),
        "95%": plain_span(r["low"], r["high"], digits),
        "plot": axis.interval(r["low"], r["gain"], r["high"]),
        "claimed": plain_number(r["claimed"], digits),
        "n": str(r["n"]),
        "words": r["words"],
        "state": r["trust"] or "-",
        "spent": r["device_seconds_charged"],
    }


def rank_text(low: int | None, high: int | None) -> str:
    if low is None or high is None:
        return "-"
    return str(low) if low == high else f"{low}-{high}"


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
    if decision and (deciding := [m for m in done if decision.rests_on(m["match_id"])]):
        every = f"; --all shows all {len(matches)} matches" if len(matches) > len(deciding) else ""
        out.note(f"the {deciding[-1]['purpose']}, which decides the verdict{every}")
        return [m["match_id"] for m in deciding]
    # the arms of an ablation are variants of one program: metaloop credit shows their effects
    done = [m for m in done if m["purpose"] != "ablation"] or done
    last = {m["task"]: m["match_id"] for m in done if m["purpose"] == done[-1]["purpose"]}
    if len(matches) > 1:
        which = "the last match on each task, of" if len(last) > 1 else "the last of"
        out.note(f"{which} {len(matches)} matches; --all shows all of them")
    return list(last.values())
