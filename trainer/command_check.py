"""`task check` of a task that runs a command: runs the baseline once, and if a run is short a few more times and with
other values of each knob."""

from __future__ import annotations

import re
import shlex
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from programs.errors import EnvironmentProblem, MetaloopError, TaskError
from trainer import check_record, task_file
from trainer.cache import Cache
from trainer.command import CommandTrainer, check_run
from trainer.command_budget import misleads, write_measured
from trainer.command_cures import cure
from trainer.data import DataStore
from trainer.direction_check import judge
from trainer.edits import EditError
from trainer.experiment import Spec
from trainer.finding import CheckFinding, constraint_findings, unconstrained
from trainer.freshness import takes_seed
from trainer.gpus import Gpu, survey
from trainer.hardware import hardware_class
from trainer.knob_check import SEED, KnobCheck, Yardstick
from trainer.measure import declared_edits
from trainer.outcome import Outcome
from trainer.streams import Streams
from trainer.task import Task
from trainer.task_file import RunSection

_CHEAP_SECONDS = 20.0  # wall time of a run that may be repeated without a flag
_SHORT_SECONDS = 2.0  # a shorter run is not shortened further to test the knobs
_LEAST_SECONDS = 0.01  # a shorter experiment cannot be distinguished from its start-up cost
_PART = 0.25  # share of the budget with which a command that takes a budget is tested
_SAVED = 0.7  # share of the full charge; if the short run costs more, it saves too little


@dataclass(frozen=True)
class CheckScope:
    """``write``: store the measured time in task.toml and remove dead knobs, which changes the task's id; ``noise``:
    run the baseline three more times; ``knobs``: test the direction and each knob. None: only if a run is short."""

    write: bool = False
    noise: bool | None = None
    knobs: bool | None = None


_CHEAPEST = CheckScope(noise=False, knobs=False)


def check_command(
    task: Task, scope: CheckScope, *, sandbox: bool = True, progress: Callable[[str], None] = lambda _: None
) -> list[CheckFinding]:
    """Findings in order; an error ends the check. Everything runs in a sandbox. They are stored for `require_checked`,
    except where this machine, not the task, is the reason."""
    findings: list[CheckFinding] = []
    with tempfile.TemporaryDirectory() as folder:
        data = DataStore(task, Streams.from_seed(1), Path(folder))
        try:
            check_run(task)
            cache = Cache(check_record.folder())
            with CommandTrainer(unconstrained(task), data, sandbox=sandbox, cache=cache) as trainer:
                for finding in _Check(trainer, task, scope).findings():
                    progress(f"{finding.level:7s} {finding.clause}: {finding.message}")
                    findings.append(finding)
                    if finding.level == "error":
                        break
        except EnvironmentProblem as error:
            return [*findings, CheckFinding("error", "command", error.message, error.hint)]
        except MetaloopError as error:
            findings.append(CheckFinding("error", "command", error.message, error.hint))
    if sandbox and not any(finding.message.startswith("fault:") for finding in findings):
        for checked in {task.task_id: task, (now := Task.load(task.folder)).task_id: now}.values():
            check_record.write(checked, findings)
    return findings


def require_checked(task: Task, sandbox: bool, note: Callable[[str], None]) -> None:
    """Raise TaskError if the last check of a task with a command found an error. Without one, the baseline is run now:
    the cheap part of the check. Other tasks are not tested."""
    if task.run is None:
        return
    findings = check_record.read(task)
    again = f"metaloop task check {shlex.quote(str(task.folder))}"
    if findings is None:
        note(f"{task.name} has not been checked here: running its baseline once, not charged ({again} tests more)")
        findings = check_command(task, _CHEAPEST, sandbox=sandbox)
    if failed := next((finding for finding in findings if finding.level == "error"), None):
        raise TaskError(f"{task.name} fails its check: {failed.clause}: {failed.message}", hint=again)


