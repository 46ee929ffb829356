"""Part 2: the standings: a dot and an interval per arm, those that no other beats shaded, claims as hollow dots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from analysis.constraint_values import ConstraintValues
from analysis.report.facts import fresh_of, stages
from analysis.report.model import Point, ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.rows import StandingRow, both_arms
from analysis.report.source import QueryResult
from analysis.report.verdict import decided
from analysis.standings import UNDECIDED
from analysis.transfer import BOTH
from analysis.trust import shared_gain_name
from analysis.verdict.decision import Decision
from analysis.wording import count, decimals, duration, many, number, ranks, role_name, short, span, typical
from trainer.cards import freshness

TITLES = {
    "race": "the opening race",
    "confirmation": "the confirmation: champion and controls on fresh seeds",
    "generation": "generation",
    "reserve": "held-out task: champion and controls",
}
MEANING = {
    "champion": "champion, {gain} with its 95% interval between runs",
    "program": "program, {gain} with its 95% interval between runs",
    "control": "control: stock, stock (A/A) or one-line",
    "without": "the champion without its ideas",
}
MARKS = {
    "champion": "champion",
    "control": "control",
    "a/a": "control",
    BOTH: "control",
    "one-line": "control",
    "without-ideas": "without",
}


def section(facts: ReportFacts) -> ReportSection | None:
    if facts.deciding.purpose == "night":
        return None  # its one run is that of all programs
    order = _order(facts)
    rows = [row for row in facts.standings.rows if row.match_id in order]
    grouped = sorted(stages(rows), key=lambda ids: facts.deciding.match_id not in ids)
    limits = facts.source.ask("constraints", ConstraintValues, matches=order)
    figures = tuple(figure(facts, ids[0], limits) if len(ids) == 1 else stage(facts, ids) for ids in grouped)
    lead = (
        f"The {facts.gain_name} of a run is the improvement of its final script over the untouched script, "
        f"{freshness.AGAIN[fresh_of(facts)]}. Further right is better."
    )
    if any(figure.data.get("ranked") for figure in figures):
        lead += (
            " Shaded programs are not shown to be worse than any other (Welch's t tests of all pairs, by Holm, "
            "5% per match); with few runs, this says little."
        )
    shown = [row for row in facts.matches.rows if row.ended and row.purpose != "ablation"]
    left = len(shown) - len(order)
    note = f"{many(left, 'earlier match')} not shown: see metaloop standings --all."
    more = {"note": note} if left > 0 else {}
    if not figures:
        lead = (
            "No match has a final script that was trained again."
            if not facts.board
            else "An ablation has no standings: it runs variants of one program, each once or twice."
        )
    return ReportSection("standings", "Standings", lead, figures, more=more)


def figure(facts: ReportFacts, match_id: str, limits: QueryResult[ConstraintValues]) -> ReportFigure:
    arms = [row for row in facts.of_match(match_id) if row.gain is not None]
    digits, unit = decimals(typical(row.se for row in arms)), arms[0].unit or facts.unit
    if (decision := behind(facts, arms)) is not None and not decision.tasks:
        digits = decision.digits
    reached = [one for one in limits.rows if one.match_id == match_id]
    ranked = is_ranked(facts, arms)
    both = both_arms(arms) if is_decided(facts, arms) else None
    drawn = arms
    if both is not None:  # as the announced test has it; the table has the two arms, too
        alone = [row for row in arms if row.program_id != both.program_id]
        drawn = sorted([*alone, replace(both, role="control")], key=lambda row: -(row.gain or 0.0))
    return ReportFigure(
        name=f"standings-{short(match_id, 13)}",
        kind="standings",
        title=f"{title(arms[0], facts)}{on_task(arms[0], facts)}, in {unit}",
        caption=caption(facts, arms),
        data={
            "unit": unit,
            "digits": digits,
            "rows": [point(row, ranked) for row in drawn],
            "ranked": ranked,
            "gain": shared_gain_name(row.trust for row in arms),
        },
        table=table(arms, digits, unit, reached=reached, ranked=ranked, both=both),
        answers=(facts.standings, *([limits] if reached else [])),
        legend=legend(arms, ranked),
        open=match_id == facts.deciding.match_id,
    )


def stage(facts: ReportFacts, match_ids: Sequence[str]) -> ReportFigure:
    """All matches of a stage that was run on many tasks, as one table."""
    known = [row for row in facts.standings.rows if row.match_id in match_ids and row.gain is not None]
    rows = sorted(known, key=lambda row: row.task or "")  # stable: best first on each task
    digits = decimals(typical(row.se for row in rows))
    return ReportFigure(
        name=f"standings-{short(match_ids[0], 13)}",
        kind="none",
        title=f"{title(rows[0], facts)}, on {len(match_ids)} tasks",
        caption="One match per task. The verdict and the part Several tasks have the figures over all of them.",
        data={},
        table=table(rows, digits, rows[0].unit or facts.unit, tasks=True, ranked=is_ranked(facts, rows)),
        answers=(facts.standings,),
    )


def behind(facts: ReportFacts, arms: Sequence[StandingRow]) -> Decision | None:
    """The decision, where it was made from the match of these arms."""
    decision = decided(facts)
    if decision is None:
        return None
    return decision if decision.rests_on(arms[0].match_id) else None


def is_ranked(facts: ReportFacts, arms: Sequence[StandingRow]) -> bool:
    """Whether the ranks of a match are shown. Where no pair differs, every program could have any rank."""
    return compares_all(facts, arms) and any((row.rank_low or 1) > 1 for row in arms)


def compares_all(facts: ReportFacts, arms: Sequence[StandingRow]) -> bool:
    """Whether the tests of all pairs are shown. A match with a champion has one planned test, or none on a held-out
    task, also before the verdict is made."""
    return not is_decided(facts, arms) and all(row.role != "champion" for row in arms)


def is_decided(facts: ReportFacts, arms: Sequence[StandingRow]) -> bool:
    return behind(facts, arms) is not None or (arms[0].purpose == "reserve" and decided(facts) is not None)


def caption(facts: ReportFacts, arms: Sequence[StandingRow]) -> str:
    sentences: list[str] = []
    if compares_all(facts, arms) and not is_ranked(facts, arms) and len(arms) > 1:
        sentences.append(UNDECIDED)
    ties = [row.rank_low == 1 for row in arms] if is_ranked(facts, arms) else []
    if behind(facts, arms) is not None:
        sentences.append("The verdict comes from one planned test; ranks of all pairs are not shown.")
    if ties != sorted(ties, reverse=True):
        sentences.append("A program with few or noisy runs can be shaded although one with a higher mean is not.")
    return " ".join(sentences)


def point(row: StandingRow, ranked: bool = True) -> Point:
    """The data of an arm in the chart."""
    figures: Point = {"gain": row.gain, "low": row.low, "high": row.high, "claimed": row.claimed, "n": row.n}
    shown = ranks(row.rank_low, row.rank_high) if ranked else ""
    who: Point = {"role": row.role, "id": row.arm_id, "name": row.display_name}
    return {**figures, **who, "ranks": shown, "tie": ranked and row.rank_low == 1}


def _limit(name: str, reached: Sequence[ConstraintValues]) -> tuple[str, Callable[[StandingRow], str]]:
    """A column with what each arm's final sources reach of a constraint, its limit in the title."""
    values = {one.arm_id: one for one in reached if one.name == name}
    limit = next(iter(values.values())).limit
    return f"{name}: {limit}", lambda row: values[row.arm_id].average if row.arm_id in values else ""


