"""Part 9: the caveats that apply. Every study goes through the same list of checks."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from analysis import decision_text
from analysis.decision import twins
from analysis.decision_text import Caveat
from analysis.pace import pace_of
from analysis.report.facts import fresh_of
from analysis.report.model import ReportFacts, ReportSection
from analysis.report.source import QueryResult
from analysis.report.verdict import decided
from analysis.trust import WHY
from analysis.wording import brief, count, interval_decimals, listed, many, number, percent
from trainer.cards import freshness

FEW_RUNS = 5
MUCH_FORFEITED = 0.05
MUCH_FAILED = 0.2
COLLAPSES = 4  # runs that are named
BY_TRUST = "Weak trust"  # of_trust says it too, with counts


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
class CollapsedRow:
    """A run whose final script lost most of its claimed gain when it was trained again; ``sds``: by how many ``sd`` of
    the untouched script between training seeds."""

    run_id: str
    name: str
    claimed: float
    gain: float
    sds: float
    sd: float

    @property
    def figures(self) -> str:
        """``+0.590 claimed, −0.002 when trained again (10 SD less)``."""
        claimed, gain = number(self.claimed, 3, True), number(self.gain, 3, True)
        return f"{claimed} claimed, {gain} when trained again ({self.sds:.0f} SD of {brief(self.sd, 2)} less)"


@dataclass(frozen=True)
class LogDoubtRow:
    what: str
    kind: str
    n: int
    example: str | None


class CaveatAnswers(NamedTuple):
    doubts: QueryResult[DoubtsRow]
    findings: QueryResult[FindingRow]
    audits: QueryResult[AuditRow]
    trust: QueryResult[TrustRow]
    log_doubts: QueryResult[LogDoubtRow]
    collapsed: QueryResult[CollapsedRow]


def section(facts: ReportFacts) -> ReportSection:
    ask = facts.source.ask
    answers = CaveatAnswers(
        ask("doubts", DoubtsRow),
        ask("findings", FindingRow),
        ask("audits", AuditRow),
        ask("trust", TrustRow),
        ask("log_doubts", LogDoubtRow),
        ask("collapsed", CollapsedRow),
    )
    applying = sorted(caveats(facts, answers), key=lambda caveat: ("stop", "mind", "note").index(caveat.level))
    lead = "These caveats apply to this study." if applying else "None of the standard caveats applies to this study."
    more = {"caveats": applying}
    return ReportSection("caveats", "Caveats", lead, template="caveats.html.j2", more=more, answers=answers)


def caveats(facts: ReportFacts, answers: CaveatAnswers) -> Iterator[Caveat]:
    doubts = answers.doubts.rows[0]
    yield from of_trust(facts, answers.trust)
    yield from of_findings(answers.findings)
    yield from of_audits(facts, answers.audits)
    yield from of_the_claim(facts)
    yield from of_runs(facts, doubts)
    yield from of_twins(facts)
    yield from of_scores(facts, doubts)
    yield from of_collapses(answers.collapsed.rows)
    yield from of_the_budget(doubts)
    yield from of_the_pace(facts)
    yield from of_scope(facts, doubts)
    yield from of_logs(facts, answers.log_doubts)


def of_trust(facts: ReportFacts, trust: QueryResult[TrustRow]) -> Iterator[Caveat]:
    for kind, why in WHY.items():
        counts = {row.what: row.n for row in trust.rows if row.trust == kind}
        if counts:
            what = listed(many(n, what) for what, n in counts.items())
            level = "stop" if "verification" in counts or not facts.board else "mind"
            yield Caveat(level, f"Scores are {kind}", f"{what}: {why}.")
    kinds = sorted({row.trust for row in facts.board if row.trust})
    if len(kinds) > 1:
        text = f"The table mixes {listed(kinds)} scores, so a difference may come from the scoring."
        yield Caveat("mind", "Trust differs between the arms", text)


def of_findings(findings: QueryResult[FindingRow]) -> Iterator[Caveat]:
    for row in findings.rows:
        text = (
            f"{many(row.n, 'outcome')} raised this suspicion. It does not change any score. For example: {row.example}"
        )
        yield Caveat("mind", f"The referee noticed: {row.kind}", text)


def of_audits(facts: ReportFacts, audits: QueryResult[AuditRow]) -> Iterator[Caveat]:
    last = next((row for row in reversed(audits.rows) if row.subject == "study"), None)
    newer = "newer seeds and hidden data" if fresh_of(facts) == freshness.SPLIT else "newer seeds"
    if last is None:
        if facts.champion.rows:
            yield Caveat(
                "note",
                "Not repeated",
                f"metaloop verify would measure the champion's lead once more, on {newer} than the confirmation's. "
                "That was not done.",
            )
        return
    digits = interval_decimals(last.difference_low, last.difference_high)
    fresh, recorded = number(last.difference, digits), number(last.recorded_difference, digits)
    figures = f"a lead of {fresh} when measured again, {recorded} on record"
    level = {"confirmed": "note", "contradicted": "stop"}.get(last.verdict, "mind")
    yield Caveat(
        level, f"Audit: {last.verdict}", f"metaloop verify measured {figures}; {last.why or 'no reason given'}."
    )


def of_the_claim(facts: ReportFacts) -> Iterator[Caveat]:
    """The caveats of the decision: what weakens the verdict, and the checks that passed."""
    if (decision := decided(facts)) is None:
        return
    study = shlex.quote(facts.source.study)
    yield from (caveat for caveat in decision_text.caveats(decision, study) if caveat.title != BY_TRUST)
    tasks = {row.task for row in facts.matches.rows}
    if len(tasks) == 1:
        only = listed(sorted(map(str, tasks)))
        yield Caveat("note", "One task", f"Everything was measured on {only}; other tasks may give other results.")


def of_runs(facts: ReportFacts, doubts: DoubtsRow) -> Iterator[Caveat]:
    few = [row.display_name for row in facts.board if row.n < FEW_RUNS]
    if few:
        text = f"{listed(few)}: fewer than {FEW_RUNS} runs each, so the intervals are wide and assume normal noise."
        yield Caveat("mind", "Few runs in the deciding match", text)
    if doubts.running:
        text = f"{many(doubts.running, 'run')} had not ended when this report was written."
        yield Caveat("mind", "Unfinished runs", text)
    if doubts.stopped:
        yield Caveat(
            "note",
            "Runs stopped early",
            f"{many(doubts.stopped, 'run')}: their device time counts, their gain does not.",
        )
    if doubts.unscored and facts.board:
        yield Caveat(
            "mind", "Runs without a score", f"{many(doubts.unscored, 'finished run')} without a {facts.gain_name}."
        )


def of_twins(facts: ReportFacts) -> Iterator[Caveat]:
    """The A/A difference of a match without a champion; that of a confirmation is the decision's."""
    if facts.champion.rows or not facts.board:
        return
    aa = twins(facts.board)
    if aa is None:
        yield Caveat("note", "No A/A", "No program was entered twice, so the difference between equal arms is unknown.")
    else:
        yield Caveat("note", decision_text.AA, decision_text.aa_text(aa))


