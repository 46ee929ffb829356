"""Raw traces of a study for models that write programs: a text for each run of the search, and the untouched scripts.

Everything follows from the ledger, so a repeated study has the same texts.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from analysis.study import read_study
from analysis.views.tables import rows, statement
from arena.study.study import Study
from arena.study.task_study import tasks_of
from inner_loop.chat.reply import BadEdit, parse
from inner_loop.models.scrub import scrub
from meta.mutators.llm.templates import render
from programs.common.text import clipped

Row = dict[str, Any]
MOST_DIFF = 2_000  # bytes of an experiment's
MOST_BYTES = 32_000  # of all traces in a prompt; the scripts have at most half
MOST_RUNS = 4  # in a prompt


@dataclass(frozen=True)
class Trace:
    """A text and its description in one line. ``task``: where it belongs; ``program_id``: whose run it is, empty for a
    script."""

    about: str
    text: str
    task: str
    program_id: str = ""


def gather_traces(study: Study, generation: int) -> list[Trace]:
    """All traces for writing ``generation``: the scripts, then the runs, those of the latest generation first."""
    tasks = [task_study.task for task_study in tasks_of(study)]
    units = {task.name: task.unit for task in tasks}
    with read_study(study.folder, views=()) as con:
        runs = rows(con.execute(statement("writers/trace_runs"), {"tasks": [*units], "generation": generation}))
        run_ids = {"runs": [run["run_id"] for run in runs]}
        tried = rows(con.execute(statement("writers/trace_experiments"), run_ids))
        why = _rationales(con.execute(statement("writers/trace_calls"), run_ids).fetchall())
    experiments: dict[str, list[Row]] = defaultdict(list)
    for row in tried:
        change = row["diff"] or json.dumps(row["edit"], ensure_ascii=False, default=str)
        experiments[row["run_id"]].append(row | {"change": clipped(change, MOST_DIFF).rstrip("\n")})
    traces = [
        Trace(f"{name}, untouched, of {task.name}", _visible(text), task.name)
        for task in tasks
        for name, text in task.baseline().files
    ]
    for run in runs:
        where = f" on {run['task']}" if len(units) > 1 else ""
        tries, unit = experiments[run["run_id"]], units[run["task"]]
        text = render("trace.txt.j2", run=run, experiments=tries, why=why, unit=unit, where=where)
        gain = "not verified" if run["verified_gain"] is None else f"verified gain {run['verified_gain']:.3g}"
        about = f"{run['name']}{where}, generation {run['generation'] or 0}, {gain}, {run['experiments']} experiments"
        traces.append(Trace(about, _visible(text), run["task"], run["program_id"]))
    return traces


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


def select_traces(traces: Sequence[Trace], parents: Collection[str], most: int) -> list[Trace]:
    """What a prompt for these parents has in at most so many bytes: the scripts, then the latest run of each parent on
    each task, then the one before it."""
    scripts, ranked, seen = list[Trace](), list[tuple[int, Trace]](), Counter[tuple[str, str]]()
    for trace in traces:
        if not trace.program_id:
            scripts.append(trace)
        elif trace.program_id in parents:
            seen[trace.program_id, trace.task] += 1
            ranked.append((seen[trace.program_id, trace.task], trace))
    runs = [trace for _, trace in sorted(ranked, key=lambda row: row[0])][:MOST_RUNS]
    first = _fitted(scripts, most // 2)
    return first + _fitted(runs, most - sum(len(trace.text.encode()) for trace in first))


def _fitted(traces: Sequence[Trace], most: int) -> list[Trace]:
    """Each with its part of so many bytes; what one leaves over is for the next. Empty where there is no room."""
    fitted: list[Trace] = []
    for after, trace in zip(range(len(traces), 0, -1), traces if most > 0 else (), strict=False):
        fitted.append(replace(trace, text=clipped(trace.text, most // after)))
        most -= len(fitted[-1].text.encode())
    return fitted


def _visible(text: str) -> str:
    """A text without secrets and characters that cannot be seen; lines and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in scrub(text))
