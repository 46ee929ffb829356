"""An experiment runs a command of a third-party repository on an edited copy of its files.

The metric is a number that the command prints or writes to a file. It is not checked, so it is `self-reported`. With a
scoring command, the metric is `scored`: that command runs afterwards in a separate sandbox, on the task's read-only
files and the artifacts of training, without the edited files. It must treat the artifacts as data. The training does
not see the read-only files in [run] score_files.

Where the command leaves a value for each validation row ([score] rows), the metric is the mean of those rows that the
stream is scored on (`trainer.rows.scored_rows`).
"""

from __future__ import annotations

import math
import os
import stat
import statistics
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from programs.common.errors import EnvironmentProblem, TaskError
from programs.common.text import terminal_text
from trainer.attempts import SOURCE_BYTES, Attempt, Conditions, Spec, refuse_large
from trainer.commands.compile_cache import CompileCache
from trainer.commands.cures import traceback_in
from trainer.commands.rows_file import MOST_MB, read_rows
from trainer.commands.view import readable_path, with_shown_paths
from trainer.data import scored_rows
from trainer.gpu import load
from trainer.jobs.job import Ended, Job, Killed, Limits
from trainer.jobs.run import require_sandbox, run_job
from trainer.outcome import Trust
from trainer.rows import CONFIRM, SEARCH
from trainer.scorers.printed import Printed
from trainer.scoring import Failed, InvalidPredictions, Score
from trainer.scoring.referee import OUT_OF_MEMORY, ExperimentTally, judge
from trainer.streams import DECIDING
from trainer.task import Task
from trainer.user_files import studies_in
from trainer.values import constants
from trainer.values.constants import is_number

if TYPE_CHECKING:
    from trainer.rows import Rows

_CALIBRATION_RUNS = 3
_GROWTH = 32 << 10  # bytes that an edit may add to sources above the usual limit
_LARGE = 4 << 20  # bytes; larger read-only files are mounted instead of copied
_LINE = 300  # characters of a reason
_SIGNALS = 64
_LINKS = 20  # that are followed
_MOST_NAMES = 5  # in a finding
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_RESULT_MB = 1  # size of the file with the metric