def of_scores(facts: ReportFacts, doubts: DoubtsRow) -> Iterator[Caveat]:
    if doubts.failed_seeds:
        text = (
            f"The final scripts of {many(doubts.runs_failed, 'run')} failed under "
            f"{many(doubts.failed_seeds, 'fresh seed')}; each counts as a gain of 0."
        )
        yield Caveat("mind", "Failed seeds", text)
    claim, mean = doubts.overclaim, doubts.mean_gain
    if claim is not None and mean and claim > 0.05 * abs(mean):
        text = (
            f"Over {many(doubts.compared, 'run')}, the average claim is {brief(claim)} {facts.score_unit} above the "
            f"average {facts.gain_name} of {brief(mean)}: keeping what looks better also keeps luck. Claims are "
            "not used for ranking."
        )
        yield Caveat("note", "Claims are too high", text)
    if (doubts.failures or 0) > MUCH_FAILED:
        yield Caveat(
            "note",
            "Many failures",
            f"{percent(doubts.failures)} of all experiments crashed, ran out of time or memory, or were invalid.",
        )
    if doubts.faults:
        text = f"{many(doubts.faults, 'infrastructure fault')}, retried and not charged to any run."
        yield Caveat("note", "Infrastructure faults", text)


def of_collapses(rows: Sequence[CollapsedRow]) -> Iterator[Caveat]:
    if rows:
        named = listed((f"{row.run_id[:7]} of {row.name}: {row.figures}" for row in rows), COLLAPSES)
        text = (
            f"{many(len(rows), 'run')} lost over half of the claimed gain when the final script was trained again. "
            f"Claim and loss are larger than five SD of the untouched script between training seeds: {named}. Such a "
            "script may work with some seeds or data only."
        )
        yield Caveat("mind", "Gains that collapsed", text)


def of_the_budget(doubts: DoubtsRow) -> Iterator[Caveat]:
    if (doubts.forfeited or 0) > MUCH_FORFEITED:
        text = f"{percent(doubts.forfeited, 1)} of all budgets was left over, too little for another experiment."
        yield Caveat("note", "Forfeited budget", text)
    if (doubts.overshoot or 0) > MUCH_FORFEITED:
        text = f"The last experiments of the runs exceeded the budgets by {percent(doubts.overshoot, 1)}."
        yield Caveat("note", "Budgets exceeded", text)


def of_the_pace(facts: ReportFacts) -> Iterator[Caveat]:
    """Of a study without a decision."""
    if decided(facts) is None and (pace := pace_of(facts.source.con)) and pace.other_load:
        yield Caveat("mind", decision_text.OTHER_LOAD, pace.other_load)


def of_scope(facts: ReportFacts, doubts: DoubtsRow) -> Iterator[Caveat]:
    if (doubts.hardware_classes or 0) > 1:
        text = f"{count(doubts.hardware_classes)} hardware classes. Compare only matches on the same one."
        yield Caveat("mind", "Different hardware", text)
    if not facts.board and facts.runs.rows:
        text = "No final script was trained again on fresh seeds: every figure is a claim of the runs themselves."
        yield Caveat("stop", "Nothing was verified", text)


def of_logs(facts: ReportFacts, doubts: QueryResult[LogDoubtRow]) -> Iterator[Caveat]:
    """Contradictions in imported logs, and lines that could not be read."""
    against = [f"{row.kind} ({count(row.n)})" for row in doubts.rows if row.what == "contradiction"]
    if against:
        text = f"Rows whose status contradicts their metric, by kind: {listed(against, 6)}."
        yield Caveat("mind", "The logs contradict themselves", text)
    aside = [row for row in doubts.rows if row.what == "set aside"]
    if aside:
        text = (
            f"{many(sum(row.n for row in aside), 'line')}; most frequent reason: {aside[0].kind} ({aside[0].example})."
        )
        yield Caveat("note", "Quarantined lines", text)
    metrics = {(row.metric, row.direction) for row in facts.logs.rows if row.metric}
    if len(metrics) > 1:
        yield Caveat(
            "note",
            "Several metrics",
            f"{count(len(metrics))} metrics; charts of single runs show only the most common one.",
        )
