"""`task check`: tests each clause of the contract between a task folder and the trainer by running the task."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from programs.common.bounded import python_tree
from programs.common.errors import MetaloopError
from trainer.cards import data_check
from trainer.cards.check_record import CheckFinding, constraint_findings, edit_findings, unconstrained
from trainer.data import DataStore
from trainer.edits import Edit, EditError
from trainer.experiment import Spec, Trainer, launcher_of
from trainer.jobs.job import Launcher
from trainer.outcome import Outcome
from trainer.source import imported_modules, task_file_bytes
from trainer.streams import Stream, Streams
from trainer.task import Task

_OURS = {"meta", "programs", "inner_loop", "trainer", "arena", "analysis"}
CLAUSES = ("text", "data", "law", "baseline", "soft budget", "fixed steps", "edits", "by hand")
# clauses that do not apply to a kind: it does not train by our clock, or its metric is printed
_FREE = {kind: {"soft budget", "fixed steps"} for kind in data_check.SPLITLESS}
_FREE["simulated"].add("by hand")  # its source is edited and never run
_STEP = "step(model, state, symbols) must return the logits of logits(model, rows) at each position"
_ROWS = "logits() must process rows independently (model.eval())"
_BLIND = 0.98  # share of a blind guess's score above which a script has learnt nothing
_SHORT = 1.0  # seconds; the start of train.py alone may use up a shorter budget


def _error(clause: str, message: str, hint: str = "") -> CheckFinding:
    return CheckFinding("error", clause, message, hint)


def check(
    ref: str | Path,
    *,
    launcher: Launcher | None = None,
    only: Collection[str] = CLAUSES,
    knobs: bool | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[CheckFinding]:
    """Findings of every clause, in order; without a finding of level ``error`` the task fulfils the contract.

    ``only`` names the clauses to test. An error in the data or the baseline ends the check, because the other clauses
    need them. A task that runs a command has other clauses, and ``knobs`` is theirs (`trainer.commands.check`).
    """
    findings: list[CheckFinding] = []
    try:
        task = Task.load(ref)
    except MetaloopError as error:
        return [_error("task.toml", error.message, error.hint)]
    findings.append(CheckFinding("ok", "task.toml", f"{task.name}: {len(task.edits.knobs)} knobs, {task.task_id}"))
    if task.run is not None:
        from trainer.commands.check import check_command

        shut = launcher is None or launcher.sandboxed
        return findings + check_command(task, knobs, sandbox=shut, progress=progress)
    used_launcher = launcher or launcher_of(task)
    with tempfile.TemporaryDirectory() as folder:
        checker = _Checker(
            task, DataStore(task, Streams.from_seed(1), Path(folder) / "data"), used_launcher, Path(folder)
        )
        try:
            for finding in checker.findings(only):
                progress(f"{finding.level:7s} {finding.clause}: {finding.message}")
                findings.append(finding)
                if finding.level == "error" and finding.clause in ("data", "baseline"):
                    break  # the other clauses need data and baseline
        finally:
            if launcher is None:
                used_launcher.close()
    return findings


class _Checker:
    """The clauses; each is a generator of findings."""

    def __init__(self, task: Task, data: DataStore, launcher: Launcher, folder: Path) -> None:
        self.task = task
        self.kind: str = task.scoring["kind"]
        self.store = data
        self.folder = folder
        self.trainer = Trainer(unconstrained(task), data, launcher=launcher)
        self.fixed = Trainer(unconstrained(task), data, launcher=launcher, fixed_steps=True)

    def findings(self, only: Collection[str]) -> Iterator[CheckFinding]:
        """The findings of the named clauses, each a method of that name, in the order of CLAUSES."""
        for clause in CLAUSES:
            if clause in only and clause not in _FREE.get(self.kind, ()):
                yield from getattr(self, clause.replace(" ", "_"))()

    def text(self) -> Iterator[CheckFinding]:
        """The Python files parse, and read-only ones import nothing from metaloop."""
        for path in sorted(self.task.folder.glob("*.py")):
            name = path.name
            try:
                tree = python_tree(task_file_bytes(self.task.folder, name).decode("utf-8", "replace"))
            except SyntaxError as error:
                yield _error("baseline", f"{path}:{error.lineno}: {error.msg}", "correct that line")
                return
            if name not in self.task.editable and (ours := imported_modules(tree) & _OURS):
                message = f"{name} imports {', '.join(sorted(ours))}"
                yield _error("imports", message, "the task must run without metaloop")

    def data(self) -> Iterator[CheckFinding]:
        return data_check.findings(self.task, self.store, self.folder)

    def law(self) -> Iterator[CheckFinding]:
        """Of a simulated task: headroom relative to noise, and knobs that the law does not contain."""
        law = self.task.law
        if law is None:
            return
        paying = sum(effect > 0 for effect in law.effects.values())
        noise = f" ({law.headroom / law.noise:.1f} noise SD)" if law.noise else ", no noise"
        message = f"{paying} of {len(law.effects)} edits gain, headroom {law.headroom:.4g} {self.task.unit}{noise}"
        yield CheckFinding("ok", "law", f"{message}; nothing is trained, the law gives all metrics")
        named = {name for name, _ in (*law.effects, *law.crashes)}
        if silent := [knob.name for knob in self.task.edits.knobs if knob.name not in named]:
            hint = "add their values under [law.effects], or remove the knobs"
            yield CheckFinding("warning", "law", f"contains no effect of {', '.join(silent)}", hint)

    def baseline(self) -> Iterator[CheckFinding]:
        """The baseline runs, and its cost is about the one in task.toml."""
        outcome = self.trainer.run(Spec(self.task.baseline(), seed=1))
        if outcome.status != "ok":
            hint = outcome.log.strip().splitlines()[-1] if outcome.log.strip() else ""
            yield _error("baseline", f"{outcome.status}: {outcome.reason}", hint)
            return
        yield from constraint_findings(self.task, outcome)
        unit, cost = self.task.unit, outcome.device_seconds_charged
        yield CheckFinding("ok", "baseline", f"{self.task.metric} {outcome.metric:.4f} {unit}, {cost:.3f} CPU-s")
        if not 0.5 < cost / self.task.cost_seconds < 2:
            message = f"cost {cost:.3f} CPU-s, task.toml says {self.task.cost_seconds:.3f}"
            yield CheckFinding("warning", "cost", message, "correct [budget] cost")
        blind = data_check.blind_guess(self.task, self.store)
        if blind is not None and outcome.metric is not None and outcome.metric > _BLIND * blind:
            message = f"{outcome.metric:.4f} {unit} is no better than a guess that ignores the inputs, {blind:.4f}"
            yield CheckFinding("warning", "baseline", message, "start from a script that learns something")
        if outcome.steps is None and self.kind not in _FREE:
            yield CheckFinding("warning", "summary", "no 'steps: N' line", "print it with prepare.summary")

    def soft_budget(self) -> Iterator[CheckFinding]:
        """train.py stops itself: a quarter of the budget costs less and does not reach the hard limit.

        A budget below `_SHORT` is lengthened for this test: on a slow machine the start of train.py could use it up.
        """
        whole = max(self.task.budget_seconds, _SHORT)
        fractions = (part * whole / self.task.budget_seconds for part in (1.0, 0.25))
        full, part = (self.trainer.run(Spec(self.task.baseline(), 1, fraction=f)) for f in fractions)
        if part.status != "ok":
            message = f"a quarter of the budget: {part.status}: {part.reason}"
            yield _error("soft budget", message, "see METALOOP_TRAIN_BUDGET")
        elif full.device_seconds_charged - part.device_seconds_charged < 0.5 * 0.75 * whole:
            costs = f"{part.device_seconds_charged:.3f} of {full.device_seconds_charged:.3f} CPU-s"
            message = f"a quarter of the budget cost {costs}"
            yield _error("soft budget", message, "call prepare.clock.done() once per step")
        else:
            yield CheckFinding("ok", "soft budget", "train.py stops in time")

    def fixed_steps(self) -> Iterator[CheckFinding]:
        """With METALOOP_TRAIN_STEPS, train.py takes that many steps; a seed reproduces bit for bit, seeds differ."""
        clause = "fixed steps"
        outcome, two, other = (self._short(seed) for seed in (1, 1, 2))
        if outcome.status != "ok" or other.status != "ok":
            yield _error(clause, f"{outcome.status}: {outcome.reason or other.reason}", "see METALOOP_TRAIN_STEPS")
            return
        if outcome.metric != two.metric:
            hint = "seed all random generators"
            yield _error(clause, f"the same seed gave {outcome.metric!r} and {two.metric!r}", hint)
        if outcome.metric == other.metric:
            yield _error(clause, "two seeds gave the same metric", "use prepare.SEED")
        if outcome.steps is not None and outcome.steps != self.task.steps_of(self._few):
            message = f"train.py took {outcome.steps} steps instead of {self.task.steps_of(self._few)}"
            yield _error(clause, message, "see METALOOP_TRAIN_STEPS")
        if outcome.metric == two.metric != other.metric:
            yield CheckFinding("ok", clause, "bit-identical for a seed")

    @property
    def _few(self) -> float:
        """The fraction of the budget for about ten steps."""
        return min(1.0, 10 / self.task.steps)

    def _short(self, seed: int, edit: Edit | None = None, stream: Stream = "search") -> Outcome:
        source = self.task.edits.apply(self.task.baseline(), edit or Edit())
        return self.fixed.run(Spec(source, seed, stream, fraction=self._few))

    def edits(self) -> Iterator[CheckFinding]:
        """The untouched source and every declared edit apply, train for a few steps, and have a verified score: each
        row is predicted independently of the others, and a language model's symbols one by one as in whole rows."""
        stream: Stream = "search" if self.kind in _FREE else "confirmation"
        good, is_streamed = 0, self.kind == "language_model"
        yield from (finding for finding in edit_findings(self.task) if finding.level == "error")
        for edit in [Edit(), *(edit for edit, _ in self.task.declared_edits())]:
            try:
                outcome = self._short(1, edit, stream)
            except EditError:
                continue  # which `edit_findings` reports
            problems = [outcome.reason] if outcome.status == "invalid" else []
            problems += [finding for finding in outcome.findings if finding.startswith(("leak:", "step:"))]
            if problems and (is_streamed or not edit):
                yield _error("edits", f"{edit.label()}: {problems[0]}", _STEP if is_streamed else _ROWS)
            elif outcome.status == "ok":
                good += bool(edit)
            else:
                message = f"{edit.label()}: {outcome.status}: {outcome.reason}"
                yield CheckFinding("warning", "edits", message, "is this intended?")
        yield CheckFinding("ok" if good else "warning", "edits", f"{good} declared edits apply and train")

    def by_hand(self) -> Iterator[CheckFinding]:
        """`python train.py` in the folder works without Metaloop's environment variables."""
        folder = self.folder / "by-hand"
        shutil.copytree(self.task.folder, folder, symlinks=True, ignore=_not_copied)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("METALOOP_")}
        environment |= {"METALOOP_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "train.py"]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
            )
        except subprocess.TimeoutExpired:
            yield _error(
                "by hand", "python train.py runs longer than ten minutes", "give METALOOP_TRAIN_BUDGET a default"
            )
            return
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            yield _error("by hand", f"python train.py fails: {last}", "give everything in prepare.py a default")
        else:
            yield CheckFinding("ok", "by hand", "python train.py runs")


def _not_copied(folder: str, names: list[str]) -> set[str]:
    """Names of a task's folder that a copy of it leaves out: caches, and what is no file, folder or link."""
    forms = {name: os.lstat(os.path.join(folder, name)).st_mode for name in names}
    odd = {name for name, mode in forms.items() if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))}
    return odd | {"__pycache__", ".git"}
