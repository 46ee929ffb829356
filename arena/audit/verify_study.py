"""`metaloop verify STUDY` and `RUN`: compares what a study recorded with fresh data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, variance
from typing import TYPE_CHECKING

from pydantic import JsonValue

from analysis.ledger import Ledger, check, segments
from analysis.study import read_study
from analysis.verdict.gain_estimate import GainEstimate
from analysis.verdict.power import runs_needed
from analysis.verdict.recheck import Lead, lead, study_verdict
from analysis.verdict.verdict import seconds_spent
from analysis.views.tables import statement, typed_rows
from arena.audit.scratch import Say
from arena.audit.verify import BASELINE, FRESH, Audit, AuditFigures, How, Sample, carry_out, findings, verify_source
from arena.measuring import untouched_metrics
from arena.study.run_archive import FOLDERS, unpacked
from arena.study.study import Study
from arena.work.choice import hardware_of_jobs
from arena.work.clock_rule import CpuUse, own_experiments
from inner_loop.events import FindingEvent
from programs.common.errors import Corrupt, NotFound, UsageError
from programs.shelf import starter
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class AuditedRun:
    """Columns of the view `runs`; of a run that has ended."""

    run_id: str
    state: str
    arm_id: str
    program_id: str
    name: str
    role: str | None
    stream: str
    final_source_id: str
    claimed_gain: float | None
    verified_gain: float | None
    touched: float  # share of its verifications that were compared with the baseline


@dataclass(frozen=True)
class AuditedArm:
    """Columns of the view `standings`."""

    match_id: str
    task: str
    stream: str
    arm_id: str
    program_id: str
    name: str
    role: str


@dataclass(frozen=True)
class AuditedClaim:
    """The arm behind a study's claim, the finished runs of it and of its reference; the first is claimed better."""

    match: AuditedArm
    first: Sequence[AuditedRun]
    second: Sequence[AuditedRun]

    @property
    def arms(self) -> tuple[Sequence[AuditedRun], Sequence[AuditedRun]]:
        return self.first, self.second

    def sampled(self, study: Study, count: int, how: How) -> AuditedClaim:
        """The same with at most ``count`` runs an arm, drawn by the fresh secret."""

        def draw(runs: Sequence[AuditedRun]) -> list[AuditedRun]:
            ordered = sorted(runs, key=lambda run: how.streams.seed(FRESH, "draw", study.config.study_id, run.run_id))
            return ordered[:count]

        return replace(self, first=draw(self.first), second=draw(self.second))


def intact(study: Study) -> None:
    """Raise Corrupt, naming the first problem, where the ledger's chain is broken or a segment of it is missing, and
    NotFound without a segment: nothing could be wrong with it."""
    if not segments(ledger := study.folder / "ledger"):
        raise NotFound(f"{ledger} is missing, empty, or not readable for you", hint="ask for a whole copy of the study")
    problems = check(ledger)
    if problems:
        raise Corrupt(problems[0], hint="nothing in this study can be verified; restore the ledger from a copy")
    study.look()


def claim_of(con: DuckDBPyConnection) -> AuditedClaim:
    """The confirmation's champion, and its reference: the user's own program where it is an arm, else stock
    with its A/A arm; in a study without one, the best program of its last match and stock.

    Raises NotFound where no such pair has been played.
    """
    standings = typed_rows(con.execute(statement("verdict/audited_arms")), AuditedArm)
    last = [row for row in standings if row.match_id == standings[0].match_id]
    stock = next((row for row in last if row.program_id == starter("stock").program_id and row.role != "a/a"), None)
    others = [row for row in last if row.role in ("champion", "program") and row is not stock]
    own = [row for row in last if row.role == "own"]
    twins = [row for row in last if row.role == "a/a" and stock and row.program_id == stock.program_id]
    if stock is None or not others:
        hint = "verify one of its runs: metaloop verify RUN -s STUDY"
        raise NotFound("this study has no match of a program against stock", hint=hint)
    sql = statement("verdict/audited_runs")
    first = typed_rows(con.execute(sql, {"arm": others[0].arm_id}), AuditedRun)
    arms = [row.arm_id for row in own or [stock, *twins]]
    second = [run for arm in arms for run in typed_rows(con.execute(sql, {"arm": arm}), AuditedRun)]
    return AuditedClaim(others[0], first, second)