class _Check:
    """The clauses, each a generator of findings."""

    def __init__(self, trainer: CommandTrainer, task: Task, scope: CheckScope) -> None:
        self.trainer, self.task, self.scope = trainer, task, scope
        self.fresh = False  # whether outcomes of earlier checks are out of date
        self.equal: list[Outcome] = []  # runs of the baseline under the first seed

    def findings(self) -> Iterator[CheckFinding]:
        task, scope = self.task, self.scope
        yield from _read(task)
        shown = ", ".join(_seen(self.trainer.section)) or "only its own copy"
        message = f"no network; reads {shown}; can write to its copy, /tmp and home, all in memory"
        yield CheckFinding("ok", "sandbox", message)
        self.trainer.launcher.start()
        spec = Spec(task.baseline(), SEED)
        earlier = self.trainer.cache.get(self.trainer.key(spec)) if self.trainer.cache else None
        outcome = self.trainer.run(spec, use_cache=False)
        if outcome.metric is None:
            yield CheckFinding("error", "baseline", f"{outcome.status}: {outcome.reason}", cure(outcome, task))
            return
        took = f"{cpu_seconds(outcome, task):.2f} CPU-s"
        measured = f"{took}, {outcome.wall_seconds:.1f} s, {outcome.peak_memory_mb:.0f} MB"
        yield CheckFinding("ok", "baseline", f"{task.metric} {outcome.metric:.6g} in {measured}")
        if charged_by_wall(outcome, task):
            message = (
                f"{outcome.device_seconds:.2f} s, not the CPU time: an experiment costs at least its wall time / "
                f"wall_factor ({task.wall_factor:g} in task.toml), because waiting uses no CPU"
            )
            hint = "is the machine busy? then check again when it is idle; a command that waits always costs that much"
            yield CheckFinding("warning", "charge", message, hint)
        seat = self.trainer.device.seat
        yield device_finding(task, seat.gpu if seat else None, outcome.utilization)
        yield from constraint_findings(task, outcome)
        yield _trust(self.trainer)
        yield _written(outcome, task) if scope.write else _budget(outcome, task)
        cheap = outcome.wall_seconds <= _CHEAP_SECONDS
        scaling = _scales(self.trainer, task, outcome) if cheap or scope.noise or scope.knobs else _scaling(task)
        yield scaling
        self._repeat(outcome, earlier)
        yield from self._noise(cheap)
        yield _edits(task)
        yield from self._knobs(cheap, scaling.level == "ok")

    def _wants(self, choice: bool | None, cheap: bool) -> bool:
        return cheap if choice is None else choice

    def _repeat(self, outcome: Outcome, earlier: Outcome | None) -> None:
        """A run of an earlier check is a repeat of this one, unless something outside the task has changed since."""
        self.equal = [outcome]
        cheap = outcome.wall_seconds <= _CHEAP_SECONDS
        if not (self._wants(self.scope.noise, cheap) or self._wants(self.scope.knobs, cheap)):
            return
        if earlier is not None and earlier.metric == outcome.metric:
            self.equal.append(earlier)
            return
        again = self.trainer.run(Spec(self.task.baseline(), SEED), use_cache=False)
        self.fresh = earlier is not None and again.metric == outcome.metric
        self.equal.append(again)

    def _noise(self, cheap: bool) -> Iterator[CheckFinding]:
        """The same seed again, and two others."""
        if not self._wants(self.scope.noise, cheap):
            why = "a run takes too long" if self.scope.noise is None else "not requested"
            hint = "--noise runs the baseline three more times"
            yield CheckFinding("ok", "seed noise", f"not measured: {why}", hint)
            return
        others = [
            self.trainer.run(Spec(self.task.baseline(), seed), use_cache=not self.fresh)
            for seed in (SEED + 1, SEED + 2)
        ]
        runs = [*self.equal, *others]
        values = [outcome.metric for outcome in runs if outcome.metric is not None]
        if len(values) < len(runs):
            bad = next(outcome for outcome in runs if outcome.metric is None)
            yield CheckFinding("warning", "seed noise", f"a repeated run fails: {bad.status}: {bad.reason}")
            return
        first, again, *rest = values
        spread = statistics.stdev([first, *rest])
        same = (
            "one seed repeats its result" if again == first else f"runs of one seed differ by {abs(again - first):.3g}"
        )
        if spread == 0.0:
            yield _no_noise(self.task)
        else:
            yield CheckFinding("ok", "seed noise", f"SD {spread:.3g} over three seeds; {same}")

    def _knobs(self, cheap: bool, scales: bool) -> Iterator[CheckFinding]:
        """Each knob and the direction, by short trainings; with ``write``, dead knobs leave task.toml."""
        if not self.task.edits.knobs:
            return
        why = "a run takes too long" if self.scope.knobs is None else "not requested"
        if self._wants(self.scope.knobs, cheap):
            why = "a repeated run fails" if any(run.metric is None for run in self.equal) else ""
        if why:
            hint = "--knobs tries other values of each knob"
            yield CheckFinding("warning", "direction", f"not tested, and neither are the knobs: {why}", hint)
            return
        short = self.task.scales and scales and self.equal[0].wall_seconds > _SHORT_SECONDS
        said = _comments(self.task.folder / "task.toml").get("direction", "")
        check = KnobCheck(
            self.trainer, Yardstick(self.equal), _PART if short else 1.0, bool(self.scope.knobs), self.fresh
        )
        yield from judge(check, said if re.search(r":\d+$|^given$", said) else "", self.scope.write)


