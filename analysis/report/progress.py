"""Part 4: the course of each run: kept, discarded and failed experiments, best so far, noise band, final score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from analysis.report.model import ReportFacts, ReportFigure, ReportSection, ReportTable
from analysis.report.rows import RunRow
from analysis.report.source import QueryResult
from analysis.report.standings import MARKS
from analysis.trust import gain_name
from analysis.wording import brief, count, decimals, many, number, short

# The result of an experiment, as one letter in the data of the page.
BASELINE, KEPT, DISCARDED, FAILED, ASIDE = "b", "k", "d", "x", "s"
LINES = {
    "champion": "champion",
    "program": "programs",
    "control": "controls (stock)",
    "without": "champion without its ideas",
}
ASIDE_DECISIONS = ("screen", "replicate", "confirm")


@dataclass(frozen=True)
class PointRow:
    """An experiment of a run."""

    run_id: str
    number: int
    metric: float | None
    status: str | None
    decision: str | None
    fraction: float
    description: str | None


@dataclass(frozen=True)
class FinalRow:
    run_id: str
    metric: float | None


@dataclass(frozen=True)
class DrawnRun:
    """A run as the page embeds it; ``points``: number, metric, letter, description."""

    id: str
    label: str
    role: str
    deciding: bool
    program: str
    final: float | None
    sd: float | None
    points: Sequence[tuple[int, float | None, str, str]]


@dataclass(frozen=True)
class DrawnRuns:
    """The runs of both figures, embedded once; ``shown``: index of the run in the close-up."""

    unit: str
    metric: str
    direction: str
    runs: Sequence[DrawnRun]
    shown: int


def section(facts: ReportFacts) -> ReportSection:
    if not facts.runs.rows:
        return ReportSection("progress", "How the runs went", "No run has an experiment after its baseline.")
    runs = [row.run_id for row in facts.runs.rows]
    points = facts.source.ask("points", PointRow, runs=runs)
    final = facts.source.ask("final_metrics", FinalRow, runs=runs)
    data = courses(facts, points.rows, final.rows)
    lead = (
        "Each dot is an experiment: the researcher changed the script, trained and scored it, and kept the change if "
        "it was better. The dots are the researcher's own measurements"
        + ("; the diamond is the score of the final script on fresh seeds." if final.rows else ", never repeated.")
    )
    answers = (facts.runs, points, final, facts.noise)
    drawn = (overview(facts, data, answers),) if len(data.runs) > 1 else ()
    return ReportSection("progress", "How the runs went", lead, (*drawn, close_up(facts, data, answers)))


def courses(facts: ReportFacts, points: Sequence[PointRow], final: Sequence[FinalRow]) -> DrawnRuns:
    by_run: dict[str, list[tuple[int, float | None, str, str]]] = defaultdict(list)
    for row in points:
        what = letter(row.number, row.decision, row.status, row.metric, row.fraction)
        by_run[row.run_id].append((row.number, row.metric, what, row.description or ""))
    ended = {row.run_id: row.metric for row in final}
    noise = {row.task: row.sd for row in facts.noise.rows}
    runs = [
        DrawnRun(
            row.run_id,
            label(row),
            MARKS.get(row.role or "", "program"),
            row.deciding,
            row.program,
            ended.get(row.run_id),
            noise.get(row.task or "") or row.noise_sd,
            by_run[row.run_id],
        )
        for row in facts.runs.rows
    ]
    direction = facts.deciding.direction or facts.runs.rows[0].direction or "lower"
    return DrawnRuns(facts.unit, facts.measure, direction, runs, _median(runs))


def letter(number: int, decision: str | None, status: str | None, metric: float | None, fraction: float) -> str:
    """The result of an experiment; ``fraction``: of the full training budget."""
    if number == 0 or decision == "baseline":
        return BASELINE
    if status != "ok" or metric is None:
        return FAILED
    if decision in ASIDE_DECISIONS or fraction != 1.0:
        return ASIDE
    return KEPT if decision == "keep" else DISCARDED


def overview(facts: ReportFacts, data: DrawnRuns, answers: tuple[QueryResult[object], ...]) -> ReportFigure:
    shown = [run for run in data.runs if run.deciding] or data.runs
    what = f"{many(len(shown), 'run')} of {many(len({(run.program, run.role) for run in shown}), 'program')}"
    if facts.logs.rows:
        what = many(len(shown), "log")
    return ReportFigure(
        name="courses",
        kind="courses",
        title=f"Best so far, run by run ({data.metric})",
        caption=f"{what}; {data.direction} is better. "
        + ("" if facts.logs.rows else "Runs of one program differ by luck alone, so a single run proves nothing."),
        data={"of": "one-run"},
        table=run_table(facts),
        answers=answers,
        legend=tuple(
            (f"line-{role}", "logs" if facts.logs.rows else meaning)
            for role, meaning in LINES.items()
            if role in {r.role for r in shown}
        ),
    )


def close_up(facts: ReportFacts, data: DrawnRuns, answers: tuple[QueryResult[object], ...]) -> ReportFigure:
    known = [run.sd for run in data.runs if run.sd]
    whose = "repeated measurements in the log" if facts.logs.rows else "the untouched script between training seeds"
    of = next(
        (f", {many(row.trainings, 'training')} of this study" for row in facts.noise.rows if row.sd in known[:1]), ""
    )
    band = (
        f"The band is ±2 SD of {whose} (SD {brief(known[0], 2)}{of}): a step smaller than the band may be noise."
        if known
        else "The noise was not measured, so there is no noise band."
    )
    ended = any(run.final is not None for run in data.runs)
    return ReportFigure(
        name="one-run",
        kind="run",
        title=f"One run, close up ({data.metric})",
        caption=f"{band} Values outside the frame are drawn at its edge. Screens (shortened trainings) and repeats are "
        "not shown.",
        data=asdict(data),
        table=point_table(data),
        answers=answers,
        legend=(
            ("kept", "kept"),
            ("discarded", "discarded"),
            ("failed", "failed: crash, timeout or invalid"),
            ("best", "best so far, with the noise band"),
            *([("final", "the final script, trained again on fresh seeds")] if ended else []),
        ),
    )


def run_table(facts: ReportFacts) -> ReportTable:
    digits = decimals(_spread([row.verified_gain for row in facts.runs.rows]))
    return ReportTable.of(
        facts.runs.rows,
        {
            "run": lambda row: short(row.run_id),
            "program": lambda row: row.program,
            "role": lambda row: row.role or "",
            ">experiments with baseline": lambda row: count(row.experiments),
            ">kept": lambda row: count(row.kept),
            ">claimed gain": lambda row: number(row.claimed_gain, digits),
            f">{facts.gain_name}": lambda row: number(row.verified_gain, digits),
            "trust": lambda row: row.trust or "",
        },
    )


def point_table(data: DrawnRuns) -> ReportTable:
    """The run that is shown first; page.js replaces it when the reader selects another."""
    words = {BASELINE: "baseline", KEPT: "kept", DISCARDED: "discarded", FAILED: "failed", ASIDE: "screen or repeat"}
    points = data.runs[data.shown].points
    rows = tuple((count(at), words[what], brief(metric, 5), tried) for at, metric, what, tried in points)
    return ReportTable((">number", "result", f">{data.metric}", "what was tried"), rows)


def label(row: RunRow) -> str:
    role = f", {row.role}" if row.role not in (None, "program") else ""
    gain = f", {gain_name(row.trust)} {brief(row.verified_gain)}" if row.verified_gain is not None else ""
    return f"{row.program}{role}, run {short(row.run_id)}{gain}"


def _median(runs: Sequence[DrawnRun]) -> int:
    """The index of a typical run of the champion (or of the first program): not the luckiest."""
    best = [i for i, run in enumerate(runs) if run.role == "champion" and run.deciding]
    mine = best or [i for i, run in enumerate(runs) if run.program == runs[0].program and run.deciding] or [0]
    return mine[len(mine) // 2]


def _spread(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return (max(known) - min(known)) / 10 if len(known) > 1 else None
