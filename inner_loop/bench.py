"""The bench runs a researcher's experiments: it alone launches, meters, commits and records them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, NoReturn

from inner_loop.events import DecisionEvent, Emit, Event, Experiment, FaultEvent, FindingEvent, Proposal, experiment_id
from inner_loop.meter import RunMeter
from inner_loop.replay import RunReplay
from inner_loop.repository import RunRepository
from programs.common.errors import Corrupt, EnvironmentProblem, MetaloopError, TaskError, UsageError
from programs.common.text import one_line
from trainer.devices import Devices, busy_seconds
from trainer.edits import Edit
from trainer.experiment import Spec, Trainer
from trainer.outcome import Outcome
from trainer.rows import Difference
from trainer.source import Source
from trainer.streams import Streams
from trainer.task import Task

if TYPE_CHECKING:
    from inner_loop.stored_sources import StoredSources

#: Fields of an outcome that a run's experiment does not have: it is scored on one split.
_NOT_IN_ROW = ("splits", "further_seconds", "began", "ended")


class BenchClosed(Exception):
    """The bench accepts no further experiment. Control flow, not an error: it ends a run."""


class BudgetSpent(BenchClosed):
    """The remaining budget does not cover the request."""


class WallSpent(BenchClosed):
    """The run has used its wall time and ends with its current head. The message names the limit."""


class RunStopped(BenchClosed):
    """The run was asked to stop. Finished experiments are recorded; the rest can be resumed."""


class NoReply(BenchClosed):
    """No model will answer: a cap is reached, a key is refused, or no server responded in time. The run ends early, and
    can be resumed. ``problem`` is shown to the user."""

    def __init__(self, problem: MetaloopError) -> None:
        super().__init__(problem.message)
        self.problem = problem


def never() -> bool:
    return False


class Bench:
    """One run's experiments under one budget (device-seconds).

    Number, source, seed and fraction of each experiment follow from the program and earlier outcomes alone, so a
    resumed run makes the same requests. Experiments in `recorded` (this run's earlier `experiment` and `decision`
    events) are answered from there, with the recorded charge, and not emitted again. ``devices`` run a wave in parallel
    (None: ``trainer`` runs one experiment after another); ``trainer`` is the first of them. ``task``: the trainer's
    with the edits of the program (None: as it is). ``kept_errors``: the standard errors of the difference from which on
    a gain is kept; 0: any gain is.
    """

    def __init__(
        self,
        trainer: Trainer,
        *,
        run_id: str,
        run_seed: int,
        streams: Streams,
        budget_seconds: float,
        emit: Emit,
        repository: RunRepository | None = None,
        recorded: Sequence[Event] = (),
        should_stop: Callable[[], bool] = never,
        devices: Devices | None = None,
        task: Task | None = None,
        kept_errors: float = 0.0,
    ) -> None:
        self.task = task or trainer.task
        self.run_id = run_id
        self.run_seed = run_seed
        self.budget_seconds = budget_seconds
        self.kept_errors = kept_errors
        self.data = trainer.data
        self.meter = RunMeter.of_run(trainer.task, budget_seconds, trainer.fixed_steps)
        self.history: list[Experiment] = []
        self.experiment_wall_seconds = 0.0
        self.repeats_wins = False  # each win is trained with a second seed, before it is decided (`inner_loop.night`)
        self.early = ""  # why the researcher ended before the budget was spent, where it says so
        self._trainer = trainer
        self._devices = devices or Devices(trainer)
        self._streams = streams
        self._emit = emit
        self._repository = repository
        self._replay = RunReplay(run_id, recorded)
        self._should_stop = should_stop
        self._head: Experiment | None = None
        self._sources: dict[tuple[str, str], Source] = {}
        self._open = True

    # --- what a researcher may read -------------------------------------------------------------------------

    @property
    def head(self) -> Experiment:
        """The kept source; at the end of the run it is the result."""
        if self._head is None:
            raise RuntimeError("the bench has no head before its baseline")
        return self._head

    @property
    def baseline(self) -> Experiment:
        return self.history[0]

    @property
    def remaining(self) -> float:
        """Device-seconds that can be spent now."""
        return self.meter.remaining

    @property
    def devices(self) -> int:
        """How many experiments of one wave run in parallel."""
        return self._devices.count

    @property
    def counts_device_time(self) -> bool:
        """Whether the budget is measured device time: false with fixed steps and on simulated tasks."""
        return not self._trainer.fixed_steps and self.task.law is None

    @property
    def is_open(self) -> bool:
        return self._open and self.can_afford()

    def cost(self, fraction: float = 1.0) -> float:
        """Expected charge of an experiment, in device-seconds."""
        return self.meter.expected(self.part(fraction))

    def part(self, fraction: float) -> float:
        """The fraction to use here: 1 if the task's command cannot be given a part of its budget."""
        return fraction if self.task.scales else 1.0

    def can_afford(self, fraction: float = 1.0, count: int = 1) -> bool:
        return self.meter.affords(count * self.cost(fraction))

    def gain(self, record: Experiment, over: Experiment) -> float | None:
        """How much better `record` is than `over`, in metric units; None if either failed."""
        if record.metric is None or over.metric is None:
            return None
        return self.task.sign * (over.metric - record.metric)

    def source_of(self, edit: Edit, parent: Experiment | None = None) -> Source:
        """The edited source, without training it. Raises EditError if the edit does not apply."""
        source = (parent or self.head).source
        key = (source.source_id, edit.key())
        if key not in self._sources:
            self._sources[key] = self.task.edits.apply(source, edit) if edit else source
        return self._sources[key]

    def proposed_source(self, proposal: Proposal) -> Source:
        """The source of a proposal. Raises EditError if its edit does not apply."""
        return proposal.source or self.source_of(proposal.edit, proposal.parent)

    def next_replicate(self) -> int:
        """The number of the next unused training seed of this run."""
        return 1 + max(record.replicate for record in self.history)

    @property
    def stores_logs(self) -> bool:
        """Whether `log` gives the same after a resume."""
        return self._repository is not None

    def log(self, record: Experiment) -> str:
        """An experiment's output; after a resume the stored one, empty if no repository is kept."""
        return record.log or (self._repository.log_of(record) if self._repository else "")

    # --- what a researcher may do ------------------------------------------------------------------------------

    def set_aside(self, seconds: float) -> None:
        """Reserve so many device-seconds for later; 0 releases them."""
        self.meter.aside = min(max(0.0, seconds), self.budget_seconds)

    def start(self) -> Experiment:
        """Train the untouched baseline. Raises TaskError if it fails, UsageError if the budget is too small."""
        if not self.can_afford():
            raise UsageError(
                f"a run budget of {self.budget_seconds:g} s is too small for one experiment of {self.task.name}, "
                f"which takes {self.cost():.3g} s",
                hint="raise --run-budget",
            )
        (record,) = self._train([Proposal(source=self.task.baseline(), description="baseline")])
        if not record.ok:
            raise TaskError(
                f"{self.task.folder}: the baseline ended as {record.status}: {record.reason}",
                hint=f"metaloop task check {shlex.quote(str(self.task.folder))}",
            )
        self.decide(record, "baseline", "the untouched source")
        return record

    def experiment(self, proposal: Proposal) -> Experiment:
        """Train a proposal and record what came of it.

        A candidate's failure is an outcome. Raises BudgetSpent if the experiment cannot be afforded, RunStopped if the
        run is to end, EditError if the edit does not apply, and EnvironmentProblem if our own infrastructure failed
        (then nothing is charged or recorded).
        """
        experiments = self.experiments([proposal])
        if not experiments:
            cost = self.cost(proposal.fraction)
            raise BudgetSpent(f"{self.remaining:.3g} s left, an experiment takes {cost:.3g} s")
        return experiments[0]

    def experiments(self, proposals: Sequence[Proposal]) -> list[Experiment]:
        """Train proposals on all devices of the run: as many, from the first on, as the budget covers. Returns the
        experiments in that order; none if the first cannot be afforded.

        With several devices the number is fixed before the launch from expected costs, so it does not depend on which
        experiment ends first. Raises what `experiment` raises; experiments launched before that have ended and are
        recorded up to the first missing number.
        """
        if self.devices > 1:
            count = self._affordable(proposals)
            return self._train([self._resolve(proposal) for proposal in proposals[:count]])
        experiments: list[Experiment] = []
        for proposal in proposals:
            if not self._affordable([proposal]):
                break
            experiments += self._train([self._resolve(proposal)])
        return experiments

    def decide(self, experiment: Experiment, decision: str, reason: str, compared: Difference | None = None) -> None:
        """Decide once what becomes of an experiment; "keep" commits it and moves the head to it. ``compared``: its gain
        over the source that it was compared with."""
        gain, gain_se = (compared.value, compared.se) if compared else (None, None)
        decided = DecisionEvent(
            run_id=self.run_id, experiment_id=experiment.experiment_id, decision=decision, reason=reason,
            gain=gain, gain_se=gain_se,
        )  # fmt: skip
        experiment.decide(decided)
        if decision in ("baseline", "keep"):
            self.move_head(experiment)
        if self._repository:
            self._repository.add_row(experiment)
        if not self._replay.was_decided(decided):
            self._emit(decided)

    def recall(self, sources: StoredSources) -> Proposal | None:
        """Restore what an earlier attempt recorded, for a researcher that would not propose the same again, up to the
        first experiment without a decision: its proposal is returned, which is not trained again either.

        History, charges, decisions and head are as before; nothing is trained or emitted. Raises Corrupt where
        ``sources`` lack one.
        """
        while (recorded := self._replay.recorded(len(self.history))) is not None:
            if recorded.parent_number is None:
                raise Corrupt(f"run {self.run_id}: experiment {recorded.number} has no parent")
            parent = self.history[recorded.parent_number]
            source = sources.source_of(recorded, parent.source, self.task.edits)
            proposal = Proposal(
                recorded.edit, recorded.proposer, source=source, parent=parent, fraction=recorded.fraction,
                replicate=recorded.replicate,
            )  # fmt: skip
            decided = self._replay.decision(recorded.experiment_id)
            if decided is None:
                return proposal
            (experiment,) = self._train([proposal])
            compared = None if decided.gain is None else Difference(decided.gain, decided.gain_se)
            self.decide(experiment, decided.decision, decided.reason, compared)
        return None

    def move_head(self, experiment: Experiment) -> None:
        """Make another measured experiment the head, such as the winner of a confirmation."""
        if experiment is not self._head:
            if self._repository:
                self._repository.move(experiment)
            self._head = experiment

    def close(self) -> None:
        """End the run: no further experiments; the repository's folder shows the head."""
        self._open = False
        if self._repository:
            self._repository.close()

    # --- internal ------------------------------------------------------------------------------------------------

    def _affordable(self, proposals: Sequence[Proposal]) -> int:
        """How many of these the remaining budget covers, each at its expected cost."""
        count, seconds = 0, 0.0
        for proposal in proposals:
            seconds += self.cost(proposal.fraction)
            if not self._open or not self.meter.affords(seconds):
                break
            count += 1
        return count

    def _resolve(self, proposal: Proposal) -> Proposal:
        """A proposal with its parent and source, at the fraction that the task can be given."""
        parent = proposal.parent or self.head
        return replace(
            proposal,
            parent=parent,
            source=self.proposed_source(proposal),
            fraction=self.part(proposal.fraction),
            description=proposal.description or proposal.edit.label(),
        )

    def _train(self, wave: Sequence[Proposal]) -> list[Experiment]:
        """Train resolved proposals side by side. They are recorded in the order of their numbers, each as soon as all
        before it have ended.

        Raises RunStopped if not all of them were launched, EnvironmentProblem after a failure of ours, which holds back
        all higher numbers; nothing is launched after either.
        """
        first, stopped, faulty = len(self.history), False, False
        ended: dict[int, Experiment] = {}
        waiting: list[tuple[int, Proposal, Spec]] = []
        for number, proposal in enumerate(wave, first):
            source = proposal.source or self.task.baseline()
            seed = self._streams.seed("search", "train", self.run_seed, proposal.replicate)
            known = self._replay.experiment(
                number, source=source, seed=seed, fraction=proposal.fraction, replicate=proposal.replicate
            )
            if known is not None:
                ended[number] = known
            else:
                waiting.append((number, proposal, Spec(source, seed, "search", proposal.fraction)))
        self._record_ended(ended)

        def may_start() -> bool:
            nonlocal stopped
            stopped = stopped or self._should_stop()
            return not stopped and not faulty

        outcomes: list[Outcome] = []
        for at, outcome in self._devices.run([spec for _, _, spec in waiting], may_start):
            outcomes.append(outcome)
            number, proposal, spec = waiting[at]
            ended[number] = self._experiment(number, proposal, spec, outcome)
            faulty = faulty or outcome.status == "fault"
            self._record_ended(ended)
        self.experiment_wall_seconds += busy_seconds(outcomes)
        if fault := ended.get(len(self.history)):
            self._refuse(fault)
        if stopped:
            raise RunStopped(f"run {self.run_id} was asked to stop after experiment {len(self.history) - 1}")
        return self.history[first:]

    def _experiment(self, number: int, proposal: Proposal, spec: Spec, outcome: Outcome) -> Experiment:
        source, parent = spec.source, proposal.parent
        measured = {item.name: getattr(outcome, item.name) for item in fields(outcome) if item.name not in _NOT_IN_ROW}
        return Experiment(
            run_id=self.run_id,
            experiment_id=experiment_id(self.run_id, number),
            number=number,
            parent_number=parent.number if parent else None,
            source_id=source.source_id,
            parent_source_id=parent.source_id if parent else None,
            edit=proposal.edit,
            config=parent.config if parent and source == parent.source else self.task.edits.config(source),
            seed=spec.seed,
            replicate=proposal.replicate,
            fraction=proposal.fraction,
            description=one_line(proposal.description),
            proposer=proposal.proposer,
            directive_ids=proposal.directive_ids,
            diff=parent.source.diff(source) if parent else "",
            program_id=proposal.program_id,
            source=source,
            **measured | {"constraints": dict(outcome.constraints) or None},
        )

    def _record_ended(self, ended: Mapping[int, Experiment]) -> None:
        """Record the experiments that have ended up to the first gap, or the first failure of ours."""
        while (experiment := ended.get(len(self.history))) is not None and experiment.status != "fault":
            is_new = self._replay.recorded(experiment.number) is None
            self.meter.add(experiment)
            self.history.append(experiment)
            if self._repository:
                self._repository.write(experiment)
            if is_new:
                self._emit_findings(experiment)
                self._emit(experiment)

    def _refuse(self, fault: Experiment) -> NoReturn:
        self._emit(FaultEvent(run_id=self.run_id, number=fault.number, reason=fault.reason))
        raise EnvironmentProblem(
            f"run {self.run_id}: experiment {fault.number} could not be run: {fault.reason}",
            hint="nothing was charged; the run can be resumed",
            ids=[self.run_id],
        )

    def _emit_findings(self, experiment: Experiment) -> None:
        """Before the experiment's own row, because a resume skips experiments that have a row."""
        about = {name: getattr(experiment, name) for name in ("run_id", "experiment_id", "source_id", "seed")}
        for text in experiment.findings:
            self._emit(FindingEvent.of_line(text, **about, stream="search"))