class CommandAttempt(Attempt):
    """Runs the experiments of a task that has a ``[run]`` section."""

    def __init__(self, conditions: Conditions, sandbox: bool) -> None:
        task = conditions.task
        assert task.run is not None
        self.conditions, self.task, self.data = conditions, task, conditions.data
        self.key_parts = packages_of(task.run.readable)  # the packages that the command brings
        compiled = CompileCache.of(task, self.key_parts) if sandbox and task.device == "gpu" else None
        self.compiled, self.constant = compiled, 0.0  # CPU-seconds of an empty command
        self.sandboxed = sandbox
        self.section = task.run
        self.scorer = Printed(task.scoring)
        self.trust: Trust = "scored" if task.run.score_command else "self-reported"
        self.trust_of_failure = self.trust
        self.artifacts: Mapping[str, bytes] | None = None  # to score in place of those of a training
        self.left: Mapping[str, bytes] = {}  # the artifacts of the last training
        self.written: tuple[str, ...] = ()  # the read-only files that the last command wrote into
        self.result = ""  # the text in which the last command left its metric
        self.rows: Rows | None = None  # all values of rows that it left
        outputs = (task.scoring["file"], task.scoring["rows"])
        self.outputs = [name for name in dict.fromkeys(outputs) if name]  # files of the command that scores

    @cached_property
    def _large(self) -> dict[str, Path]:
        """Read-only files that are mounted in place: copying them would take longer than the start of an experiment."""
        paths = {name: self.task.folder / name for name in self.task.read_only if name not in self.outputs}
        large = {name: path for name, path in paths.items() if path.stat().st_size >= _LARGE}
        return {name: path for name, path in large.items() if not self.sandboxed or _can_be_shown(path.stat())}

    @cached_property
    def _small(self) -> dict[str, bytes]:
        """The others that a command finds: no result of an earlier run, which would count as its own."""
        return {n: data for n, data in self.task.read_only_files if n not in self._large and n not in self.outputs}

    def prepare(self, spec: Spec) -> None:
        """Fill the compile cache by one whole experiment, because only the command knows after which part of it
        everything is compiled. If that fails, each experiment compiles its own. Train the untouched files, too, if it
        is not known how many rows this split has.

        EnvironmentProblem if the task limits a memory that this GPU's driver does not report."""
        require_sandbox(self.sandboxed)
        if not self.constant:
            empty = Job(["true"], limits=Limits(10.0, 60.0))
            runs = [run_job(empty, sandboxed=self.sandboxed) for _ in range(_CALIBRATION_RUNS)]
            self.constant = statistics.median(ended.cpu_seconds for ended in runs)
        gpu = self.conditions.charge.gpu
        limited = any(
            constraint.kind == "memory_mb" and constraint.hard for constraint in self.task.constraints.values()
        )
        if gpu and limited and load(gpu).memory_mb is None:
            why = f"the driver does not report the memory of GPU {gpu.index}, which a constraint of the task limits"
            raise EnvironmentProblem(why, hint="remove the constraint, or set hard = false")
        baseline = replace(spec, source=self.task.baseline())
        if self.compiled:
            with suppress(Failed):
                self.compiled.ensure(lambda: self.score(Spec(baseline.source, 1), ExperimentTally()))
        if self._rows_label(spec) and self._expected_rows(spec) is None and spec != baseline:
            with suppress(Failed):
                self.score(baseline, ExperimentTally())

    def score(self, spec: Spec, tally: ExperimentTally) -> Score:
        """The score; Failed if the command fails or gives no metric. ``tally`` records the cost in both cases."""
        most = sum(len(text.encode()) for _, text in self.task.baseline().files) + _GROWTH
        refuse_large(spec.source, max(SOURCE_BYTES, most), tally)
        if not self.section.score_command:
            return self._read_score(self._train(spec, self.outputs, tally), spec, tally)
        self.left = self._train(spec, self.section.artifacts, tally).files if self.artifacts is None else self.artifacts
        job = self._job(self.section.score_command, self._beside(self.left), self.outputs, spec)
        return self._read_score(self._run(job, self.conditions.limits(1.0, 0, tally), tally), spec, tally)

    def _train(self, spec: Spec, wanted: list[str], tally: ExperimentTally) -> Ended:
        fraction = spec.fraction if self.task.scales else 1.0
        job = self._job(self.section.command, self._files(spec), wanted, spec, fraction, self.section.score_files)
        return self._run(job, self.conditions.limits(fraction, 0), tally, "command")

    def _read_score(self, ended: Ended, spec: Spec, tally: ExperimentTally) -> Score:
        """The score that the last command left: a number, the mean of rows, or both. InvalidPredictions without one."""
        scoring, store = self.task.scoring, self.data.row_store
        self.result = tally.result = _result(ended, scoring["file"])
        name, expected = scoring["rows"], scoring["n_rows"] or 0
        self.rows = read_rows(name, ended.files.get(name, b""), expected) if name else None
        metric = self.scorer.metric(tally.result) if scoring["pattern"] or scoring["key"] else 0.0
        if self.rows is not None:
            self._refuse_other_rows(len(self.rows), spec)
            metric = float(self.rows[scored_rows(self.task, self.data.streams, spec.stream, len(self.rows))].mean())
            if not math.isfinite(metric):
                raise InvalidPredictions(f"the mean of {scoring['rows']} is not a finite number")
            tally.rows = store.put(self.rows)
        if scoring["exact"]:
            label = f"{self.task.task_id}-{spec.source.source_id}-{spec.fraction!r}"
            if (first := store.first(label, metric)) != metric:
                tally.findings.append(f"exact: {metric!r}, but {first!r} before for the same files, in an exact metric")
        return Score(metric, self.trust)

    def _rows_label(self, spec: Spec) -> str:
        """Under which the study has the number of rows of a split that only the confirmation uses; else empty."""
        has_own = self.task.scoring["rows"] and self.task.takes_split and spec.stream in DECIDING
        return f"{self.task.task_id}-{CONFIRM}" if has_own else ""

    def _expected_rows(self, spec: Spec) -> float | None:
        """As many as the untouched files have: the task says it, but for a split of the confirmation's own."""
        label = self._rows_label(spec)
        return self.data.row_store.known(label) if label else self.task.scoring["n_rows"]

    def _refuse_other_rows(self, count: int, spec: Spec) -> None:
        """InvalidPredictions unless there are as many rows as expected, because rows are compared one by one."""
        if (label := self._rows_label(spec)) and spec.source == self.task.baseline():
            self.data.row_store.first(label, count)
        expected = self._expected_rows(spec)
        if count != expected:
            source = "the untouched files have" if label else "[score] n_rows says"
            known = (
                f"and not {expected:,.0f} as {source}" if expected else "and those of the untouched files are not known"
            )
            raise InvalidPredictions(f"{self.task.scoring['rows']} has {count:,} rows, {known}")

    def _job(
        self,
        command: str | list[str],
        files: Mapping[str, bytes],
        wanted: list[str],
        spec: Spec,
        fraction: float = 1.0,
        hidden: Sequence[str] = (),
    ) -> Job:
        """One command with its files, its seed, split and share of the budget, and the variables of the task.
        ``hidden``: files of the task that it does not see."""
        values = {
            "{seed}": str(spec.seed),
            "{budget}": f"{self.task.budget_seconds * fraction:g}",
            "{split}": CONFIRM if spec.stream in DECIDING else SEARCH,
        }
        words = (
            ["/bin/sh", "-c", _filled(command, values)]
            if isinstance(command, str)
            else [_filled(word, values) for word in command]
        )
        environment = {"METALOOP_TRAIN_DEVICE": self.conditions.charge.device}
        if self.section.threads:
            environment |= dict.fromkeys(_THREADS, str(self.section.threads))
        names = ("METALOOP_TRAIN_SEED", "METALOOP_TRAIN_BUDGET", "METALOOP_SPLIT")
        environment |= dict(zip(names, values.values(), strict=True))
        environment |= {name: _filled(text, values) for name, text in self.section.environment.items()}
        return Job(
            words,
            {name: data for name, data in files.items() if name not in hidden},
            environment=environment,
            executable=self.section.executable,
            wanted=wanted,
            bound={name: path for name, path in self._large.items() if name not in hidden},
            hidden=[
                *(self.task.folder / name for name in hidden),
                self.data.root,
                *studies_in(self.data.root.parent.parent),
            ],
            kept=[name for name in self._small if name in files and name not in hidden and name not in wanted],
            gpu=self.conditions.charge.gpu,
        )

    def _run(self, job: Job, limits: Limits, tally: ExperimentTally, kind: str = "") -> Ended:
        """Run one command and record its costs; Failed if it fails or does not leave the wanted files.

        ``kind``: as for `ExperimentTally.add`.
        """
        job = replace(job, limits=self._of_command(limits))
        job = self.compiled.given_to(job) if self.compiled else job
        shown_job = with_shown_paths(job, self.section.readable, self.section.links, sandboxed=self.sandboxed)
        ended = run_job(shown_job, sandboxed=self.sandboxed)
        if self.compiled:
            ended = self.compiled.take(ended)
        self.written = ended.written
        if ended.written:
            tally.findings.append(f"read-only: the command wrote into {', '.join(ended.written[:_MOST_NAMES])}")
        killed: Killed = ended.killed if ended.killed in ("cpu", "wall") else ""
        result = replace(ended, exit_code=_exit_code(ended.exit_code), killed=killed)
        tally.add(result, self.constant, kind)
        if ended.killed == "memory":
            raise Failed("oom", f"killed: more than {limits.memory_mb} MB of memory")
        if ended.killed == "output":
            raise Failed("crash", f"killed: more than {Limits.output_mb} MB of output")
        if result.exit_code > 0 and OUT_OF_MEMORY.search(last := _last_line(result.log)):
            raise Failed("oom", last[:_LINE])
        judge(result, limits, failure="crash")
        if error := traceback_in(result.log):
            tally.findings.append(f"traceback: printed, with exit code 0: {error}")
        if ended.missing:
            most = f", {self._of_command(limits).result_mb} MB at most" if "too large" in ended.missing[0] else ""
            raise Failed("invalid", f"the command left no {ended.missing[0]}{most}")
        return ended

    def _of_command(self, ours: Limits) -> Limits:
        """The limits of a command: those of the experiment's process, and what the task allows its files."""
        result = self.task.scoring["checkpoint_mb"] if self.section.score_command else _RESULT_MB
        result = max(result, MOST_MB if self.task.scoring["rows"] else 0)
        return Limits(
            ours.cpu_seconds,
            ours.wall_seconds,
            ours.memory_mb,
            self.section.disk_mb,
            self.section.processes,
            result_mb=result,
        )

    def _files(self, spec: Spec) -> dict[str, bytes]:
        """The repository's files with the edited ones, and with constants set to this experiment's seed and budget."""
        files = {**self._small, **{name: text.encode() for name, text in spec.source.files}}
        _set(files, self.section.seed_constant, lambda _: spec.seed)
        if spec.fraction < 1.0:
            _set(files, self.section.budget_constant, lambda now: _part(now, spec.fraction))
        return self._marked(files)

    def _beside(self, artifacts: Mapping[str, bytes]) -> dict[str, bytes]:
        """The files for the scoring command: the task's read-only files and the artifacts."""
        if taken := sorted(artifacts.keys() & {*self.outputs}):
            raise Failed("invalid", f"the artifact {taken[0]} is a file that the scoring command has to write")
        return self._marked({**self._small, **artifacts})

    def _marked(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        """With the folders of what the command writes."""
        folders = {f"{folder}/.keep": b"" for name in self.outputs if (folder := os.path.dirname(name))}
        return {**folders, **files}


def packages_of(readable: Sequence[str]) -> list[str]:
    """Names and versions of the packages in virtual environments that a command is shown."""
    folders = [Path(text).expanduser() for text in readable]
    packages = (path.name for folder in folders for path in folder.glob("lib/python*/site-packages/*.dist-info"))
    return sorted(packages)


def _can_be_shown(form: os.stat_result) -> bool:
    """Whether a file is readable for the user that root's sandbox runs as."""
    from trainer.sandbox import bwrap

    return bool(form.st_mode & stat.S_IROTH or bwrap.dropped_uid() is None)


def check_run(task: Task) -> None:
    """Raise TaskError if the section names a path that is missing or may not be shown."""
    if task.run is None:
        return
    paths = [readable_path(text) for text in [*task.run.readable, *filter(os.path.isabs, task.run.links.values())]]
    for folder in paths:
        if (folder / "pyvenv.cfg").is_file() and (hidden := hidden_link(folder / "bin" / "python", paths)):
            raise TaskError(
                f"{folder}: its python leads to {hidden}, which the sandbox does not show, so another one would run",
                hint=f"make the environment again with that one alone, or --set readable={hidden.parent}",
            )


def hidden_link(python: Path, shown: Sequence[Path]) -> Path | None:
    """Where a chain of symbolic links leaves what a command sees, or ends in nothing; None if it can be followed."""
    roots = (*shown, *map(Path, ("/usr", "/bin", "/lib", "/lib64", sys.prefix, sys.base_prefix)))
    at = python
    for _ in range(_LINKS):
        if not at.is_symlink():
            break
        at = Path(os.path.normpath(at.parent / os.readlink(at)))
        if not any(at.is_relative_to(root) for root in roots):
            return at
    return None if at.exists() else at


def _exit_code(code: int) -> int:
    """Converts a shell's exit code 128 + n for a program killed by signal n (POSIX.1-2017, XCU 2.8.2) to -n."""
    return 128 - code if 128 < code <= 128 + _SIGNALS else code


def _last_line(log: str) -> str:
    return next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")


def _result(ended: Ended, file: str) -> str:
    if not file:
        return ended.log
    return terminal_text(ended.files.get(file, b"").decode("utf-8", "replace"))


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


def _part(now: Any, fraction: float) -> Any:
    if not is_number(now):
        return now
    return max(1, round(now * fraction)) if isinstance(now, int) else now * fraction


def _set(files: dict[str, bytes], target: str, value: Any) -> None:
    """Set the constant FILE:NAME if the file still has it; an edit may have removed it."""
    name, _, constant = target.partition(":")
    if not target or name not in files:
        return
    text = files[name].decode("utf-8", "replace")
    known = constants.read(text)
    if constant in known and (changed := constants.write(text, constant, value(known[constant]))) is not None:
        files[name] = changed.encode()