def device_finding(task: Task, gpu: Gpu | None, used: float | None) -> CheckFinding:
    """The device that the baseline ran on, as far as can be seen from outside. ``used``: the GPU's share of time."""
    wanted = task_file.read(task.folder / "task.toml")[0].budget.device
    if gpu is not None:
        name = f"GPU {gpu.index}, {gpu.name}"
        if used is None:
            return CheckFinding("warning", "device", f"{name} was offered; unknown whether the command used it")
        if used == 0.0:
            hint = "is its build of the library for CUDA? run it by hand and watch nvidia-smi"
            return CheckFinding("warning", "device", f"{name} was offered, but nothing ran on it: CPU", hint)
        return CheckFinding("ok", "device", f"{name}: busy {used:.0%} of the time")
    name = hardware_class("cpu").removeprefix("cpu:").rpartition("/")[0]
    if wanted == "gpu":
        message = f"CPU ({name}) with the toy budget, because of the GPU: {survey(torch=False).reason or 'unknown'}"
        return CheckFinding("warning", "device", message, "metaloop doctor; results are not those of a GPU")
    return CheckFinding("ok", "device", f"CPU ({name}); the sandbox shows no GPU")


def charged_by_wall(outcome: Outcome, task: Task) -> bool:
    """Whether the charge is the wall time / wall_factor, because the CPU time is less."""
    return task.device == "cpu" and outcome.device_seconds > outcome.spent_seconds + _LEAST_SECONDS


def cpu_seconds(outcome: Outcome, task: Task) -> float:
    """What the command used; on a GPU its wall time."""
    return outcome.spent_seconds if charged_by_wall(outcome, task) else outcome.device_seconds


def _read(task: Task) -> Iterator[CheckFinding]:
    """The values in task.toml, each with its origin as noted by init in the comment of its line."""
    said = _comments(task.folder / "task.toml")
    where = {name: f" ({text})" if (text := said.get(name)) else "" for name in ("metric", "direction", "editable")}
    message = f"{task.metric}{where['metric']}, {task.direction} is better{where['direction']}"
    yield CheckFinding("ok", "metric", message)
    run = task.run
    command = run.command if run and isinstance(run.command, str) else " ".join(run.command if run else ())
    yield CheckFinding("ok", "command", f"{command}{' (' + said['command'] + ')' if said.get('command') else ''}")
    sizes = [(task.folder / name).stat().st_size for name in task.read_only]
    message = f"editable {', '.join(task.editable)}{where['editable']}; {len(sizes)} read-only, {sum(sizes) >> 10} KB"
    yield CheckFinding("ok", "files", message)


def _comments(path: Path) -> dict[str, str]:
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
    short, whole = cpu_seconds(part, task), cpu_seconds(full, task)
    message = f"a quarter costs {short:.2f} of {whole:.2f} CPU-s"
    if short > _SAVED * whole + _LEAST_SECONDS:
        return CheckFinding(
            "warning", clause, f"{message}: a short training saves nothing", "make the command stop at its budget"
        )
    return CheckFinding("ok", clause, message)


def _trust(trainer: CommandTrainer) -> CheckFinding:
    if trainer.trust == "scored":
        return CheckFinding("ok", "trust", "scored: by a separate command, from the artifacts of training")
    hint = "set [run] score_command and artifacts: then the score is computed apart from the training"
    return CheckFinding("warning", "trust", "self-reported: the printed metric is not checked", hint)


def _budget(outcome: Outcome, task: Task) -> CheckFinding:
    where = _comments(task.folder / "task.toml").get("seconds", "") if task.budget_basis != "given" else ""
    said = f"[budget] seconds = {task.budget_seconds:g}" + (f" ({where})" if where else "")
    cpu = cpu_seconds(outcome, task)
    took, hint = f"{cpu:.2f} CPU-s", "metaloop task check DIR --write stores the measured value"
    if misleads(task, cpu):
        return CheckFinding("warning", "budget", f"{said}, but the baseline takes {took}", hint)
    if task.budget_basis == "assumed":
        return CheckFinding("warning", "budget", f"{said} is a guess, but close: the baseline takes {took}", hint)
    return CheckFinding("ok", "budget", f"{said}: the baseline takes {took}")


def _no_noise(task: Task) -> CheckFinding:
    if takes_seed(task):
        message = "the seed changes nothing: three seeds give the same metric, and one seed repeats it"
        return CheckFinding("warning", "seed noise", message, "check that the code uses the seed that it gets")
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
                "error", "edits", f"{edit.label()}: applied, it reads as another edit", "check its find and with"
            )
        good += 1
    if not good:
        message = "none declared: only a researcher with a language model can edit"
        return CheckFinding("warning", "edits", message, "--values NAME=1,2,4 at init, or [edits.NAME] in task.toml")
    return CheckFinding("ok", "edits", f"{good} declared edits apply (not run)")


def _written(outcome: Outcome, task: Task) -> CheckFinding:
    seconds, by_wall = max(cpu_seconds(outcome, task), _LEAST_SECONDS), charged_by_wall(outcome, task)
    note = f"; its CPU time: by its wall time it was charged {outcome.device_seconds:.3g}" * by_wall
    if write_measured(task, seconds, note):
        message = f"[budget] seconds = {seconds:.3g}, as measured{note}; the task's id changed"
        return CheckFinding("ok", "budget", message)
    return CheckFinding("warning", "budget", "task.toml has no line 'seconds = …' below [budget]", "add one")
