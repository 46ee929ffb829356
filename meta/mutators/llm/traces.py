"""The raw traces of a study as files: a text per run of the search, its logs, the lineage.

``traces/`` in the study's folder: ``runs/PROGRAM/RUN.txt``, ``logs/PROGRAM/RUN.txt``, ``programs/PROGRAM.md``, and per
generation ``generation-N/lineage.txt``. Everything except the logs follows from the ledger, so a
repeated study has the same files; logs contain wall times.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.study import read_study
from analysis.tables import statement, typed_rows
from arena.run_archive import unpacked
from inner_loop.models.scrub import scrub
from inner_loop.researchers.reply import BadEdit, parse
from meta.mutators.llm import prompts
from programs.errors import Corrupt
from programs.text import clipped
from trainer.user_files import private_folder

if TYPE_CHECKING:
    from pydantic import JsonValue

    from analysis.report.evidence import Evidence
    from arena.study import Study
from arena.task_study import TaskStudy, tasks_of

MOST_FILE = 60_000  # bytes of a run's trace
MOST_DIFF, MOST_LOG = 2_000, 1_500
CONTROLS = ("control", "a/a")
VARIANTS = ("ablation", "without-ideas")  # may be run at any time, so they must not affect which programs get children


@dataclass(frozen=True)
class Trace:
    """A file: ``path`` below the folder of traces, a description in one line, and its text.

    ``volatile``: the text differs in every repetition. ``program_id`` is empty if it belongs to no program.
    """

    path: str
    about: str
    text: str
    program_id: str = ""
    matches: frozenset[str] = frozenset()
    parent_ids: tuple[str, ...] = ()
    control: bool = False
    volatile: bool = False


@dataclass(frozen=True)
class TraceRun:
    """An ended run of the search, with its program; ``born``: the program's generation."""

    run_id: str
    task: str
    match_id: str
    program_id: str
    name: str
    operator: str | None
    parent_ids: list[str]
    born: int | None
    role: str | None
    generation: int | None
    state: str
    verified_gain: float | None
    claimed_gain: float | None
    verified_seeds: int | None
    device_seconds_charged: float | None
    device_seconds_budget: float | None
    experiments: int
    kept: int
    reason: str | None
    text: str | None


@dataclass(frozen=True)
class TriedExperiment:
    """``delta``: its gain over its parent."""

    run_id: str
    number: int
    experiment_id: str
    parent_number: int | None
    status: str
    decision: str | None
    reason: str | None
    outcome_reason: str | None
    metric: float | None
    gain: float | None
    delta: float | None
    fraction: float
    replicate: int
    cost: float | None
    description: str | None
    directive_ids: list[str] | None
    edit: JsonValue
    diff: str | None


@dataclass(frozen=True)
class TraceExperiment(TriedExperiment):
    """With its diff cut to size, its edit as text for want of a diff, and the model's rationale."""

    changed: str
    rationale: str

    @classmethod
    def of(cls, row: TriedExperiment, rationale: str) -> TraceExperiment:
        changed = row.edit if isinstance(row.edit, str) else json.dumps(row.edit, ensure_ascii=False, default=str)
        diff = clipped(row.diff or "", MOST_DIFF).rstrip("\n")
        return cls(**{**vars(row), "diff": diff}, changed=clipped(changed or "", MOST_DIFF), rationale=rationale)


def gather(study: Study, generation: int, facts: Evidence) -> list[Trace]:
    """All traces for writing ``generation``; also written to the study's folder."""
    stages = range(generation) if study.config.families else (0,)
    studies = {on.task.name: on for stage in stages for on in tasks_of(study, stage)}
    with read_study(study.folder, views=()) as con:
        runs = [
            run
            for task in studies
            for run in typed_rows(
                con.execute(statement("trace_runs"), {"task": task, "generation": generation}), TraceRun
            )
        ]
        these = {"runs": [run.run_id for run in runs]}
        tried = typed_rows(con.execute(statement("trace_experiments"), these), TriedExperiment)
        why = _rationales(con.execute(statement("trace_calls"), these).fetchall())
    experiments: dict[str, list[TraceExperiment]] = defaultdict(list)
    for row in tried:
        rationale = why.get((row.run_id, row.description or ""), "")
        experiments[row.run_id].append(TraceExperiment.of(row, rationale))
    traces = [*_general(study, generation, facts), *_scripts(study)]
    for run in runs:
        where = f" on {run.task}" if len(studies) > 1 else ""
        traces += _of_run(studies[run.task], run, experiments[run.run_id], where)
    traces += _programs(runs)
    for trace in traces:
        _write(study.folder, trace.path, trace.text)
    return traces


