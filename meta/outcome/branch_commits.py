"""The commits of a branch that shows what a study found: one for each change that its final script needs, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.study import read_study
from analysis.views.tables import rows
from analysis.wording import decimals, estimate, number, plain_text
from arena.after import replay
from arena.study.study import Study
from programs.common.errors import UsageError
from trainer.source import Source

LEFT_OUT = """
SELECT experiment_id, estimate, low, high, n FROM credit WHERE method = 'leave-one-out' AND run_id = ?
"""


@dataclass(frozen=True)
class Commit:
    """The files that it changes, path → content, and its message."""

    files: Mapping[str, bytes]
    message: str


def change_commits(study: Study, untouched: Source, source_id: str, inside: Path) -> list[Commit]:
    """A commit for each kept change that leads from the untouched source to this final source of a run; none where no
    run of the study did so, or by one change. ``inside``: the folder of the task in the repository.

    Raises Corrupt where the sources of the run are not stored any more.
    """
    ended = (run_id for run_id, run in study.state.runs.items() if run.ended and run.ended.final_source_id == source_id)
    run_id = next(ended, "")
    first = (experiment for experiment in study.state.run(run_id).experiments.values() if experiment.number == 0)
    if [experiment.source_id for experiment in first] != [untouched.source_id]:
        return []
    try:
        changes = replay.needed(replay.commits_of(study, run_id, source_id, untouched))
    except UsageError:  # the run kept nothing
        return []
    messages = change_messages(study, run_id, changes)
    sources = [untouched, *(replay.built_of(changes, range(n))[0] for n in range(1, len(changes) + 1))]
    return [
        Commit({str(inside / name): text.encode() for name, text in after.files if text != before.text(name)}, message)
        for before, after, message in zip(sources, sources[1:], messages, strict=False)
    ]


def change_messages(study: Study, run_id: str, changes: Sequence[replay.Commit]) -> Iterator[str]:
    """What each change is and the metric that the search measured before and after it; then what the script loses
    without it, on seeds and data that the search did not see, where that was measured, else the gain it was chosen by.
    """
    run, task = study.state.run(run_id), study.task
    by_number = {record.number: record for record in run.experiments.values()}
    with read_study(study.folder, views=["credit"]) as con:
        left_out = {row["experiment_id"]: row for row in rows(con.execute(LEFT_OUT, [run_id]))}
    for change in changes:
        experiment, decision = run.experiments[change.experiment_id], run.decisions[change.experiment_id]
        before, after = by_number[experiment.parent_number or 0].metric or 0.0, experiment.metric or 0.0
        digits = decimals(abs(after - before))
        subject = f"{change.label} ({task.metric} {number(before, digits)} → {number(after, digits)})"
        lines = [f"Experiment {experiment.number} of study {study.folder.name}, kept by the search."]
        if reason := left_out.get(change.experiment_id):
            gain = estimate(reason["estimate"], reason["low"], reason["high"], task.unit)
            lines.append(f"Gain on fresh data, over the final script without it: {gain} (n {reason['n']}).")
        elif decision.gain is not None:
            error = "" if decision.gain_se is None else f" ± {number(decision.gain_se, digits)} (standard error)"
            lines.append(f"Gain there: {number(decision.gain, digits)}{error} {task.unit}.")
            lines.append("The change was chosen by this figure, which is therefore too large on average.")
        yield plain_text("metaloop: " + "\n".join([f"{subject}\n", *lines]) + "\n")
