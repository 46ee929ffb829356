"""`task check` of a task that runs a command: runs the baseline once, and a few more times if a run is short."""

from __future__ import annotations

import re
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from programs.errors import MetaloopError
from trainer.command import CommandTrainer, check_run
from trainer.command_budget import misleads, write_measured
from trainer.command_cures import cure
from trainer.data import DataStore
from trainer.edits import EditError
from trainer.experiment import Spec
from trainer.finding import CheckFinding, constraint_findings, unconstrained
from trainer.freshness import takes_seed
from trainer.measure import declared_edits
from trainer.outcome import Outcome
from trainer.streams import Streams
from trainer.task import Task
from trainer.task_file import RunSection

_CHEAP_SECONDS = 20.0  # wall time of a run that may be repeated without a flag
_LEAST_SECONDS = 0.01  # a shorter experiment cannot be distinguished from its start-up cost
_PART = 0.25  # share of the budget with which a command that takes a budget is tested
_SAVED = 0.7  # share of the full charge; if the short run costs more, it saves too little


def check_command(
    task: Task,
    *,
    sandbox: bool = True,
    write: bool = False,
    noise: bool | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[CheckFinding]:
    """Findings in order; an error ends the check. Everything runs in a sandbox.

    ``write`` stores the measured time in task.toml, which changes the task's id. ``noise``: whether to run the baseline
    three more times, by default only if a run is short.
    """
    findings: list[CheckFinding] = []
    with tempfile.TemporaryDirectory() as folder:
        data = DataStore(task, Streams.from_seed(1), Path(folder))
        try:
            check_run(task)
            for finding in _findings(CommandTrainer(unconstrained(task), data, sandbox=sandbox), task, write, noise):
                progress(f"{finding.level:7s} {finding.clause}: {finding.message}")
                findings.append(finding)
                if finding.level == "error":
                    break
        except MetaloopError as error:
            findings.append(CheckFinding("error", "command", error.message, error.hint))
    return findings


def _findings(trainer: CommandTrainer, task: Task, write: bool, noise: bool | None) -> Iterator[CheckFinding]:
    yield from _read(task)
    shown = ", ".join(_seen(trainer.section)) or "only its own copy"
    message = f"no network; reads {shown}; can write to its copy, /tmp and home, all in memory"
    yield CheckFinding("ok", "sandbox", message)
    trainer.launcher.start()
    outcome = trainer.run(Spec(task.baseline(), 1))
    if outcome.metric is None:
        yield CheckFinding("error", "baseline", f"{outcome.status}: {outcome.reason}", cure(outcome, task))
        return
    measured = f"{outcome.device_seconds:.2f} CPU-s, {outcome.wall_seconds:.1f} s, {outcome.peak_memory_mb:.0f} MB"
    yield CheckFinding("ok", "baseline", f"{task.metric} {outcome.metric:.6g} in {measured}")
    yield from constraint_findings(task, outcome)
    yield _trust(trainer)
    yield _written(outcome, task) if write else _budget(outcome, task)
    cheap = outcome.wall_seconds <= _CHEAP_SECONDS
    yield _scales(trainer, task, outcome) if cheap or noise else _scaling(task)
    if cheap if noise is None else noise:
        yield from _noise(trainer, task, outcome.metric)
    else:
        why = "a run takes too long" if noise is None else "not requested"
        yield CheckFinding("ok", "seed noise", f"not measured: {why}", "--noise runs the baseline three more times")
    yield _edits(task)


def _read(task: Task) -> Iterator[CheckFinding]:
    """The values in task.toml, each with its origin as noted by init in the comment of its line."""
    said = _places(task.folder / "task.toml")
    where = {name: f" ({text})" if (text := said.get(name)) else "" for name in ("metric", "direction", "editable")}
    message = f"{task.metric}{where['metric']}, {task.direction} is better{where['direction']}"
    yield CheckFinding("ok", "metric", message)
    run = task.run
    command = run.command if run and isinstance(run.command, str) else " ".join(run.command if run else ())
    yield CheckFinding("ok", "command", f"{command}{' (' + said['command'] + ')' if said.get('command') else ''}")
    sizes = [(task.folder / name).stat().st_size for name in task.read_only]
    message = f"editable {', '.join(task.editable)}{where['editable']}; {len(sizes)} read-only, {sum(sizes) >> 10} KB"
    yield CheckFinding("ok", "files", message)


def _places(path: Path) -> dict[str, str]:
    """Key → the comment on its line."""
    lines = re.finditer(r"^(\w+) = .*?  # (\S.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {match[1]: match[2] for match in lines}


def _seen(section: RunSection) -> list[str]:
    leading = [path for path in section.links.values() if path.startswith("/")]
    return list(dict.fromkeys([*section.readable, *leading]))


def _scaling(task: Task) -> CheckFinding:
    if task.scales:
        return CheckFinding("ok", "shortened training", "possible; not tested: a run takes too long")
    message = "not possible, because the command takes no budget: every training is a full one"
    hint = "set [run] budget_constant, or use {budget} in command or environment"
    return CheckFinding("ok", "shortened training", message, hint)


def _scales(trainer: CommandTrainer, task: Task, full: Outcome) -> CheckFinding:
    """Whether a quarter of the budget works and costs less."""
    if not task.scales:
        return _scaling(task)
    clause, part = "shortened training", trainer.run(Spec(task.baseline(), 1, fraction=_PART))
    if part.metric is None:
        message = f"a quarter fails: {part.status}: {part.reason}"
        hint = "remove budget_constant or {budget}, or make the code work with a short budget"
        return CheckFinding("warning", clause, message, hint)
    message = f"a quarter costs {part.device_seconds:.2f} of {full.device_seconds:.2f} CPU-s"
    if part.device_seconds > _SAVED * full.device_seconds + _LEAST_SECONDS:
        return CheckFinding(
            "warning", clause, f"{message}: a short training saves nothing", "the run does not end at its budget"
        )
    return CheckFinding("ok", clause, message)


def _trust(trainer: CommandTrainer) -> CheckFinding:
    if trainer.trust == "scored":
        return CheckFinding("ok", "trust", "scored: by a separate command, from the artifacts of training")
    hint = "set [run] score_command and artifacts: then the score is computed apart from the training"
    return CheckFinding("warning", "trust", "self-reported: the printed metric is not checked", hint)


def _budget(outcome: Outcome, task: Task) -> CheckFinding:
    where = _places(task.folder / "task.toml").get("seconds", "") if task.budget_basis != "given" else ""
    said = f"[budget] seconds = {task.budget_seconds:g}" + (f" ({where})" if where else "")
    took, hint = f"{outcome.device_seconds:.2f} CPU-s", "metaloop task check DIR --write stores the measured value"
    if misleads(task, outcome.device_seconds):
        return CheckFinding("warning", "budget", f"{said}, but the baseline takes {took}", hint)
    if task.budget_basis == "assumed":
        return CheckFinding("warning", "budget", f"{said} is a guess, but close: the baseline takes {took}", hint)
    return CheckFinding("ok", "budget", f"{said}: the baseline takes {took}")


def _noise(trainer: CommandTrainer, task: Task, first: float) -> Iterator[CheckFinding]:
    """The same seed again, and two others."""
    others = [trainer.run(Spec(task.baseline(), seed)) for seed in (1, 2, 3)]
    values = [outcome.metric for outcome in others if outcome.metric is not None]
    if len(values) < len(others):
        bad = next(outcome for outcome in others if outcome.metric is None)
        yield CheckFinding("warning", "seed noise", f"a repeated run fails: {bad.status}: {bad.reason}")
        return
    spread = statistics.stdev([first, *values[1:]])
    again = abs(values[0] - first)
    if spread == 0.0:
        yield _no_noise(task)
    else:
        message = f"SD {spread:.3g} over three seeds; two runs of one seed differ by {again:.3g}"
        yield CheckFinding("ok", "seed noise", message)


def _no_noise(task: Task) -> CheckFinding:
    if takes_seed(task):
        return CheckFinding("ok", "seed noise", "none: three seeds give the same metric")
    message = "unknown: the command takes no seed, and three runs gave the same metric"
    return CheckFinding("warning", "seed noise", message, "use {seed} in command, or set [run] seed_constant")


def _edits(task: Task) -> CheckFinding:
    """Every declared edit applies and reads back as the same edit; none is run."""
    before, good = task.edits.config(task.baseline()), 0
    for edit, _ in declared_edits(task):
        try:
            source = task.edits.apply(task.baseline(), edit)
        except EditError as error:
            return CheckFinding("error", "edits", f"{edit.label()}: {error.message}", error.hint)
        if task.edits.between(before, task.edits.config(source)) != edit:
            return CheckFinding(
                "error", "edits", f"{edit.label()}: reads back as another edit", "check its find and with"
            )
        good += 1
    if not good:
        message = "none declared: only a researcher with a language model can edit"
        return CheckFinding("warning", "edits", message, "--values NAME=1,2,4 at init, or [edits.NAME] in task.toml")
    return CheckFinding("ok", "edits", f"{good} declared edits apply (not run)")


def _written(outcome: Outcome, task: Task) -> CheckFinding:
    seconds = max(outcome.device_seconds, _LEAST_SECONDS)
    if write_measured(task, seconds):
        message = f"[budget] seconds = {seconds:.3g}, as measured; the task's id changed"
        return CheckFinding("ok", "budget", message)
    return CheckFinding("warning", "budget", "task.toml has no line 'seconds = …' below [budget]", "add one")
