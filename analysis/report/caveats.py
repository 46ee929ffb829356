"""Part 9: the caveats that fired. Each is a question asked of every study; those without an answer stay silent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from analysis import decision_text
from analysis.attribution import RECOMPUTED
from analysis.decision import twins
from analysis.decision_text import Caveat
from analysis.report.model import Facts, Section
from analysis.report.source import Answer
from analysis.report.verdict import decided
from analysis.trust import WHY
from analysis.wording import brief, count, interval_decimals, listed, many, number, percent

FEW_RUNS = 5
MUCH_FORFEITED = 0.05
MUCH_FAILED = 0.2
TOLD = "Weak trust"  # of_trust tells it, with counts
UNEVEN = 1.5  # times as many steps in the same device time at one moment as at another


@dataclass(frozen=True)
class DoubtsRow:
    running: int
    stopped: int
    unscored: int
    failed_seeds: int
    runs_failed: int
    faults: int
    forfeited: float | None
    overshoot: float | None
    failures: float | None
    hardware_classes: int
    pace: Mapping[str, float | None] | None  # steps in the same device time: low and high of n runs
    overclaim: float | None
    mean_gain: float | None
    compared: int


@dataclass(frozen=True)
class FindingRow:
    kind: str
    n: int
    example: str


@dataclass(frozen=True)
class AuditRow:
    subject: str
    verdict: str
    why: str | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    recorded_difference: float | None


@dataclass(frozen=True)
class TrustRow:
    what: str
    trust: str
    n: int


@dataclass(frozen=True)
class LogDoubtRow:
    what: str
    kind: str
    n: int
    example: str | None


@dataclass(frozen=True)
class RecomputedRow:
    older: bool


class CaveatAnswers(NamedTuple):
    doubts: Answer[DoubtsRow]
    findings: Answer[FindingRow]
    audits: Answer[AuditRow]
    trust: Answer[TrustRow]
    log_doubts: Answer[LogDoubtRow]
    recomputed: Answer[RecomputedRow]


def section(facts: Facts) -> Section:
    ask = facts.source.ask
    asked = CaveatAnswers(
        ask("doubts", DoubtsRow), ask("findings", FindingRow), ask("audits", AuditRow), ask("trust", TrustRow),
        ask("log_doubts", LogDoubtRow), ask("recomputed", RecomputedRow),
    )  # fmt: skip
    found = sorted(caveats(facts, asked), key=lambda caveat: ("stop", "mind", "note").index(caveat.level))
    lead = "Asked of every study; these are the ones that apply here." if found else "None of the usual doubts applies."
    more = {"caveats": found}
    return Section("caveats", "Caveats", lead, template="caveats.html.j2", more=more, answers=asked)


def caveats(facts: Facts, asked: CaveatAnswers) -> Iterator[Caveat]:
    doubts = asked.doubts.rows[0]
    yield from of_trust(facts, asked.trust)
    yield from of_findings(asked.findings)
    yield from of_audits(facts, asked.audits)
    yield from of_the_claim(facts)
    yield from of_runs(facts, doubts)
    yield from of_twins(facts)
    yield from of_scores(facts, doubts)
    yield from of_the_budget(doubts)
    yield from of_the_pace(doubts.pace)
    yield from of_scope(facts, doubts)
    yield from of_logs(facts, asked.log_doubts)
    if asked.recomputed.rows[0].older:
        yield Caveat("note", "Credit was computed anew", RECOMPUTED)


def of_trust(facts: Facts, trust: Answer[TrustRow]) -> Iterator[Caveat]:
    for kind, why in WHY.items():
        hit = {row.what: row.n for row in trust.rows if row.trust == kind}
        if hit:
            what = listed(many(n, what) for what, n in hit.items())
            level = "stop" if "verification" in hit or not facts.board else "mind"
            yield Caveat(level, f"Scores are {kind}", f"{what}: {why}.")
    kinds = sorted({row.trust for row in facts.board if row.trust})
    if len(kinds) > 1:
        text = f"{listed(kinds)} stand in one table, so a difference may be one of scoring."
        yield Caveat("mind", "Trust differs between the arms", text)


def of_findings(findings: Answer[FindingRow]) -> Iterator[Caveat]:
    for row in findings.rows:
        text = f"{many(row.n, 'outcome')} drew this suspicion, which changes no score. For example: {row.example}"
        yield Caveat("mind", f"The referee noticed: {row.kind}", text)


def of_audits(facts: Facts, audits: Answer[AuditRow]) -> Iterator[Caveat]:
    last = next((row for row in reversed(audits.rows) if row.subject == "study"), None)
    if last is None:
        if facts.champion.rows:
            yield Caveat("note", "Not audited", "Nobody has run metaloop verify on this study, which "
                         "measures the lead again on fresh seeds and fresh hidden data.")  # fmt: skip
        return
    digits = interval_decimals(last.difference_low, last.difference_high)
    fresh, recorded = number(last.difference, digits), number(last.recorded_difference, digits)
    figures = f"a lead of {fresh} on fresh data, {recorded} on record"
    level = {"confirmed": "note", "contradicted": "stop"}.get(last.verdict, "mind")
    yield Caveat(level, f"Audit: {last.verdict}", f"metaloop verify found {figures}; {last.why or 'no reason given'}.")


def of_the_claim(facts: Facts) -> Iterator[Caveat]:
    """What the decision itself says against the verdict, and the check that it passed."""
    if (decision := decided(facts)) is None:
        return
    yield from (caveat for caveat in decision_text.caveats(decision) if caveat.title != TOLD)
    tasks = {row.task for row in facts.matches.rows}
    if len(tasks) == 1:
        only = listed(sorted(map(str, tasks)))
        yield Caveat(
            "note", "One task", f"Everything here was measured on {only}; on another task it may be otherwise."
        )


def of_runs(facts: Facts, doubts: DoubtsRow) -> Iterator[Caveat]:
    few = [row.display_name for row in facts.board if row.n < FEW_RUNS]
    if few:
        text = (
            f"{listed(few)}: fewer than {FEW_RUNS} runs. Their intervals are wide and rest on the shape of the noise."
        )
        yield Caveat("mind", "Few runs in the deciding match", text)
    if doubts.running:
        text = f"{many(doubts.running, 'run')} had not ended when this page was made."
        yield Caveat("mind", "Still running, or cut short", text)
    if doubts.stopped:
        yield Caveat(
            "note", "Runs stopped early", f"{many(doubts.stopped, 'run')}: their spend counts, their gain does not."
        )
    if doubts.unscored and facts.board:
        yield Caveat("mind", "Runs without a score", f"{many(doubts.unscored, 'finished run')} have no verified gain.")


def of_twins(facts: Facts) -> Iterator[Caveat]:
    """The A/A check of a match without a champion; that of a confirmation is the decision's."""
    if facts.champion.rows or not facts.board:
        return
    found = twins(facts.board)
    if found is None:
        yield Caveat("note", "No A/A", "No program played twice, so the spread between equal arms is unknown.")
    elif found.passed:
        yield Caveat("note", "A/A check passed", decision_text.check(found))
    else:
        text = f"{decision_text.check(found)} Equal programs differ here, so no lead in this match is sure."
        yield Caveat("stop", "The control failed its own check", text)