def runs_to_confirm(claim: AuditedClaim) -> int | None:
    """Runs of each arm that confirm the lead with 80% power, by the spread between those on record; None where there
    is no spread, or no number of runs would."""
    first, second = ([run.verified_gain or 0.0 for run in arm] for arm in claim.arms)
    if min(len(first), len(second)) < 2:
        return None
    return runs_needed(fmean(first) - fmean(second), math.sqrt((variance(first) + variance(second)) / 2))


def final_source(study: Study, run_id: str, source_id: str, task: Task | None = None) -> Source:
    """The final source of a run, checked against its hash in the ledger; ``task``: where it is not the study's first.

    Raises Corrupt.
    """
    task = task or study.task
    baseline = task.baseline()
    if source_id == baseline.source_id:
        return baseline
    folder = study.folder / FOLDERS / run_id
    hint = f"git -C {folder} reset --hard main, or restore the folder from a copy"
    try:
        with unpacked(study.folder, run_id) as repository:
            source = Source.from_folder(repository, task.editable)
    except NotFound as error:
        raise Corrupt(error.message, hint=hint) from None
    if source.source_id != source_id:
        message = f"{folder}: contains {source.source_id}, but the ledger recorded {source_id}"
        raise Corrupt(message, hint=hint)
    return source


def used_by(study: Study, run: AuditedRun) -> tuple[CpuUse, ...]:
    """CPU that the run's own experiments of its final source used."""
    return own_experiments(study.state.run(run.run_id).experiments.values(), run.final_source_id)


def run_of(study: Study, run_id: str) -> AuditedRun:
    """The row of a run that has ended. Raises UsageError for one that has not."""
    with read_study(study.folder, views=()) as con:
        (run,) = typed_rows(con.execute("SELECT *, 1.0 AS touched FROM runs WHERE run_id = ?", [run_id]), AuditedRun)
    if run.state != "finished":
        raise UsageError(f"run {run_id} has not ended: {run.state}", hint="finish the study first")
    return run


def on_rows_of(study: Study, how: How) -> How:
    """The settings of a check on the rows that the study held back from its search."""
    held = study.streams.held_secret or study.streams.secret
    return replace(how, streams=Streams(how.streams.secret, held))


def verify_run(study: Study, run: AuditedRun, seeds: int, how: How, say: Say) -> Audit:
    """Measure a run's final source on fresh data, beside the recorded and the claimed gain."""
    own, how = used_by(study, run), on_rows_of(study, how)
    final = final_source(study, run.run_id, run.final_source_id)
    audit = verify_source(study.task, final, seeds, how, say, run_id=run.run_id, own=own)
    low, high = audit.figures["low"], audit.figures["high"]
    recorded: AuditFigures = {"recorded_gain": run.verified_gain, "claimed_gain": run.claimed_gain}
    inside = None if low is None or high is None or run.verified_gain is None else low <= run.verified_gain <= high
    figures: AuditFigures = {**audit.figures, **recorded, **surroundings(study, audit)}
    audit = replace(audit, figures=figures, details={**audit.details, "recorded_in_interval": inside})
    store(study, audit)
    return audit


def samples_of(study: Study, claim: AuditedClaim) -> list[Sample]:
    """One fresh seed for each run that changed anything; those of the first arm also untrained. Runs with the same
    number in both arms share their hidden rows."""
    untouched = study.task.baseline().source_id
    return [
        Sample(
            run.run_id,
            final_source(study, run.run_id, run.final_source_id),
            1,
            ablate=runs is claim.first,
            own=used_by(study, run),
            first=number,
        )
        for runs in claim.arms
        for number, run in enumerate(runs)
        if run.final_source_id != untouched
    ]


