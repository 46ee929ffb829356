"""Part 1: the verdict in a sentence, with its interval and its cost."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from analysis import decision_text, figures_text
from analysis.decision import Compared, Decision, decision_of
from analysis.own_share import beside_learnt, memory, own_share
from analysis.report.facts import fresh_of, known_task
from analysis.report.model import ReportFacts, ReportSection, RunsSoFar
from analysis.report.rows import (
    ChampionRow,
    EffectRow,
    HeldOutResult,
    RecordedClaim,
    RecordedMean,
    RunRow,
    StandingRow,
    both_arms,
)
from analysis.statistics import Mean, Ratio
from analysis.trust import gain_name, marked
from analysis.wording import (
    brief,
    count,
    decimals,
    duration,
    listed,
    many,
    money,
    number,
    p_text,
    percent,
    span,
)
from trainer.cards import freshness

if TYPE_CHECKING:
    from trainer.task import Task


@dataclass(frozen=True)
class ReportVerdict:
    """``tone``: shown, open or none. ``sentence``: the result with its figures;
    ``notes``: further sentences."""

    tone: str
    headline: str
    sentence: str
    notes: tuple[str, ...] = ()


def section(facts: ReportFacts) -> ReportSection:
    more = {
        "verdict": verdict(facts),
        "tiles": tiles(facts),
        "cost": cost(facts),
        "about": about(facts),
        "intro": intro(facts),
        "gain": facts.gain_name,
        "again": freshness.AGAIN[fresh_of(facts)],
    }
    answers = (*([facts.champion] if facts.champion.rows else []), facts.standings, facts.overview)
    return ReportSection("verdict", "The verdict", template="verdict.html.j2", more=more, answers=answers)


def verdict(facts: ReportFacts) -> ReportVerdict:
    """What this study shows, if anything."""
    if (decision := decided(facts)) is not None:
        return _of_champion(facts, decision, facts.champion.rows[0])
    if facts.unfinished is not None and facts.board:
        return _of_runs_so_far(facts, facts.unfinished)
    if facts.deciding.purpose == "ablation":
        return _of_ablation(facts)
    if facts.board:
        return _of_board(facts, facts.board)
    if facts.runs.rows:
        return _of_claims(facts)
    return ReportVerdict("none", "Nothing to report yet", "No run of this study has ended.")


def about(facts: ReportFacts) -> str:
    """One sentence on the subject of the page, for new readers."""
    if facts.logs.rows:
        return "Statistics of imported experiment logs. Nothing was run again."
    return (
        "A program (program.md) is the text that an automatic researcher follows to improve a training script. Which "
        f"program leads to the largest improvement on {facts.on}? All programs get the same budget."
    )


def intro(facts: ReportFacts) -> list[str]:
    """What was done, in a few sentences."""
    if facts.logs.rows:
        return []
    names = [str(facts.config.get("task") or ""), *(str(on["task"]) for on in facts.further)]
    tasks = [known_task(name) for name in names]
    kind = fresh_of(facts)
    fresh = freshness.SHORT[kind]
    text = (
        "In each run, the researcher follows one program: it edits the training script, trains it, and keeps changes "
        f"that score better{_budget(facts)}. Then its final script is trained again on {fresh}."
    )
    if (facts.config.get("plan") or {}).get("night"):
        text = (
            "The programs took turns on one lineage of the training script: each edits it, trains it, and keeps what "
            f"scores better{_budget(facts)}. Then the script is trained again on {fresh}."
        )
    elif facts.has_search:
        text += f" {_stages(facts)} on {fresh}."
    known = [one for one in tasks if one is not None]
    if kind != freshness.SPLIT:
        text += f" {freshness.said(known) if known and freshness.least(known) == kind else freshness.SAID[kind]}"
    which = "The task" if len(names) == 1 else "One task"
    return [" ".join([text, *(_scored(one, which) for one in tasks if one is not None)])]


def _stages(facts: ReportFacts) -> str:
    """What a study of programs did, by its plan; the figures of what they are compared with follow."""
    plan = facts.config.get("plan") or {}
    other = "the user's own program" if plan.get("own_arm") else "stock (a plain keep-if-better program)"
    wrote = ", wrote new ones from the measured effects," if plan.get("generations", 1) else ""
    return f"The study compared several programs{wrote} and at the end compared the best one with {other}"


def _budget(facts: ReportFacts) -> str:
    """The budget of a run, on each training task."""
    if not facts.further:
        spent = facts.deciding.run_budget
        return f", until it has used {duration(spent)} of device time" if spent else ""
    each = [
        (facts.config["task"], facts.config["run_budget"]),
        *((on["task"], on["run_budget"]) for on in facts.further),
    ]
    budgets = [f"{duration(seconds)} on {PurePath(task).name}" for task, seconds in each]
    return f", until it has used its device time ({', '.join(budgets)})"


def _scored(task: Task, which: str) -> str:
    scale = task.metric if task.unit == task.metric else f"{task.metric} in {task.unit}"
    what = task.description.rstrip(".")
    about = f": {what[:1].lower()}{what[1:]}. It" if what else ""
    return f"{which}, {task.name}{about or ','} is scored by {scale}; {task.direction} is better."


def cost(facts: ReportFacts, model: bool = True, short: bool = False) -> str:
    """The cost of the whole study, in one sentence; ``model``: whether it says that there was none; ``short``: without
    what the device time went to."""
    totals = facts.totals
    if facts.logs.rows:
        return f"unknown; the {many(totals.experiments, 'experiment')} come from logs without costs."
    spent, tokens = totals.device_seconds, totals.model_tokens
    charged, used = totals.charged_seconds or 0.0, totals.research_seconds
    reused = charged > 1.02 * used  # a result that is known is charged, and not made again
    why = f" (and {duration(charged)} charged: a result that is reused counts in full)" if reused else ""
    by_runs = "" if short else f", of which {duration(used)} by the runs{why} and the rest to verify them"
    used_up = f"of device time {'with verification' if short else 'used'}{by_runs}"
    parts = [f"{duration(spent)} {used_up}" if spent else "no recorded device time"]
    if tokens:
        parts.append(f"{count(tokens)} tokens of language models, {money(totals.model_usd)}")
    elif facts.config and model:
        parts.append("no language model was used")
    begun = " begun" * bool(facts.unfinished and facts.unfinished.begun)  # those under way have experiments too
    made = f"{many(totals.runs, 'run')}{begun} and {many(totals.experiments, 'experiment')}"
    return f"{made}, {', '.join(parts)}."


def tiles(facts: ReportFacts) -> list[tuple[str, str]]:
    """(figure, label) of the tiles."""
    totals = facts.totals
    runs = "log" if facts.logs.rows else "run"
    decision = decided(facts)
    programs = len(decision.night) if decision and decision.night else totals.programs
    counts = [many(programs, "program")] if programs else []
    counts += [many(totals.runs, runs), many(totals.experiments, "experiment")]
    pairs = [(figure, noun) for figure, _, noun in (text.partition(" ") for text in counts)]
    spent = totals.device_seconds
    return [*pairs, (duration(spent), "of device time used, with verification")] if spent else pairs


def _of_champion(facts: ReportFacts, decision: Decision, row: ChampionRow) -> ReportVerdict:
    """The text of the decision, with the results on held-out tasks."""
    where = f"over {listed([on.task for on in decision.tasks])}" if decision.tasks else f"on {facts.task}"
    where = f"on new tasks of {listed(decision.families)}" if decision.families else where
    caveats = decision_text.caveats(decision, shlex.quote(facts.source.study))
    weighty = [caveat.text for caveat in caveats if caveat.level != "note"]
    never_seen = [on_reserved(on) for on in row.reserve or []]
    whose = (decision_text.origin(decision), own_share(decision), beside_learnt(decision), memory(decision))
    notes = (*filter(None, whose), *decision_text.notes(decision), *weighty, *never_seen)
    main_better = bool(decision.night) and any((one.low or 0.0) > 0 for one in decision.scripts)
    return ReportVerdict(
        "shown" if decision.holds or main_better else "open",
        decision_text.headline(decision),
        decision_text.sentence(decision, where),
        tuple(notes),
    )


def decided(facts: ReportFacts) -> Decision | None:
    """The study's decision; None without a champion."""
    champion = facts.champion.first
    return None if champion is None or "decision" not in champion.details else decision_of(champion.details)


