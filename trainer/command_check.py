"""`task check` of a task that runs a command: the baseline once, a few times more where that is cheap."""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from programs.errors import MetaloopError
from trainer.check import Finding
from trainer.command import CommandTrainer, check_run
from trainer.data import DataStore
from trainer.edits import EditError
from trainer.experiment import Spec
from trainer.measure import declared_edits
from trainer.outcome import Outcome
from trainer.streams import Streams
from trainer.task import Task

_CHEAP_SECONDS = 20.0  # wall time of a run that may be repeated without being asked
_LEAST_SECONDS = 0.01  # no shorter experiment can be told from what its start costs
_APART = 3.0  # budget over measured cost, or the other way round, from which a plan would mislead


def check_command(
    task: Task, *, sandbox: bool = True, write: bool = False, progress: Callable[[str], None] = lambda _: None
) -> list[Finding]:
    """Findings in order; an error ends the check. Nothing is run outside of a sandbox.

    ``write`` puts the measured time into task.toml, which makes it another task.
    """
    found: list[Finding] = []
    with tempfile.TemporaryDirectory() as folder:
        data = DataStore(task, Streams.from_seed(1), Path(folder))
        try:
            check_run(task)
            for finding in _findings(CommandTrainer(task, data, sandbox=sandbox), task, write):
                progress(f"{finding.level:7s} {finding.clause}: {finding.message}")
                found.append(finding)
                if finding.level == "error":
                    break
        except MetaloopError as error:
            found.append(Finding("error", "command", error.message, error.hint))
    return found


def _findings(trainer: CommandTrainer, task: Task, write: bool) -> Iterator[Finding]:
    shown = ", ".join(trainer.section.readable) or "nothing outside of its own copy"
    yield Finding("ok", "sandbox", f"no network; reads {shown}; may write its copy, /tmp and home, all in memory")
    trainer.launcher.start()
    outcome = trainer.run(Spec(task.baseline(), 1))
    if outcome.metric is None:
        yield Finding("error", "baseline", f"{outcome.status}: {outcome.reason}", _cure(outcome, task))
        return
    measured = f"{outcome.device_seconds:.2f} CPU-s, {outcome.wall_seconds:.1f} s, {outcome.peak_memory_mb:.0f} MB"
    yield Finding("ok", "baseline", f"{task.metric} {outcome.metric:.6g} in {measured}")
    yield _trust(trainer)
    yield _written(outcome, task) if write else _budget(outcome, task)
    if outcome.wall_seconds <= _CHEAP_SECONDS:
        yield from _noise(trainer, task, outcome.metric)
    else:
        yield Finding("ok", "seed noise", "not measured: a run takes too long", f"metaloop task measure {task.folder}")
    yield _edits(task)


def _cure(outcome: Outcome, task: Task) -> str:
    """What to do about a baseline that does not run, from what it said."""
    said = outcome.log[-4000:]
    if module := re.search(r"(?:ModuleNotFoundError|ImportError): No module named '([\w.]{1,60})'", said):
        return f"{module[1]} is not installed where it looks: a .venv in the repository (uv sync), then init again"
    if "uv: not found" in said or "uv: No such file" in said:
        return "uv cannot work without the network: make .venv there, and name the command as python train.py"
    if outcome.status == "timeout":
        return f"[budget] seconds = … is too small, or hard_factor; now {task.budget_seconds:g}"
    if outcome.status == "oom":
        return f"[budget] memory_mb = … is too small; now {task.memory_mb}"
    if outcome.status == "invalid":
        return "metaloop task init --from … --metric NAME [--metric-file FILE] says where the metric is"
    return "it must run without the network, on its own copy; [run] readable shows what lies outside"


def _trust(trainer: CommandTrainer) -> Finding:
    if trainer.trust == "scored":
        return Finding("ok", "trust", "scored: by a command of its own, on what training left")
    hint = "where results are to decide something: [run] score_command and artifacts"
    return Finding("warning", "trust", "self-reported: nothing holds the printed metric to the truth", hint)


def _budget(outcome: Outcome, task: Task) -> Finding:
    ratio = task.budget_seconds / max(outcome.device_seconds, 1e-6)
    if 1 / _APART <= ratio <= _APART:
        return Finding(
            "ok", "budget", f"{task.budget_seconds:g} s are right: {outcome.device_seconds:.2f} CPU-s measured"
        )
    message = f"[budget] seconds = {task.budget_seconds:g}, but the baseline takes {outcome.device_seconds:.2f} CPU-s"
    return Finding("warning", "budget", message, "metaloop task check DIR --write puts what was measured there")


def _noise(trainer: CommandTrainer, task: Task, first: float) -> Iterator[Finding]:
    """The same seed again, and two others."""
    others = [trainer.run(Spec(task.baseline(), seed)) for seed in (1, 2, 3)]
    values = [outcome.metric for outcome in others if outcome.metric is not None]
    if len(values) < len(others):
        bad = next(outcome for outcome in others if outcome.metric is None)
        yield Finding("warning", "seed noise", f"another run of the same fails: {bad.status}: {bad.reason}")
        return
    spread = statistics.stdev([first, *values[1:]])
    again = abs(values[0] - first)
    if spread == 0.0:
        yield Finding("ok", "seed noise", "none: the same metric under three seeds")
    else:
        message = f"sd {spread:.3g} over three seeds, {again:.3g} between two runs of one seed"
        yield Finding("ok", "seed noise", message)


def _edits(task: Task) -> Finding:
    """Every declared edit applies and is read back; none is run."""
    before, good = task.edits.config(task.baseline()), 0
    for edit, _ in declared_edits(task):
        try:
            source = task.edits.apply(task.baseline(), edit)
        except EditError as error:
            return Finding("error", "edits", f"{edit.label()}: {error.message}", error.hint)
        if task.edits.between(before, task.edits.config(source)) != edit:
            return Finding("error", "edits", f"{edit.label()}: is read back as another edit", "see its find and with")
        good += 1
    if not good:
        message = "none declared: only a researcher with a model can edit"
        return Finding("warning", "edits", message, "--values NAME=1,2,4 at init, or [edits.NAME] in task.toml")
    return Finding("ok", "edits", f"{good} declared edits apply; none of them was run")


def _written(outcome: Outcome, task: Task) -> Finding:
    seconds = max(outcome.device_seconds, _LEAST_SECONDS)
    if write_measured(task, seconds):
        return Finding("ok", "budget", f"[budget] seconds = {seconds:.3g} now, as measured: this is another task")
    return Finding("warning", "budget", "task.toml has no line 'seconds = …' below [budget]", "add one")


def write_measured(task: Task, seconds: float) -> bool:
    """Put a measured time into ``[budget]``, the rest of task.toml as it is. Whether there was a line for it."""
    path = task.folder / "task.toml"
    kept: list[str] = []
    section, done = "", False
    for line in path.read_text("utf-8").splitlines(keepends=True):
        header = re.match(r"\s*\[+([^\]]+)\]+", line)
        section = header[1].strip() if header else section
        if section == "budget" and re.match(r"seconds\s*=", line):
            number = repr(float(f"{seconds:.3g}"))
            line, done = f"seconds = {number}  # as metaloop task check measured it\ncost = {number}\n", True
        elif section == "budget" and re.match(r"cost\s*=", line):
            continue
        kept.append(line)
    if done:
        path.write_text("".join(kept), "utf-8")
    return done