def joined(traces: Sequence[Trace], most: int) -> tuple[str, str]:
    """Traces for a prompt, nearest first, within ``most`` bytes, and the ends of their logs in a sixth of that.

    No trace gets more than a quarter, so one long run does not hide the others. Both are empty if ``most`` is 0.
    """
    texts = ["", ""]
    for volatile, room in ((False, most - most // 6), (True, most // 6)):
        parts: list[str] = []
        for trace in (t for t in traces if t.volatile == volatile):
            part = clipped(f"== {trace.path}: {trace.about}\n{trace.text.rstrip()}\n\n", min(room, most // 4))
            if (size := len(part.encode("utf-8", "replace"))) > room:
                break
            parts.append(part)
            room -= size
        text = "".join(parts).rstrip()
        texts[volatile] = prompts.fenced(text, "logs" if volatile else "traces") if text else ""
    return texts[0], texts[1]


def _general(study: Study, generation: int, facts: Evidence) -> Iterable[Trace]:
    scores = {score.program_id: score for score in facts.programs}
    reasons = {m.child_id: m.reason for m in study.state.mutations if m.accepted}
    known = [
        {**vars(p), "score": scores.get(i), "reason": reasons.get(i, "")}
        for i, p in study.state.programs.items()
        if (p.generation or 0) < generation and p.operator not in VARIANTS
    ]
    lineage = prompts.render("lineage.txt.j2", programs=known, unit=facts.unit)
    yield Trace(f"generation-{generation}/lineage.txt", "all programs: parents, operator, gain, reason", scrub(lineage))


def _scripts(study: Study) -> Iterable[Trace]:
    for on in tasks_of(study):
        for name, text in on.task.baseline().files:
            what = f"the untouched script of {on.task.name}"
            yield Trace(f"scripts/{on.task.name}/{name}", what, clipped(scrub(text), MOST_FILE))


def _of_run(study: TaskStudy, run: TraceRun, experiments: Sequence[TraceExperiment], where: str) -> Iterable[Trace]:
    """``where``: the task, if there are several, whose gains have different units."""
    text = prompts.render("trace.txt.j2", run=run, experiments=experiments, unit=study.task.unit, where=where)
    gain = "not verified" if run.verified_gain is None else f"verified gain {run.verified_gain:.3g}"
    name = f"{run.program_id}/{run.run_id}.txt"
    about = f"{run.name}{where}, generation {run.generation or 0}, {gain}, {run.experiments} experiments"
    trace = Trace(
        f"runs/{name}",
        about,
        clipped(scrub(text), MOST_FILE),
        run.program_id,
        frozenset({run.match_id}),
        tuple(run.parent_ids),
        control=run.role in CONTROLS,
    )
    yield trace
    with unpacked(study.folder, run.run_id) as folder:
        logs = _logs(folder / "logs", experiments)
    if logs:
        about, text = f"ends of the logs of {run.run_id}", clipped(scrub(logs), MOST_FILE)
        yield replace(trace, path=f"logs/{name}", about=about, text=text, volatile=True)


def _programs(runs: Sequence[TraceRun]) -> Iterable[Trace]:
    """The text of each program that ran, the latest first."""
    matches: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        matches[run.program_id].add(run.match_id)
    for run in {run.program_id: run for run in reversed(runs)}.values():
        made = f"generation {run.born or 0}, {run.operator}"
        yield Trace(
            f"programs/{run.program_id}.md",
            f"the text of {run.name}, {made}",
            scrub(run.text or ""),
            run.program_id,
            frozenset(matches[run.program_id]),
            tuple(run.parent_ids),
            control=run.role in CONTROLS,
        )


def _rationales(calls: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """For chat researchers: the rationale of a reply (run, text), by run and by the title of its experiment."""
    rationales: dict[tuple[str, str], str] = {}
    for run_id, text in calls:
        try:
            answer = parse(text)
        except BadEdit:
            continue
        rationales.setdefault((run_id, answer.title), answer.rationale)
    return rationales


def _logs(folder: Path, experiments: Sequence[TraceExperiment]) -> str:
    """The end of each experiment's output."""
    parts = []
    for experiment in experiments:
        path = folder / f"{experiment.number:04d}.log"
        if path.is_file() and path.resolve() == folder.resolve() / path.name:
            text = scrub(path.read_text("utf-8", "replace"))[-MOST_LOG:].strip("\n")
            parts.append(f"experiment {experiment.number}: {experiment.status}\n{text}\n")
    return "\n".join(parts)


def _write(study: Path, name: str, text: str) -> None:
    """Below the study's own folder of traces, through no link, because a downloaded study may contain some."""
    path = study / "traces" / name
    _require_own(study, path.parent)
    private_folder(path.parent)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def _require_own(study: Path, path: Path) -> None:
    """Raise Corrupt if a path leaves the study through a link."""
    if path.resolve() != study.resolve() / path.relative_to(study):
        raise Corrupt(f"{path}: leaves the study through a link", hint="remove the link; traces are written again")