def of_scores(facts: Facts, doubts: DoubtsRow) -> Iterator[Caveat]:
    if doubts.failed_seeds:
        text = (
            f"The final scripts of {many(doubts.runs_failed, 'run')} failed under "
            f"{many(doubts.failed_seeds, 'fresh seed')}; each counts as a gain of 0."
        )
        yield Caveat("mind", "Seeds that failed", text)
    claim, mean = doubts.overclaim, doubts.mean_gain
    if claim is not None and mean and claim > 0.05 * abs(mean):
        text = (
            f"Over {many(doubts.compared, 'run')} the claims are {brief(claim)} {facts.score_unit} above the "
            f"verified gain of {brief(mean)} on average: keeping what looks better also keeps luck. Claims rank "
            "nothing here."
        )
        yield Caveat("note", "Runs claim too much", text)
    if (doubts.failures or 0) > MUCH_FAILED:
        yield Caveat(
            "note",
            "Many failures",
            f"{percent(doubts.failures)} of all experiments crashed, ran out or were invalid.",
        )
    if doubts.faults:
        text = f"{many(doubts.faults, 'fault')} of the machinery itself, retried and charged to nobody."
        yield Caveat("note", "Faults", text)


def of_the_budget(doubts: DoubtsRow) -> Iterator[Caveat]:
    if (doubts.forfeited or 0) > MUCH_FORFEITED:
        text = f"{percent(doubts.forfeited, 1)} of all budgets was too short for another experiment and lapsed."
        yield Caveat("note", "Forfeited budget", text)
    if (doubts.overshoot or 0) > MUCH_FORFEITED:
        text = f"Last experiments took {percent(doubts.overshoot, 1)} more than the budgets allowed."
        yield Caveat("note", "Budgets overshot", text)


def of_the_pace(pace: Mapping[str, float | None] | None) -> Iterator[Caveat]:
    """What else shares the cores slows training down: the same device time then buys fewer steps."""
    n, low, high = ((pace and pace.get(key)) or 0.0 for key in ("n", "low", "high"))
    if n >= FEW_RUNS and low and high / low > UNEVEN:
        text = (
            f"In the same device time the untouched script made {count(low)} steps at one moment and "
            f"{count(high)} at another (10% and 90% of {many(n, 'run')}). Something else shared the "
            "processor: gains are not those of an idle machine, and arms that ran at different times may differ by it."
        )
        yield Caveat("mind", "The machine was busy, and unevenly so", text)


def of_scope(facts: Facts, doubts: DoubtsRow) -> Iterator[Caveat]:
    if (doubts.hardware_classes or 0) > 1:
        text = f"{count(doubts.hardware_classes)} hardware classes; only matches on the same one can be compared."
        yield Caveat("mind", "Different hardware", text)
    if not facts.board and facts.runs.rows:
        text = (
            "No final script was trained again under fresh seeds: every figure here is what the runs themselves said."
        )
        yield Caveat("stop", "Nothing was verified", text)


def of_logs(facts: Facts, doubts: Answer[LogDoubtRow]) -> Iterator[Caveat]:
    """What imported logs say against themselves, and what could not be read."""
    against = [f"{row.kind} ({count(row.n)})" for row in doubts.rows if row.what == "contradiction"]
    if against:
        text = f"Rows whose status and metric do not go together, by kind: {listed(against, 6)}."
        yield Caveat("mind", "The logs contradict themselves", text)
    aside = [row for row in doubts.rows if row.what == "set aside"]
    if aside:
        text = f"{many(sum(row.n for row in aside), 'line')}, first for: {aside[0].kind} ({aside[0].example})."
        yield Caveat("note", "Lines set aside", text)
    metrics = {(row.metric, row.direction) for row in facts.logs.rows if row.metric}
    if len(metrics) > 1:
        yield Caveat(
            "note", "Several metrics", f"{count(len(metrics))} metrics; only the commonest is drawn run by run."
        )