def table(
    rows: Sequence[StandingRow],
    digits: int,
    unit: str,
    tasks: bool = False,
    reached: Sequence[ConstraintValues] = (),
    ranked: bool = True,
    both: StandingRow | None = None,
) -> ReportTable:
    """``tasks``: with a column of tasks, whose units may differ; ``both``: stock's two arms together."""
    rank = {"rank": lambda row: ranks(row.rank_low, row.rank_high)} if ranked else {}
    task = {"task": lambda row: row.task or "", "unit": lambda row: row.unit or ""} if tasks else {}
    return ReportTable.of(
        [*rows, *([both] if both else [])],
        {
            **task,
            **rank,
            "program": lambda row: row.program,
            ">gain" if tasks else f">gain, {unit}": lambda row: number(row.gain, digits),
            "95%, between runs": lambda row: span(row.low, row.high, digits),
            **dict(_limit(name, reached) for name in dict.fromkeys(one.name for one in reached)),
            ">claimed gain": lambda row: number(row.claimed, digits),
            ">runs": lambda row: count(row.n),
            "role": lambda row: role_name(row.role),
            ">words": lambda row: count(row.words),
            ">device time": lambda row: duration(row.device_seconds_charged),
            "trust": lambda row: row.trust or "unknown",
        },
    )


def legend(rows: Sequence[StandingRow], ranked: bool = True) -> tuple[tuple[str, str], ...]:
    """The marks in this chart and their meaning."""
    there, name = {MARKS.get(row.role or "", "program") for row in rows}, shared_gain_name(row.trust for row in rows)
    tied = sum(row.rank_low == 1 for row in rows)
    claimed = (
        [("claimed", "the runs' own claim (not used for ranking)")]
        if any(row.claimed is not None for row in rows)
        else []
    )
    leader = "leader, significantly better than all others"
    return (
        *((mark, meaning.format(gain=name)) for mark, meaning in MEANING.items() if mark in there),
        *claimed,
        *([("tie", "not shown to be worse than another" if tied > 1 else leader)] if ranked else []),
    )


def title(row: StandingRow, facts: ReportFacts) -> str:
    known = TITLES.get(row.purpose or "", row.label or "match")
    if row.purpose == "race" and facts.config.get("command") == "match":
        known = "the race" if "batch" in (facts.config.get("plan") or {}) else "the match"
    text = f"{known} {row.generation}" if row.purpose == "generation" else known
    return text[:1].upper() + text[1:]


def on_task(row: StandingRow, facts: ReportFacts) -> str:
    """`` on TASK`` if the matches are on several tasks."""
    return f" on {row.task}" if len({other.task for other in facts.standings.rows}) > 1 else ""


def _order(facts: ReportFacts) -> list[str]:
    """The deciding match, then the others, the latest first; without ablations, whose arms are variants."""
    races = [row for row in facts.standings.rows if row.gain is not None and row.purpose != "ablation"]
    match_ids = dict.fromkeys(row.match_id for row in races)
    first = facts.deciding.match_id
    return sorted(match_ids, key=lambda match_id: match_id != first)