def _of_board(facts: ReportFacts, board: list[StandingRow]) -> ReportVerdict:
    """A match without a champion: which program leads, and whether significantly."""
    best, control = board[0], next((row for row in board if row.role == "control"), None)
    digits, unit = decimals(best.se), facts.unit
    gain = gain_name(best.trust)
    figures = f"{number(best.gain, digits)} {unit} [{span(best.low, best.high, digits)}, {many(best.n, 'run')}]"
    tied = [row.display_name for row in board[1:] if row.rank_low == 1]
    notes = [_doubt(best.trust), "" if facts.champion.rows else _unconfirmed(facts), _one_of(facts)]
    if not tied and len(board) > 1:
        sentence = f"Its {gain} on {facts.task} is {figures}; every other program is significantly worse."
        return ReportVerdict("shown", f"{best.name} leads", sentence, tuple(filter(None, notes)))
    if len(board) == 1:
        return ReportVerdict(
            "open",
            f"{best.name} ran alone",
            f"Its {gain} on {facts.task} is {figures}.",
            tuple(filter(None, notes)),
        )
    against = ""
    if control is not None and control is not best:
        beats = (best.rank_high or 1) < (control.rank_low or 1)
        against = f" It is {'' if beats else 'not '}significantly better than stock."
    sentence = (
        f"{best.display_name} has the largest {gain} on {facts.task}, {figures}, but the difference from "
        f"{listed(tied)} is not statistically significant."
    )
    headline = "No significant difference between these programs" if len(tied) == len(board) - 1 else "No clear winner"
    return ReportVerdict("open", headline, sentence + against, tuple(filter(None, notes)))


