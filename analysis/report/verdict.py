"""Part 1: the verdict in a sentence, with its interval and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from analysis import decision_text
from analysis.decision import Decision, decision_of
from analysis.over_reserved import over_reserved
from analysis.report.facts import known_task
from analysis.report.model import Facts, Section
from analysis.report.rows import ChampionRow, EffectRow, RunRow, StandingRow
from analysis.statistics import Ratio
from analysis.trust import marked, weakest
from analysis.wording import (
    at_least,
    brief,
    count,
    decimals,
    duration,
    interval_decimals,
    listed,
    many,
    money,
    number,
    p_text,
    percent,
    span,
)
from trainer import freshness

if TYPE_CHECKING:
    from trainer.task import Task


@dataclass(frozen=True)
class Verdict:
    """``tone``: shown, open or none. ``sentence`` is the whole of it; ``notes`` are sentences that belong beside."""

    tone: str
    headline: str
    sentence: str
    notes: tuple[str, ...] = ()


def section(facts: Facts) -> Section:
    found = verdict(facts)
    more = {"verdict": found, "tiles": tiles(facts), "cost": cost(facts), "about": about(facts), "intro": intro(facts)}
    answers = (*([facts.champion] if facts.champion.rows else []), facts.standings, facts.overview)
    return Section("verdict", "The verdict", template="verdict.html.j2", more=more, answers=answers)


def verdict(facts: Facts) -> Verdict:
    """What this study shows, or that it shows nothing."""
    if (decision := decided(facts)) is not None:
        return _of_champion(facts, decision, facts.champion.rows[0])
    if facts.deciding.purpose == "ablation":
        return _of_ablation(facts)
    if facts.board:
        return _of_board(facts, facts.board)
    if facts.runs.rows:
        return _of_claims(facts)
    return Verdict("none", "Nothing to report yet", "No run of this study has ended.")


def about(facts: Facts) -> str:
    """What this page is about, for somebody who has never met one."""
    if facts.logs.rows:
        return "What somebody's loop wrote into its logs of experiments, read and counted. Nothing was run again."
    return (
        "Programs of research, texts (program.md) that direct an automatic researcher, compared at equal budget: which "
        f"one makes it improve the training script of {facts.on} the most?"
    )


def intro(facts: Facts) -> list[str]:
    """What was done, in a few sentences."""
    if facts.logs.rows:
        return []
    names = [str(facts.config.get("task") or ""), *(str(on["task"]) for on in facts.further)]
    tasks = [known_task(name) for name in names]
    task = tasks[0]
    fresh = freshness.SHORT[freshness.freshness(task)] if task is not None else "fresh seeds and data"
    told = (
        "How: a run follows one program. It edits the training script, trains, and keeps what scores better"
        f"{_budget(facts)}; "
        f"then what it ended with is trained again on {fresh}."
    )
    if facts.has_search:
        told += (
            " Programs were raced, better ones were written from what earned the gain, and the best of all then met "
            f"stock, the plain program, once more on {fresh}."
        )
    known = [one for one in tasks if one is not None]
    if any(freshness.freshness(one) != freshness.SPLIT for one in known):
        told += f" {freshness.said(known)}"
    which = "The task" if len(names) == 1 else "One task"
    return [" ".join([told, *(_scored(one, which) for one in tasks if one is not None)])]


def _budget(facts: Facts) -> str:
    """How long a run goes on, on each of several home tasks."""
    if not facts.further:
        spent = facts.deciding.run_budget
        return f", until {duration(spent)} of device time are spent" if spent else ""
    each = [
        (facts.config["task"], facts.config["run_budget"]),
        *((on["task"], on["run_budget"]) for on in facts.further),
    ]
    told = [f"{duration(seconds)} on {PurePath(task).name}" for task, seconds in each]
    return f", until its device time is spent ({', '.join(told)})"


def _scored(task: Task, which: str) -> str:
    scale = task.metric if task.unit == task.metric else f"{task.metric} in {task.unit}"
    what = task.description.rstrip(".")
    about = f": {what[:1].lower()}{what[1:]}. It" if what else ""
    return f"{which}, {task.name}{about or ','} is scored by {scale}; {task.direction} is better."


def cost(facts: Facts) -> str:
    """What the whole study took, in one sentence."""
    totals = facts.totals
    if facts.logs.rows:
        return f"nothing here; {many(totals.experiments, 'experiment')} were read, and logs tell no cost."
    spent, tokens = totals.device_seconds, totals.model_tokens
    parts = [f"{duration(spent)} of device time" if spent else "no device time on record"]
    if tokens:
        parts.append(f"{count(tokens)} tokens of language models, {money(totals.model_usd)}")
    elif facts.config:
        parts.append("no language model was asked")
    made = f"{many(totals.runs, 'run')} and {many(totals.experiments, 'experiment')}"
    return f"{made}, {', '.join(parts)}."


def tiles(facts: Facts) -> list[tuple[str, str]]:
    """(figure, what it is) for those who only glance."""
    totals = facts.totals
    runs = "log" if facts.logs.rows else "run"
    counts = [many(totals.programs, "program")] if totals.programs else []
    counts += [many(totals.runs, runs), many(totals.experiments, "experiment")]
    pairs = [(figure, noun) for figure, _, noun in (text.partition(" ") for text in counts)]
    spent = totals.device_seconds
    return [*pairs, (duration(spent), "of device time")] if spent else pairs


def _of_champion(facts: Facts, decision: Decision, row: ChampionRow) -> Verdict:
    """The words of the decision; here only what was run on reserved tasks is added."""
    where = f"over {listed([on.task for on in decision.tasks])}" if decision.tasks else f"on {facts.task}"
    weighty = [caveat.text for caveat in decision_text.caveats(decision) if caveat.level != "note"]
    never_seen = [_on_reserved(on) for on in row.reserve or []]
    never_seen += _over_reserved(facts, row)
    notes = (*decision_text.notes(decision), *weighty, *never_seen)
    return Verdict("shown" if decision.holds else "open", decision_text.headline(decision),
                   decision_text.sentence(decision, where), tuple(notes))  # fmt: skip


def decided(facts: Facts) -> Decision | None:
    """The study's decision; of an older study, with what its record lacks: the unit, and the trust of the arms.

    None where no claim was recorded.
    """
    champion = facts.champion.first
    if champion is None or "holds" not in champion.details:
        return None
    found = decision_of({**champion.details, "name": champion.name})
    unit = found.unit or facts.unit
    return replace(found, unit=unit, trust=found.trust or weakest(row.trust for row in facts.board))


def _of_board(facts: Facts, board: list[StandingRow]) -> Verdict:
    """A match without a champion: who leads, and whether the lead can be told from luck."""
    best, control = board[0], next((row for row in board if row.role == "control"), None)
    digits, unit = decimals(best.se), facts.unit
    figures = f"{number(best.gain, digits)} {unit} [{span(best.low, best.high, digits)}, {many(best.n, 'run')}]"
    tied = [row.display_name for row in board[1:] if row.rank_low == 1]
    notes = [_doubt(best.trust), "" if facts.champion.rows else _unconfirmed(facts), _one_of(facts)]
    if not tied and len(board) > 1:
        sentence = f"Its verified gain on {facts.task} is {figures}; every other program is shown to be worse."
        return Verdict("shown", f"{best.name} leads", sentence, tuple(filter(None, notes)))
    if len(board) == 1:
        return Verdict("open", f"{best.name} ran alone", f"Its verified gain on {facts.task} is {figures}.",
                       tuple(filter(None, notes)))  # fmt: skip
    against = ""
    if control is not None and control is not best:
        told = (best.rank_high or 1) < (control.rank_low or 1)
        against = f" The best is {'shown' if told else 'not shown'} to beat stock."
    sentence = (
        f"{best.display_name} has the largest verified gain on {facts.task}, {figures}, but no test tells it from "
        f"{listed(tied)}."
    )
    headline = "These programs cannot be told apart" if len(tied) == len(board) - 1 else "No clear winner"
    return Verdict("open", headline, sentence + against, tuple(filter(None, notes)))


def _one_of(facts: Facts) -> str:
    """What a match on one of several tasks does not say."""
    others = len(facts.further)
    if not others:
        return ""
    alone = f"This is {facts.task} alone, one of {others + 1} tasks: who is ahead over all of them, "
    if facts.has_search:
        return f"{alone}the lineage tells, and in the end the confirmation."
    return f"{alone}the contest's own pages and its announcement tell."


def _of_ablation(facts: Facts) -> Verdict:
    """A planned ablation and nothing else: how many effects are told, and the largest."""
    rows = [row for row in facts.source.ask("ablation", EffectRow).rows if row.method == "factorial"]
    if not rows:
        return Verdict("none", "Nothing to report yet", "The ablation has not got far enough to estimate anything.")
    some, all_of_them = [row for row in rows if row.is_significant], many(len(rows), "directive")
    if not some:
        sentence = f"Of {all_of_them} of {rows[0].program}, switched on and off by a plan, none is told from zero."
        return Verdict("open", "No directive is shown to have an effect", sentence)
    best = max(some, key=lambda row: abs(row.estimate))
    digits = decimals(best.se)
    size = f"{number(best.estimate, digits, True)} {best.unit} [{span(best.low, best.high, digits)}]"
    headline = f"{count(len(some))} of {all_of_them} of {rows[0].program} shown to have an effect"
    sentence = f"The largest on {facts.task}: “{best.label}”, {size} ({many(best.n, 'run')}, {best.design})."
    return Verdict("shown", headline, sentence)


def _of_claims(facts: Facts) -> Verdict:
    """Runs that nobody verified, such as imported logs."""
    claims = [row for row in facts.runs.rows if row.claimed_gain is not None]
    if not claims:
        return Verdict("none", "No run has a result", "Runs are on record, but none of them kept anything.")
    best = max(claims, key=lambda row: row.claimed_gain or 0.0)
    if facts.logs.rows:
        return _of_logs(facts, best)
    value = f"{brief(best.claimed_best)} {facts.unit}, {brief(best.claimed_gain)} better than where it began"
    sentence = f"{best.name or best.run_id} claims {value}. Nothing here was measured again, so luck is in the figure."
    return Verdict("none", "Claims only: nothing here was verified", sentence)


def _of_logs(facts: Facts, best: RunRow) -> Verdict:
    """Logs of others: what the best one claims, and what noise alone would give."""
    log = next((row for row in facts.logs.rows if row.run_id == best.run_id), None)
    value = f"{brief(best.claimed_gain)} better than where it began ({facts.measure} {brief(best.claimed_best, 5)})"
    runs = facts.totals.runs
    whose = f"The best of them, {best.name or best.run_id}," if runs > 1 else best.name or best.run_id
    sentence = f"{whose} claims to have ended {value}."
    if log and log.noise_share is not None:
        sentence += (
            f" As many tries that change nothing would seem to gain {percent(log.noise_share)} of that, by noise."
        )
    else:
        sentence += " It measured nothing twice, so nothing tells how much of that is luck."
    return Verdict("none", f"{many(runs, 'log')}: claims, and nothing that was verified", sentence)


def _ratio(ratio: float | None, lower: float | None, p: float | None = None) -> str:
    """``p``: of the test that goes with it, where it was one of several."""
    if ratio is None:
        return ""
    tested = f"; p {p_text(p)} after Holm" if p is not None else ""
    return f"That is {ratio:.2f} times stock's gain ({at_least(lower, 95)}{tested})."


def _on_reserved(on: Mapping[str, Any]) -> str:
    """A task that was kept from evolution until the champion was chosen."""
    where = f"On {on['task']}, which evolution never saw,"
    if on["claim"] is None:
        return f"{where} it behaves like stock, and was not run."
    there = on["claim"]
    digits = interval_decimals(there["low"], there["high"])
    ours, stocks = (number(side["mean"], digits) for side in (there["champion"], there.get("own") or there["stock"]))
    who = "your program" if there.get("own") else "stock"
    beats = f"it beats {who} too" if on["holds"] else f"it is not shown to beat {who}"
    times = _ratio(there["ratio"]["ratio"], there["ratio"]["lower"], on["p_adjusted"])
    return f"{where} {beats}: {ours} {on['unit']} against {stocks}. {times}".rstrip()


def _over_reserved(facts: Facts, row: ChampionRow) -> list[str]:
    """One figure over several reserved tasks, of which the tests are not."""
    over = over_reserved(facts.source.con, {on["task"]: on["claim"] is not None for on in row.reserve or []})
    if over is None:
        return []

    def said(found: Ratio) -> str:
        return f"{found.ratio:.2f} ({at_least(found.lower, 95)})"

    bare = f"; without its list of ideas {said(over.bare)}" if over.bare else ""
    return [f"The mean ratio to stock's gain over these {over.tasks} tasks is {said(over.champion)}{bare}."]


def _doubt(trust: str | None) -> str:
    doubt = marked(trust)
    return f"These figures are {doubt}." if doubt else ""


def _unconfirmed(facts: Facts) -> str:
    if facts.has_search:
        return "No champion has been confirmed yet; these runs also chose who went on, so they flatter the best."
    if "batch" in (facts.config.get("plan") or {}):
        return (
            "It was a race: whoever was in doubt of being the best got more runs, so these runs flatter whoever leads. "
            "A match without --race measures afresh."
        )
    return ""