def verify_study(study: Study, whole: AuditedClaim, drawn: AuditedClaim, how: How, say: Say) -> Audit:
    """Measure the final sources of the sampled runs, one fresh seed each, and test whether the recorded lead holds."""
    samples, how = samples_of(study, drawn), on_rows_of(study, how)
    check = carry_out(study.task, samples, study.config.baseline_seeds, how, say)

    def gains_of(run: AuditedRun) -> list[float]:
        return check.gains(run.run_id) if run.run_id in check.taken else []

    failed = {label for label in check.taken if label != BASELINE and not check.gains(label)}
    first, second = ([run for run in runs if run.run_id not in failed] or runs for runs in drawn.arms)
    drawn = replace(drawn, first=first, second=second)  # without those on whose rows the untouched source failed
    gains = [[next(iter(gains_of(run)), 0.0) for run in runs] for runs in drawn.arms]
    measured = [
        [run.run_id in check.taken and not check.taken[run.run_id].failures for run in runs] for runs in drawn.arms
    ]
    touched = fmean(measured[0]), fmean(measured[1])
    fresh = lead(gains[0], gains[1], check.shared, touched, study.task.data_noise)
    recorded = recorded_lead(study, whole)
    hollow = check.ablation([run.run_id for run in drawn.first if run.run_id in check.taken])
    verdict, why = study_verdict(recorded, fresh, hollow)
    noticed = findings(check, {sample.label: sample.label for sample in samples})
    noticed += [FindingEvent.of_line(hollow, stream=FRESH)] if hollow else []
    audit = Audit(
        "study",
        verdict,
        figures_of(whole, recorded, fresh),
        noticed,
        check,
        why,
        {
            "failed_seeds": sum(len(taken.failures) for taken in check.taken.values()),
            "match_id": whole.match.match_id,
            "arms": arms_of(whole, drawn, (recorded.first, recorded.second), (fresh.first, fresh.second)),
        },
    )
    audit = replace(audit, figures={**audit.figures, **surroundings(study, audit)})
    store(study, audit)
    return audit


def recorded_lead(study: Study, claim: AuditedClaim) -> Lead:
    """The recorded lead, from all verifications of its two arms in the ledger."""
    runs = [study.state.run(run.run_id) for arm in claim.arms for run in arm]
    splits = {event.split for run in runs for event in run.verifications.values()}
    values = untouched_metrics(study.state, claim.match.task, claim.match.stream, splits)
    if not values or not claim.first or not claim.second:
        raise NotFound(f"{study.folder}: its claim has no measurements yet", hint="finish the study first")
    first, second = ([run.verified_gain or 0.0 for run in runs] for runs in claim.arms)
    touched = [fmean(run.touched for run in runs) for runs in claim.arms]
    return lead(first, second, values, (touched[0], touched[1]), study.task.data_noise)


def figures_of(claim: AuditedClaim, recorded: Lead, fresh: Lead) -> AuditFigures:
    """The columns of the view `audits`."""
    claimed = [run.claimed_gain for run in claim.first if run.claimed_gain is not None]
    return {
        "run_id": None,
        "n": fresh.first.n,
        "gain": fresh.first.gain,
        "low": fresh.first.low,
        "high": fresh.first.high,
        "recorded_gain": recorded.first.gain,
        "claimed_gain": sum(claimed) / len(claimed) if claimed else None,
        "difference": fresh.lead.or_zero,
        "difference_low": fresh.lead.low,
        "difference_high": fresh.lead.high,
        "recorded_difference": recorded.lead.or_zero,
    }


def arms_of(
    whole: AuditedClaim,
    drawn: AuditedClaim,
    recorded: Sequence[GainEstimate],
    fresh: Sequence[GainEstimate],
) -> list[JsonValue]:
    """By arm: recorded and fresh gain."""
    arms: list[JsonValue] = []
    for all_runs, runs, old, new in zip(whole.arms, drawn.arms, recorded, fresh, strict=True):
        arms.append(
            {
                "program": runs[0].name,
                "program_id": runs[0].program_id,
                "arm_id": runs[0].arm_id,
                "role": runs[0].role,
                "runs": len(all_runs),
                "checked": len(runs),
                "gain": new.gain,
                "low": new.low,
                "high": new.high,
                "recorded_gain": old.gain,
                "recorded_low": old.low,
                "recorded_high": old.high,
            }
        )
    return arms


def surroundings(study: Study, audit: Audit) -> AuditFigures:
    """The cost of the check as a share of the study's (both in real device-seconds), and the hardware it ran on."""
    whole = spent_by(study)
    share = audit.round.spent / whole if whole else None
    hardware = hardware_of_jobs(study.task.device)
    return {"share": share, "hardware_class": hardware, "same_hardware": study.config.hardware_class == hardware}


def spent_by(study: Study) -> float:
    """Device-seconds that the study has spent so far, with earlier checks and ablations."""
    with read_study(study.folder, views=()) as con:
        return seconds_spent(con)


def store(study: Study, audit: Audit) -> None:
    """Record the check in a ledger segment of its own, so that the study's chain is not changed."""
    with Ledger(study.folder / "ledger", "audit") as ledger:
        for event in audit.findings:
            ledger.append(event.to_record(), sync=False)
        ledger.append(audit.event().to_record())
        ledger.finish()