def _of_runs_so_far(facts: ReportFacts, so_far: RunsSoFar) -> ReportVerdict:
    """A study that has not ended: the largest gain of the latest match, beside stock's."""
    stock = stock_of(facts)
    best = [row for row in facts.board if not stock or row.program_id != stock.program_id][:1]
    shown = [*best, *([stock] if stock else [])]
    digits = decimals(shown[0].se)
    means = listed([f"{row.program} {number(row.gain, digits)} ({many(row.n, 'run')})" for row in shown])
    gain = gain_name(shown[0].trust)
    sentence = f"Mean {gain} in {facts.unit} on {facts.task} so far: {means}. Further runs will change this."
    notes = [_doubt(shown[0].trust), _unconfirmed(facts)]
    return ReportVerdict("none", so_far.sentence, sentence, tuple(filter(None, notes)))


def stock_of(facts: ReportFacts) -> StandingRow | None:
    """Stock in the deciding match, both arms together; where it is not in it, in the latest other match on the task."""
    deciding = facts.deciding.match_id
    others = [row for row in facts.standings.rows if row.task == facts.deciding.task and row.match_id != deciding]
    controls = [row for row in [*facts.board, *others] if row.role == "control" and row.gain is not None]
    if not controls:
        return None
    stock = both_arms(facts.of_match(controls[0].match_id)) or controls[0]
    name = f"stock in the {'opening race' if stock.label == 'opening' else stock.label or 'other match'}"
    return stock if stock.match_id == deciding else replace(stock, name=name, role="control")


def _one_of(facts: ReportFacts) -> str:
    """A remark on a match that covers only one of several tasks."""
    others = len(facts.further)
    if not others:
        return ""
    alone = f"This match is on {facts.task}, one of {others + 1} tasks. For the result over all of them, see "
    if facts.has_search:
        return f"{alone}the lineage and, at the end, the confirmation."
    return f"{alone}the contest's own pages and its announcement."


def _of_ablation(facts: ReportFacts) -> ReportVerdict:
    """A study with nothing but an ablation: the number of significant effects, and the largest."""
    rows = [row for row in facts.source.ask("ablation", EffectRow).rows if row.method == "factorial"]
    if not rows:
        return ReportVerdict("none", "Nothing to report yet", "The ablation has too few runs to estimate an effect.")
    some, all_of_them = [row for row in rows if row.is_significant], many(len(rows), "directive")
    if not some:
        sentence = (
            f"None of {all_of_them} of {rows[0].program}, switched on and off by a plan, has a significant effect."
        )
        return ReportVerdict("open", "No directive has a significant effect", sentence)
    best = max(some, key=lambda row: abs(row.estimate))
    digits = decimals(best.se)
    size = f"{number(best.estimate, digits, True)} {best.unit} [{span(best.low, best.high, digits)}]"
    headline = f"{count(len(some))} of {all_of_them} of {rows[0].program} with a significant effect"
    sentence = f"The largest effect on {facts.task}: “{best.label}”, {size} ({many(best.n, 'run')}, {best.design})."
    return ReportVerdict("shown", headline, sentence)


