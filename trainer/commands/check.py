"""`task check` of a task that runs a command: trains the untouched files, and judges by what that shows."""

from __future__ import annotations

import shlex
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from programs.common.errors import EnvironmentProblem, MetaloopError, NoSandbox, TaskError
from trainer.attempts.command import check_run
from trainer.cards import check_record
from trainer.cards.check_record import CheckFinding, constraint_findings, edit_findings, unconstrained
from trainer.commands.blind_check import blind_findings
from trainer.commands.cures import cure, traceback_in
from trainer.commands.knobs import SEED, KnobTrials
from trainer.commands.noise_check import Baseline, noise_findings
from trainer.data import DataStore
from trainer.experiment import Spec, Trainer
from trainer.gpu import Gpu, hardware_class
from trainer.outcome import Cache, Outcome
from trainer.sandbox import flag
from trainer.streams import Streams
from trainer.task import Task

_BEFORE = 5.0  # multiple of the range of equal runs, from which the metric is not that of the check before
_CHEAP_SECONDS = 20.0  # wall time of a run that may be repeated for each knob without a flag
_LEAST_SECONDS = 0.1  # a difference that may be of the start of a process
_APART = 2.0  # ratio of the time in task.toml and the measured one, or its inverse, from which a plan is misleading


def check_command(
    task: Task,
    knobs: bool | None = None,
    *,
    again: bool = True,
    sandbox: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> list[CheckFinding]:
    """``knobs``: try other values of each knob; None: if a run is short. ``again``: also repeat the baseline.

    Findings in order; an error ends the check. They are stored for `require_checked`, except where this machine, not
    the task, is the reason."""
    findings: list[CheckFinding] = []
    with tempfile.TemporaryDirectory() as folder:
        data = DataStore(task, Streams.from_seed(1), Path(folder) / "data")
        try:
            if sandbox:
                check_run(task)
            cache = Cache(Path(folder) / "outcomes")
            with Trainer(unconstrained(task), data, sandbox=sandbox, cache=cache) as trainer:
                for finding in _findings(trainer, task, knobs, again):
                    progress(f"{finding.level:7s} {finding.clause}: {finding.message}")
                    findings.append(finding)
                    if finding.level == "error":
                        break
        except NoSandbox:
            raise
        except EnvironmentProblem as error:
            return [*findings, CheckFinding("error", "command", error.message, error.hint)]
        except MetaloopError as error:
            findings.append(CheckFinding("error", "command", error.message, error.hint))
    if not any(finding.message.startswith("fault:") for finding in findings):
        check_record.write(task, findings)
    return findings


def require_checked(task: Task, sandbox: bool, note: Callable[[str], None]) -> None:
    """Raise TaskError if the last check of a task with a command found an error. Without one, the baseline is run now,
    once: the cheap part of the check. Other tasks are not tested."""
    if task.run is None:
        return
    findings = check_record.read(task)
    command = f"metaloop task check {shlex.quote(str(task.folder))}{flag(sandbox)}"
    if findings is None:
        note(f"{task.name} has not been checked here: running its baseline once, not charged ({command} tests more)")
        findings = check_command(task, again=False, sandbox=sandbox)
    if failed := next((finding for finding in findings if finding.level == "error"), None):
        raise TaskError(f"{task.name} fails its check: {failed.clause}: {failed.message}", hint=command)


def _findings(trainer: Trainer, task: Task, knobs: bool | None, again: bool) -> Iterator[CheckFinding]:
    earlier_check = check_record.read(task, anywhere=True)
    first = Baseline.train(trainer)
    outcome = first.outcome
    if outcome.metric is None:
        yield CheckFinding("error", "baseline", f"{outcome.status}: {outcome.reason}", cure(outcome, task))
        return
    better = f"{task.metric} {outcome.metric:.6g}, {task.direction} is better"
    yield CheckFinding("ok", "baseline", better, measured={"metric": outcome.metric})
    if error := traceback_in(outcome.log):
        message = f"it prints a traceback and ends with exit code 0: {error}"
        yield CheckFinding("warning", "baseline", message, "is its metric that of a whole run? else let it fail")
    yield _time(outcome, task)
    yield CheckFinding("ok", "memory", f"{outcome.peak_memory_mb:.0f} MB, {task.memory_mb} at most")
    yield device_finding(trainer.charge.gpu, outcome.utilization)
    yield from constraint_findings(task, outcome)
    yield _trust(trainer)
    yield from edit_findings(task)
    runs = [first, Baseline.train(trainer)] if again else [first]
    yield from noise_findings(trainer, runs)
    if not again:
        return
    equal = [run.outcome for run in runs]
    noise = _noise(trainer, task, equal)
    yield noise
    yield from _before(earlier_check, equal)
    yield from blind_findings(trainer, outcome)
    cheap = outcome.wall_seconds <= _CHEAP_SECONDS if knobs is None else knobs
    if task.edits.knobs and cheap and noise.level != "error":
        yield from KnobTrials(trainer, equal, bool(knobs), task.constraints).findings()
    elif task.edits.knobs:
        why = "a run takes too long" if knobs is None else "not wanted"
        message = f"not tested, and neither are the knobs: {why}"
        yield CheckFinding("warning", "direction", message, "--knobs tries other values of each knob")


def _time(outcome: Outcome, task: Task) -> CheckFinding:
    took = f"{outcome.device_seconds_charged:.3g} s charged, {outcome.wall_seconds:.3g} s on the clock"
    pair = sorted((task.cost_seconds, outcome.device_seconds_charged))
    if pair[1] > _APART * pair[0] + _LEAST_SECONDS:
        message = f"{took}, but [budget] cost = {task.cost_seconds:g}: plans will be wrong"
        return CheckFinding("warning", "time", message, f"set cost = {outcome.device_seconds_charged:.3g} in task.toml")
    return CheckFinding("ok", "time", took)


def device_finding(gpu: Gpu | None, used: float | None) -> CheckFinding:
    """The device that the baseline ran on, as far as can be seen from outside. ``used``: the GPU's share of time."""
    if gpu is None:
        name = hardware_class("cpu").removeprefix("cpu:").rpartition("/")[0]
        return CheckFinding("ok", "device", f"CPU ({name}); the command sees no GPU")
    name = f"GPU {gpu.index}, {gpu.name}"
    if used is None:
        return CheckFinding("warning", "device", f"{name} was offered; unknown whether the command used it")
    if used == 0.0:
        hint = "is its build of the library for CUDA? run it by hand and watch nvidia-smi"
        return CheckFinding("warning", "device", f"{name} was offered, but nothing ran on it: CPU", hint)
    return CheckFinding("ok", "device", f"{name}: busy {used:.0%} of the time")


def _trust(trainer: Trainer) -> CheckFinding:
    if not trainer.attempt.sandboxed:
        return CheckFinding("warning", "trust", "unverified: without a sandbox, code can change a score")
    if trainer.command.trust == "scored":
        message = "scored: by a separate command, from the artifacts of training"
        if hidden := trainer.command.section.score_files:
            return CheckFinding("ok", "trust", f"{message}, which ran without {', '.join(hidden)}")
        hint = "name the files with answers in [run] score_files: then only score_command sees them"
        return CheckFinding("warning", "trust", f"{message}, but the training can read all that it reads", hint)
    hint = "set [run] score_command and artifacts: then the score is computed apart from the training"
    return CheckFinding("warning", "trust", "self-reported: the printed metric is not checked", hint)


def _noise(trainer: Trainer, task: Task, equal: list[Outcome]) -> CheckFinding:
    """The same seed twice, and another one."""
    runs = [*equal, trainer.run(Spec(task.baseline(), SEED + 1))]
    if bad := next((outcome for outcome in runs if outcome.metric is None), None):
        return CheckFinding("error", "noise", f"a repeated run fails: {bad.status}: {bad.reason}", cure(bad, task))
    first, second, other = (outcome.metric or 0.0 for outcome in runs)
    same = f"runs of one seed differ by {abs(second - first):.3g}" if second != first else "one seed repeats its result"
    if other != first:
        values = [first, other] if second == first else [first, second, other]
        differ = f"two seeds differ by {abs(other - first):.3g}; {same}"
        if not task.takes_seed:
            differ = f"three runs differ by up to {max(first, second, other) - min(first, second, other):.3g}"
        return CheckFinding("ok", "noise", differ, measured={"seed_sd": statistics.stdev(values)})
    if task.takes_seed:
        return CheckFinding(
            "warning", "noise", "the seed changes nothing", "check that the code uses the seed that it gets"
        )
    hint = "if its result depends on chance: use {seed} in command, or set [run] seed_constant"
    return CheckFinding("warning", "noise", f"the command takes no seed; {same}", hint)


def _before(findings: list[CheckFinding] | None, equal: list[Outcome]) -> Iterator[CheckFinding]:
    """The metric against that of the check before, under the same seed: something else than the files may decide it."""
    values = [outcome.metric for outcome in equal if outcome.metric is not None]
    before = next((finding.measured["metric"] for finding in findings or () if "metric" in finding.measured), None)
    if before is None or not values:
        return
    apart = min(abs(value - before) for value in values)
    if apart > _BEFORE * (max(values) - min(values)):
        message = f"{values[0]:.6g} now, {before:.6g} in the check before, with the same files and seed"
        hint = "does it depend on the machine: cores, load, versions, files outside? Then let a seed decide it"
        yield CheckFinding("warning", "check before", message, hint)
    else:
        yield CheckFinding("ok", "check before", f"the metric is {before:.6g}, as now")