def _of_claims(facts: ReportFacts) -> ReportVerdict:
    """Runs without verification, such as imported logs."""
    claims = [row for row in facts.runs.rows if row.claimed_gain is not None]
    if not claims:
        return ReportVerdict("none", "No run has a result", "The study has runs, but none of them kept a change.")
    best = max(claims, key=lambda row: row.claimed_gain or 0.0)
    if facts.logs.rows:
        return _of_logs(facts, best)
    value = f"{brief(best.claimed_best)} {facts.unit}, {brief(best.claimed_gain)} better than its baseline"
    sentence = f"{best.name or best.run_id} claims {value}. Nothing was measured again, so the claim includes luck."
    return ReportVerdict("none", "Claims only, nothing was verified", sentence)


def _of_logs(facts: ReportFacts, best: RunRow) -> ReportVerdict:
    """Imported logs: the best claim, and the gain expected from noise alone."""
    log = next((row for row in facts.logs.rows if row.run_id == best.run_id), None)
    value = f"{brief(best.claimed_gain)} better than its baseline ({facts.measure} {brief(best.claimed_best, 5)})"
    runs = facts.totals.runs
    whose = f"The best of them, {best.name or best.run_id}," if runs > 1 else best.name or best.run_id
    sentence = f"{whose} claims a result {value}."
    if log and log.noise_share is not None:
        sentence += f" Noise alone is expected to show {percent(log.noise_share)} of that gain after as many tries."
    else:
        sentence += " It measured no script twice, so the share of luck is unknown."
    return ReportVerdict("none", f"{many(runs, 'log')}: claims only, nothing was verified", sentence)


def _mean(side: RecordedMean) -> Mean:
    return Mean(side["mean"], side.get("se"), side["n"], side.get("low"), side.get("high"))


def recorded(there: RecordedClaim) -> tuple[Mean, Compared]:
    """The champion on a held-out task, and what it is compared with."""
    own, ours = there.get("own"), _mean(there["champion"])
    other = _mean(own or there["stock"])
    ratio = Ratio(there["ratio"]["ratio"], there["ratio"]["lower"], 0.95, ours.n, other.n)
    name = "your program" if own else "stock"
    return ours, Compared(name, other, there["difference"], there["low"], there["high"], ratio)


def on_reserved(on: HeldOutResult) -> str:
    """The result on one held-out task; nothing is tested on the one that the study drew (``variant``)."""
    variant, where, there = on.get("variant"), f"On the held-out task {on['task']}", on["claim"]
    if there is None:
        return f"{where}, the champion behaves like stock, so it was not run."
    if there.get("families"):
        where = f"On {many(there['champion']['n'], 'held-out task')} of the family {on['task']}"
    ours, to = recorded(there)
    apart = figures_text.with_interval(to.difference, to.low, to.high)
    figures = f"gain {figures_text.gains(ours, to.gain, on['unit'])} of {to.name}, difference {apart}"
    figures += figures_text.times(to.gain, to.ratio, to, f"{to.name}'s")
    middle = figures_text.skewed(to.difference, to.low, to.high)
    if variant:
        return f"{where} (an estimate, not part of the test): {figures}.{middle}"
    beats = f"the champion {'also beats' if on['holds'] else 'is not shown to beat'} {to.name}"
    beats += decision_text.gated(on["holds"], on["p_adjusted"])
    return f"{where}, {beats}: {figures}; one-sided p {p_text(on['p_adjusted'])} after Holm.{middle}"


def _doubt(trust: str | None) -> str:
    doubt = marked(trust)
    return f"These figures are {doubt}." if doubt else ""


def _unconfirmed(facts: ReportFacts) -> str:
    if facts.has_search:
        return "No champion is confirmed yet. These runs also selected the programs, so they overestimate the best one."
    if "batch" in (facts.config.get("plan") or {}):
        return (
            "This was a race: close contenders got more runs, so the gain of the leader is overestimated. "
            "For an unbiased estimate, run a match without --race."
        )
    return ""
